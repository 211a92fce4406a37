"""Stock: set aside for an order all of it or none, and given back when the order fails."""
