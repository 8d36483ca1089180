"""Whether work grows in proportion to what it is given: two times beside each other, since machines differ in speed."""

import time
from collections.abc import Callable

_FACTOR = 4
_TRIES = 6


def is_linear(work: Callable[[int], object], size: int) -> bool:
    """Whether four times the size takes less than eight times as long: in proportion it is 4, squared 16.

    Of the processor's time, the best of up to six tries: a busy machine is not what is tested.
    """
    work(size)
    small = large = float("inf")
    for _ in range(_TRIES):
        small, large = min(small, _time(work, size)), min(large, _time(work, size * _FACTOR))
        if large < 2 * _FACTOR * small:
            return True
    return False


def _time(work: Callable[[int], object], size: int) -> float:
    start = time.process_time()
    work(size)
    return time.process_time() - start
