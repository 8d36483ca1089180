"""What a person sees while a run works."""

import io
import os
from collections.abc import Callable

import pytest

from tuneloop.cli import progress
from tuneloop.cli.progress import ConsoleProgress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def step(number: int, *, rate: float = 1000.0, loss: object = 0.5, **more: object) -> dict[str, object]:
    return {
        "kind": "step",
        "step": number,
        "steps": 4,
        "loss": loss,
        "learning_rate": 2e-4,
        "target_tokens_per_s": rate,
        "utilisation": None,
        "wall_s": 30.0 * number,
        "memory_bytes": 3 << 30,
    } | more


@pytest.fixture(autouse=True)
def columns(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Set the width of the terminal; 120 where a test does not."""

    def narrow(number: int) -> None:
        monkeypatch.setattr(progress.shutil, "get_terminal_size", lambda: os.terminal_size((number, 24)))

    narrow(120)
    return narrow


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def test_a_line_that_moves() -> None:
    stream = Terminal()
    tell = ConsoleProgress(stream)
    for number in (1, 2):
        tell(step(number))
    assert stream.getvalue() == (
        "\r\x1b[2K  step 1/4  loss 0.5000  lr 2.00e-04  1,000 target tokens/s  3.0 GiB  1 min 30 s left"
        "\r\x1b[2K  step 2/4  loss 0.5000  lr 2.00e-04  1,000 target tokens/s  3.0 GiB  1 min 0 s left"
    )
    # What is said next begins on a line of its own, and so does the step after it.
    tell({"kind": "validation", "step": 2, "loss": 0.25})
    assert stream.getvalue().endswith("left\n  step 2: validation loss 0.2500\n")
    for number in (3, 4):
        tell(step(number))
    assert stream.getvalue().endswith("0 s left\n")
    assert stream.getvalue().count("\n") == 3


def test_a_line_now_and_then(clock: list[float]) -> None:
    stream = io.StringIO()
    tell = ConsoleProgress(stream)
    for number, now in ((1, 0.0), (2, 9.9), (3, 10.0), (4, 10.1)):
        clock[0] = now
        tell(step(number))
    lines = stream.getvalue().splitlines()
    assert [line.split()[1] for line in lines] == ["1/4", "3/4", "4/4"]
    assert "\x1b" not in stream.getvalue()


def test_rate_is_smoothed() -> None:
    stream = Terminal()
    tell = ConsoleProgress(stream)
    tell(step(1, rate=1000.0))
    tell(step(2, rate=2000.0))
    assert "1,200 target tokens/s" in stream.getvalue()
    # A new stage begins anew.
    tell(step(1, rate=500.0))
    assert "  500 target tokens/s" in stream.getvalue()


@pytest.mark.parametrize(
    ("machine", "text"),
    [
        ({"device": "cpu", "measured": True}, "46 % of the CPU limit"),
        ({"device": "NVIDIA H200", "measured": False}, "46 % MFU"),
    ],
)
def test_how_much_of_the_machine_is_used(machine: dict[str, object], text: str) -> None:
    stream = Terminal()
    tell = ConsoleProgress(stream)
    tell({"kind": "machine", "gflops": 100.0} | machine)
    tell(step(1, utilisation=0.4567))
    assert f"1,000 target tokens/s  {text}  3.0 GiB" in stream.getvalue()


def test_where_the_limit_is_not_known_nothing_is_said_of_it() -> None:
    stream = Terminal()
    ConsoleProgress(stream)(step(1))
    assert "%" not in stream.getvalue()


@pytest.mark.parametrize(
    ("width", "text"),
    [
        (105, "step 1/4  loss 0.5000  lr 2.00e-04  1,000 target tokens/s  46 % of the limit  3.0 GiB  1 min 30 s left"),
        (104, "step 1/4  loss 0.5000  1,000 target tokens/s  46 % of the limit  3.0 GiB  1 min 30 s left"),
        (83, "step 1/4  loss 0.5000  1,000 target tokens/s  46 % of the limit  1 min 30 s left"),
        (70, "step 1/4  loss 0.5000  1,000 target tokens/s  1 min 30 s left"),
        (40, "step 1/4  loss 0.5000  1 min 30 s left"),
        (10, "step 1/4  loss 0.5000  1 min 30 s left"),
    ],
)
def test_a_narrow_terminal_shows_what_matters_most(width: int, text: str, columns: Callable[[int], None]) -> None:
    columns(width)
    stream = Terminal()
    ConsoleProgress(stream)(step(1, utilisation=0.46))
    assert stream.getvalue() == f"\r\x1b[2K  {text}"


def test_a_log_is_as_wide_as_it_has_to_be(columns: Callable[[int], None]) -> None:
    columns(40)
    stream = io.StringIO()
    ConsoleProgress(stream)(step(1, utilisation=0.46))
    assert "lr 2.00e-04" in stream.getvalue()


def test_a_loss_that_is_no_number() -> None:
    stream = Terminal()
    ConsoleProgress(stream)(step(1, loss="nan"))
    assert "loss nan" in stream.getvalue()


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (59.4, "59 s"), (60, "1 min 0 s"), (3599, "59 min 59 s"), (3600, "1 h 0 min"), (93784, "26 h 3 min")],
)
def test_durations(seconds: float, text: str) -> None:
    stream = Terminal()
    ConsoleProgress(stream)(step(1, steps=2, wall_s=seconds))
    assert stream.getvalue().endswith(f"GiB  {text} left")


@pytest.mark.parametrize(
    ("event", "line"),
    [
        ({"kind": "phase", "state": "begin", "name": "train", "round": 2}, "Round 2: training"),
        ({"kind": "phase", "state": "begin", "name": "data", "round": 1}, "Rows"),
        ({"kind": "phase", "state": "begin", "name": "other", "round": 1}, "other"),
        (
            {"kind": "tuned", "description": "LoRA", "trainable": 1500, "total": 60000},
            "  LoRA: 1,500 weights move (2.50 %)",
        ),
        ({"kind": "resumed", "stage": 1, "step": 7}, "  going on from stage 1, step 7"),
        ({"kind": "skipped", "step": 3, "reason": "loss nan"}, "  step 3 was not applied: loss nan"),
        ({"kind": "damaged", "reason": "x"}, "  a checkpoint is damaged, an older one is used: x"),
        ({"kind": "early_stop", "best_step": 5}, "  stopped early: no better validation loss since step 5"),
        ({"kind": "decided", "round": 1, "accepted": True, "reason": "good"}, "Round 1 accepted: good"),
        ({"kind": "decided", "round": 2, "accepted": False, "reason": "bad"}, "Round 2 rejected: bad"),
    ],
)
def test_sentences(event: dict[str, object], line: str) -> None:
    stream = io.StringIO()
    ConsoleProgress(stream)(event)
    assert stream.getvalue() == line + "\n"


def test_what_nobody_needs_to_hear() -> None:
    stream = io.StringIO()
    tell = ConsoleProgress(stream)
    tell({"kind": "phase", "state": "end", "name": "train", "round": 1})
    tell({"kind": "saved", "step": 1})
    assert stream.getvalue() == ""


def test_answers_are_counted(clock: list[float]) -> None:
    stream = io.StringIO()
    tell = ConsoleProgress(stream)
    for done in (1, 2, 3):
        clock[0] += 1
        tell({"kind": "generated", "done": done, "total": 3})
    assert stream.getvalue() == "  answered 1 of 3\n  answered 3 of 3\n"
