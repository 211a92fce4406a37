"""Operating the pipeline: recovery of stuck orders, redrive of dead letters, publication of missing events."""
