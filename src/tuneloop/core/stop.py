"""A wish to stop, polled by every loop: the first signal asks, the second one ends the process at once."""

import contextlib
import signal
from collections.abc import Iterator
from types import FrameType

from tuneloop.core.errors import StoppedError


class Stop:
    """Whether somebody asked for an end."""

    def __init__(self) -> None:
        self.requested = False

    def check(self) -> None:
        """Leave the current work if an end was asked for.

        Raises:
            StoppedError: it was.
        """
        if self.requested:
            raise StoppedError("Stopped by a signal. What was finished is saved; the same command goes on from there.")


@contextlib.contextmanager
def stop_on_signals() -> Iterator[Stop]:
    """Turn SIGTERM and SIGINT into a request, for as long as the block runs."""
    stop = Stop()

    def ask(number: int, frame: FrameType | None) -> None:
        del frame
        if stop.requested:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        stop.requested = True

    before = {number: signal.signal(number, ask) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
