"""Reviews: held orders and the reviewers' decisions on them."""
