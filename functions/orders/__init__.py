"""Orders: taking them, keeping their log, publishing it, and ending them."""
