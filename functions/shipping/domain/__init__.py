"""Rules of the shipping context: pure functions without AWS."""
