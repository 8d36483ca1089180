"""Which weights move."""
