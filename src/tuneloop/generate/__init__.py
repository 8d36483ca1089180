"""A model and prompts to text."""
