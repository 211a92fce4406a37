"""`make dashboard`: a page that shows, as it happens, what the pipeline does."""
