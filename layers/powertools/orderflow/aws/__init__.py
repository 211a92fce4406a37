"""What the functions share to work with AWS."""
