"""How often 95 % intervals hold the truth: sets are drawn from known shapes, and the misses are counted."""

import functools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import pytest

from tuneloop.evaluate import stats
from tuneloop.evaluate.metrics.metric import mean
from tuneloop.evaluate.proportions import tango_interval, wilson_interval
from tuneloop.evaluate.stats import compare, score_set

LEAST, MOST = 0.93, 0.97
RESAMPLES = 500


class Sums:
    """A function of sums, with no text behind it."""

    name = "sums"
    higher_is_better = True
    is_proportion = False

    def __init__(self, combine: Callable[[np.ndarray], float]) -> None:
        self.combine = combine

    def signature(self) -> str:
        return "sums"

    def statistics(self, prediction: str, references: object) -> np.ndarray:
        raise NotImplementedError

    def sample_value(self, statistics_K: np.ndarray) -> float:
        return self.combine(statistics_K)

    def parts(self, totals_K: np.ndarray) -> dict[str, float]:
        return {"statistics": float(len(totals_K))}


@dataclass(frozen=True)
class Shape:
    """A kind of scores: statistics of n samples, how they combine, and the value of all samples there could be."""

    draw: Callable[[np.random.Generator, int], np.ndarray]
    truth: float
    combine: Callable[[np.ndarray], float] = mean


def scores(draw: Callable[[np.random.Generator, int], np.ndarray]) -> Callable[[np.random.Generator, int], np.ndarray]:
    return lambda rng, n: np.column_stack([draw(rng, n), np.ones(n)])


def inflated(rng: np.random.Generator, n: int) -> np.ndarray:
    return np.select([rng.random(n) < 0.4, rng.random(n) < 1 / 3], [0.0, 1.0], rng.beta(2, 2, n))


def token_loss(rng: np.random.Generator, n: int) -> np.ndarray:
    tokens = np.ceil(rng.lognormal(3.5, 0.9, n))
    return np.column_stack([tokens * rng.gamma(3, 0.5, n), tokens])


def entities(rng: np.random.Generator, n: int) -> np.ndarray:
    """Ten times as likely right as a wrong one is made up or a right one missed: F1 is 10/11."""
    return np.column_stack([rng.poisson(2.0, n), rng.poisson(0.2, n), rng.poisson(0.2, n)]).astype(float)


def f1(totals_K: np.ndarray) -> float:
    right, made_up, missed = totals_K.tolist()
    return 2 * right / (2 * right + made_up + missed) if right else 0.0


def differences(rng: np.random.Generator, n: int) -> np.ndarray:
    """Three of ten rows stay as they are; the others move, a few of them far."""
    spread = np.where(rng.random(n) < 0.1, 0.45, 0.15)
    return np.where(rng.random(n) < 0.3, 0.0, rng.normal(0.05, spread))


SHAPES = {
    "skewed": Shape(scores(lambda rng, n: rng.beta(0.5, 3, n)), 1 / 7),
    "lognormal": Shape(scores(lambda rng, n: rng.lognormal(0, 0.8, n)), math.exp(0.32)),
    "zeros and ones": Shape(scores(inflated), 0.4),
    "token loss": Shape(token_loss, 1.5),
    "F1 of sums": Shape(entities, 10 / 11, f1),
    "differences": Shape(scores(differences), 0.035),
}


