"""Lambda entry points of the loyalty context, one file per use case."""
