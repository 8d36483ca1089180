"""Where weights come from; knows nothing of training."""
