"""Token F1 as SQuAD scores short answers: how many words of the answer and of the reference are the same."""

import re
import string
import unicodedata
from collections import Counter
from collections.abc import Sequence

import numpy as np

import tuneloop
from tuneloop.evaluate.metrics.segment import HAN, Language

_ARTICLES = re.compile(r"\b(?:a|an|the)\b")
_ASCII_PUNCTUATION = str.maketrans("", "", string.punctuation)
_HAN_CHARACTER = re.compile(f"([{HAN}])")


class TokenF1:
    """Mean over samples of the F1 of shared tokens, 0 to 1.

        F1 = 2 * P * R / (P + R)
        P, R: shared tokens / those of the answer, those of the reference; a token counts as often as it stands in both

    Of several references the one with the best F1 counts. `en`: lower case, ASCII punctuation deleted, then the words
    a, an, the; tokens stand between white space. `zh`: lower case, all punctuation deleted; every Han character is a
    token, and so is every run of other characters between white space. Where either side has no token, F1 is 1 if
    neither has one, else 0 (SQuAD 2.0's rule).

    Source: Rajpurkar et al. 2016, arXiv:1606.05250, and the evaluation script of SQuAD 2.0; for Chinese the tokens of
    MLQA's script (Lewis et al. 2020, arXiv:1910.07475). CMRC 2018 compares the longest common substring of such
    tokens instead, LongBench jieba's words: those are other numbers.
    By hand: "The cat sat." against "a cat ran": 1 of 2 tokens on both sides, F1 = 1/2. 北京市 against 北京: P = 2/3,
    R = 1, F1 = 4/5.
    """

    name = "f1"
    higher_is_better = True
    is_proportion = False

    def __init__(self, language: Language) -> None:
        self._language: Language = language

    def signature(self) -> str:
        """Normalisation, tokens, treatment of references, version."""
        norm = "lc+punct(P*)" if self._language == "zh" else "lc+punct(ascii)+articles"
        words = "han-characters" if self._language == "zh" else "whitespace"
        return f"norm:{norm}|tok:{words}|refs:best|version:tuneloop-{tuneloop.__version__}"

    def statistics(self, prediction: str, references: Sequence[str]) -> np.ndarray:
        """[F1 against the best reference, 1, its precision, its recall]."""
        answer = self.tokenize(prediction)
        f1, precision, recall = max(_compare(answer, self.tokenize(reference)) for reference in references)
        return np.array([f1, 1.0, precision, recall])

    def combine(self, totals_K: np.ndarray) -> float:
        """The mean F1."""
        return float(totals_K[0] / totals_K[1])

    def sample_value(self, statistics_K: np.ndarray) -> float:
        """The F1."""
        return self.combine(statistics_K)

    def parts(self, totals_K: np.ndarray) -> dict[str, float]:
        """The mean precision and the mean recall."""
        return {"precision": float(totals_K[2] / totals_K[1]), "recall": float(totals_K[3] / totals_K[1])}

    def tokenize(self, text: str) -> list[str]:
        """The tokens of `text` that are compared, in order."""
        lowered = text.lower()
        if self._language == "zh":
            bare = "".join(char for char in lowered if not _is_punctuation(char))
            return _HAN_CHARACTER.sub(r" \1 ", bare).split()
        return _ARTICLES.sub(" ", lowered.translate(_ASCII_PUNCTUATION)).split()


def _is_punctuation(character: str) -> bool:
    return character in string.punctuation or unicodedata.category(character).startswith("P")


def _compare(answer: list[str], reference: list[str]) -> tuple[float, float, float]:
    """F1, precision, recall."""
    if not answer or not reference:
        same = float(answer == reference)
        return same, same, same
    shared = sum((Counter(answer) & Counter(reference)).values())
    precision, recall = shared / len(answer), shared / len(reference)
    # Equal to 2PR / (P + R), and 0 of 0 cannot happen.
    return 2 * shared / (len(answer) + len(reference)), precision, recall
