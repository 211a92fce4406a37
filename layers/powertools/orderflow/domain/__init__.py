"""Rules of an order and its events: pure, without AWS."""
