"""How often 95 % intervals hold the truth: sets are drawn from known shapes, and each method's interval is checked.

    python benchmarks/interval_coverage.py [--sets 2000] [--sizes 20,50,100,200,500] [--only 'bleu'] [--json]

Prints the tables of docs/methods/intervals.md. The column `ours` is the package's own last step, and the first set of
each block is also given to the package's whole function, which must agree. Scores of right or wrong have their
coverage computed, not drawn.
"""
# ruff: noqa: PLR2004, SLF001  the shapes are made of numbers; the package's own draws are what is checked

import argparse
import json
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import stats as scipy_stats

from tuneloop.evaluate import stats
from tuneloop.evaluate.proportions import tango_interval, wilson_interval

# Shapes: R sets at a time, N samples of a set, K statistics of a sample, B resamples.

_RESAMPLES = 2000
_LEVEL = 0.95
_TRUTH_BLOCKS, _TRUTH_SAMPLES = 40, 250_000
_METHODS = ("percentile", "expanded", "BCa", "Student's t", "ours")

Draw = Callable[[np.random.Generator, int, int], np.ndarray]
Combine = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Shape:
    """A kind of scores: how samples are drawn ([R, N, K]) and how their sums make a value."""

    name: str
    draw: Draw
    combine: Combine
    truth: float | None = None
    """None: measured on ten million samples."""


def _ratio(totals_K: np.ndarray) -> np.ndarray:
    return totals_K[..., 0] / totals_K[..., 1]


def _f1(totals_K: np.ndarray) -> np.ndarray:
    twice, wrong = 2 * totals_K[..., 0], totals_K[..., 1] + totals_K[..., 2]
    return np.divide(twice, twice + wrong, out=np.zeros_like(twice), where=twice + wrong > 0)


def _bleu(totals_K: np.ndarray) -> np.ndarray:
    """BLEU with "exp" smoothing, as sacrebleu computes it; K = 10."""
    answer, reference = np.maximum(totals_K[..., 0], 1), totals_K[..., 1]
    matches, grams = totals_K[..., 2:6], np.maximum(totals_K[..., 6:10], 1)
    product, missed = np.ones(totals_K.shape[:-1]), np.ones(totals_K.shape[:-1])
    for order in range(4):
        missed = np.where(matches[..., order] > 0, missed, missed / 2)
        product *= np.where(matches[..., order] > 0, matches[..., order], missed) / grams[..., order]
    return 100 * np.minimum(1, np.exp(1 - reference / answer)) * np.sqrt(np.sqrt(product))


def _rise(combine: Combine) -> Combine:
    def value(totals_K: np.ndarray) -> np.ndarray:
        half = totals_K.shape[-1] // 2
        return combine(totals_K[..., half:]) - combine(totals_K[..., :half])

    return value


def _mean(draw: Draw) -> Draw:
    def statistics(rng: np.random.Generator, sets: int, samples: int) -> np.ndarray:
        scores_RN = draw(rng, sets, samples)
        return np.stack([scores_RN, np.ones_like(scores_RN)], axis=-1)

    return statistics


def _inflated(zeros: float, ones: float) -> Draw:
    def scores(rng: np.random.Generator, sets: int, samples: int) -> np.ndarray:
        u_RN, between_RN = rng.random((sets, samples)), rng.beta(2, 2, (sets, samples))
        return np.where(u_RN < zeros, 0, np.where(u_RN > 1 - ones, 1, between_RN))

    return _mean(scores)


def _token_loss(rng: np.random.Generator, sets: int, samples: int) -> np.ndarray:
    tokens_RN = np.ceil(rng.lognormal(3.5, 0.9, (sets, samples)))
    return np.stack([tokens_RN * rng.gamma(3, 0.5, (sets, samples)), tokens_RN], axis=-1)


def _spans(rng: np.random.Generator, gold_RN: np.ndarray, quality_RN: np.ndarray, mean: float) -> list[np.ndarray]:
    right_RN = rng.binomial(gold_RN, quality_RN)
    return [right_RN, rng.poisson(mean * (1 - quality_RN) / 2), gold_RN - right_RN]


