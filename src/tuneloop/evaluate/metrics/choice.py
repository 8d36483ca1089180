"""Multiple choice: the share of answers that choose exactly the right options."""

from collections.abc import Sequence

import numpy as np

import tuneloop
from tuneloop.core.errors import ConfigError, DataError
from tuneloop.evaluate.metrics.letters import MOST_LETTERS, chosen_letters
from tuneloop.evaluate.metrics.metric import mean

_SHOWN_CHARACTERS = 60
_FEWEST = 2


class Choice:
    """Share of answers that choose the same set of options as one of their references, 0 to 1.

    Both sides are read by `letters.chosen_letters`. A question with several right options is answered right only by
    all of them and no other, as LawBench and DISC-Law-Eval score it. An answer without a choice is wrong.

    By hand: "故选A、C。" is right against AC and wrong against A; "It depends." chooses nothing.
    """

    higher_is_better = True
    is_proportion = True

    def __init__(self, letters: str = "") -> None:
        """`letters` are the options' capitals, ABCD where none are given."""
        self.name = f"choice:{letters}" if letters else "choice"
        self._letters = letters or "ABCD"
        if not set(self._letters) <= set(MOST_LETTERS) or not _FEWEST <= len(self._letters) == len(set(self._letters)):
            raise ConfigError(
                f"'{letters}' cannot be the options of a choice. Write two to ten letters of A to J, each once, as in "
                f"choice:ABCDE."
            )

    def signature(self) -> str:
        """Options, how they are found, what is compared, treatment of references, version."""
        return f"letters:{self._letters}|parse:cues|equal:set|refs:any|version:tuneloop-{tuneloop.__version__}"

    def statistics(self, prediction: str, references: Sequence[str]) -> np.ndarray:
        """[1 if right, else 0; 1; 1 if the answer makes a choice, else 0].

        Raises:
            DataError: a reference names no options, so that no answer could be right.
        """
        answer = chosen_letters(prediction, self._letters)
        expected = [self._parse_reference(reference) for reference in references]
        return np.array([answer in expected, 1.0, answer is not None], dtype=np.float64)

    def combine(self, totals_K: np.ndarray) -> float:
        """The share of right answers."""
        return mean(totals_K)

    def sample_value(self, statistics_K: np.ndarray) -> float:
        """1 or 0."""
        return mean(statistics_K)

    def parts(self, totals_K: np.ndarray) -> dict[str, float]:
        """`answered`: the share of answers that make a choice."""
        return {"answered": float(totals_K[2] / totals_K[1])}

    def _parse_reference(self, reference: str) -> frozenset[str]:
        letters = chosen_letters(reference, self._letters)
        if letters is None:
            shown = reference if len(reference) <= _SHOWN_CHARACTERS else reference[:_SHOWN_CHARACTERS] + "..."
            raise DataError(
                f"the reference {shown!r} names none of the options {', '.join(self._letters)}. "
                f"Write their letters, as in AC, or name all options in the metric, as in choice:ABCDE."
            )
        return letters
