"""Rules of the payments context: pure functions without AWS."""
