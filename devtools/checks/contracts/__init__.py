"""The contracts of the events: schemas, documents and registry entries, all made from the models, and what changed of them."""
