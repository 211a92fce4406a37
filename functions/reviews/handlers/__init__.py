"""Lambda entry points of the reviews context, one file per use case."""
