"""Sales analytics: totals by minute and day, and leaderboards."""
