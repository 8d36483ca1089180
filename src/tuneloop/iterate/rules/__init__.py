"""What the loop knows about what goes wrong: one file, one rule."""
