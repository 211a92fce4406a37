"""Rules of the loyalty context: pure functions without AWS."""
