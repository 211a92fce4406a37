"""Lambda entry points of the ledger context, one file per use case."""
