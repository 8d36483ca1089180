"""A model's answers, measured, every sample kept."""
