"""`make bench`: measures what the pipeline costs in time and money."""
