"""The closed loop: the only room that knows all stages."""
