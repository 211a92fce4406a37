"""Rules of the reviews context: pure functions without AWS."""
