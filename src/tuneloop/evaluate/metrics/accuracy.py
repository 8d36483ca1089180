"""Label accuracy: the share of answers that name the right one of a few labels, as in yes, no, maybe."""

import re
from collections.abc import Sequence

import numpy as np

import tuneloop
from tuneloop.core.errors import DataError
from tuneloop.evaluate.metrics.metric import mean, mean_statistics
from tuneloop.evaluate.metrics.segment import HAN

_SHOWN_CHARACTERS = 60


class Accuracy:
    """Share of answers whose label is that of one of their references, 0 to 1.

    The label of a text is the one that stands first in it as a whole word, in any case; of two that begin at
    the same place, the longer. An answer without a label is wrong. A word ends where letters, digits and
    underscores end, and where Latin meets Chinese ("答案是A" names A); Chinese itself shows no ends of words, so
    a Chinese label must stand between punctuation ("是。" names 是; "不是" and "是的" do not).

    By hand, labels yes and no: "No, yes would be wrong." is no; "Nobody knows." is wrong whatever the reference.
    """

    higher_is_better = True
    is_proportion = True

    def __init__(self, labels: Sequence[str]) -> None:
        self.name = f"accuracy:{'|'.join(labels)}"
        # A regular expression takes the first alternative that fits, so the longer label has to come first.
        self._labels = sorted(labels, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(_whole_word, self._labels)), re.IGNORECASE)

    def signature(self) -> str:
        """Labels, how they are found, treatment of references, version."""
        labels = self.name.partition(":")[2].replace("|", ",")
        return f"labels:{labels}|parse:first-whole-word|case:lc|refs:any|version:tuneloop-{tuneloop.__version__}"

    def statistics(self, prediction: str, references: Sequence[str]) -> np.ndarray:
        """[1 if right, else 0; 1].

        Raises:
            DataError: a reference names none of the labels, so that no answer could be right.
        """
        answer = self.parse(prediction)
        expected = [self._parse_reference(reference) for reference in references]
        return mean_statistics(float(answer in expected))

    def combine(self, totals_K: np.ndarray) -> float:
        """The share of right answers."""
        return mean(totals_K)

    def sample_value(self, statistics_K: np.ndarray) -> float:
        """1 or 0."""
        return mean(statistics_K)

    def parts(self, totals_K: np.ndarray) -> dict[str, float]:  # noqa: ARG002 - the interface
        """There are none."""
        return {}

    def parse(self, text: str) -> str | None:
        """The label that `text` names, as the list of labels writes it; None where it names none."""
        match = self._pattern.search(text)
        return None if match is None or match.lastindex is None else self._labels[match.lastindex - 1]

    def _parse_reference(self, reference: str) -> str:
        label = self.parse(reference)
        if label is None:
            shown = reference if len(reference) <= _SHOWN_CHARACTERS else reference[:_SHOWN_CHARACTERS] + "..."
            raise DataError(
                f"the reference {shown!r} names none of the labels of {self.name}. "
                f"Add its label to the metric's name, or correct the row."
            )
        return label


def _whole_word(label: str) -> str:
    return f"(?<!{_same_script(label[0])})({re.escape(label)})(?!{_same_script(label[-1])})"


def _same_script(character: str) -> str:
    """The characters beside which `character` would stand inside a longer word."""
    han = f"[{HAN}]"
    return han if re.match(han, character) else rf"[^\W{HAN}]"
