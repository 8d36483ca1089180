"""Turns the runs of the training benchmark into one page: figures, loss curves, and which bars hold."""

from __future__ import annotations

import os
import platform
import statistics
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from peers import OURS

if TYPE_CHECKING:
    from collections.abc import Callable

    from sides.protocol import Result, Step

PEER = "trl"
NOTES = {
    "litgpt": "lowers a mean of means: other gradients, so other losses after step 1",
    "litgpt-grouped": "lowers a mean of means: other gradients, so other losses after step 1",
    "trl-packed": "regroups rows: other rows in each step",
    "llamafactory-packed": "regroups rows: other rows in each step",
    "llamafactory-mixed": "a conversation sees those before it: another model",
}


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


@dataclass
class Measured:
    """Everything that was measured."""

    flops_per_token: float
    """Useful operations for a real token."""
    runs: list[Run] = field(default_factory=list)
    gemm_gflops: dict[int, float] = field(default_factory=dict)
    """Round -> GFLOP/s of torch's matrix product over the model's shapes, measured in that round."""
    references: dict[int, tuple[float, int]] = field(default_factory=dict)
    """Row -> the sum of its losses in float64, untrained, and its number of targets."""
    batch_size: int = 1
    micro_batch: int = 1
    failed: dict[str, str] = field(default_factory=dict)
    """Side -> how it ended; it was left out from then on."""

    @property
    def sides(self) -> list[str]:
        """The sides in the order in which they ran."""
        return list(dict.fromkeys(run.side for run in self.runs))

    @property
    def rounds(self) -> list[int]:
        """The numbers of the rounds."""
        return sorted({run.round for run in self.runs})

    def gemm_share(self, run: Run) -> float:
        """Useful operations a second, as a share of what torch's matrix product reached in the same round."""
        return run.tokens_per_s * self.flops_per_token / 1e9 / self.gemm_gflops[run.round]

    def by_round(self, side: str, figure: Callable[[Run], float]) -> dict[int, float]:
        """Round -> the figure of one side."""
        return {run.round: figure(run) for run in self.runs if run.side == side}

    def median(self, side: str, figure: Callable[[Run], float]) -> float:
        """The middle of the rounds."""
        return statistics.median(self.by_round(side, figure).values())

    def ratios(self, others: list[str], figure: Callable[[Run], float], best: Callable[..., float]) -> list[float]:
        """Divide ours by the best of `others` within each round, where both met the same machine."""
        ours = self.by_round(OURS, figure)
        theirs = [self.by_round(side, figure) for side in others]
        return [ours[number] / best(each[number] for each in theirs) for number in sorted(ours)]

    def first_rows(self, side: str) -> list[int]:
        """Which rows the first step of a side saw."""
        rows = next(run.result.first_rows for run in self.runs if run.side == side)
        return list(range(self.batch_size)) if rows is None else rows

    def expected_loss(self, side: str) -> float:
        """The loss of a side's first step in float64: the mean over the targets of its rows."""
        return self._mean(self.first_rows(side))

    def expected_own_loss(self, side: str) -> float:
        """The mean of the micro-batches' means in float64, which is what LitGPT lowers."""
        rows = self.first_rows(side)
        means = [self._mean(rows[i : i + self.micro_batch]) for i in range(0, len(rows), self.micro_batch)]
        return statistics.fmean(means)

    def _mean(self, rows: list[int]) -> float:
        losses, targets = zip(*(self.references[row] for row in rows), strict=True)
        return sum(losses) / sum(targets)

    def drop(self, side: str, reason: str) -> None:
        """Leave out a side that failed."""
        self.failed[side] = reason
        self.runs = [run for run in self.runs if run.side != side]

    def curve(self, side: str) -> list[Step]:
        """The steps of a side's first round."""
        return next(run.result.steps for run in self.runs if run.side == side)


def speed(run: Run) -> float:
    """Real tokens a second."""
    return run.tokens_per_s


def memory(run: Run) -> float:
    """Peak memory in GiB: the most that the process ever held, as the kernel counted it."""
    return run.peak_memory_bytes / 2**30