def _entities(mean: float, a: float, b: float, *, gain: float | None = None) -> Draw:
    """True positives, false positives and false negatives; with a gain: before and after."""

    def statistics(rng: np.random.Generator, sets: int, samples: int) -> np.ndarray:
        gold_RN = rng.poisson(rng.gamma(1.5, mean / 1.5, (sets, samples)))
        quality_RN = rng.beta(a, b, (sets, samples))
        columns = _spans(rng, gold_RN, quality_RN, mean)
        if gain is not None:
            columns += _spans(rng, gold_RN, np.minimum(quality_RN + gain, 1), mean)
        return np.stack(columns, axis=-1).astype(float)

    return statistics


def _translations(words: float, a: float, b: float) -> Draw:
    def statistics(rng: np.random.Generator, sets: int, samples: int) -> np.ndarray:
        reference_RN = np.ceil(rng.lognormal(math.log(words), 0.6, (sets, samples)))
        answer_RN = np.maximum(1, np.round(reference_RN * rng.lognormal(-0.03, 0.2, (sets, samples)))).astype(int)
        quality_RN = rng.beta(a, b, (sets, samples))
        matches, grams = [rng.binomial(answer_RN, quality_RN)], [answer_RN]
        for order in range(1, 4):
            grams.append(np.maximum(answer_RN - order, 0))
            matches.append(rng.binomial(np.minimum(matches[-1], grams[-1]), 0.9 * quality_RN))
        return np.stack([answer_RN, reference_RN, *matches, *grams], axis=-1).astype(float)

    return statistics


def _translations_twice(rng: np.random.Generator, sets: int, samples: int) -> np.ndarray:
    """Before and after: four of ten samples are answered anew."""
    draw = _translations(18, 1.5, 1.5)
    before, again = draw(rng, sets, samples), draw(rng, sets, samples)
    after = np.where(rng.random((sets, samples, 1)) < 0.4, again, before)
    return np.concatenate([before, after], axis=-1)


def _rouge_differences(rng: np.random.Generator, sets: int, samples: int) -> np.ndarray:
    """Three of ten samples are the same; one of ten of the others changes three times as much."""
    size = (sets, samples)
    hard_RN, far_RN = rng.beta(1, 2, size), 1 + 2 * (rng.random(size) < 0.1)
    before = np.clip(hard_RN + rng.normal(0, 0.15, size), 0, 1)
    after = np.clip(hard_RN + 0.05 + rng.normal(0, 0.15, size) * far_RN, 0, 1)
    return np.where(rng.random(size) < 0.3, 0, after - before)


def _few_gain(rng: np.random.Generator, sets: int, samples: int) -> np.ndarray:
    size = (sets, samples)
    return np.where(rng.random(size) < 0.15, rng.beta(3, 2, size), rng.normal(0, 0.02, size))


SHAPES = (
    Shape("mean, Beta(2, 5)", _mean(lambda rng, r, n: rng.beta(2, 5, (r, n))), _ratio, 2 / 7),
    Shape("mean, Beta(0.5, 3)", _mean(lambda rng, r, n: rng.beta(0.5, 3, (r, n))), _ratio, 1 / 7),
    Shape("mean, Beta(5, 1)", _mean(lambda rng, r, n: rng.beta(5, 1, (r, n))), _ratio, 5 / 6),
    Shape("mean, 40 % zeros, 20 % ones", _inflated(0.4, 0.2), _ratio, 0.4),
    Shape("mean, 70 % zeros, 10 % ones", _inflated(0.7, 0.1), _ratio, 0.2),
    Shape("mean, 5 % zeros, 80 % ones", _inflated(0.05, 0.8), _ratio, 0.875),
    Shape("mean, 90 % zeros, 5 % ones", _inflated(0.9, 0.05), _ratio, 0.075),
    Shape("mean, exponential", _mean(lambda rng, r, n: rng.exponential(size=(r, n))), _ratio, 1.0),
    Shape("mean, lognormal(0.8)", _mean(lambda rng, r, n: rng.lognormal(0, 0.8, (r, n))), _ratio, math.exp(0.32)),
    Shape("loss a token", _token_loss, _ratio, 1.5),
    Shape("F1, 2 entities a row", _entities(2, 3, 1.5), _f1),
    Shape("F1, 0.7 entities a row", _entities(0.7, 1, 2), _f1),
    Shape("BLEU about 35", _translations(18, 1.5, 1.5), _bleu),
    Shape("BLEU about 15", _translations(12, 1, 3), _bleu),
    Shape("difference, ROUGE-like", _mean(_rouge_differences), _ratio),
    Shape("difference, 15 % gain much", _mean(_few_gain), _ratio, 0.09),
    Shape("difference of F1", _entities(2, 3, 1.5, gain=0.05), _rise(_f1)),
    Shape("difference of BLEU", _translations_twice, _rise(_bleu), 0.0),
)


