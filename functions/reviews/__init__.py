"""Held orders, each of which waits for a person's decision."""
