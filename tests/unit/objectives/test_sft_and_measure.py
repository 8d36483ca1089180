"""The objective and the validation loss: what they divide by, and what they leave as it was."""

import math
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tuneloop.batch import Batch, Head, total_counts
from tuneloop.core.errors import StoppedError
from tuneloop.core.stop import Stop
from tuneloop.data.batches import build_batch, build_batches
from tuneloop.evaluate.run import row_losses
from tuneloop.objectives.config import SftConfig
from tuneloop.objectives.measure import mean_loss, measure_batches
from tuneloop.objectives.sft import Sft, build_objective
from tuneloop.tune.build import apply_tune
from tuneloop.tune.config import LoraConfig
from unit.train.training_kit import load, random_rows


@dataclass
class Known:
    """A model whose losses can be told beforehand: log 4 where `sure` is 0, nearly 0 for token 0 where it is large."""

    sure: float = 0.0

    @property
    def head(self) -> Head:
        return Head(torch.tensor([[self.sure], [0.0], [0.0], [0.0]]))

    def states(self, batch: Batch) -> Tensor:
        return torch.ones(batch.num_targets, 1)


def batch_of(targets: list[int], weights: list[float]) -> Batch:
    number = len(targets)
    return Batch(
        ids_T=torch.zeros(number + 1, dtype=torch.int64),
        positions_T=torch.arange(number + 1),
        bounds=(0, number + 1),
        predictors_N=torch.arange(number),
        targets_N=torch.tensor(targets),
        weights_N=torch.tensor(weights),
        conversation_N=torch.zeros(number, dtype=torch.int64),
    )


def test_sft_by_hand() -> None:
    """Four equal logits: log 4 a token, whatever the weights; half of it where the step has twice the weight."""
    batch = batch_of([0, 1, 3], [1.0, 0.5, 0.5])
    assert Sft().counts(batch) == {"tokens": 2.0}
    assert Sft().loss(Known(), batch, {"tokens": 2.0}).item() == pytest.approx(math.log(4))
    assert Sft().loss(Known(), batch, {"tokens": 4.0}).item() == pytest.approx(math.log(4) / 2)


def test_weights_decide_how_much_a_token_counts() -> None:
    """p(0) = 0.5 and p(1) = 1/6 with a logit of log 3: (3 log 2 + log 6) / 4."""
    batch = batch_of([0, 1], [3.0, 1.0])
    expected = (3 * math.log(2) + math.log(6)) / 4
    assert Sft().loss(Known(math.log(3)), batch, Sft().counts(batch)).item() == pytest.approx(expected)


def test_the_recipes_word_is_the_objective() -> None:
    assert isinstance(build_objective(SftConfig()), Sft)


def test_validation_is_the_weighted_mean_over_all_batches(tiny_model: Path) -> None:
    """Not a mean of the batches' means; and the same number as the training loss has without an update."""
    model = load(tiny_model)
    rows = random_rows(6)
    rows[0].weights[:-1] = 0.0
    rows[1].weights[-1] = 3.0
    whole = build_batch(rows)
    with torch.no_grad():
        expected = Sft().loss(model, whole, total_counts(Sft(), [whole])).item()
    for budget in (1, 64, 10_000):
        batches = build_batches(rows, budget=budget)
        assert mean_loss(model, batches, stop=Stop()) == pytest.approx(expected, rel=1e-6)
    means = [mean_loss(model, [batch], stop=Stop()) for batch in build_batches(rows, budget=1)]
    assert sum(means) / len(means) != pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("training", [False, True])
def test_measuring_has_no_dropout_and_leaves_the_mode_as_it_was(
    training: bool,  # noqa: FBT001 - a parameter of pytest
    tiny_model: Path,
) -> None:
    model = load(tiny_model)
    tuned = apply_tune(model, LoraConfig(rank=2, dropout=0.5), seed=0)
    with torch.no_grad():
        for parameter in tuned.trainable.values():
            parameter.fill_(0.05)
    batches = build_batches(random_rows(4), budget=64)
    model.network.train(training)
    losses = {mean_loss(model, batches, stop=Stop()) for _ in range(2)}
    assert len(losses) == 1
    assert model.network.training is training
    for _, nll_N in measure_batches(model, batches, stop=Stop()):
        assert not nll_N.requires_grad
        assert not model.network.training
        break
    assert model.network.training is training


def test_a_stop_leaves_the_mode_as_it_was(tiny_model: Path) -> None:
    model = load(tiny_model)
    model.network.train()
    stop = Stop()
    batches = build_batches(random_rows(4), budget=1)
    measured = measure_batches(model, batches, stop=stop)
    next(measured)
    stop.requested = True
    with pytest.raises(StoppedError):
        next(measured)
    assert model.network.training


def test_losses_of_rows_are_in_the_order_of_the_rows(tiny_model: Path) -> None:
    """Sorted by length and batched inside; unweighted means of each row, as if it were alone."""
    model = load(tiny_model)
    rows = random_rows(7, longest=300)
    rows[2].weights[-1] = 5.0
    found = row_losses(model, rows, stop=Stop())
    for row, loss in zip(rows, found, strict=True):
        row.weights[row.weights > 0] = 1.0
        assert loss == pytest.approx(mean_loss(model, [build_batch([row])], stop=Stop()), rel=1e-5)
