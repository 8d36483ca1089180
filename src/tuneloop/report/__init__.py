"""The story of a run as one page."""
