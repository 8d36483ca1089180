"""A tuned model made ready for others: merged, checked, described."""
