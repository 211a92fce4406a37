"""Rules of the identity context: pure functions without AWS."""
