"""Shipping: requests and recalls shipments, and records the carrier's events."""
