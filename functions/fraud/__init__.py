"""Fraud: scores orders and decides whether they are approved, held for review or refused."""
