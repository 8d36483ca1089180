"""Raw rows to batches, every row accounted for."""
