"""Lambda entry points of the identity context, one file per use case."""
