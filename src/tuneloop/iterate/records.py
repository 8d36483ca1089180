"""What the gate leaves behind: what was found, what was decided, and why."""

from typing import Any, Literal

from tuneloop.core.config import Config
from tuneloop.core.records import Record
from tuneloop.evaluate.records import Comparison


class Finding(Config):
    """Something that a rule noticed, with its evidence."""

    rule: str
    text: str
    evidence: dict[str, float | int | str]


class Prescription(Config):
    """A change of the plan for the next round."""

    rule: str
    text: str
    changes: dict[str, Any]
    """Dotted path in the plan -> new value."""


class Decision(Record):
    """The end of one round."""

    kind: Literal["decision"] = "decision"
    round: int
    accepted: bool
    """Whether this round's model is the best so far, and better than the base."""
    reason: str
    target: str | None
    target_met: bool
    comparisons: tuple[Comparison, ...]
    """Against the best model so far: the base, or an earlier accepted round."""
    findings: tuple[Finding, ...] = ()
    prescription: Prescription | None = None
    """What the next round does differently; None where the loop ends here."""
    stop_reason: str | None = None
    """Why the loop ended, where it did."""
