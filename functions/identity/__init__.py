"""Who is calling: the API's authorizer."""
