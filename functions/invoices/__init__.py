"""Invoices and credit notes: numbered without gaps, stored as documents."""
