"""The learning rate as a function of the step: nothing to save, nothing to restore."""

import math
from typing import Literal, assert_never


def learning_rate_factor(
    step: int, steps: int, warmup_ratio: float, kind: Literal["cosine", "linear", "constant"]
) -> float:
    """Factor on the peak learning rate for a step counted from 0.

    Rises linearly to 1 over the warm-up, then follows the schedule to 0 at the end (`constant` stays at 1).
    By hand: 10 steps, no warm-up, linear: step 0 has 1.0, step 5 has 0.5.
    """
    warmup = math.ceil(steps * warmup_ratio)
    if step < warmup:
        return (step + 1) / (warmup + 1)
    progress = (step - warmup) / max(1, steps - warmup)
    match kind:
        case "cosine":
            return 0.5 * (1.0 + math.cos(math.pi * progress))
        case "linear":
            return 1.0 - progress
        case "constant":
            return 1.0
        case unreachable:
            assert_never(unreachable)
