"""A few threads that work through a list, hand out results as they come, and end in time."""

import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Generic, TypeVar

from tuneloop.core.stop import Stop

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")

_POLL_S = 0.05


class _Ended:
    """What a thread hands out last."""


class Crew(Generic[ItemT, ResultT]):
    """Calls `work(item, ending)` for every item, in `size` threads.

    `ending` is set when no further work is wanted: `work` should then begin nothing new. Results that the threads
    have are handed out one at a time, so that a slow reader slows the work.
    """

    def __init__(
        self, work: Callable[[ItemT, threading.Event], ResultT], items: Iterable[ItemT], *, size: int, patience_s: float
    ) -> None:
        self._work = work
        self._items = iter(items)
        self._items_lock = threading.Lock()
        self._size = size
        self._patience_s = patience_s
        self._ending = threading.Event()
        self._done: queue.Queue[tuple[ItemT, ResultT] | BaseException | _Ended] = queue.Queue(maxsize=size)
        self._running = 0

    def results(self, stop: Stop) -> Iterator[tuple[ItemT, ResultT]]:
        """Results in the order in which they are ready.

        However this ends (all done, an error of `work`, a stop, a reader that leaves), work that has begun is
        given `patience_s` seconds to end well.

        Raises:
            StoppedError: an end was asked for.
        """
        self._running = self._size
        for _ in range(self._size):
            # Daemons: a thread that is stuck must not keep the process alive.
            threading.Thread(target=self._loop, daemon=True).start()
        try:
            while self._running:
                stop.check()
                try:
                    done = self._done.get(timeout=_POLL_S)
                except queue.Empty:
                    continue
                if isinstance(done, _Ended):
                    self._running -= 1
                elif isinstance(done, BaseException):
                    raise done
                else:
                    yield done
        finally:
            self._ending.set()
            self._drain()

    def _loop(self) -> None:
        try:
            while not self._ending.is_set():
                with self._items_lock:
                    item = next(self._items)
                self._done.put((item, self._work(item, self._ending)))
        except StopIteration:
            pass
        except BaseException as error:  # noqa: BLE001 - raised again by whoever reads the results
            self._done.put(error)
        self._done.put(_Ended())

    def _drain(self) -> None:
        end_s = time.monotonic() + self._patience_s
        while self._running and time.monotonic() < end_s:
            try:
                self._running -= isinstance(self._done.get(timeout=_POLL_S), _Ended)
            except queue.Empty:
                continue
