"""`make dashboard`: a live page of the pipeline's figures."""
