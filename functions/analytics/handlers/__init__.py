"""Lambda entry points of the analytics context, one file per use case."""
