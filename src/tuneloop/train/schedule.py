"""The learning rate as a function of the step: nothing to save, nothing to restore."""

import math
from typing import assert_never

from tuneloop.train.config import StageConfig


def learning_rate_factor(step: int, steps: int, config: StageConfig) -> float:
    """Factor on the peak learning rate for a step counted from 0.

    Rises linearly to 1 over the warm-up, then follows the schedule to 0 at the end (`constant` stays at 1).
    By hand: 10 steps, no warm-up, linear: step 0 has 1.0, step 5 has 0.5.
    """
    warmup = math.ceil(steps * config.warmup_ratio)
    if step < warmup:
        return (step + 1) / (warmup + 1)
    progress = (step - warmup) / max(1, steps - warmup)
    match config.lr_scheduler_type:
        case "cosine":
            return 0.5 * (1.0 + math.cos(math.pi * progress))
        case "linear":
            return 1.0 - progress
        case "constant":
            return 1.0
        case "wsd":
            return min(1.0, (steps - step) / max(1, math.ceil(steps * config.decay_ratio)))
        case unreachable:
            assert_never(unreachable)
