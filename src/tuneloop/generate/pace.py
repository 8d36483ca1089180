"""When the next call may start: requests a minute, and pauses that the server asked for."""

import threading
import time
from collections.abc import Callable


class Pace:
    """Shared by all threads of an endpoint.

    Starts are spaced evenly, 60 / requests_per_minute seconds apart, so that no window of a minute holds more.
    """

    def __init__(self, requests_per_minute: float | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._gap_s = 60.0 / requests_per_minute if requests_per_minute else 0.0
        self._clock = clock
        self._next_s = float("-inf")
        self._lock = threading.Lock()

    def claim(self) -> float:
        """Take the next place; how many seconds from now it is."""
        with self._lock:
            now = self._clock()
            start = max(now, self._next_s)
            self._next_s = start + self._gap_s
            return start - now

    def hold(self, wait_s: float) -> None:
        """Start nothing for so long: the server's limit is on the account, not on one call."""
        with self._lock:
            self._next_s = max(self._next_s, self._clock() + wait_s)
