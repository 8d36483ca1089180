"""What a person sees while a run works: one line that moves in a terminal, a line now and then in a log."""

import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO

from tuneloop.core.events import Event
from tuneloop.core.hooks import Hooks
from tuneloop.core.stop import stop_on_signals

_LOG_EVERY_S = 10.0
_WIDE = 1000
_LEAST_WANTED = (2, 5, 4, 3)
"""Parts of a step's line that go where the terminal is narrow: learning rate, memory, share of the limit, speed."""


class ConsoleProgress:
    """Listens to a run's events and writes them to standard error."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._moves = self._stream.isatty()
        self._open = False
        self._last_s = float("-inf")
        self._rate = 0.0
        self._limit = "of the limit"

    def __call__(self, event: Event) -> None:
        """Take one event."""
        match event["kind"]:
            case "step":
                self._step(event)
            case "machine":
                self._limit = "of the CPU limit" if event["measured"] else "MFU"
            case "generated":
                self._move(f"  answered {event['done']} of {event['total']}", final=event["done"] == event["total"])
            case "called":
                self._move(_calls(event), final=event["done"] == event["total"])
            case _:
                if text := _sentence(event):
                    self.say(text)

    def _step(self, event: Event) -> None:
        # The rate of the last steps, smoothed: one step alone jumps with the length of its rows.
        rate = event["target_tokens_per_s"]
        self._rate = rate if event["step"] == 1 or not self._rate else 0.8 * self._rate + 0.2 * rate
        left_s = event["wall_s"] / event["step"] * (event["steps"] - event["step"])
        share = event["utilisation"]
        parts = [
            f"step {event['step']}/{event['steps']}",
            f"loss {_number(event['loss'])}",
            f"lr {event['learning_rate']:.2e}",
            f"{self._rate:,.0f} target tokens/s",
            "" if share is None else f"{100 * share:.0f} % {self._limit}",
            f"{event['memory_bytes'] / 2**30:.1f} GiB",
            f"{_duration(left_s)} left",
        ]
        # A line that wraps cannot be written over: what is wanted least goes first.
        width = shutil.get_terminal_size().columns if self._moves else _WIDE
        for least in _LEAST_WANTED:
            if len(_line(parts)) < width:
                break
            parts[least] = ""
        self._move(_line(parts), final=event["step"] == event["steps"])

    def _move(self, text: str, *, final: bool) -> None:
        now = time.monotonic()
        if self._moves:
            self._stream.write(f"\r\x1b[2K{text}")
            self._open = True
            if final:
                self._close_line()
            self._stream.flush()
        elif final or now - self._last_s >= _LOG_EVERY_S:
            self._last_s = now
            self.say(text)

    def say(self, text: str) -> None:
        """Write a line of its own."""
        self._close_line()
        self._stream.write(text + "\n")
        self._stream.flush()

    def _close_line(self) -> None:
        if self._open:
            self._stream.write("\n")
            self._open = False


_PHASES = {
    "fetch": "Base model",
    "data": "Rows",
    "train": "Round {round}: training",
    "evaluate": "Round {round}: evaluation (round 0 is the base)",
    "export": "Export of round {round}",
}


def _line(parts: list[str]) -> str:
    return "  " + "  ".join(part for part in parts if part)


def _number(value: Any) -> str:
    return f"{value:.4f}" if isinstance(value, float) else str(value)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def _calls(event: Event) -> str:
    cost = "" if event["cost"] is None else f", {event['cost']:.4f} {event['currency']}"
    failed = f", {event['failed']} failed" if event["failed"] else ""
    return f"  called {event['done']} of {event['total']} ({event['in_log']} from the log{failed}{cost})"


def _resumed(event: Event) -> str:
    parts = []
    if event.get("epoch") is not None:
        parts.append(f"epoch {event['epoch']:.2f}")
    if event.get("loss") is not None:
        parts.append(f"loss {_number(event['loss'])}")
    if event.get("validation_loss") is not None:
        parts.append(f"validation loss {_number(event['validation_loss'])}")
    if event.get("saved_at"):
        parts.append(f"saved {event['saved_at'][:19].replace('T', ' ')} UTC")
    steps = f" of {event['steps']}" if event.get("steps") else ""
    details = f" ({', '.join(parts)})" if parts else ""
    return f"  going on from stage {event['stage']}, step {event['step']}{steps}{details}"


def _sentence(event: Event) -> str | None:  # noqa: C901, PLR0911 - one line a kind of event
    match event["kind"]:
        case "phase" if event["state"] == "begin":
            return _PHASES.get(event["name"], event["name"]).format(round=event["round"])
        case "tuned":
            share = 100 * event["trainable"] / event["total"]
            return f"  {event['description']}: {event['trainable']:,} weights move ({share:.2f} %)"
        case "validation":
            return f"  step {event['step']}: validation loss {_number(event['loss'])}"
        case "resumed":
            return _resumed(event)
        case "resumed_outputs":
            return f"  going on: {event['done']} of {event['total']} outputs are there"
        case "skipped":
            return f"  step {event['step']} was not applied: {event['reason']}"
        case "quantised":
            changed = f"rounding changed them by {100 * event['rounding_error']:.1f} %"
            return f"  base in {event['quantisation']}, {event['bits']:.2f} bits a weight: {changed}"
        case "advice":
            return f"  advice: {event['text']}"
        case "damaged":
            return f"  a checkpoint is damaged, an older one is used: {event['reason']}"
        case "early_stop":
            return f"  stopped early: no better validation loss since step {event['best_step']}"
        case "decided":
            return f"Round {event['round']} {'accepted' if event['accepted'] else 'rejected'}: {event['reason']}"
        case _:
            return None


@contextmanager
def console_hooks() -> Iterator[Hooks]:
    """Show how far a command is, and let SIGINT and SIGTERM end it where nothing is lost."""
    show = ConsoleProgress()
    with stop_on_signals() as stop:
        yield Hooks(emit=lambda kind, **values: show({"kind": kind, **values}), stop=stop)
