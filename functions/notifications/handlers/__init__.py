"""Lambda entry points of the notifications context, one file per use case."""
