"""Lambda entry points of the operations context, one file per use case."""
