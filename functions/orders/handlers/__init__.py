"""Lambda entry points of the orders context, one file per use case."""
