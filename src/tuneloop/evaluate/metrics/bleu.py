"""BLEU as sacrebleu computes it: how many word sequences of the answer stand in the reference."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from tuneloop.evaluate.metrics.segment import Language


class Bleu:
    """Corpus BLEU with up to 4-grams, 0 to 100.

        BLEU = 100 * min(1, exp(1 - R/C)) * (p1 * p2 * p3 * p4) ** (1/4)
        pn = n-grams of the answers that are in their references / n-grams of the answers

    C and R are the summed lengths of answers and of the references nearest to them in length. Statistics
    (K = 10): C, R, four counts of matches, four counts of n-grams. An order without a match counts as 1/2, 1/4,
    ... match ("exp" smoothing).
    Words are those of the mteval script ("13a"); in Chinese every character is one ("zh").

    A set whose answers hold no 4-gram at all scores 0, perfect or not: two characters of Chinese, a yes or a no.
    The value of one sample uses the orders that it has instead (sacrebleu's `effective_order`).

    Source: Papineni et al. 2002; Post 2018, "A Call for Clarity in Reporting BLEU Scores" (sacrebleu).
    By hand: answer "the cat sat on the mat" against itself is 100; against "the cat sat on a mat" the
    precisions are 5/6, 3/5, 2/4, 1/3 and the value is 100 * (1/12) ** (1/4) = 53.7.
    """

    name = "bleu"
    higher_is_better = True
    is_proportion = False

    def __init__(self, language: Language) -> None:
        from sacrebleu.metrics import BLEU

        tokenizer = "zh" if language == "zh" else "13a"
        self._corpus = BLEU(tokenize=tokenizer)
        self._sentence = BLEU(tokenize=tokenizer, effective_order=True)
        self._reference_counts: set[int] = set()

    def signature(self) -> str:
        """As sacrebleu prints it; `nrefs` is the number of references that `statistics` has met."""
        self._corpus.num_refs = count_references(self._reference_counts)
        return str(self._corpus.get_signature())

    def statistics(self, prediction: str, references: Sequence[str]) -> np.ndarray:
        """Lengths and n-gram counts of one sample, shape [10]."""
        self._reference_counts.add(len(references))
        score = self._sentence.sentence_score(prediction, references)
        return np.array([score.sys_len, score.ref_len, *score.counts, *score.totals], dtype=np.float64)

    def combine(self, totals_K: np.ndarray) -> float:
        """Equal to sacrebleu's `corpus_score` to the last digit."""
        return _bleu(self._corpus, totals_K)

    def sample_value(self, statistics_K: np.ndarray) -> float:
        """Equal to sacrebleu's `sentence_bleu`."""
        return _bleu(self._sentence, statistics_K)

    def parts(self, totals_K: np.ndarray) -> dict[str, float]:
        """The precisions of the four orders (0 to 100), and the penalty for short answers."""
        result = _result(self._corpus, totals_K)
        precisions = {f"precision_{order}": float(value) for order, value in enumerate(result.precisions, start=1)}
        return precisions | {"brevity_penalty": float(result.bp)}


def count_references(seen: set[int]) -> int:
    """References a sample in sacrebleu's way: -1 where samples differ; 1 before the first sample."""
    return next(iter(seen), 1) if len(seen) <= 1 else -1


def _bleu(scorer: Any, totals_K: np.ndarray) -> float:
    return _result(scorer, totals_K).score


def _result(scorer: Any, totals_K: np.ndarray) -> Any:
    """Sacrebleu's own result, from summed statistics."""
    answer_length, reference_length, *counts = np.rint(totals_K).astype(int).tolist()
    orders = scorer.max_ngram_order
    return scorer.compute_bleu(
        correct=counts[:orders],
        total=counts[orders:],
        sys_len=answer_length,
        ref_len=reference_length,
        smooth_method=scorer.smooth_method,
        effective_order=scorer.effective_order,
    )
