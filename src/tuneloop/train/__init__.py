"""One step, one loop, checkpoints that survive any kill."""
