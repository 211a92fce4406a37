"""Stock: reserved for whole orders, and released when the order fails."""
