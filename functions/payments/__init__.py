"""Payments: authorizes, captures, refunds and voids payments through a payment provider."""
