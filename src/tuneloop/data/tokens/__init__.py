"""Rows as token ids: encoded once, kept on disk, read one at a time."""
