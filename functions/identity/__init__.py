"""Authentication: the API's authorizer."""