@pytest.fixture
def _draw_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Resamples depend on the number of samples and the seed alone: those of few seeds serve all sets."""
    draw = stats._draw_counts

    @functools.cache
    def drawn(num_samples: int, seed: int, resamples: int) -> list[np.ndarray]:
        return list(draw(num_samples, seed=seed, resamples=resamples))

    def again(num_samples: int, *, seed: int, resamples: int) -> Iterator[np.ndarray]:
        return iter(drawn(num_samples, seed, resamples))

    monkeypatch.setattr(stats, "_draw_counts", again)


def coverage(shape: Shape, num_samples: int, num_sets: int) -> float:
    rng = np.random.default_rng(num_samples)
    metric = Sums(shape.combine)
    held = 0
    for repeat in range(num_sets):
        statistics_NK = shape.draw(rng, num_samples)
        interval = score_set(metric, statistics_NK, seed=repeat % 10, resamples=RESAMPLES).interval
        assert interval is not None
        held += interval.low <= shape.truth <= interval.high
    return held / num_sets


def scatter(num_sets: int) -> float:
    """Two standard errors of a share near 95 % that is counted over so many sets."""
    return 2 * math.sqrt(0.95 * 0.05 / num_sets)


@pytest.mark.usefixtures("_draw_once")
@pytest.mark.parametrize(("name", "num_samples"), [("lognormal", 20), ("token loss", 20)])
def test_intervals_hold_the_truth(name: str, num_samples: int) -> None:
    # The plain percentile interval holds 88 % of both: this fails with it.
    assert LEAST - scatter(500) <= coverage(SHAPES[name], num_samples, 500) <= MOST + scatter(500)


@pytest.mark.slow
@pytest.mark.usefixtures("_draw_once")
@pytest.mark.parametrize("num_samples", [20, 50, 100, 200])
@pytest.mark.parametrize("name", SHAPES)
def test_intervals_hold_the_truth_over_many_sets(name: str, num_samples: int) -> None:
    assert LEAST - scatter(1500) <= coverage(SHAPES[name], num_samples, 1500) <= MOST + scatter(1500)


@pytest.mark.usefixtures("_draw_once")
def test_paired_intervals_hold_the_truth() -> None:
    """Both sides share what is hard about a row; the second is better by 0.05 on average."""
    rng = np.random.default_rng(9)
    metric = Sums(mean)
    held = 0
    for repeat in range(300):
        hard = rng.exponential(size=20)
        before = np.column_stack([hard + rng.exponential(0.2, 20), np.ones(20)])
        after = np.column_stack([hard + rng.exponential(0.25, 20), np.ones(20)])
        interval = compare(metric, before, after, seed=repeat % 10, resamples=200).interval
        assert interval is not None
        held += interval.low <= 0.05 <= interval.high
    assert LEAST - scatter(300) <= held / 300 <= MOST + scatter(300)


@pytest.mark.parametrize(("num_samples", "least"), [(20, 0.917), (100, 0.927), (500, 0.938)])
def test_wilson_holds_shares_on_average_and_nowhere_much_less(num_samples: int, least: float) -> None:
    """Exact: a sum over all outcomes, for shares from 5 to 95 %."""
    right = np.arange(num_samples + 1)
    log_ways = np.array(
        [math.lgamma(num_samples + 1) - math.lgamma(k + 1) - math.lgamma(num_samples - k + 1) for k in right]
    )
    found = [wilson_interval(int(k), num_samples) for k in right]
    low, high = np.array([i.low for i in found]), np.array([i.high for i in found])
    held = []
    for share in np.linspace(0.05, 0.95, 361):
        chances = np.exp(log_ways + right * math.log(share) + (num_samples - right) * math.log(1 - share))
        held.append(chances[(low <= share) & (share <= high)].sum())
    assert 0.945 <= np.mean(held) <= 0.96
    assert min(held) >= least


@pytest.mark.parametrize(
    ("num_samples", "gained", "lost"),
    [(20, 0.3, 0.3), (20, 0.3, 0.1), (20, 0.2, 0.05), (50, 0.1, 0.1), (50, 0.1, 0.02), (100, 0.02, 0.02)],
)
def test_tango_holds_differences_of_shares(num_samples: int, gained: float, lost: float) -> None:
    """Exact: a sum over all outcomes, with nothing gained or lost taken for [0, 0] as `compare` does."""
    held = 0.0
    for up in range(num_samples + 1):
        for down in range(num_samples + 1 - up):
            same = num_samples - up - down
            chance = math.exp(
                math.lgamma(num_samples + 1)
                - sum(math.lgamma(count + 1) for count in (up, down, same))
                + up * math.log(gained)
                + down * math.log(lost)
                + same * math.log(1 - gained - lost)
            )
            if chance > 1e-7:
                ends = tango_interval(up, down, num_samples)
                low, high = (ends.low, ends.high) if up or down else (0.0, 0.0)
                held += chance * (low - 1e-9 <= gained - lost <= high + 1e-9)
    assert LEAST <= held <= MOST
