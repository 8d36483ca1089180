"""From an evaluation to a decision, as plain values."""
