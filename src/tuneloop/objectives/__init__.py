"""What is asked of the model: one file, one method."""
