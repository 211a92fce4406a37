"""AWS helpers of the functions."""
