"""How much of a win rate is length: a curve through outcomes by difference in length, read at no difference."""

from collections.abc import Sequence

import numpy as np

from tuneloop.core.seeds import derive_seed
from tuneloop.evaluate.judge.records import LengthControl
from tuneloop.evaluate.records import Interval
from tuneloop.evaluate.stats import calibrate

# Shapes: N judged pairs, B resamples (b of them at a time).

_MOST_LOG_ODDS = 20.0
"""Where all outcomes are the same the best intercept is infinite; this is a win rate of 1 to eight digits."""
_MOST_STEPS = 60
_SMALL = 1e-9
_CHUNK_CELLS = 1 << 20


def control_length(
    outcomes: Sequence[float], lengths_a: Sequence[int], lengths_b: Sequence[int], *, seed: int, resamples: int
) -> LengthControl:
    """The win rate of A that is left at equal length.

        P(A wins) = sigmoid(intercept + slope * x),   x = tanh((length of A - length of B) / s)
        controlled win rate = sigmoid(intercept)

    `outcomes` are 1, 1/2 or 0; s is the standard deviation of the differences, in characters. Fitted by maximum
    likelihood with half the square of the slope as a penalty (a standard normal prior), so that few pairs, or pairs
    that length alone separates, do not send it to infinity.

    Source: Dubois et al. 2024 (arXiv:2404.04475), equation 1, without its terms for the instruction's difficulty,
    which need other models' answers. By hand: where no lengths differ it is the plain win rate; where the slope is 0
    too. The interval is the bootstrap over pairs, calibrated as in `stats.calibrate` with sandwich standard errors.
    """
    outcome_N = np.array(outcomes, dtype=np.float64)
    difference_N = np.array(lengths_a, dtype=np.float64) - np.array(lengths_b, dtype=np.float64)
    # The order of the pairs must not show, not even in the last digit.
    order_N = np.lexsort((outcome_N, difference_N))
    outcome_N, difference_N = outcome_N[order_N], difference_N[order_N]
    scale = float(difference_N.std())
    x_N = np.tanh(difference_N / scale) if scale > 0 else np.zeros_like(difference_N)
    num_pairs = len(outcome_N)
    value_1, _, slope_1 = _fit(outcome_N, x_N, np.ones((1, num_pairs)))
    interval = None
    if num_pairs > 1:
        interval = _interval(outcome_N, x_N, float(value_1[0]), seed=seed, resamples=resamples)
    decided_N = (outcome_N != 0.5) & (difference_N != 0)  # noqa: PLR2004 - half a win is a tie
    longer_won_N = (outcome_N > 0.5) == (difference_N > 0)  # noqa: PLR2004 - half a win is a tie
    return LengthControl(
        win_rate=float(value_1[0]),
        interval=interval,
        slope=float(slope_1[0]),
        mean_length_a=float(np.mean(lengths_a)),
        mean_length_b=float(np.mean(lengths_b)),
        longer_wins=float(longer_won_N[decided_N].mean()) if decided_N.any() else None,
    )


def _interval(outcome_N: np.ndarray, x_N: np.ndarray, value: float, *, seed: int, resamples: int) -> Interval:
    num_pairs = len(outcome_N)
    rng = np.random.default_rng(derive_seed(seed, "length"))
    chunk = max(1, _CHUNK_CELLS // num_pairs)
    values, errors = [], []
    for start in range(0, resamples, chunk):
        size = min(chunk, resamples - start)
        counts_bN = rng.multinomial(num_pairs, np.full(num_pairs, 1 / num_pairs), size=size).astype(np.float64)
        value_b, error_b, _ = _fit(outcome_N, x_N, counts_bN)
        values.append(value_b)
        errors.append(error_b)
    return calibrate(np.concatenate(values), np.concatenate(errors), value=value, num_samples=num_pairs, level=0.95)


def _fit(outcome_N: np.ndarray, x_N: np.ndarray, counts_bN: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Newton's method for all resamples at once: win rate at x = 0, its standard error, slope; each [b]."""
    intercept_b, slope_b = np.zeros(len(counts_bN)), np.zeros(len(counts_bN))
    for _ in range(_MOST_STEPS):
        p_bN = _sigmoid(intercept_b[:, None] + slope_b[:, None] * x_N)
        hessian = _hessian(p_bN, x_N, counts_bN)
        residual_bN = counts_bN * (outcome_N - p_bN)
        gradient_b, gradient_slope_b = residual_bN.sum(axis=1), residual_bN @ x_N - slope_b
        step_b, step_slope_b = _solve(hessian, gradient_b, gradient_slope_b)
        # Far from the top a whole step may leap over it; the likelihood is concave, so that short ones arrive.
        shrink_b = 1 / np.maximum(1.0, np.maximum(abs(step_b), abs(step_slope_b)))
        before_b = intercept_b
        intercept_b = np.clip(intercept_b + shrink_b * step_b, -_MOST_LOG_ODDS, _MOST_LOG_ODDS)
        slope_b = slope_b + shrink_b * step_slope_b
        if np.all(abs(intercept_b - before_b) < _SMALL) and np.all(abs(step_slope_b) < _SMALL):
            break
    p_bN = _sigmoid(intercept_b[:, None] + slope_b[:, None] * x_N)
    square_bN = counts_bN * (outcome_N - p_bN) ** 2
    # The first row of the inverse Hessian is what the intercept does when a pair is added.
    row_b, row_slope_b = _solve(_hessian(p_bN, x_N, counts_bN), np.ones(len(counts_bN)), np.zeros(len(counts_bN)))
    variance_b = (square_bN * (row_b[:, None] + row_slope_b[:, None] * x_N) ** 2).sum(axis=1)
    win_rate_b = _sigmoid(intercept_b)
    return win_rate_b, win_rate_b * (1 - win_rate_b) * np.sqrt(variance_b), slope_b


def _hessian(p_bN: np.ndarray, x_N: np.ndarray, counts_bN: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Second derivatives of the loss: by the intercept, by both, by the slope with its penalty."""
    weight_bN = counts_bN * p_bN * (1 - p_bN)
    return weight_bN.sum(axis=1) + 1e-12, weight_bN @ x_N, weight_bN @ x_N**2 + 1.0


def _solve(
    hessian: tuple[np.ndarray, np.ndarray, np.ndarray], first_b: np.ndarray, second_b: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    one_b, both_b, two_b = hessian
    determinant_b = one_b * two_b - both_b**2
    return (two_b * first_b - both_b * second_b) / determinant_b, (one_b * second_b - both_b * first_b) / determinant_b


def _sigmoid(values: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-values))
