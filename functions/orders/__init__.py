"""Orders: places, returns, cancels and lists them, publishes their events, and ends their sagas."""
