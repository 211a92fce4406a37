"""Rules of the fraud context: pure functions without AWS."""
