"""The pipeline on this machine: emulator, deployment, seed data, demo."""
