"""The shapes in which people keep labelled rows, one file a format: each read, and each written."""
