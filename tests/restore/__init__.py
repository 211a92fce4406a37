"""Restores and rebuilds a pipeline on AWS in memory, and compares every table with the original."""
