"""What happens while a stage works: one line a happening, written to a file and told to whoever listens."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from tuneloop.core.store import Appender, read_jsonl

Event = dict[str, Any]
Listener = Callable[[Event], None]


class Emit(Protocol):
    """How a stage says that something happened."""

    def __call__(self, kind: str, **values: Any) -> None:
        """Tell everyone: `emit("step", step=3, loss=1.2)`."""


def be_silent(kind: str, **values: Any) -> None:
    """An `Emit` for callers that do not listen."""


class EventLog:
    """Appends every event to a JSONL file and passes it to listeners."""

    def __init__(
        self,
        path: Path,
        listeners: tuple[Listener, ...] = (),
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._file = Appender(path)
        self._listeners = listeners
        self._clock = clock

    def emit(self, kind: str, **values: Any) -> None:
        """Record one event; a listener sees the same values that the file keeps."""
        event: Event = {"time": self._clock().isoformat(), "kind": kind, **values}
        self._file.append(event)
        for listener in self._listeners:
            listener(event)

    def close(self) -> None:
        """Sync the file to disk."""
        self._file.close()


def read_events(path: Path, kind: str | None = None) -> Iterator[Event]:
    """All events of a file, or those of one kind, in the order of writing."""
    if path.exists():
        yield from (event for event in read_jsonl(path) if kind is None or event["kind"] == kind)


def last_by_step(events: Iterator[Event]) -> list[Event]:
    """The events by (round, stage, step): where a resumed run did a step again, the later one counts."""
    latest = {(event.get("round", 1), event.get("stage", 1), event["step"]): event for event in events}
    return [latest[key] for key in sorted(latest)]
