"""What is sold: sums by minute and day, and what sells best."""
