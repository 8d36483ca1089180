"""The command line as tests call it: inside this process where nothing is lost by it, else in real ones.

Real processes are forked from a server that has imported everything once, so that one starts in a moment and can be
signalled and killed like any other.
"""

import contextlib
import io
import json
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import torch
import yaml

from tuneloop.cli.main import main
from unit.train.training_kit import alpaca_rows

_PRELOADED = [
    "torch.utils.tensorboard",
    "transformers.models.llama.modeling_llama",
    "peft",
    "tuneloop.cli.main",
    "tuneloop.pipeline.run",
    "tuneloop.pipeline.preview",
    "tuneloop.pipeline.tensorboard",
]
_servers = multiprocessing.get_context("forkserver")
_servers.set_forkserver_preload(_PRELOADED)


@dataclass(frozen=True)
class Result:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Standard output as the one JSON value that it is."""
        return json.loads(self.out)


def tuneloop(*arguments: object) -> Result:
    """Run a command inside this process."""
    out, err = io.StringIO(), io.StringIO()
    before, code = sys.argv, 0
    sys.argv = ["tuneloop", *map(str, arguments)]
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            main()
    except SystemExit as end:
        code = 0 if end.code is None else int(end.code)
    finally:
        sys.argv = before
        torch.set_num_threads(1)
    return Result(code, out.getvalue(), err.getvalue())


def _child(arguments: list[str], log: str, die_at: int | None, count: str | None) -> None:
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    sys.argv = ["tuneloop", *arguments]
    if die_at is not None or count is not None:
        _watch_the_disk(die_at, count)
    main()


def _watch_the_disk(die_at: int | None, count: str | None) -> None:
    """Count the calls that change what is on disk for good, and SIGKILL this process instead of one of them."""
    calls = 0

    def counted(original: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls == die_at:
                os.kill(os.getpid(), signal.SIGKILL)
            if count is not None:
                Path(count).write_text(str(calls))
            return original(*arguments, **options)

        return call

    for name in ("fsync", "replace", "unlink"):
        setattr(os, name, counted(getattr(os, name)))


@dataclass(frozen=True)
class Running:
    """A real process of the command line."""

    process: BaseProcess
    log: Path

    def signal(self, number: signal.Signals) -> None:
        """Send a signal; none is lost on a process that has ended already."""
        pid = self.process.pid
        assert pid is not None
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)

    def finish(self, timeout_s: float = 240.0) -> Result:
        """Wait for its end. A process that a signal killed has a negative code."""
        self.process.join(timeout_s)
        if self.process.exitcode is None:
            self.process.kill()
            raise AssertionError(f"still running after {timeout_s} s: {self.log.read_text()}")
        code = self.process.exitcode
        self.process.close()
        text = self.log.read_text() if self.log.exists() else ""
        return Result(code, text, text)


def start(*arguments: object, log: Path, die_at: int | None = None, count: Path | None = None) -> Running:
    """Start a command in a process of its own; its output goes to a file.

    With `die_at` it kills itself at that call to the disk; with `count` it writes there how many there were.
    """
    words = [str(argument) for argument in arguments]
    process = _servers.Process(
        target=_child, args=(words, str(log), die_at, str(count) if count else None), daemon=True
    )
    process.start()
    return Running(process, log)


def events(run: Path, kind: str | None = None) -> list[dict[str, Any]]:
    """What a run has told so far; a line that is being written is left out."""
    path = run / "events.jsonl"
    if not path.exists():
        return []
    lines = path.read_bytes().split(b"\n")[:-1]
    found = [json.loads(line) for line in lines]
    return [event for event in found if kind is None or event["kind"] == kind]


def wait_for(condition: Callable[[], bool], running: Running, timeout_s: float = 200.0) -> bool:
    """Poll until something is so; False where the process ended before."""
    end = time.monotonic() + timeout_s
    while time.monotonic() < end:
        if condition():
            return True
        if not running.process.is_alive():
            return condition()
        time.sleep(0.002)
    running.process.kill()
    raise AssertionError("it never came")


def learnable_rows(number: int) -> list[dict[str, str]]:
    """Every question has the same answer: a tiny model learns that in seconds."""
    return [row | {"output": "the cat"} for row in alpaca_rows(number)]


LEARNS = [{"num_train_epochs": 6, "batch_size": 8, "learning_rate": 1e-2, "micro_batch_tokens": 512}]
"""Of 24 rows: enough for `learnable_rows`."""


def write_recipe(folder: Path, model: Path, rows: list[dict[str, str]], **sections: object) -> Path:
    """A small recipe beside its rows; sections are replaced by keyword."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    values: dict[str, object] = {
        "name": "tiny",
        "model": {"source": str(model)},
        "data": {"train": ["rows.jsonl"], "eval_fraction": 0.25, "cutoff_len": 256},
        "tune": {"kind": "lora", "rank": 4, "alpha": 8},
        "stages": [{"num_train_epochs": 2, "batch_size": 8, "learning_rate": 1e-2, "micro_batch_tokens": 128}],
        "evaluate": {"metrics": ["exact_match", "rougeL"], "generate": {"max_new_tokens": 8}, "resamples": 100},
        "hardware": {"threads": 1, "device": "cpu"},
        # The gate would call so few held-out rows too few, whatever they say.
        "iterate": {"min_rows": 2},
    }
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(values | sections))
    return path


def tree(folder: Path, *, without: tuple[str, ...] = ()) -> dict[str, bytes]:
    """Every file below a folder and its bytes."""
    return {name: path.read_bytes() for name, path in _files(folder) if not name.startswith(without)}


def _files(folder: Path) -> Iterator[tuple[str, Path]]:
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            yield str(path.relative_to(folder)), path
