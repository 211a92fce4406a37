"""Local tools: start the emulator, deploy, seed, place and follow orders. Never deployed."""
