"""Watches a few training steps with torch's profiler, as one more listener of a run's events."""

import gzip
import os
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Any, Self

from tuneloop.core.events import Event
from tuneloop.core.store import write_bytes
from tuneloop.report.profile_page import Profile, profile_table, write_profile_page


class Profiler:
    """Profiles the steps after the first one of this process, and writes a trace and a page.

    The first step is left out: it pays for memory that is touched for the first time. The end of training, or of the
    block that this object is entered for, ends the profile too.
    """

    def __init__(self, folder: Path, steps: int, say: Callable[[str], object]) -> None:
        self._folder = folder
        self._wanted = steps
        self._say = say
        self._watch: _Watch | None = None
        self._machine: Event | None = None
        self._done = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._watch is not None and error is not None:
            self._watch.stop()
            self._watch = None
        self._finish()
        if not self._done and error is None:
            self._say("Nothing was profiled: that begins after the first step, and no second one was done.")

    def __call__(self, event: Event) -> None:
        """Take one event."""
        if self._done:
            return
        match event["kind"]:
            case "machine":
                self._machine = event
            case "step":
                self._step(event)
            case "phase" if event["name"] == "train" and event["state"] == "end":
                self._finish()

    def _step(self, event: Event) -> None:
        if self._watch is None:
            self._watch = _Watch(is_cpu=self._machine is None or self._machine["device"] == "cpu")
            return
        self._watch.steps.append(event)
        if len(self._watch.steps) >= self._wanted:
            self._finish()

    def _finish(self) -> None:
        watch, self._watch = self._watch, None
        if watch is None:
            return
        watch.stop()
        if not watch.steps:
            return
        self._done = True
        watch.write_trace(self._folder / "trace.json.gz")
        profile = watch.summary(self._machine or {})
        page = self._folder / "report.html"
        write_profile_page(page, profile)
        self._say(f"{profile_table(profile)}\n  page: {page}\n  trace: {self._folder / 'trace.json.gz'}")


class _Watch:
    """A profile in progress."""

    def __init__(self, *, is_cpu: bool) -> None:
        # Its library tells of every start and stop on standard error.
        os.environ.setdefault("KINETO_LOG_LEVEL", "6")
        import torch
        from torch.profiler import ProfilerActivity, profile

        self._is_cpu = is_cpu
        self._sync = None if is_cpu else torch.cuda.synchronize
        activities = [ProfilerActivity.CPU] + ([] if is_cpu else [ProfilerActivity.CUDA])
        # Shapes are what the operations of a product are computed from.
        self._profiler = profile(activities=activities, record_shapes=True)
        self._labels = _PartLabels()
        self.steps: list[Event] = []
        if self._sync:
            self._sync()
        self._profiler.start()
        self._begun = time.perf_counter()
        self._wall_s = 0.0

    def stop(self) -> None:
        if self._sync:
            self._sync()
        self._wall_s = time.perf_counter() - self._begun
        self._labels.remove()
        self._profiler.stop()

    def write_trace(self, path: Path) -> None:
        """Raises: DiskError, where the disk is full or refuses."""
        with TemporaryDirectory(prefix="tuneloop-") as folder:
            part = Path(folder) / "trace.json"
            self._profiler.export_chrome_trace(str(part))
            # Level 1 is a fraction of the time of the default, for a file a third larger.
            write_bytes(path, gzip.compress(part.read_bytes(), 1))

    def summary(self, machine: Event) -> Profile:
        """What was seen, told by kind and part."""
        from tuneloop.pipeline.profile_times import read_calls, sum_times

        inner = self._profiler.profiler
        assert inner is not None, "it was stopped, so it has been started"
        results = inner.kineto_results
        calls = read_calls(results.events() if results else ())
        times = sum_times(calls, wall_s=self._wall_s, is_cpu=self._is_cpu)
        return Profile(
            first_step=self.steps[0]["step"],
            last_step=self.steps[-1]["step"],
            num_steps=len(self.steps),
            wall_s=self._wall_s,
            step_s=sum(step["tokens"] / step["tokens_per_s"] for step in self.steps),
            tokens=sum(step["tokens"] for step in self.steps),
            target_tokens=sum(step["target_tokens"] for step in self.steps),
            flops=sum(step["flops"] for step in self.steps),
            memory_bytes=max(step["memory_bytes"] for step in self.steps),
            device=machine.get("device", "cpu"),
            threads=machine.get("threads", 1),
            limit_gflops=machine.get("gflops"),
            limit_is_measured=machine.get("measured", True),
            kinds=times.kinds,
            parts=times.parts,
            operators=times.operators,
            products=times.products,
        )


_PART_NAMES = (
    ("Rotary", None),
    ("Attention", "attention"),
    ("Bottleneck", "adapter"),
    ("MLP", "feed_forward"),
    ("Mlp", "feed_forward"),
    ("FeedForward", "feed_forward"),
    ("Moe", "feed_forward"),
    ("MoE", "feed_forward"),
    ("Experts", "feed_forward"),
    ("Norm", "norm"),
    ("Embedding", "embedding"),
)
"""What the name of a module's class has in it -> part of the model; the first that fits."""


def part_of(module: Any) -> str | None:
    """The part of the model that a module is, by the name of its class; None where it says nothing."""
    name = type(module).__name__
    return next((part for words, part in _PART_NAMES if words in name), None)


class _PartLabels:
    """Puts a label around each call of a part of the model, for as long as it is there."""

    def __init__(self) -> None:
        from torch.nn.modules import module

        self._open: list[tuple[Any, Any]] = []
        self._handles = (
            module.register_module_forward_pre_hook(self._enter),
            module.register_module_forward_hook(self._leave, always_call=True),
        )

    def _enter(self, module: Any, inputs: Any) -> None:
        del inputs
        # Only the outermost part is named: a norm inside of attention is attention's.
        if not self._open and (part := part_of(module)):
            from torch.profiler import record_function

            from tuneloop.pipeline.profile_times import PART_LABEL

            label = record_function(PART_LABEL + part)
            label.__enter__()
            self._open.append((module, label))

    def _leave(self, module: Any, inputs: Any, output: Any) -> None:
        del inputs, output
        if self._open and self._open[-1][0] is module:
            self._open.pop()[1].__exit__(None, None, None)

    def remove(self) -> None:
        for handle in self._handles:
            handle.remove()
