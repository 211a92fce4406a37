"""Rules of the operations context, without AWS."""
