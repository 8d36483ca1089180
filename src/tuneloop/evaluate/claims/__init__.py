"""The hallucination rate: claims of answers that their sources do not support."""
