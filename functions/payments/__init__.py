"""Payments: authorizing and voiding them, and the providers that hold the money."""
