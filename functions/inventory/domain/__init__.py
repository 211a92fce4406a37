"""Rules of the inventory context: pure functions without AWS."""
