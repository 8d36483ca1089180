"""Every optimiser: its state through files bit for bit, its groups, and that it learns."""

from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from tuneloop.core.errors import ConfigError, MissingError
from tuneloop.train.config import StageConfig
from tuneloop.train.optim import build_optimizer, optimizer_tensors, restore_optimizer, set_learning_rate
from tuneloop.train.tensors import read_tensors, whole, write_shards
from tuneloop.tune.config import FullConfig
from unit.train.training_kit import Killed, Lab, Watch, kill_at, outcome, random_rows

PAGED = ("paged_adamw", "paged_adamw_8bit")
LIBRARIES = dict.fromkeys(("adamw_8bit", *PAGED), "bitsandbytes") | dict.fromkeys(
    ("lion", "galore"), "pytorch_optimizer"
)
KINDS = [
    pytest.param(kind, id=kind) for kind in ("adamw", "adamw_8bit", "adafactor", "muon", "lion", "galore", "apollo")
]
RATE = 0.01


def settings(kind: str, **changes: object) -> StageConfig:
    if kind in LIBRARIES:
        pytest.importorskip(LIBRARIES[kind])
    values = {"optimizer": kind, "optimizer_rank": 4, "optimizer_update_steps": 4, "weight_decay": 0.1}
    return StageConfig.model_validate(values | changes)


def some_weights() -> dict[str, nn.Parameter]:
    """A tall, a wide and a thin matrix, an embedding, a vector; large enough for 8 bits, and too small for them."""
    torch.manual_seed(0)
    shapes = {
        "model.embed_tokens.weight": (96, 48),
        "model.layers.0.up.weight": (128, 48),
        "model.layers.0.down.weight": (48, 128),
        "model.layers.0.lora_A.weight": (3, 48),
        "model.layers.0.norm.weight": (48,),
    }
    return {name: nn.Parameter(torch.randn(shape) / 8) for name, shape in shapes.items()}


def advance(weights: Mapping[str, nn.Parameter], optimizer: torch.optim.Optimizer, steps: range) -> None:
    """Steps as the loop makes them: chance is a function of the step."""
    for step in steps:
        torch.manual_seed(step)
        set_learning_rate(optimizer, RATE / (1 + step))
        for weight in weights.values():
            weight.grad = torch.randn_like(weight) * 0.01
        optimizer.step()


def copies(weights: Mapping[str, nn.Parameter]) -> dict[str, nn.Parameter]:
    return {name: nn.Parameter(weight.detach().clone()) for name, weight in weights.items()}


