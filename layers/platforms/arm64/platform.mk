# Wheels for Lambda on Graviton.
PLATFORM := aarch64
