"""Rules of the invoices context: pure functions without AWS."""
