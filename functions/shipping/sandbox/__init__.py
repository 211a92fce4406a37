"""The sandbox carrier, for local stacks and tests."""
