"""Rules of the orders context: pure functions without AWS."""
