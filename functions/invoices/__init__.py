"""Invoices: numbered without a gap, and kept as documents."""
