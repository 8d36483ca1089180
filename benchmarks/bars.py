"""The bars of the training benchmark, each printed as HOLDS, FALLS SHORT or NOT MEASURED."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING

from peers import AS_THEY_COME, OURS, SAME_MICRO_BATCH, SAME_ROWS, SIDES
from report import PEER, Measured, Run, first_step, memory, speed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sides.protocol import Settings

MIN_GEMM_SHARE = 0.60
MAX_LOSS_DIFFERENCE = 1e-3
"""Sides that learn the same thing differ by rounding alone, which grows from step to step."""
MAX_REFERENCE_DIFFERENCE = 1e-4
"""Ten times what torch's float32 cross-entropy is off by at a vocabulary of 49,152."""
ALTERED = "llamafactory-mixed"
"""A conversation sees others: shown, but neither its speed nor its loss is held against anything."""
ALL_PEERS = tuple(side for side in SIDES if side not in (OURS, ALTERED))


@dataclass(frozen=True)
class Bar:
    """Our figure divided by the best of `others` in the same round, and what that must reach."""

    name: str
    figure: Callable[[Run], float]
    others: tuple[str, ...]
    limit: float
    at_least: bool = True

    def judge(self, measured: Measured) -> str:
        """Say whether the median of the rounds reaches the limit, with the spread and the best of the others."""
        others = [side for side in measured.sides if side in self.others]
        if OURS not in measured.sides or not others:
            return f"* NOT MEASURED: {self.name}"
        best = max if self.at_least else min
        ratios = measured.ratios(others, self.figure, best)
        median = statistics.median(ratios)
        holds = median >= self.limit if self.at_least else median <= self.limit
        hardest = best(others, key=lambda side: measured.median(side, self.figure))
        missing = [side for side in self.others if side not in others] if len(self.others) <= len(AS_THEY_COME) else []
        return _verdict(
            self.name,
            f"{median:.2f} x {hardest} ({min(ratios):.2f} to {max(ratios):.2f}, rounds {len(ratios)})"
            + (f"; {self._by_cpu(measured, others):.2f} by processor time" if self.figure is speed else "")
            + (f"; not run: {', '.join(missing)}" if missing else ""),
            holds=holds,
        )

    @staticmethod
    def _by_cpu(measured: Measured, others: list[str]) -> float:
        """The same ratio in tokens a second of processor time: steadier where other programs run."""
        return statistics.median(measured.ratios(others, lambda run: run.tokens_per_cpu_s, max))


LORA_BARS = (
    Bar("speed at least 3.0 x TRL as it comes", speed, (PEER,), 3.0),
    Bar("speed at least 2.2 x the best peer as it comes or packed", speed, AS_THEY_COME, 2.2),
    Bar("speed at least 1.4 x the best side of any peer", speed, ALL_PEERS, 1.4),
    Bar("memory at most 0.4 x the leanest peer at the same micro-batch", memory, SAME_MICRO_BATCH, 0.4, at_least=False),
    Bar("time to the first step at most 0.4 x the fastest peer, same rows", first_step, SAME_ROWS, 0.4, at_least=False),
)
FULL_BARS = (
    Bar("full tuning: speed at least 2.2 x TRL", speed, (PEER,), 2.2),
    Bar("full tuning: memory at most 0.5 x TRL", memory, (PEER,), 0.5, at_least=False),
)
FROZEN_BARS = (Bar("lower blocks frozen: speed at least 5 x TRL", speed, (PEER,), 5.0),)
ASIDE = ("trl-packed", "llamafactory-packed", "trl-single")
"""Sides that are lean because they compute fewer tokens at once; shown without a bar."""


def judge_bars(measured: Measured, settings: Settings) -> list[str]:
    """Judge what belongs to this kind of run."""
    if settings.tune == "full":
        bars: tuple[Bar, ...] = FULL_BARS
    else:
        bars = FROZEN_BARS if settings.trainable_blocks else LORA_BARS
    lines = [bar.judge(measured) for bar in bars]
    if bars is LORA_BARS and OURS in measured.sides:
        share = measured.median(OURS, measured.gemm_share)
        name = f"at least {MIN_GEMM_SHARE:.0%} of the measured GEMM limit"
        lines.append(_verdict(name, f"{share:.0%}", holds=share >= MIN_GEMM_SHARE))
    lines += _aside(measured)
    lines += _loss_bars(measured)
    return lines


def _aside(measured: Measured) -> Iterator[str]:
    for side in ASIDE:
        if {OURS, side} <= set(measured.sides):
            ratio = statistics.median(measured.ratios([side], memory, min))
            yield f"* no bar: memory {ratio:.2f} x {side}"


def _loss_bars(measured: Measured) -> Iterator[str]:
    """Say whether all sides did the same work: the same targets, and the losses that float64 gives."""
    sides = [side for side in measured.sides if side != ALTERED]
    if not sides:
        return
    targets = {side: sum(step.target_tokens for step in measured.curve(side)) for side in sides}
    text = ", ".join(sorted({f"{count:,}" for count in targets.values()}))
    yield _verdict("the same number of targets on all sides", text, holds=len(set(targets.values())) == 1)
    first = {side: abs(measured.curve(side)[0].loss / measured.expected_loss(side) - 1) for side in sides}
    yield _largest(
        f"step 1 of every side within {MAX_REFERENCE_DIFFERENCE:g} of float64", first, MAX_REFERENCE_DIFFERENCE
    )
    own = {
        side: abs(loss / measured.expected_own_loss(side) - 1)
        for side in sides
        if (loss := measured.curve(side)[0].own_loss) is not None
    }
    if own:
        yield _largest(
            f"the mean of means within {MAX_REFERENCE_DIFFERENCE:g} of float64", own, MAX_REFERENCE_DIFFERENCE
        )
    if OURS not in sides:
        return
    ours = measured.curve(OURS)
    later = {
        side: max(abs(a.loss / b.loss - 1) for a, b in zip(ours, measured.curve(side), strict=True))
        for side in sides
        if side in SAME_ROWS and side not in own
    }
    if later:
        yield _largest(f"losses of all steps within {MAX_LOSS_DIFFERENCE:.1%} of ours", later, MAX_LOSS_DIFFERENCE)


def _largest(name: str, differences: dict[str, float], limit: float) -> str:
    worst = max(differences, key=lambda side: differences[side])
    text = f"largest {differences[worst]:.1e} ({worst}; {len(differences)} sides)"
    return _verdict(name, text, holds=differences[worst] <= limit)


def _verdict(name: str, measured: str, *, holds: bool) -> str:
    return f"* {'HOLDS' if holds else 'FALLS SHORT'}: {name}: {measured}"
