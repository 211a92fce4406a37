"""What keeps orders moving: the sweeper of orders that stand still, and the redrive of dead letters."""
