"""What an order uses and what it costs: the calls of its functions, billed as AWS bills them, at list prices."""
