"""What evaluation leaves behind: scores with intervals, and every sample."""

from typing import Literal

from pydantic import Field

from tuneloop.core.config import Config
from tuneloop.core.records import Record


class Interval(Config):
    """A confidence interval; both ends in the metric's own unit."""

    low: float
    high: float
    level: float = 0.95


class Score(Config):
    """One metric over one set of rows."""

    metric: str
    value: float
    interval: Interval | None = None
    """None where there are too few rows for one."""
    n: int
    signature: str
    """What exactly was computed: library, version, tokeniser, settings."""
    higher_is_better: bool = True
    parts: dict[str, float] = Field(default_factory=dict)
    """What the value is made of, or what stands beside it, by name."""


class Comparison(Config):
    """The same rows before and after: the difference, with a paired interval."""

    metric: str
    before: float
    after: float
    difference: float
    """after - before"""
    interval: Interval | None
    p_value: float | None = None
    """Two-sided: the chance of a difference this large if both sides were as good. None where there was no test."""
    higher_is_better: bool = True

    @property
    def is_better(self) -> bool:
        """Whether the whole interval lies on the good side of zero."""
        if self.interval is None:
            return False
        return self.interval.low > 0 if self.higher_is_better else self.interval.high < 0

    @property
    def is_worse(self) -> bool:
        """Whether the whole interval lies on the bad side of zero."""
        if self.interval is None:
            return False
        return self.interval.high < 0 if self.higher_is_better else self.interval.low > 0


class Sample(Config):
    """One held-out row, what the model made of it, and what each metric thinks."""

    row: str
    """Where the row came from: `file:line`."""
    prompt: str
    """What a person reads: the conversation before the answer."""
    reference: str
    output: str
    output_tokens: int
    finished: bool
    """Whether the model closed its turn by itself, within the limit."""
    loss: float
    """Mean negative log-likelihood of the reference's target tokens, in nats."""
    target_tokens: int
    scores: dict[str, float]
    """Metric -> value of this sample alone."""
    is_text: bool = False
    """Plain text: only its loss was measured."""


class EvalRecord(Record):
    """One model on one frozen set of rows."""

    kind: Literal["eval"] = "eval"
    round: int
    """0 is the base model, before any training."""
    model: str
    contract_hash: str
    rows_sha256: str
    """Over the evaluated rows: two records compare only where these are equal."""
    scores: tuple[Score, ...]
    comparisons: tuple[Comparison, ...] = ()
    """Against the base model, on the same rows; empty for the base itself."""
    num_samples: int
    samples: str
    """The file of samples (JSONL), relative to the run folder."""
    samples_sha256: str
    wall_s: float
    generated_tokens: int

    def score(self, metric: str) -> Score | None:
        """The score of one metric, if it was measured."""
        return next((score for score in self.scores if score.metric == metric), None)
