"""The command line: one command a stage, and `run` for the whole loop."""
