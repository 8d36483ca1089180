"""What a measurement of claims leaves behind: rates with intervals, by length, beside the checker's own accuracy."""

from typing import Any, Literal

from pydantic import Field

from tuneloop.core.config import Config
from tuneloop.evaluate.metrics.segment import Language
from tuneloop.evaluate.records import Interval, Score

Scope = Literal["untouched", "all", "long", "logic"]
"""Which labelled claims an accuracy is of: see `AccuracyEntry`."""
Side = Literal["source", "output"]


class Share(Config):
    """A part of a whole, 0 to 1."""

    value: float
    interval: Interval | None
    """None where there is too little for one."""
    n: int


class KindCount(Config):
    """How many claims of one kind were decided rightly."""

    kind: str
    """Of support: quote, paraphrase ... Of error: number, negation ..."""
    supported: bool
    n: int
    correct: int


class AccuracyEntry(Config):
    """How often a checker is right about claims of one language, by the labels of the calibration set."""

    language: Language
    scope: Scope
    """untouched: claims that nobody looked at while the rules were written, the honest figure. all: every claim but
    the syllogisms. long: the untouched ones, each source among all others of its language. logic: conclusions of
    syllogisms."""
    accuracy: Share
    """The interval is a bootstrap over documents."""
    found: Share
    """Of unsupported claims, the share that is called so (sensitivity)."""
    accepted: Share
    """Of supported claims, the share that is called so (specificity)."""
    source_tokens: int
    """Mean length of the sources, estimated."""
    undecided: int = 0
    kinds: tuple[KindCount, ...] = ()


class CheckerAccuracy(Config):
    """A checker's own measure. It stands beside every rate that the checker gives."""

    checker: str
    version: str
    set_sha256: str
    """Of the calibration set, as a file."""
    thresholds: dict[Language, float] = Field(default_factory=dict)
    """Chosen on the set; each accuracy was measured with one that was chosen without the claim's document."""
    entries: tuple[AccuracyEntry, ...]

    def entry(self, language: Language, scope: Scope) -> AccuracyEntry | None:
        """The accuracy in one language over one scope, if it was measured."""
        return next((item for item in self.entries if (item.language, item.scope) == (language, scope)), None)

    def shown(self, language: Language, *, is_long: bool = False) -> AccuracyEntry | None:
        """The figure to put beside a rate: over untouched claims, else over all; over long sources where asked for."""
        scopes: tuple[Scope, ...] = ("long", "untouched", "all") if is_long else ("untouched", "all")
        return next((found for scope in scopes if (found := self.entry(language, scope))), None)


class LengthBin(Config):
    """The answers whose source, or whose own text, has so many tokens."""

    side: Side
    low: int
    high: int | None
    """The first number of tokens that is too many; None: without end."""
    answers: Share
    """The rate of answers; n counts answers."""
    claims: Share | None
    """The rate of claims; None where the answers make none."""
    documents: int
    is_small: bool
    """Fewer than 20 answers or 10 documents: no conclusion should hang on it."""


class HallucinationReport(Config):
    """The share of answers, and of claims, that a checker finds unsupported; with what is known about the checker."""

    answers: Score
    """hallucination: of all answers, the share with an unsupported claim."""
    claims: Score | None
    """unsupported_claims: of all claims, the share that is unsupported. None where there are none."""
    corrected_claims: Share | None
    """The same, corrected for the checker's known errors: an estimate under an assumption, see `correct_rate`."""
    accuracy: tuple[AccuracyEntry, ...]
    """How often the checker is right, one entry a language of the claims: over long sources where half of the
    answers or more have sources of 2,000 tokens."""
    faultless: float
    """The rate of answers that the checker's false alarms alone would give if every claim were supported."""
    documents: int
    answers_without_claims: int
    undecided_claims: int
    bins: tuple[LengthBin, ...]
    checker: CheckerAccuracy

    def as_json(self) -> dict[str, Any]:
        """metric, value, interval, n, signature; everything else under parts."""
        head = self.answers.model_dump(mode="json", include={"metric", "value", "interval", "n", "signature"})
        return head | {"parts": self.model_dump(mode="json", exclude={"answers"})}


class LogicReport(Config):
    """The share of reasoned answers whose conclusions follow from the premises that they state."""

    answers: Score
    """logic: of the answers that state premises and conclusions, the share in which each conclusion is entailed."""
    steps: Share
    """The same over single conclusions."""
    unparsable: int
    """Answers without a complete syllogism; they are no part of the rates."""
    undecided: int
    """Answers with a conclusion that the checker could not decide; nor are they."""
    checker: CheckerAccuracy

    def as_json(self) -> dict[str, Any]:
        """metric, value, interval, n, signature; everything else under parts."""
        head = self.answers.model_dump(mode="json", include={"metric", "value", "interval", "n", "signature"})
        return head | {"parts": self.model_dump(mode="json", exclude={"answers"})}
