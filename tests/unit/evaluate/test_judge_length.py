"""Length control against an independent optimiser, by hand, and over simulated judges whose truth is known."""

import numpy as np
import pytest
from scipy.optimize import minimize

from tuneloop.evaluate.judge.length import control_length


def lengths(size: int, seed: int, more: float = 0.0) -> tuple[list[int], list[int]]:
    rng = np.random.default_rng(seed)
    return (
        (rng.integers(50, 900, size) * (1 + more)).astype(int).tolist(),
        rng.integers(50, 900, size).tolist(),
    )


def control(outcomes: list[float], a: list[int], b: list[int], resamples: int = 200):
    return control_length(outcomes, a, b, seed=0, resamples=resamples)


def test_it_is_the_best_of_the_penalised_likelihood() -> None:
    a, b = lengths(60, seed=1)
    outcomes = np.random.default_rng(2).choice([0, 0.5, 1], 60).tolist()
    difference = np.array(a) - np.array(b)
    x, y = np.tanh(difference / difference.std()), np.array(outcomes)

    def loss(parameters: np.ndarray) -> float:
        logits = parameters[0] + parameters[1] * x
        return float(np.sum(np.logaddexp(0, logits) - y * logits) + parameters[1] ** 2 / 2)

    best = minimize(loss, np.zeros(2), method="BFGS", options={"gtol": 1e-9}).x
    found = control(outcomes, a, b)
    assert found.slope == pytest.approx(best[1], abs=1e-5)
    assert found.win_rate == pytest.approx(1 / (1 + np.exp(-best[0])), abs=1e-6)


def test_without_a_difference_in_length_it_is_the_plain_win_rate() -> None:
    found = control([1, 1, 0.5, 0], [10] * 4, [10] * 4)
    assert found.win_rate == pytest.approx(0.625, abs=1e-9)
    assert (found.slope, found.longer_wins) == (0, None)


@pytest.mark.parametrize(("outcome", "win_rate"), [(1.0, 1.0), (0.0, 0.0), (0.5, 0.5)])
def test_equal_outcomes(outcome: float, win_rate: float) -> None:
    a, b = lengths(12, seed=3)
    found = control([outcome] * 12, a, b)
    assert found.win_rate == pytest.approx(win_rate, abs=1e-3)
    assert found.interval is not None
    assert found.interval.low <= found.win_rate <= found.interval.high


def test_outcomes_that_length_alone_separates_stay_finite() -> None:
    a, b = lengths(50, seed=4)
    outcomes = [float(left > right) for left, right in zip(a, b, strict=True)]
    found = control(outcomes, a, b)
    assert found.longer_wins == 1
    assert 1 < found.slope < 50
    assert 0.2 < found.win_rate < 0.8


def test_a_single_pair_has_no_interval() -> None:
    found = control([1.0], [10], [20])
    assert found.interval is None
    assert found.longer_wins == 0
    assert np.isfinite(found.slope)


@pytest.mark.slow
def test_the_interval_holds_the_truth_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(5)
    hits, trials = 0, 200
    for trial in range(trials):
        a, b = lengths(80, seed=100 + trial, more=0.5)
        difference = np.array(a) - np.array(b)
        p = 1 / (1 + np.exp(-(0.4 + 1.2 * np.tanh(difference / difference.std()))))
        found = control((rng.random(80) < p).astype(float).tolist(), a, b, resamples=400)
        assert found.interval is not None
        hits += found.interval.low <= 1 / (1 + np.exp(-0.4)) <= found.interval.high
    # 95 % of 200 is 190, with a standard deviation of 3.
    assert 180 <= hits <= 200