def begin(run: Run) -> float:
    """Seconds from the start of the process to the beginning of the first optimiser step."""
    return run.result.begin_s


def first_step(run: Run) -> float:
    """Seconds from the start of the process to the end of the first optimiser step."""
    return run.result.first_step_s


def machine_text() -> str:
    """Name the processor, how many cores may be used, and how busy the machine is."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    name = names[0] if names else platform.machine()
    return f"{name}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at the start"


def render_report(title: str, facts: list[str], measured: Measured, bars: list[str]) -> str:
    """Write the page as Markdown. Each figure is the median of its rounds."""
    parts = [
        f"# {title}",
        "\n".join(f"* {fact}" for fact in facts),
        _figure_table(measured),
        _reference_table(measured),
    ]
    if {OURS, PEER} <= set(measured.sides):
        parts.append(_loss_table(measured.curve(OURS), measured.curve(PEER)))
    parts += [f"**{side} failed and was left out**: {reason}" for side, reason in measured.failed.items()]
    return "\n\n".join([*parts, "\n".join(bars)])


def _figure_table(measured: Measured) -> str:
    """One line a side; ratios divide within a round, then take the median."""
    rows = [
        ["median of the rounds", "tokens/s", "x TRL", "x best peer", "of GEMM limit", "target tok/s", "tok/CPU-s",
         "peak GiB", "begins, s", "first step, s"],
    ]  # fmt: skip
    peers = [side for side in measured.sides if side != OURS]
    for side in measured.sides:
        speeds = measured.by_round(side, speed)
        rows.append(
            [
                side,
                f"{measured.median(side, speed):,.1f}",
                _ratio(measured, speeds, [PEER] if PEER in peers else []),
                _ratio(measured, speeds, peers),
                f"{measured.median(side, measured.gemm_share):.0%}",
                f"{measured.median(side, lambda run: run.target_tokens_per_s):,.1f}",
                f"{measured.median(side, lambda run: run.tokens_per_cpu_s):,.1f}",
                f"{measured.median(side, memory):.2f}",
                f"{measured.median(side, begin):.1f}",
                f"{measured.median(side, first_step):.1f}",
            ]
        )
    return _table(rows)


def _ratio(measured: Measured, speeds: dict[int, float], others: list[str]) -> str:
    if not others:
        return "-"
    theirs = [measured.by_round(side, speed) for side in others]
    return f"{statistics.median(speeds[number] / max(each[number] for each in theirs) for number in speeds):.2f}"


def _reference_table(measured: Measured) -> str:
    """Compare the first step of every side with float64, over the rows that it saw."""
    rows = [["step 1", "rows", "targets", "loss", "in float64", "difference", "steps", "note"]]
    for side in measured.sides:
        curve, first_rows = measured.curve(side), measured.first_rows(side)
        first, steps = curve[0], str(len(curve))
        seen = [str(len(first_rows)), str(first.target_tokens)]
        rows.append([side, *seen, *_compared(first.loss, measured.expected_loss(side)), steps, NOTES.get(side, "")])
        if first.own_loss is not None:
            own = _compared(first.own_loss, measured.expected_own_loss(side))
            rows.append([f"{side}, mean of means", *seen, *own, steps, "the loss that it lowers"])
    return _table(rows)


def _compared(loss: float, expected: float) -> list[str]:
    return [f"{loss:.6f}", f"{expected:.6f}", f"{loss / expected - 1:+.1e}"]


def _loss_table(ours: list[Step], peer: list[Step]) -> str:
    rows = [["step", "target tokens", f"loss, {OURS}", f"loss, {PEER}", "difference"]]
    rows += [
        [str(a.step), str(a.target_tokens), f"{a.loss:.5f}", f"{b.loss:.5f}", f"{a.loss / b.loss - 1:+.1e}"]
        for a, b in zip(ours, peer, strict=False)
    ]
    return _table(rows)


def _table(rows: list[list[str]]) -> str:
    """Lay out a Markdown table whose columns also line up in a terminal."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in rows
    ]
    rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    return "\n".join([lines[0], rule, *lines[1:]])
