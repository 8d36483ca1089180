"""Rates over rows that belong together: the interval comes from resampling documents, not rows."""

import numpy as np

from tuneloop.evaluate.claims.records import Share
from tuneloop.evaluate.proportions import wilson_interval
from tuneloop.evaluate.records import Interval
from tuneloop.evaluate.stats import calibrated_interval

# Shapes: D documents; the two columns are hits and trials.


def share_of(counts_D2: np.ndarray, *, seed: int, resamples: int = 2000) -> Share:
    """The hits / trials over all documents, with its interval by document. At least one trial is needed.

    Several answers about one document err together, so that whole documents are drawn again (see
    `calibrated_interval`). Where no document differs, a bootstrap would say [0, 0]; there Wilson's interval is given,
    with a document for a trial. One document gives no interval.
    """
    counts_D2 = counts_D2[counts_D2[:, 1] > 0]
    hits, trials = counts_D2.sum(axis=0)
    return Share(
        value=float(hits / trials), interval=_interval(counts_D2, seed=seed, resamples=resamples), n=int(trials)
    )


def _interval(counts_D2: np.ndarray, *, seed: int, resamples: int) -> Interval | None:
    num_documents = len(counts_D2)
    if num_documents == 1:
        return None
    hits, trials = counts_D2.sum(axis=0)
    if hits in {0, trials}:
        return wilson_interval(num_documents if hits else 0, num_documents)
    # Sorted, so that the order of the documents does not matter.
    sorted_D2 = counts_D2[np.lexsort(counts_D2.T)].astype(np.float64)
    return calibrated_interval(_ratio, [sorted_D2], seed=seed, resamples=resamples, level=0.95)


def _ratio(totals_2: np.ndarray) -> float:
    return float(totals_2[0] / totals_2[1])
