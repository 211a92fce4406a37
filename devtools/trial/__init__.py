"""Commands that act on any stack as its users, its customers and its carrier do: they share the clients of the local tools."""
