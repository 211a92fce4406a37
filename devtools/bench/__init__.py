"""`make bench`: measures cold start, latency and throughput."""
