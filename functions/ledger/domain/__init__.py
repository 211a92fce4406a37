"""Rules of the ledger context: pure functions without AWS."""
