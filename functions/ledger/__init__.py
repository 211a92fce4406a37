"""The ledger: what every event of an order does to the shop's money, in double entry, and the proof that it adds up."""
