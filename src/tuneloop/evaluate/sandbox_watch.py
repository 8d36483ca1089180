"""Watch one sandboxed process from outside: feed it, bound its output, end it when its time is over."""

import contextlib
import os
import re
import select
import selectors
import signal
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Literal, Self

_START_S = 30.0
"""How long building the walls may take: no fault of the program's, and a machine may be busy."""
_END_S = 5.0
_PIECE_BYTES = 1 << 16


@dataclass
class Ending:
    """What there is to know about a process that ended."""

    cut: Literal["start", "timeout", "output"] | None = None
    """Why it was killed from here: it did not start, ran too long, printed too much. None: it was not."""
    output: bytearray = field(default_factory=bytearray)
    status: bytearray = field(default_factory=bytearray)
    """What the guard said: `refused WHY`, or `started ended NUMBER VERDICT`."""


class Watch:
    """Owns a sandbox's command while it runs: on leaving the block nothing of it is left, however it is left.

    The command gets its input when the first process inside is known, so that there is something to kill before
    there is something to run. A file descriptor holds that process: its number could pass on to a stranger.
    """

    def __init__(self, command: Sequence[str], environment: dict[str, str], pipes: tuple[int, int]) -> None:
        """Start `command`, which inherits the writing ends `pipes` of its info and status pipes.

        Raises:
            OSError: it could not be started.
        """
        self._process = subprocess.Popen(  # noqa: S603 - a list of our own making, no shell
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            pass_fds=pipes,
            env=environment,
            cwd="/",
            start_new_session=True,
            bufsize=0,
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._input, self._output = self._process.stdin, self._process.stdout
        self._first_pidfd: int | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._first_pidfd is not None:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._first_pidfd, signal.SIGKILL)
            os.close(self._first_pidfd)
        self._input.close()
        self._output.close()
        try:
            # The command ends when the first process inside has, and that one when all others inside have.
            self._process.wait(_END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def follow(self, info_fd: int, status_fd: int, payload: bytes, *, timeout_s: float, output_bytes: int) -> Ending:
        """Hand `payload` over and wait for the end, at most `timeout_s` after the program's start.

        Keeps one piece (64 KiB) more than `output_bytes` of output at the most.
        """
        ending = Ending()
        deadline_s = time.monotonic() + _START_S
        if not self._meet(info_fd, deadline_s):
            ending.cut = "start"
        started, rest = False, memoryview(payload)
        with selectors.DefaultSelector() as selector:
            os.set_blocking(self._input.fileno(), False)
            selector.register(self._input, selectors.EVENT_WRITE)
            selector.register(self._output, selectors.EVENT_READ, ending.output)
            selector.register(status_fd, selectors.EVENT_READ, ending.status)
            while ending.cut is None and status_fd in selector.get_map():
                for key, _ in selector.select(max(0.0, deadline_s - time.monotonic())):
                    if key.data is None:
                        rest = _write_some(key.fd, rest)
                        is_over = not rest
                    else:
                        is_over = not _read_some(key.fd, key.data)
                    if is_over:
                        selector.unregister(key.fileobj)
                if not started and ending.status:
                    started, deadline_s = True, time.monotonic() + timeout_s
                if len(ending.output) > output_bytes:
                    ending.cut = "output"
                elif time.monotonic() > deadline_s:
                    ending.cut = "timeout" if started else "start"
        self._drain(ending, output_bytes)
        return ending

    def _meet(self, info_fd: int, deadline_s: float) -> bool:
        """Learn who the first process inside is, and hold it; False if time ran out."""
        said = bytearray()
        while (found := re.search(rb'"child-pid": (\d+)\D', said)) is None:
            ready, _, _ = select.select([info_fd], [], [], max(0.0, deadline_s - time.monotonic()))
            if not ready:
                return False
            if not _read_some(info_fd, said):
                # The command ended before; the status pipe tells why.
                return True
        with contextlib.suppress(ProcessLookupError):
            self._first_pidfd = os.pidfd_open(int(found[1]))
        return True

    def _drain(self, ending: Ending, output_bytes: int) -> None:
        """Take what was printed before the end and is still in the pipe."""
        os.set_blocking(self._output.fileno(), False)
        with contextlib.suppress(BlockingIOError):
            while len(ending.output) <= output_bytes and _read_some(self._output.fileno(), ending.output):
                pass
        if ending.cut is None and len(ending.output) > output_bytes:
            ending.cut = "output"


def _read_some(fd: int, into: bytearray) -> bool:
    """Append what is there; False at the end of the pipe."""
    piece = os.read(fd, _PIECE_BYTES)
    into += piece
    return bool(piece)


def _write_some(fd: int, rest: memoryview) -> memoryview:
    """Write what the pipe takes; nothing is left to write to a process that ended."""
    try:
        return rest[os.write(fd, rest) :]
    except BlockingIOError:
        return rest
    except BrokenPipeError:
        return rest[:0]
