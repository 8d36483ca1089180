"""What a judgement leaves behind: every verdict, and the numbers that follow from them."""

from typing import Literal

from tuneloop.core.config import Config
from tuneloop.core.records import Record
from tuneloop.evaluate.agreement import AgreementReport
from tuneloop.evaluate.records import Interval, Score

Side = Literal["a", "b", "tie"]


class OrderVerdict(Config):
    """What the judge said of one pair in one order."""

    first: Literal["a", "b"]
    """Which answer was shown first."""
    verdict: Side | None
    """None where there was none."""
    reason: str = ""
    """Why there was none."""
    text: str
    """All that the judge wrote; of a call that failed, what happened."""


class PairVerdict(Config):
    """A pair in both orders."""

    id: str
    prompt: str
    answer_a: str
    answer_b: str
    reference: str = ""
    orders: tuple[OrderVerdict, OrderVerdict]
    outcome: Side | None
    """What both orders say; a tie where they differ; None where one of them has no verdict."""
    is_flip: bool
    """One order says A, the other B: the place decided."""


class RunVerdict(Config):
    """What the judge said of one answer in one run."""

    scores: dict[str, float]
    """By criterion; empty where there was no verdict."""
    reason: str = ""
    """Why there was none."""
    text: str


class RubricVerdict(Config):
    """An answer in all runs."""

    id: str
    prompt: str
    answer: str
    reference: str = ""
    runs: tuple[RunVerdict, ...]
    scores: dict[str, float]
    """By criterion: the mean over the runs that have a verdict; empty where none has."""


class LengthControl(Config):
    """What would be left of the win rate if both answers were of one length."""

    win_rate: float
    """Of A, at equal length, by the fitted curve."""
    interval: Interval | None
    slope: float
    """How strongly length decides: log-odds of A between equal lengths and A much longer. 0: not at all."""
    mean_length_a: float
    """In characters, over the judged pairs."""
    mean_length_b: float
    longer_wins: float | None
    """Share of the pairs won by the longer answer, of those that are no ties and differ in length."""


class PairsResult(Config):
    """A against B."""

    wins: int
    """Pairs in which both orders say A."""
    ties: int
    """Flips and half ties among them."""
    losses: int
    flips_to_first: int
    """Pairs in which whoever stands first was said to be better."""
    flips_to_second: int
    half_ties: int
    """Pairs in which one order says tie."""
    win_rate: Score
    """Of A: a win is 1, a tie 1/2, a loss 0."""
    position_bias: Score
    """Share of the judged pairs that flip with the order. 0 for a judge without bias, 0.5 for one who guesses."""
    length: LengthControl


class RubricResult(Config):
    """One model's answers."""

    criteria: tuple[Score, ...]
    """The mean rating of each criterion, 1 to 5."""
    overall: Score
    """The mean over criteria."""
    spread: float | None
    """Standard deviation of a rating between runs over one answer, averaged; None for a single run."""


class JudgeAgreement(Config):
    """The judge against one person, over what both have rated."""

    rater: str
    criterion: str
    """Empty for pairs."""
    report: AgreementReport


class CallsSpent(Config):
    """What the calls behind a judgement have cost, all runs over its log together."""

    calls: int
    prompt_tokens: int
    completion_tokens: int
    estimated_calls: int
    """Calls whose tokens were estimated from characters."""
    money: float | None
    """None without prices."""
    currency: str


class JudgeRecord(Record):
    """One judge over one set of rows."""

    kind: Literal["judge"] = "judge"
    method: Literal["pairs", "rubric"]
    judge: str
    base_url: str
    judge_answered_as: tuple[str, ...]
    """The models that answered, by the server's own account."""
    language: Literal["en", "zh"]
    prompts_sha256: str
    """Over the judge's instructions: verdicts compare only where these are equal."""
    rows_sha256: str
    num_rows: int
    judged: int
    """Rows with a verdict; the numbers are over these."""
    without_verdict: dict[str, int]
    """Why -> calls. A row without a verdict counts nowhere else."""
    pairs: PairsResult | None = None
    rubric: RubricResult | None = None
    agreement: tuple[JudgeAgreement, ...] = ()
    warnings: tuple[str, ...] = ()
    spent: CallsSpent
    verdicts: str
    """The file of verdicts (JSONL), beside the record."""
    verdicts_sha256: str
    wall_s: float
