"""`make remove`: removes a context, or a part of one, with everything that names it."""
