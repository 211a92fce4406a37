"""What every context shares: events, the order log and its rules, HTTP, observability."""
