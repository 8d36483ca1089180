"""Critiques: a question and somebody's answer to a judgement that ends in a verdict (arXiv:2501.17703)."""
