"""`make new`: writes a consumer, an endpoint or a context, from the texts in parts/."""
