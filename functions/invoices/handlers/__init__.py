"""Lambda entry points of the invoices context, one file per use case."""
