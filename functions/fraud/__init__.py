"""Whether an order looks like fraud."""
