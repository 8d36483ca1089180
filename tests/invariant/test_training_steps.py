"""What must not matter to a step: checkpointed activations, its split into micro-batches, a second try of the seed."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tuneloop.batch import Batch, Counts, Model, total_counts
from tuneloop.core.stop import Stop
from tuneloop.data.batches import build_batch, build_batches
from tuneloop.data.tokens.block import TokenRow
from tuneloop.model.backbone import CausalModel
from tuneloop.model.quiet import quiet_transformers
from tuneloop.objectives.sft import Sft
from tuneloop.train.config import StageConfig
from tuneloop.train.step import StepReport, train_step
from tuneloop.tune.build import apply_tune
from tuneloop.tune.config import FreezeConfig, FullConfig, LoraConfig, TuneConfig
from unit.train.training_kit import FAMILIES, Lab, load, outcome, random_rows

FamilyModel = Callable[[str], Path]

CONV1D_WARNING = "ignore:fan_in_fan_out is set to False"
WIDE = 1e9
"""A gradient norm that is never clipped."""


def step(model: CausalModel, batches: list[Batch], objective: Sft | None = None) -> StepReport:
    """One step of SGD at rate 0: gradients stay to be looked at, weights stay as they are."""
    optimizer = torch.optim.SGD(model.network.parameters(), lr=0.0)
    return train_step(model, objective or Sft(), batches, optimizer, max_grad_norm=WIDE, stop=Stop())


def gradients(model: CausalModel) -> dict[str, Tensor]:
    return {
        name: parameter.grad.clone()
        for name, parameter in model.network.named_parameters()
        if parameter.grad is not None
    }


TUNES: dict[str, TuneConfig] = {
    "full": FullConfig(),
    "freeze": FreezeConfig(trainable_blocks=1),
    "lora": LoraConfig(rank=2, dropout=0.3),
}
CASES = [*((family, "full") for family in FAMILIES), ("llama", "freeze"), ("llama", "lora"), ("gpt2", "lora")]


@pytest.mark.filterwarnings(CONV1D_WARNING)
@pytest.mark.parametrize(("family", "kind"), CASES)
def test_checkpointed_activations_give_the_same_gradients(family: str, kind: str, family_model: FamilyModel) -> None:
    """The same operations on the same numbers, dropout included: equal bit for bit."""
    model = load(family_model(family))
    tuned = apply_tune(model, TUNES[kind], seed=0)
    batch = build_batch(random_rows(3))
    found = []
    for checkpointing in (False, True):
        model.network.train()
        model.network.zero_grad()
        if checkpointing:
            with quiet_transformers():
                model.base.gradient_checkpointing_enable({"use_reentrant": False})
        torch.manual_seed(5)
        loss = Sft().loss(model, batch, {"tokens": 10.0})
        saved = 0

        def count(tensor: Tensor) -> Tensor:
            nonlocal saved
            saved += tensor.numel()
            return tensor

        torch.manual_seed(5)
        with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
            Sft().loss(model, batch, {"tokens": 10.0})
        loss.backward()
        found.append((loss.item(), gradients(model), saved))
    (loss_one, plain, kept), (loss_two, again, kept_less) = found
    assert loss_one == loss_two
    assert plain.keys() == again.keys() == tuned.trainable.keys()
    assert kept_less < kept
    for name, gradient in plain.items():
        assert torch.equal(gradient, again[name]), name


def uneven_batches() -> list[Batch]:
    """Two micro-batches, one of which has few targets."""
    rows = random_rows(6)
    rows[0].weights[:-1] = 0.0
    return [build_batch(rows[:1]), build_batch(rows[1:])]


class _MeanOfMeans(Sft):
    """The bug that this file is about."""

    def loss(self, model: Model, batch: Batch, counts: Counts) -> Tensor:
        del counts
        return super().loss(model, batch, self.counts(batch)) / 2


def test_accumulation_divides_by_the_count_of_the_whole_step(tiny_model: Path) -> None:
    """Two micro-batches make the step that one batch would; a mean of their means is far from it."""
    model = load(tiny_model)
    model.network.requires_grad_(requires_grad=True)
    small, large = uneven_batches()
    assert small.num_targets * 10 < large.num_targets
    whole_rows = random_rows(6)
    whole_rows[0].weights[:-1] = 0.0
    whole = [build_batch(whole_rows)]

    expected = step(model, whole)
    expected_gradients = gradients(model)
    found = step(model, [small, large])
    found_gradients = gradients(model)
    assert found.counts == expected.counts == {"tokens": float(small.num_targets + large.num_targets)}
    assert found.loss == pytest.approx(expected.loss, rel=1e-6)
    assert found.grad_norm == pytest.approx(expected.grad_norm, rel=1e-5)
    largest = max(float(gradient.abs().max()) for gradient in expected_gradients.values())
    for name, gradient in expected_gradients.items():
        torch.testing.assert_close(found_gradients[name], gradient, rtol=1e-5, atol=1e-5 * largest)

    wrong = step(model, [small, large], _MeanOfMeans())
    assert abs(wrong.loss - expected.loss) > 1e-2 * expected.loss
    assert abs(wrong.grad_norm - expected.grad_norm) > 1e-2 * expected.grad_norm


def test_counts_are_sums_of_weights_over_all_batches() -> None:
    rows = random_rows(4)
    rows[1].weights[-1] = 2.5
    batches = build_batches(rows, budget=1)
    expected = float(sum(row.weights[1:].sum() for row in rows))
    assert total_counts(Sft(), batches) == {"tokens": pytest.approx(expected)}


def train(base: Path, where: Path, *, rows: list[TokenRow] | None = None, seed: int = 0, **changes: object) -> dict:
    stage = StageConfig(max_steps=4, batch_size=4, learning_rate=1e-3, micro_batch_tokens=64, eval_steps=2)
    lab = Lab(base, where, stages=(stage.replace(**changes),), seed=seed, rows=rows or random_rows(14))
    return outcome(lab, lab.fit())


def test_the_same_seed_gives_the_same_bytes_and_another_one_does_not(tiny_model: Path, tmp_path: Path) -> None:
    first = train(tiny_model, tmp_path / "a")
    # What other code draws in between must not matter.
    torch.manual_seed(1234)
    torch.rand(3)
    assert train(tiny_model, tmp_path / "b") == first
    assert train(tiny_model, tmp_path / "c", seed=1)["weights"] != first["weights"]


def test_checkpointing_in_the_loop_warns_of_nothing(tiny_model: Path, tmp_path: Path) -> None:
    train(tiny_model, tmp_path, gradient_checkpointing=True)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:`gradient_checkpointing_:FutureWarning")
def test_checkpointing_in_the_loop_gives_the_same_bytes(tiny_model: Path, tmp_path: Path) -> None:
    first = train(tiny_model, tmp_path / "a")
    assert train(tiny_model, tmp_path / "b", gradient_checkpointing=True) == first


def test_memory_not_results_depends_on_micro_batch_tokens(tiny_model: Path, tmp_path: Path) -> None:
    """Losses agree to float32; after Adam's division weights may differ by more, so these are not compared."""
    losses = []
    for budget in (1, 64, 4096):
        lab = Lab(
            tiny_model,
            tmp_path / str(budget),
            tune=FullConfig(),
            stages=(StageConfig(max_steps=3, batch_size=6, learning_rate=1e-3, micro_batch_tokens=budget),),
        )
        progress = lab.fit().progress
        losses.append((progress.last_train_loss, progress.last_validation_loss, progress.tokens))
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    assert losses[0] == pytest.approx(losses[2], rel=1e-4)
