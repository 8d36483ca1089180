"""The line of events, the wish to stop, and packages that may be missing."""

import json
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tuneloop.core.errors import ExitCode, MissingError, StoppedError, TuneloopError
from tuneloop.core.events import Event, EventLog, be_silent, last_by_step, read_events
from tuneloop.core.hooks import Hooks
from tuneloop.core.optional import load_optional
from tuneloop.core.stop import Stop, stop_on_signals

NOON = datetime(2026, 5, 6, 12, tzinfo=UTC)


def test_listeners_see_what_the_file_keeps(tmp_path: Path) -> None:
    heard: list[Event] = []
    log = EventLog(tmp_path / "events.jsonl", (heard.append,), clock=lambda: NOON)
    log.emit("step", step=1, loss=0.5)
    log.emit("phase", name="train")
    log.close()
    assert heard == [
        {"time": "2026-05-06T12:00:00+00:00", "kind": "step", "step": 1, "loss": 0.5},
        {"time": "2026-05-06T12:00:00+00:00", "kind": "phase", "name": "train"},
    ]
    assert [json.loads(line) for line in (tmp_path / "events.jsonl").read_text().splitlines()] == heard


def test_event_is_on_disk_before_anyone_hears_of_it(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    lines: list[int] = []
    log = EventLog(path, (lambda _: lines.append(path.read_bytes().count(b"\n")),))
    log.emit("a")
    log.emit("b")
    log.close()
    assert lines == [1, 2]


def test_read_by_kind_and_across_two_processes(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    for step in (1, 2):
        log = EventLog(path)
        log.emit("step", step=step)
        log.emit("saved", step=step)
        log.close()
    assert [(event["kind"], event["step"]) for event in read_events(path)] == [
        ("step", 1),
        ("saved", 1),
        ("step", 2),
        ("saved", 2),
    ]
    assert [event["step"] for event in read_events(path, "saved")] == [1, 2]
    assert list(read_events(tmp_path / "nothing.jsonl")) == []


def test_last_by_step_keeps_the_later_one() -> None:
    events = [
        {"step": 1, "loss": 5.0},
        {"step": 2, "loss": 4.0},
        {"step": 3, "loss": 3.0},
        # Killed after step 3, resumed from the checkpoint of step 1.
        {"step": 2, "loss": 4.5},
        {"step": 3, "loss": 3.5},
        {"step": 4, "loss": 2.5},
    ]
    assert [(event["step"], event["loss"]) for event in last_by_step(iter(events))] == [
        (1, 5.0),
        (2, 4.5),
        (3, 3.5),
        (4, 2.5),
    ]


def test_last_by_step_keeps_rounds_and_stages_apart() -> None:
    keys = [(2, 1, 1), (1, 2, 1), (1, 1, 10), (1, 1, 9)]
    events = [{"round": number, "stage": stage, "step": step} for number, stage, step in keys]
    # In the order of work, and step 10 comes after step 9.
    assert [tuple(event.values()) for event in last_by_step(iter(events))] == sorted(keys)


def test_hooks_that_nobody_set() -> None:
    hooks = Hooks()
    hooks.emit("step", step=1)
    hooks.stop.check()
    assert hooks.emit is be_silent
    assert Hooks().stop is not hooks.stop


def test_stop_is_asked_for_once() -> None:
    stop = Stop()
    stop.check()
    stop.requested = True
    with pytest.raises(StoppedError) as caught:
        stop.check()
    assert caught.value.exit_code == ExitCode.STOPPED == 5


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_first_signal_asks(number: signal.Signals) -> None:
    before = {each: signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT)}
    with stop_on_signals() as stop:
        assert not stop.requested
        signal.raise_signal(number)
        assert stop.requested
    assert {each: signal.getsignal(each) for each in before} == before


def test_second_signal_ends_the_process() -> None:
    code = (
        "import signal\n"
        "from tuneloop.core.stop import stop_on_signals\n"
        "with stop_on_signals():\n"
        "    signal.raise_signal(signal.SIGTERM)\n"
        "    print('on', flush=True)\n"
        "    signal.raise_signal(signal.SIGTERM)\n"
        "    print('after the second', flush=True)\n"
    )
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert child.returncode == -signal.SIGTERM
    assert child.stdout == "on\n"


def test_handlers_come_back_after_an_error() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyError), stop_on_signals():
        raise KeyError
    assert signal.getsignal(signal.SIGTERM) is before


def test_optional_package() -> None:
    assert load_optional("json.decoder", purpose="x", extra="y").JSONDecoder is json.JSONDecoder
    with pytest.raises(MissingError, match=r"serving needs no_such: pip install 'tuneloop\[serve\]'") as caught:
        load_optional("no_such.module", purpose="serving", extra="serve")
    assert caught.value.exit_code == ExitCode.MISSING == 9


def test_exit_codes_are_an_interface() -> None:
    assert {code.name: int(code) for code in ExitCode} == {
        "DONE": 0,
        "BUG": 1,
        "USER_INPUT": 2,
        "REJECTED": 3,
        "NON_FINITE": 4,
        "STOPPED": 5,
        "LOCKED": 6,
        "INTEGRITY": 7,
        "DISK": 8,
        "MISSING": 9,
        "MEMORY": 10,
    }
    assert {cls.__name__: int(cls.exit_code) for cls in TuneloopError.__subclasses__()} == {
        "ConfigError": 2,
        "DataError": 2,
        "ModelError": 2,
        "ContractError": 2,
        "NonFiniteError": 4,
        "StoppedError": 5,
        "LockedError": 6,
        "IntegrityError": 7,
        "DiskError": 8,
        "MissingError": 9,
        "OutOfMemoryError": 10,
        "BudgetError": 2,
        "EndpointError": 9,
    }
