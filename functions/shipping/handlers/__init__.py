"""Lambda entry points of the shipping context, one file per use case."""
