"""Shipping: asking the carrier for shipments, stopping them, and what the carrier tells of their parcels."""
