"""Benchmarks as data: rows, a prompt, how the answer is found in what a model writes, and what is measured."""
