"""Emails to customers about their orders."""
