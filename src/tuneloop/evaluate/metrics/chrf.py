"""chrF as sacrebleu computes it: how many character sequences answer and reference share."""

from collections.abc import Sequence

import numpy as np

from tuneloop.evaluate.metrics.bleu import count_references


class Chrf:
    """Corpus chrF2 with up to 6-grams of characters, white space left out, 0 to 100.

        chrF = 100 * 5 * P * R / (4 * P + R)
        P, R = means over the orders n of (shared n-grams / n-grams of the answers, of the references)

    Statistics (K = 18): for each order the n-grams of the answer, of the best of its references, and the shared
    ones. Needs no tokeniser, so one setting serves every language.

    A sample whose reference is empty adds nothing to a set's value, however long its answer is: sacrebleu does
    not count n-grams of an order that the reference lacks.

    Source: Popović 2015, "chrF: character n-gram F-score for automatic MT evaluation".
    By hand: "abc" against "abx" shares 2 of 3 characters, 1 of 2 pairs, 0 of 1 triple: P = R = 7/18, 38.9.
    """

    name = "chrf"
    higher_is_better = True
    is_proportion = False

    def __init__(self) -> None:
        from sacrebleu.metrics import CHRF

        self._scorer = CHRF()
        self._reference_counts: set[int] = set()

    def signature(self) -> str:
        """As sacrebleu prints it; `nrefs` is the number of references that `statistics` has met."""
        self._scorer.num_refs = count_references(self._reference_counts)
        return str(self._scorer.get_signature())

    def statistics(self, prediction: str, references: Sequence[str]) -> np.ndarray:
        """N-gram counts of one sample, shape [18]."""
        self._reference_counts.add(len(references))
        streams = [[reference] for reference in references]
        # Not public, and the only way: CHRFScore holds no counts. sacrebleu's own bootstrap goes through it too.
        (counts,) = self._scorer._extract_corpus_statistics([prediction], streams)  # noqa: SLF001
        return np.array(counts, dtype=np.float64)

    def combine(self, totals_K: np.ndarray) -> float:
        """Equal to sacrebleu's `corpus_score` to the last digit."""
        counts = np.rint(totals_K).astype(int).tolist()
        return float(self._scorer._compute_f_score(counts))  # noqa: SLF001 - see `statistics`

    def sample_value(self, statistics_K: np.ndarray) -> float:
        """Equal to sacrebleu's `sentence_chrf`."""
        return self.combine(statistics_K)

    def parts(self, totals_K: np.ndarray) -> dict[str, float]:  # noqa: ARG002 - the interface
        """There are none."""
        return {}
