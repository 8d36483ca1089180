"""A look at all rows of some files: what is in them, and which of them should not stand together."""
