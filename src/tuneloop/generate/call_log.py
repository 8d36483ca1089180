"""Every paid call of an endpoint, kept in a file that only grows: what is in it is never paid again."""

import fcntl
import os
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

import orjson

from tuneloop.core.errors import DataError, DiskError, IntegrityError, LockedError
from tuneloop.core.store import Appender
from tuneloop.data.schema import ToolCall
from tuneloop.generate.budget import Spending
from tuneloop.generate.chat import Completion, Usage

_SCHEMA = "tuneloop.calls"
_VERSION = 1
_HEADER = {"schema": _SCHEMA, "version": _VERSION}
_SYNC_EVERY_S = 1.0


@dataclass
class Calls:
    """What a log holds."""

    places: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Hash of a request -> where the line with its answer begins, and its length, in bytes."""
    spent: Spending = field(default_factory=Spending)
    """By all runs over this log."""


def read_calls(path: Path) -> Calls:
    """What is in a log, without opening it for writing; nothing where there is no such file.

    Raises:
        DataError: the file is no log of calls, or one of another version.
        IntegrityError: a line in its middle is damaged.
    """
    calls = Calls()
    if not path.exists():
        return calls
    start = 0
    for number, line in enumerate(_whole_lines(path), start=1):
        if number > 1:
            _index(calls, line, start, f"{path}:{number}")
        start += len(line)
    return calls


def _whole_lines(path: Path) -> Iterator[bytes]:
    """The lines after a check of the first; a last one without its end was cut off by a kill and does not count."""
    try:
        with path.open("rb") as file:
            first = file.readline(1 << 16)
            if not first.endswith(b"\n"):
                # A header that was cut off is a log that never began; anything else is somebody's file.
                if not (orjson.dumps(_HEADER) + b"\n").startswith(first):
                    raise _no_log(path)
                return
            _check_header(path, first)
            yield first
            yield from (line for line in file if line.endswith(b"\n"))
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}).") from error


def _check_header(path: Path, line: bytes) -> None:
    try:
        header = orjson.loads(line)
    except orjson.JSONDecodeError:
        raise _no_log(path) from None
    if not isinstance(header, dict) or header.get("schema") != _SCHEMA:
        raise _no_log(path)
    if header.get("version") != _VERSION:
        raise DataError(
            f"{path}: a log of calls of version {header.get('version')}; this tuneloop reads {_VERSION}. "
            f"Choose another folder, or the tuneloop that wrote it."
        )


def _no_log(path: Path) -> DataError:
    return DataError(f"{path}: is no log of calls. Choose another path; nothing was changed.")


def _index(calls: Calls, line: bytes, start: int, where: str) -> None:
    try:
        record = orjson.loads(line)
        key, usage, cost = record["key"], Usage(**record["usage"]), record["cost"]
        if record["kind"] == "answer":
            calls.places.setdefault(key, (start, len(line)))
        calls.spent = calls.spent.plus(usage, cost)
    except (orjson.JSONDecodeError, KeyError, TypeError) as error:
        raise IntegrityError(
            f"{where}: this line of the log of calls is damaged. Delete the line; its call is then made again."
        ) from error


class CallLog:
    """Answers by the hash of their request, as JSONL with a header line; for one process and all its threads.

    A record is one write of one line. A killed process loses nothing that was added; a machine that loses its power
    loses about the last second.

    Raises:
        DataError: the file is no log of calls, or one of another version; it is left as it was.
        IntegrityError: a line in its middle is damaged.
        LockedError: another process uses it.
        DiskError: the disk refuses.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        if not path.exists():
            Appender(path).close()
        self._reader = path.open("rb")
        try:
            # Two processes over one log would pay for the same answers twice.
            fcntl.flock(self._reader, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._calls = read_calls(path)
            # Only a file that is known for a log may be cut behind its last whole line.
            self._appender = Appender(path)
        except BlockingIOError:
            self._reader.close()
            raise LockedError(f"{path}: another process uses this log. Wait for it, or choose another --out.") from None
        except BaseException:
            self._reader.close()
            raise
        self._is_broken = False
        self._synced_s = time.monotonic()
        if self._size() == 0:
            self._append(_HEADER)

    @property
    def spent(self) -> Spending:
        """By all runs over this log."""
        with self._lock:
            return self._calls.spent

    def __contains__(self, key: str) -> bool:
        with self._lock:
            return key in self._calls.places

    def __len__(self) -> int:
        with self._lock:
            return len(self._calls.places)

    def get(self, key: str) -> Completion | None:
        """The answer to a request, if it was paid already."""
        with self._lock:
            place = self._calls.places.get(key)
        if place is None:
            return None
        start, size = place
        return _parse_answer(os.pread(self._reader.fileno(), size, start), f"{self.path}, byte {start}")

    def add(self, answer: Completion) -> None:
        """Keep an answer.

        Raises:
            DiskError: the disk is full or refuses.
        """
        values = {name: value for name, value in asdict(answer).items() if name != "from_log"}
        with self._lock:
            place = self._append({"kind": "answer", "at": _now(), **values})
            self._calls.places.setdefault(answer.key, place)
            self._calls.spent = self._calls.spent.plus(answer.usage, answer.cost)

    def add_unusable(self, key: str, usage: Usage, cost: float | None, reason: str) -> None:
        """Keep what a reply has cost that was no answer."""
        record = {"kind": "unusable", "at": _now(), "key": key, "usage": asdict(usage), "cost": cost, "reason": reason}
        with self._lock:
            self._append(record)
            self._calls.spent = self._calls.spent.plus(usage, cost)

    def _append(self, record: dict[str, Any]) -> tuple[int, int]:
        """Write a line; where it begins, and its length."""
        if self._is_broken:
            raise DiskError(f"{self.path}: an earlier line could not be written. Free space and run the command again.")
        start = self._size()
        try:
            self._appender.append(record)
        except BaseException:
            # A part of the line may be there; the next one would be glued to it.
            self._is_broken = True
            raise
        if time.monotonic() - self._synced_s >= _SYNC_EVERY_S:
            os.fsync(self._reader.fileno())
            self._synced_s = time.monotonic()
        return start, self._size() - start

    def _size(self) -> int:
        return os.fstat(self._reader.fileno()).st_size

    def close(self) -> None:
        """Sync, and let go of the file."""
        with self._lock:
            self._appender.close()
            self._reader.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def _now() -> str:
    return datetime.now(UTC).isoformat()


def _parse_answer(line: bytes, where: str) -> Completion:
    try:
        record = orjson.loads(line)
        del record["kind"], record["at"]
        record["usage"] = Usage(**record["usage"])
        record["tool_calls"] = tuple(ToolCall(**call) for call in record["tool_calls"])
        return Completion(**record, from_log=True)
    except (orjson.JSONDecodeError, KeyError, TypeError) as error:
        raise IntegrityError(
            f"{where}: this line of the log of calls is damaged. Delete the line; its call is then made again."
        ) from error
