"""Checks of the repository and the files they generate."""
