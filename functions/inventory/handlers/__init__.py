"""Lambda entry points of the inventory context, one file per use case."""
