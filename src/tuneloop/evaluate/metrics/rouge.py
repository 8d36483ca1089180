"""ROUGE as Google's rouge-score computes it, with words of Chinese that the package alone does not see."""

import importlib.metadata
from collections.abc import Sequence
from typing import Literal

import numpy as np

from tuneloop.evaluate.metrics.metric import mean, mean_statistics
from tuneloop.evaluate.metrics.segment import ChineseTokenizer, Language

RougeName = Literal["rouge1", "rouge2", "rougeL", "rougeLsum"]


class Rouge:
    """Mean over samples of the F-measure of shared words, 0 to 1.

        F = 2 * P * R / (P + R)
        rouge1, rouge2: shared 1-grams, 2-grams / those of the answer (P), of the reference (R)
        rougeL: longest common subsequence of words / words of the answer (P), of the reference (R)
        rougeLsum: words of the reference's lines that are in a common subsequence with a line of the answer / the same

    Of several references the one with the best F counts. No stemmer. Lower case, punctuation dropped.
    `en` is the package's own tokeniser: it keeps a-z and 0-9 alone, so other scripts score 0. `zh` is
    `ChineseTokenizer`. rougeL sees the whole text as one sentence. rougeLsum splits both texts at newlines,
    in Chinese too and there not at full stops; of two texts of one line each they are the same. A text of one word has
    no 2-gram: its rouge2 is 0, perfect or not.

    Source: Lin 2004, "ROUGE: A Package for Automatic Evaluation of Summaries".
    By hand: "the cat sat" against "the cat ran": rouge1 = 2/3, rouge2 = 1/2, rougeL = 2/3. The lines "c d", "a b"
    against "a b", "c d": rougeL = 1/2, rougeLsum = 1.
    """

    higher_is_better = True
    is_proportion = False

    def __init__(self, name: RougeName, language: Language) -> None:
        from rouge_score.rouge_scorer import RougeScorer
        from rouge_score.tokenizers import DefaultTokenizer

        self.name = name
        self._language: Language = language
        # Handed over in both cases: without one, the package writes a line to the log.
        tokenizer = ChineseTokenizer() if language == "zh" else DefaultTokenizer(use_stemmer=False)
        self._scorer = RougeScorer([name], use_stemmer=False, tokenizer=tokenizer)

    def signature(self) -> str:
        """Type, value, treatment of references, stemmer, tokeniser, version."""
        version = importlib.metadata.version
        words = f"rjieba-{version('rjieba')}" if self._language == "zh" else "default"
        return (
            f"type:{self.name}|value:fmeasure|refs:best|case:lc|use_stemmer:no|tok:{words}"
            f"|version:rouge_score-{version('rouge_score')}"
        )

    def statistics(self, prediction: str, references: Sequence[str]) -> np.ndarray:
        """[F-measure against the best reference, 1]."""
        score = self._scorer.score_multi(references, prediction)[self.name]
        return mean_statistics(score.fmeasure)

    def combine(self, totals_K: np.ndarray) -> float:
        """The mean F-measure."""
        return mean(totals_K)

    def sample_value(self, statistics_K: np.ndarray) -> float:
        """The F-measure."""
        return mean(statistics_K)

    def parts(self, totals_K: np.ndarray) -> dict[str, float]:  # noqa: ARG002 - as every metric is asked
        """None."""
        return {}
