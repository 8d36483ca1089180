"""What is wrong with a set of rows: doubles, leaks, contradictions, broken text, odd ones out."""
