"""Which rows a run learns from and is tested on, and in which order: functions of the seed, on arrays of indices."""
