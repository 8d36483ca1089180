"""tuneloop: from labelled rows to a measured, tuned, deployable language model."""

__version__ = "0.1.0"
