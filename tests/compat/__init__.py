"""Runs two releases side by side on the same state."""
