"""Configs of other fine-tuning tools to recipes, with a line for each key on what became of it."""
