"""Chooses the samples that are worth a look, and sets each beside its reference."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from tuneloop.core.seeds import keyed_permutation
from tuneloop.evaluate.records import Sample
from tuneloop.report import figures
from tuneloop.report.diff import Piece, Relation, compare

Group = Literal["improved", "best", "worst", "random", "more"]
_MOST_CHARS = 2400
_EACH_GROUP = 4
_MOST_SHOWN = 60


@dataclass(frozen=True)
class Answer:
    """One output, cut into pieces against the reference."""

    pieces: tuple[Piece, ...]
    relation: Relation
    finished: bool
    hidden_chars: int
    """Characters at the end that are left out of the page."""
    language: str | None


@dataclass(frozen=True)
class SampleScore:
    """One metric of one sample, before and after."""

    metric: str
    before: float | None
    after: float


@dataclass(frozen=True)
class SampleView:
    """One held-out row with both answers."""

    row: str
    group: Group
    prompt: str
    prompt_hidden: int
    reference: str
    reference_hidden: int
    before: Answer | None
    after: Answer
    scores: tuple[SampleScore, ...]


@dataclass(frozen=True)
class Pair:
    """The same row before and after; `before` is None where the base was not asked."""

    before: Sample | None
    after: Sample

    def value(self, metric: str | None, sign: int) -> float:
        """How good the row is now: its main score, or its loss where samples have no scores."""
        return sign * self.after.scores.get(metric, 0.0) if metric else -self.after.loss

    def gain(self, metric: str | None, sign: int) -> float:
        """How much better the row got; without an answer from before, how good it is."""
        if self.before is None:
            return self.value(metric, sign)
        return self.value(metric, sign) - Pair(None, self.before).value(metric, sign)

    @property
    def loss_drop(self) -> float:
        """How much likelier the reference became, in nats a token."""
        return (self.before.loss if self.before else 0.0) - self.after.loss


def pair_up(before: Sequence[Sample], after: Sequence[Sample]) -> list[Pair]:
    """Samples of the same row with the same reference, in the order of `after`."""
    earlier = {(sample.row, sample.reference): sample for sample in before}
    return [Pair(earlier.get((sample.row, sample.reference)), sample) for sample in after]


def choose(pairs: Sequence[Pair], metric: str | None, *, higher_is_better: bool, seed: int) -> list[tuple[Group, Pair]]:
    """The most improved, the worst, some at random, then others up to the most that a page should hold."""
    sign = 1 if higher_is_better else -1
    paired = any(pair.before for pair in pairs)
    everyone = range(len(pairs))
    chance = [int(index) for index in keyed_permutation(len(pairs), seed, "report", "samples")]
    best = sorted(everyone, key=lambda i: (-pairs[i].gain(metric, sign), -pairs[i].loss_drop, i))
    improved = [i for i in best if not paired or pairs[i].gain(metric, sign) > 0]
    worst = sorted(
        everyone,
        key=lambda i: (min(pairs[i].gain(metric, sign), 0.0), pairs[i].value(metric, sign), -pairs[i].after.loss, i),
    )
    chosen: dict[int, Group] = {}

    def take(group: Group, candidates: Sequence[int], most: int) -> None:
        fresh = [index for index in candidates if index not in chosen]
        chosen.update(dict.fromkeys(fresh[:most], group))

    # With few samples each group gets its fair part, so that the best do not fill the page.
    each = max(1, min(_EACH_GROUP, len(pairs) // 3))
    take("improved" if paired else "best", improved, each)
    take("worst", worst, each)
    take("random", chance, each)
    take("more", chance, _MOST_SHOWN - len(chosen))
    return [(group, pairs[index]) for index, group in chosen.items()]


def view_of(group: Group, pair: Pair) -> SampleView:
    """A sample ready for the page."""
    after, before = pair.after, pair.before
    return SampleView(
        row=after.row,
        group=group,
        prompt=after.prompt[:_MOST_CHARS],
        prompt_hidden=max(0, len(after.prompt) - _MOST_CHARS),
        reference=after.reference[:_MOST_CHARS],
        reference_hidden=max(0, len(after.reference) - _MOST_CHARS),
        before=answer_of(before, after.reference) if before else None,
        after=answer_of(after, after.reference),
        scores=tuple(
            SampleScore(name, before.scores.get(name) if before else None, value)
            for name, value in after.scores.items()
        ),
    )


def answer_of(sample: Sample, reference: str) -> Answer:
    """The output of a sample, marked against the reference."""
    output = sample.output[:_MOST_CHARS]
    pieces, relation = compare(output, reference[:_MOST_CHARS])
    return Answer(
        pieces=pieces,
        relation=relation if sample.output == output or relation != "same" else "near",
        finished=sample.finished,
        hidden_chars=max(0, len(sample.output) - _MOST_CHARS),
        language=figures.language_of(output),
    )
