"""The double-entry ledger: journal entries of the events that move money, and their audit."""
