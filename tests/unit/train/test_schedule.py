"""The learning rate, by hand."""

import pytest

from tuneloop.data.select.order import plain_plan
from tuneloop.train.config import StageConfig
from tuneloop.train.job import steps_of_stage
from tuneloop.train.schedule import learning_rate_factor


def factors(steps: int, warmup_ratio: float, kind: str) -> list[float]:
    config = StageConfig.model_validate({"warmup_ratio": warmup_ratio, "lr_scheduler_type": kind})
    return [learning_rate_factor(step, steps, config) for step in range(steps)]


def test_linear_without_warm_up() -> None:
    assert factors(10, 0.0, "linear") == pytest.approx([1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1])


def test_linear_with_warm_up() -> None:
    """Warm-up of ceil(10 x 0.25) = 3 steps rises by quarters; the fall takes the 7 that are left."""
    expected = [0.25, 0.5, 0.75, 1.0, 6 / 7, 5 / 7, 4 / 7, 3 / 7, 2 / 7, 1 / 7]
    assert factors(10, 0.25, "linear") == pytest.approx(expected)


def test_cosine() -> None:
    """(1 + cos(pi k / 4)) / 2 for k = 0, 1, 2, 3."""
    assert factors(4, 0.0, "cosine") == pytest.approx([1.0, 0.853553, 0.5, 0.146447], abs=1e-6)


def test_cosine_with_warm_up() -> None:
    assert factors(6, 1 / 3, "cosine") == pytest.approx([1 / 3, 2 / 3, 1.0, 0.853553, 0.5, 0.146447], abs=1e-6)


def test_constant_rises_and_stays() -> None:
    assert factors(5, 0.4, "constant") == pytest.approx([1 / 3, 2 / 3, 1.0, 1.0, 1.0])


@pytest.mark.parametrize("kind", ["linear", "cosine", "constant"])
@pytest.mark.parametrize("warmup_ratio", [0.0, 0.05, 0.5, 0.99])
@pytest.mark.parametrize("steps", [1, 2, 3, 17])
def test_every_step_learns_and_none_above_the_peak(kind: str, warmup_ratio: float, steps: int) -> None:
    assert all(0 < factor <= 1 for factor in factors(steps, warmup_ratio, kind))


@pytest.mark.parametrize(
    ("epochs", "max_steps", "rows", "batch", "expected"),
    [
        (2, None, 14, 4, 8),
        (0.5, None, 14, 4, 2),
        (0.3, None, 14, 4, 2),
        (3, 5, 14, 4, 5),
        (1, 50, 14, 4, 4),
        (1, None, 1, 32, 1),
    ],
)
def test_steps_of_a_stage(epochs: float, max_steps: int | None, rows: int, batch: int, expected: int) -> None:
    """14 rows in batches of 4 make 4 steps an epoch, the last of 2 rows."""
    stage = StageConfig(num_train_epochs=epochs, max_steps=max_steps, batch_size=batch)
    assert steps_of_stage(stage, plain_plan(rows, seed=0)) == expected
