"""What the pipeline costs in time and money, measured: `make bench`."""
