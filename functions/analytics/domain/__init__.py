"""Rules of the analytics context: pure functions without AWS."""
