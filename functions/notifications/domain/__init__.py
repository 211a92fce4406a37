"""Rules of the notifications context: pure functions without AWS."""