def equal(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(
        torch.equal(one[name], other[name]) and one[name].dtype == other[name].dtype for name in one
    )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("saved_after", [3, 4, 6])
def test_a_state_through_files_goes_on_bit_for_bit(kind: str, saved_after: int, tmp_path: Path) -> None:
    """At 4 a new space is due in the next step (apollo) or was chosen in the last one (galore)."""
    config, factors = settings(kind), {"model.layers.0.up.weight": 16.0}
    straight = some_weights()
    optimizer = build_optimizer(straight, config, factors)
    advance(straight, optimizer, range(saved_after))
    table = write_shards(tmp_path, whole(optimizer_tensors(optimizer, straight)))
    resumed = copies(straight)
    advance(straight, optimizer, range(saved_after, 10))

    again = build_optimizer(resumed, config, factors)
    restore_optimizer(again, resumed, read_tensors(tmp_path, table))
    advance(resumed, again, range(saved_after, 10))
    assert equal(resumed, straight)
    assert equal(optimizer_tensors(again, resumed), optimizer_tensors(optimizer, straight))


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_killed_stage_ends_as_an_uninterrupted_one(kind: str, tiny_model: Path, tmp_path: Path) -> None:
    """Through the loop and its checkpoints: 6 steps, saved after 2 and 4, killed in the fifth."""
    stage = settings(kind, num_train_epochs=1, batch_size=2, learning_rate=1e-3, eval_steps=2, optimizer_update_steps=3)
    straight, killed = (
        Lab(tiny_model, tmp_path / name, tune=FullConfig(), stages=(stage,), rows=random_rows(12))
        for name in ("straight", "killed")
    )
    expected = outcome(straight, straight.fit())
    with pytest.raises(Killed):
        killed.fit(Watch(kill_at("step", 5)))
    assert outcome(killed, killed.fit()) == expected


@pytest.mark.parametrize("kind", KINDS)
def test_a_restored_state_is_its_own(kind: str) -> None:
    """Steps after a restore leave the tensors that it came from alone, and the saved tensors follow the optimiser."""
    config, weights = settings(kind), some_weights()
    optimizer = build_optimizer(weights, config)
    advance(weights, optimizer, range(2))
    saved = {name: tensor.clone() for name, tensor in optimizer_tensors(optimizer, weights).items()}
    before = {name: tensor.clone() for name, tensor in saved.items()}
    again = build_optimizer(weights, config)
    restore_optimizer(again, weights, saved)
    advance(weights, again, range(2, 4))
    assert equal(saved, before)
    assert not equal(optimizer_tensors(again, weights), before)


@pytest.mark.parametrize("kind", KINDS)
def test_a_rate_of_zero_moves_nothing(kind: str) -> None:
    weights = some_weights()
    before = copies(weights)
    optimizer = build_optimizer(weights, settings(kind))
    for weight in weights.values():
        weight.grad = torch.ones_like(weight)
    optimizer.step()
    assert equal(weights, before)


@pytest.mark.parametrize("kind", KINDS)
def test_factors_multiply_the_rate_and_vectors_do_not_decay(kind: str) -> None:
    weights = some_weights()
    name = "model.layers.0.down.weight"
    optimizer = build_optimizer(weights, settings(kind), {name: 16.0})
    set_learning_rate(optimizer, 0.25)
    place = {parameter: group for group in optimizer.param_groups for parameter in group["params"]}
    assert len(place) == len(weights) == sum(len(group["params"]) for group in optimizer.param_groups)
    for other, parameter in weights.items():
        assert place[parameter]["lr"] == (4.0 if other == name else 0.25)
        assert place[parameter]["weight_decay"] == (0.0 if parameter.ndim == 1 else 0.1)


@pytest.mark.parametrize("kind", KINDS)
def test_a_factor_makes_the_step_so_many_times_larger(kind: str) -> None:
    """The groups' numbers reach the weights, also through two optimisers as one."""
    moved = []
    for factor in (1.0, 8.0):
        weights = some_weights()
        before = copies(weights)
        optimizer = build_optimizer(weights, settings(kind, weight_decay=0.0), dict.fromkeys(weights, factor))
        advance(weights, optimizer, range(1))
        moved.append({name: (weights[name] - before[name]).norm().item() for name in weights})
    for name, distance in moved[0].items():
        assert distance > 0
        assert moved[1][name] == pytest.approx(8 * distance, rel=1e-3)


@pytest.mark.parametrize("kind", KINDS)
def test_decay_shrinks_matrices_by_rate_times_decay(kind: str) -> None:
    """Without a gradient (0) nothing else moves them."""
    weights = some_weights()
    before = copies(weights)
    optimizer = build_optimizer(weights, settings(kind, weight_decay=0.5))
    set_learning_rate(optimizer, 0.1)
    for weight in weights.values():
        weight.grad = torch.zeros_like(weight)
    optimizer.step()
    for name, weight in weights.items():
        factor = 1.0 if weight.ndim == 1 else 1 - 0.1 * 0.5
        torch.testing.assert_close(weight.detach(), before[name].detach() * factor, rtol=1e-5, atol=1e-7)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_it_learns(kind: str) -> None:
    """Linear regression behind an embedding: a tenth of the loss after 300 steps at one rate for all."""
    torch.manual_seed(0)
    network = nn.ModuleDict({"embed_tokens": nn.Embedding(32, 24), "up": nn.Linear(24, 40)})
    trainable = dict(network.named_parameters())
    targets = torch.randn(32, 40)
    optimizer = build_optimizer(trainable, settings(kind, weight_decay=0.0))
    losses = []
    for step in range(300):
        torch.manual_seed(step)
        set_learning_rate(optimizer, RATE)
        optimizer.zero_grad(set_to_none=True)
        loss = (network["up"](network["embed_tokens"](torch.arange(32))) - targets).square().mean()
        loss.backward()
        losses.append(loss.item())
        optimizer.step()
    assert losses[-1] < 0.1 * losses[0]


@pytest.mark.parametrize("kind", KINDS)
def test_a_parameter_without_gradient_stays_and_needs_no_state(kind: str) -> None:
    weights = some_weights()
    before = copies(weights)
    optimizer = build_optimizer(weights, settings(kind))
    set_learning_rate(optimizer, RATE)
    still = "model.layers.0.up.weight"
    for name, weight in weights.items():
        weight.grad = None if name == still else torch.ones_like(weight)
    optimizer.step()
    assert torch.equal(weights[still], before[still])
    resumed = copies(weights)
    again = build_optimizer(resumed, settings(kind))
    restore_optimizer(again, resumed, optimizer_tensors(optimizer, weights))
    advance(weights, optimizer, range(1, 3))
    advance(resumed, again, range(1, 3))
    assert equal(weights, resumed)


@pytest.mark.parametrize("kind", ["muon", "galore", "apollo"])
def test_embeddings_and_vectors_learn_with_adamw(kind: str) -> None:
    weights = some_weights()
    alone = copies(weights)
    for some, name in ((weights, kind), (alone, "adamw")):
        advance(some, build_optimizer(some, settings(name)), range(3))
    for name in ("model.embed_tokens.weight", "model.layers.0.norm.weight"):
        assert torch.equal(weights[name], alone[name])
    assert not torch.equal(weights["model.layers.0.up.weight"], alone["model.layers.0.up.weight"])


def test_apollo_draws_a_new_space_every_so_many_steps() -> None:
    weights, name = some_weights(), "seed/model.layers.0.up.weight"
    optimizer = build_optimizer(weights, settings("apollo"))
    seeds = []
    for step in range(9):
        advance(weights, optimizer, range(step, step + 1))
        seeds.append(int(optimizer_tensors(optimizer, weights)[name].item()))
    assert seeds == [*[seeds[0]] * 4, *[seeds[4]] * 4, seeds[8]]
    assert len(set(seeds)) == 3


@pytest.mark.parametrize("kind", ["galore", "apollo"])
def test_a_matrix_no_larger_than_the_rank_learns_with_adamw(kind: str) -> None:
    weights = some_weights()
    alone = copies(weights)
    for some, name in ((weights, kind), (alone, "adamw")):
        advance(some, build_optimizer(some, settings(name)), range(3))
    assert torch.equal(weights["model.layers.0.lora_A.weight"], alone["model.layers.0.lora_A.weight"])


@pytest.mark.parametrize(
    ("kind", "bytes_of"),
    [
        ("adamw", 8 * 128 * 48),
        ("adamw_8bit", 2 * 128 * 48 + 2 * 4 * 128 * 48 // 256),
        ("adafactor", 4 * (128 + 48)),
        ("muon", 4 * 128 * 48),
        ("lion", 4 * 128 * 48),
        ("galore", 4 * 4 * (2 * 128 + 48)),
        ("apollo", 4 * 4 * 2 * 128),
    ],
)
def test_the_state_is_as_large_as_its_documentation_says(kind: str, bytes_of: int) -> None:
    weights = some_weights()
    optimizer = build_optimizer(weights, settings(kind))
    advance(weights, optimizer, range(1))
    of_matrix = {
        key: tensor.nbytes
        for key, tensor in optimizer_tensors(optimizer, weights).items()
        if key.endswith("0.up.weight") and tensor.numel() > 1 and not key.startswith("qmap")
    }
    assert sum(of_matrix.values()) == bytes_of


def test_eight_bits_begin_at_4096_weights() -> None:
    weights = some_weights()
    optimizer = build_optimizer(weights, settings("adamw_8bit"))
    advance(weights, optimizer, range(1))
    tensors = optimizer_tensors(optimizer, weights)
    for name, weight in weights.items():
        assert (tensors[f"state1/{name}"].dtype == torch.uint8) == (weight.numel() >= 4096)


@pytest.mark.parametrize("kind", PAGED)
def test_paged_states_need_cuda(kind: str) -> None:
    with pytest.raises(ConfigError, match=r"stages.optimizer: paged.*CUDA.*adamw_8bit"):
        build_optimizer(some_weights(), StageConfig.model_validate({"optimizer": kind}))


@pytest.mark.parametrize(
    ("kind", "library", "extra"),
    [
        ("adamw_8bit", "bitsandbytes", "quant"),
        ("lion", "pytorch_optimizer", "optim"),
        ("galore", "pytorch_optimizer", "optim"),
    ],
)
def test_a_missing_library_is_named(kind: str, library: str, extra: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, library, None)
    with pytest.raises(MissingError, match=rf"stages.optimizer: {kind} needs {library}.*tuneloop\[{extra}\]"):
        build_optimizer(some_weights(), StageConfig.model_validate({"optimizer": kind, "optimizer_rank": 4}))


@pytest.mark.gpu
@pytest.mark.parametrize("kind", [*KINDS, *PAGED])
def test_a_state_goes_on_bit_for_bit_on_a_gpu(kind: str) -> None:
    config = settings(kind)
    big = {"model.layers.0.gate.weight": nn.Parameter(torch.randn(512, 512))}
    straight = {name: nn.Parameter(weight.detach().cuda()) for name, weight in (some_weights() | big).items()}
    optimizer = build_optimizer(straight, config)
    advance(straight, optimizer, range(5))
    saved = {name: tensor.cpu().clone() for name, tensor in optimizer_tensors(optimizer, straight).items()}
    resumed = copies(straight)
    advance(straight, optimizer, range(5, 10))
    again = build_optimizer(resumed, config)
    restore_optimizer(again, resumed, saved)
    if kind.startswith("paged"):
        assert again.state[resumed["model.layers.0.gate.weight"]]["state1"].is_paged
    advance(resumed, again, range(5, 10))
    assert equal(resumed, straight)
