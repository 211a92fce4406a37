"""Points that customers earn with their orders."""
