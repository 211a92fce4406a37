"""Counts the cost of an order in memory, and compares it and the idle cost with the last release."""
