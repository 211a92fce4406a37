"""Compares versions of a consumer."""
