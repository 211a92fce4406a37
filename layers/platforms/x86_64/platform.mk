# Wheels for Lambda on Intel and AMD.
PLATFORM := x86_64
