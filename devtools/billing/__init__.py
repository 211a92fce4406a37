"""The cost of an order: the calls of its functions, billed as AWS bills them, at list prices."""
