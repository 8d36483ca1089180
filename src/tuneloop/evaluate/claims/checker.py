"""What every checker of claims can do: say whether a source supports a claim, how surely, and why."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol


class Pair(NamedTuple):
    """A claim, and the text that it has to follow from."""

    source: str
    claim: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a checker makes of one pair."""

    supported: bool
    score: float
    """0 to 1, higher where support is surer; only scores of one checker compare."""
    why: str
    """For a reader: the rule that was broken, or where the score comes from."""
    decided: bool = True
    """False where the checker could not tell (a judge's answer that is neither yes nor no); it then counts nowhere."""


class Checker(Protocol):
    """Decides claims. The same pairs give the same verdicts, whatever else is asked beside them."""

    @property
    def name(self) -> str:
        """Kind and model, as a report shows it."""
        ...

    @property
    def version(self) -> str:
        """Changes with everything that can change a verdict: rules, weights, prompt, threshold."""
        ...

    def check(self, pairs: Sequence[Pair]) -> list[Verdict]:
        """One verdict a pair, in order. An empty source supports nothing."""
        ...
