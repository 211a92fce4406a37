"""Lambda entry points of the payments context, one file per use case."""