def _truth(shape: Shape) -> float:
    if shape.truth is not None:
        return shape.truth
    rng = np.random.default_rng(1)
    blocks = (shape.draw(rng, 1, _TRUTH_SAMPLES)[0].sum(axis=0) for _ in range(_TRUTH_BLOCKS))
    return float(shape.combine(sum(blocks)))


def _coverage(shape: Shape, num_samples: int, num_sets: int) -> dict[str, float]:
    """The share of sets whose interval holds the truth, by method, in percent."""
    truth = _truth(shape)
    rng = np.random.default_rng([num_samples, SHAPES.index(shape)])
    width = shape.draw(np.random.default_rng(0), 1, 2).shape[-1]
    block = max(10, 500 // width**2)
    held = dict.fromkeys(_METHODS, 0)
    for start in range(0, num_sets, block):
        statistics_RNK = shape.draw(rng, min(block, num_sets - start), num_samples)
        for name, ends in _intervals(shape, statistics_RNK, seed=start).items():
            held[name] += int(((ends[0] <= truth) & (truth <= ends[1])).sum())
    return {name: 100 * count / num_sets for name, count in held.items()}


def _intervals(shape: Shape, statistics_RNK: np.ndarray, *, seed: int) -> dict[str, np.ndarray]:
    """The two ends of every method, each of shape [2, R]."""
    sets, n, width = statistics_RNK.shape
    counts_BN = np.concatenate(list(stats._draw_counts(n, seed=seed, resamples=_RESAMPLES)))
    drawn = counts_BN @ statistics_RNK.transpose(1, 0, 2).reshape(n, sets * width)
    values_BR = shape.combine(drawn.reshape(_RESAMPLES, sets, width))
    totals_RK = statistics_RNK.sum(axis=1)
    value_R = shape.combine(totals_RK)
    without_RN = shape.combine(totals_RK[:, None] - statistics_RNK)
    influence_RN = (n - 1) * (without_RN.mean(axis=1, keepdims=True) - without_RN)
    square_R = (influence_RN**2).sum(axis=1)
    mean_BR, square_BR = counts_BN @ influence_RN.T / n, counts_BN @ (influence_RN**2).T / n
    errors_BR = np.sqrt(np.maximum(square_BR - mean_BR**2, 0) / (n - 1))

    ours = [
        stats.calibrate(values_BR[:, r], errors_BR[:, r], value=float(value_R[r]), num_samples=n, level=_LEVEL)
        for r in range(sets)
    ]
    whole = stats.calibrated_interval(shape.combine, [statistics_RNK[0]], seed=seed, resamples=_RESAMPLES, level=_LEVEL)
    if not np.allclose([whole.low, whole.high], [ours[0].low, ours[0].high], rtol=1e-6, atol=1e-9):
        raise AssertionError(f"{shape.name}: the package says {whole}, this script {ours[0]}.")

    t = scipy_stats.t.ppf(0.5 + _LEVEL / 2, n - 1)
    reach_R = t * np.sqrt(square_R / (n * (n - 1)))
    sorted_BR = np.sort(values_BR, axis=0)
    below_R = ((values_BR < value_R).mean(axis=0) + (values_BR <= value_R).mean(axis=0)) / 2
    bias_R = scipy_stats.norm.ppf(np.clip(below_R, 1 / _RESAMPLES, 1 - 1 / _RESAMPLES))
    cubes_R = (influence_RN**3).sum(axis=1)
    skew_R = np.divide(cubes_R, 6 * square_R**1.5, out=np.zeros(sets), where=square_R > 0)
    z_2R = bias_R + np.array([[-1], [1]]) * scipy_stats.norm.ppf(0.5 + _LEVEL / 2)
    expanded = scipy_stats.norm.cdf(-t * math.sqrt(n / (n - 1)))
    tails = {
        "percentile": np.tile([[0.5 - _LEVEL / 2], [0.5 + _LEVEL / 2]], sets),
        "expanded": np.tile([[expanded], [1 - expanded]], sets),
        "BCa": scipy_stats.norm.cdf(bias_R + z_2R / (1 - skew_R * z_2R)),
    }
    return {
        **{name: _quantiles(sorted_BR, tail_2R) for name, tail_2R in tails.items()},
        "Student's t": np.stack([value_R - reach_R, value_R + reach_R]),
        "ours": np.array([[interval.low for interval in ours], [interval.high for interval in ours]]),
    }


def _quantiles(sorted_BR: np.ndarray, tail_2R: np.ndarray) -> np.ndarray:
    place = tail_2R * (len(sorted_BR) - 1)
    below = np.minimum(place.astype(int), len(sorted_BR) - 2)
    sets_R = np.arange(sorted_BR.shape[1])
    low, high = sorted_BR[below, sets_R], sorted_BR[below + 1, sets_R]
    return low + (place - below) * (high - low)


def _wilson_coverage(num_samples: int, shares: np.ndarray) -> np.ndarray:
    """Exact, in percent, for each true share."""
    right = np.arange(num_samples + 1)
    ends = [wilson_interval(int(successes), num_samples) for successes in right]
    low, high = np.array([i.low for i in ends]), np.array([i.high for i in ends])
    chances = scipy_stats.binom.pmf(right[None], num_samples, shares[:, None])
    return 100 * (chances * ((low <= shares[:, None]) & (shares[:, None] <= high))).sum(axis=1)


def _tango_coverage(num_samples: int, gained: float, lost: float) -> float:
    """Exact up to outcomes rarer than 1e-9, in percent; nothing gained or lost is [0, 0]."""
    total = 0.0
    outcome = scipy_stats.multinomial(num_samples, [gained, lost, 1 - gained - lost])
    for up in range(num_samples + 1):
        down = np.arange(num_samples + 1 - up)
        chances = outcome.pmf(np.stack([np.full_like(down, up), down, num_samples - up - down], axis=-1))
        for lower, chance in enumerate(chances.tolist()):
            if chance < 1e-9:
                continue
            ends = tango_interval(up, lower, num_samples) if up or lower else None
            low, high = (ends.low, ends.high) if ends else (0.0, 0.0)
            total += chance * (low - 1e-12 <= gained - lost <= high + 1e-12)
    return 100 * total


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", type=int, default=2000)
    parser.add_argument("--sizes", default="20,50,100,200,500")
    parser.add_argument("--only", default="")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    sizes = [int(size) for size in options.sizes.split(",")]
    rows: list[dict[str, object]] = []
    for shape in SHAPES:
        for size in sizes if options.only.lower() in shape.name.lower() else []:
            rows.append({"shape": shape.name, "n": size, **_coverage(shape, size, options.sets)})
            _show(rows[-1], options.json)
    for size in sizes if options.only.lower() in "wilson" else []:
        held = _wilson_coverage(size, np.linspace(0.05, 0.95, 1801))
        rows.append({"shape": "Wilson, shares 5 to 95 %", "n": size, "least": held.min(), "mean": held.mean()})
        _show(rows[-1], options.json)
    for gained, lost in [(0.3, 0.3), (0.1, 0.1), (0.05, 0.05), (0.02, 0.02), (0.3, 0.1), (0.2, 0.05), (0.1, 0.02)]:
        for size in sizes if options.only.lower() in "tango" else []:
            name = f"Tango, {gained:.0%} gained, {lost:.0%} lost"
            rows.append({"shape": name, "n": size, "exact": _tango_coverage(size, gained, lost)})
            _show(rows[-1], options.json)


def _show(row: dict[str, object], as_json: bool) -> None:  # noqa: FBT001 - one caller
    if as_json:
        print(json.dumps(row), flush=True)
        return
    cells = [f"{value:.1f}" if isinstance(value, float) else str(value) for value in row.values()]
    labels = [f"{name} {cell}" for name, cell in zip(list(row)[2:], cells[2:], strict=True)]
    print(f"| {cells[0]} | {cells[1]} | {' | '.join(labels)} |", flush=True)


if __name__ == "__main__":
    main()
