"""`make remove`: removes a context, or a part of one, with all references to it."""
