"""The contracts of the events: schemas, documents and registry entries, generated from the models, and their changes."""
