"""What a checker's known errors do to a rate: the corrected rate, and the one that faultless answers would get."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from tuneloop.core.seeds import derive_seed
from tuneloop.evaluate.claims.records import AccuracyEntry, Share
from tuneloop.evaluate.metrics.segment import Language
from tuneloop.evaluate.records import Interval

# Shapes: D documents, B draws; the two columns are unsupported claims and claims.

_MIN_INFORMATION = 0.1
_PRIOR = 0.5


@dataclass(frozen=True)
class Errors:
    """What is known of a checker in one language: how many it got right, of how many."""

    found: Share
    accepted: Share

    @property
    def information(self) -> float:
        """Youden's J = sensitivity + specificity - 1: 1 for a checker that never errs, 0 for one that guesses."""
        return self.found.value + self.accepted.value - 1


def errors_of(entries: Iterable[AccuracyEntry]) -> dict[Language, Errors]:
    """What is shown beside the rates, by language."""
    return {entry.language: Errors(entry.found, entry.accepted) for entry in entries}


def correct_rate(
    counts: Mapping[Language, np.ndarray], errors: Mapping[Language, Errors], *, seed: int, resamples: int = 2000
) -> Share | None:
    """The share of unsupported claims that would be seen with a checker that never errs.

        p = (r + specificity - 1) / (sensitivity + specificity - 1), cut to 0 ... 1; a language at a time, weighted

    It holds if the checker errs on these claims as often as on the calibration set, which nobody can promise: read it
    as an order of magnitude. The interval holds the chance in the choice of documents (drawn again) and in the
    calibration (sensitivity and specificity drawn from their Jeffreys posteriors, Beta(right + 1/2, wrong + 1/2)).
    None where a language was not measured, or where the checker knows too little: sensitivity + specificity < 1.1.

    Source: Rogan and Gladen 1978, American Journal of Epidemiology 107, 71-76; that the calibration's chance belongs
    into the interval: Lang and Reiczigel 2014, Preventive Veterinary Medicine 113, 13-22.
    By hand: r = 0.3 with sensitivity 0.8 and specificity 0.9 is (0.3 + 0.9 - 1) / 0.7 = 0.286.

    Args:
        counts: language -> [D, 2], unsupported claims and claims of each document, the documents in one order.
        errors: of the checker.
        seed: of the draws.
        resamples: number of draws.
    """
    used = {language: counts_D2 for language, counts_D2 in counts.items() if counts_D2[:, 1].sum()}
    if not used or any(language not in errors or errors[language].information < _MIN_INFORMATION for language in used):
        return None
    rng = np.random.default_rng(derive_seed(seed, "corrected rate"))
    num_documents = len(next(iter(used.values())))
    drawn_BD = rng.multinomial(num_documents, np.full(num_documents, 1 / num_documents), size=resamples)
    total = sum(counts_D2[:, 1].sum() for counts_D2 in used.values())
    value, values_B, weights_B = 0.0, np.zeros(resamples), np.zeros(resamples)
    for language, counts_D2 in used.items():
        known = errors[language]
        hits, trials = counts_D2.sum(axis=0)
        value += trials / total * float(_invert(hits / trials, known.found.value, known.accepted.value))
        hits_B, trials_B = (drawn_BD @ counts_D2).T
        rate_B = np.divide(hits_B, trials_B, out=np.zeros(resamples), where=trials_B > 0)
        values_B += trials_B * _invert(
            rate_B, _draw(rng, known.found, resamples), _draw(rng, known.accepted, resamples)
        )
        weights_B += trials_B
    values_B = values_B[weights_B > 0] / weights_B[weights_B > 0]
    low, high = np.quantile(values_B, [0.025, 0.975])
    interval = Interval(low=min(float(low), value), high=max(float(high), value)) if num_documents > 1 else None
    return Share(value=value, interval=interval, n=int(total))


def _invert(rate: np.ndarray, found: np.ndarray | float, accepted: np.ndarray | float) -> np.ndarray:
    information = np.maximum(np.asarray(found) + accepted - 1, 1e-9)
    return np.clip((rate + np.asarray(accepted) - 1) / information, 0, 1)


def _draw(rng: np.random.Generator, share: Share, size: int) -> np.ndarray:
    right = share.value * share.n
    return rng.beta(right + _PRIOR, share.n - right + _PRIOR, size=size)


def faultless_rate(num_claims: list[dict[Language, int]], errors: Mapping[Language, Errors]) -> float:
    """The share of answers that would be called unsupported if each of their claims were supported.

        mean over answers of 1 - specificity ^ claims

    An answer fails with its first false alarm, so that long answers fail more often whatever they say. Errors are
    taken to fall independently. Languages that were not measured count as free of error.
    By hand: with a specificity of 0.9 an answer of ten claims fails with a chance of 1 - 0.9^10 = 0.65.
    """
    passed = [
        np.prod(
            [errors[language].accepted.value ** number for language, number in counts.items() if language in errors]
        )
        for counts in num_claims
    ]
    return float(1 - np.mean(passed))
