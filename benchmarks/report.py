"""Turns the runs of the training benchmark into one page: figures, loss curves, and which bars hold."""

from __future__ import annotations

import os
import platform
import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sides.protocol import Result, Step

PEER, PACKED_PEER, OURS = "trl", "trl-packed", "tuneloop"
MIN_SPEED_RATIO = 2.0
MAX_MEMORY_RATIO = 0.6
MAX_LOSS_DIFFERENCE = 1e-3
"""Sides that learn the same thing differ by rounding alone, which grows from step to step."""


@dataclass(frozen=True)
class Run:
    """One process of one side."""

    side: str
    round: int
    result: Result
    peak_memory_bytes: int
    cpu_s: float

    @property
    def timed_steps(self) -> list[Step]:
        """All optimiser steps but the first, in which memory is first touched."""
        return self.result.steps[1:]

    @property
    def tokens_per_s(self) -> float:
        """Real tokens, without padding, a second."""
        return sum(step.tokens for step in self.timed_steps) / sum(step.wall_s for step in self.timed_steps)

    @property
    def target_tokens_per_s(self) -> float:
        """Learned tokens a second."""
        targets = sum(step.target_tokens for step in self.timed_steps)
        return targets / sum(step.wall_s for step in self.timed_steps)

    @property
    def tokens_per_cpu_s(self) -> float:
        """Real tokens a second of processor time: steadier than `tokens_per_s` on a shared machine."""
        return sum(step.tokens for step in self.timed_steps) / sum(step.cpu_s for step in self.timed_steps)


Figure = tuple[str, "Callable[[Run], float]"]
_SPEED: Figure = ("tokens/s, without padding", lambda run: run.tokens_per_s)
_MEMORY: Figure = ("peak memory, GiB", lambda run: run.peak_memory_bytes / 2**30)
_FIGURES: tuple[Figure, ...] = (
    _SPEED,
    ("target tokens/s", lambda run: run.target_tokens_per_s),
    ("tokens per CPU-second", lambda run: run.tokens_per_cpu_s),
    _MEMORY,
    ("time to first step, s", lambda run: run.result.first_step_s),
    ("tokens in the first step", lambda run: run.result.steps[0].tokens),
)


def machine_text() -> str:
    """Name the processor, how many cores may be used, and how busy the machine is."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    name = names[0] if names else platform.machine()
    return f"{name}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at the start"


def render_report(facts: list[str], runs: list[Run]) -> str:
    """Write the page as Markdown. Each figure is the median of its rounds."""
    sides = list(dict.fromkeys(run.side for run in runs))
    parts = [
        "# Training: tuneloop and TRL, the same rows",
        "\n".join(f"* {fact}" for fact in facts),
        _figure_table(sides, runs),
    ]
    if OURS in sides and PEER in sides:
        parts.append(_loss_table(_first_curve(runs, OURS), _first_curve(runs, PEER)))
    parts.append("\n".join(_bars(runs)) or "No bar can be judged without both tuneloop and TRL.")
    return "\n\n".join(parts)


def _figure_table(sides: list[str], runs: list[Run]) -> str:
    rows = [["median of the rounds (ratio to TRL)", *sides]]
    for name, figure in _FIGURES:
        cells = []
        for side in sides:
            median = statistics.median(figure(run) for run in runs if run.side == side)
            ratios = _ratios(runs, side, PEER, figure) if side != PEER else []
            cells.append(f"{median:,.1f}" + (f" ({statistics.median(ratios):.2f}x)" if ratios else ""))
        rows.append([name, *cells])
    return _table(rows)


def _ratios(runs: list[Run], side: str, other: str, figure: Callable[[Run], float]) -> list[float]:
    """Divide `side` by `other` within each round, where both met the same machine."""
    values = {(run.side, run.round): figure(run) for run in runs}
    return [
        values[side, run.round] / values[other, run.round]
        for run in runs
        if run.side == side and (other, run.round) in values
    ]


def _first_curve(runs: list[Run], side: str) -> list[Step]:
    return next(run.result.steps for run in runs if run.side == side)


def _loss_table(ours: list[Step], peer: list[Step]) -> str:
    rows = [["step", "target tokens", f"loss, {OURS}", f"loss, {PEER}", "difference"]]
    rows += [
        [str(a.step), str(a.target_tokens), f"{a.loss:.5f}", f"{b.loss:.5f}", f"{a.loss / b.loss - 1:+.1e}"]
        for a, b in zip(ours, peer, strict=False)
    ]
    return _table(rows)


def _bars(runs: list[Run]) -> Iterator[str]:
    """Say of each bar whether it holds, with the lowest and highest ratio of the rounds."""
    for name, other, (_, figure), holds in (
        (f"speed at least {MIN_SPEED_RATIO} x TRL", PEER, _SPEED, lambda ratio: ratio >= MIN_SPEED_RATIO),
        (f"memory at most {MAX_MEMORY_RATIO} x TRL", PEER, _MEMORY, lambda ratio: ratio <= MAX_MEMORY_RATIO),
        ("speed not below TRL with packing", PACKED_PEER, _SPEED, lambda ratio: ratio >= 1),
    ):
        ratios = _ratios(runs, OURS, other, figure)
        if ratios:
            median = statistics.median(ratios)
            spread = f"{median:.2f} x ({min(ratios):.2f} to {max(ratios):.2f}, rounds {len(ratios)})"
            yield _verdict(name, spread, holds=holds(median))
    if {OURS, PEER} <= {run.side for run in runs}:
        yield from _loss_bars(_first_curve(runs, OURS), _first_curve(runs, PEER))


def _loss_bars(ours: list[Step], peer: list[Step]) -> Iterator[str]:
    same = [step.target_tokens for step in ours] == [step.target_tokens for step in peer]
    yield _verdict("the same targets in each step", f"{len(ours)} and {len(peer)} steps", holds=same)
    if same:
        largest = max(abs(a.loss / b.loss - 1) for a, b in zip(ours, peer, strict=True))
        name = f"losses within {MAX_LOSS_DIFFERENCE:.1%} of TRL's"
        yield _verdict(name, f"largest relative difference {largest:.1e}", holds=largest <= MAX_LOSS_DIFFERENCE)


def _verdict(name: str, measured: str, *, holds: bool) -> str:
    return f"* {'HOLDS' if holds else 'FAILS'}: {name}: {measured}"


def _table(rows: list[list[str]]) -> str:
    """Lay out a Markdown table whose columns also line up in a terminal."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in rows
    ]
    rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    return "\n".join([lines[0], rule, *lines[1:]])
