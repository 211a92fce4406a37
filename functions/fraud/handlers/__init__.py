"""Lambda entry points of the fraud context, one file per use case."""
