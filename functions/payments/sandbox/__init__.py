"""The sandbox payment provider, for local stacks and trials."""
