"""AdamW against its own formula, and its state through a file."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from tuneloop.train.config import StageConfig
from tuneloop.train.optim import build_optimizer, optimizer_tensors, restore_optimizer, set_learning_rate


def two_weights() -> dict[str, nn.Parameter]:
    torch.manual_seed(0)
    return {"matrix": nn.Parameter(torch.randn(3, 2)), "norm": nn.Parameter(torch.randn(4))}


def give_gradients(weights: dict[str, nn.Parameter], seed: int) -> None:
    torch.manual_seed(seed)
    for weight in weights.values():
        weight.grad = torch.randn_like(weight)


def test_one_step_is_adamw_and_vectors_do_not_decay() -> None:
    """Loshchilov and Hutter 2019, algorithm 2, first step: w <- w - lr decay w - lr g / (|g| + eps)."""
    weights = two_weights()
    optimizer = build_optimizer(weights, StageConfig(weight_decay=0.5, adam_epsilon=1e-3))
    set_learning_rate(optimizer, 0.1)
    give_gradients(weights, 1)
    expected = {
        name: weight.detach() * (1 - 0.1 * (0.5 if name == "matrix" else 0.0))
        - 0.1 * weight.grad / (weight.grad.abs() + 1e-3)
        for name, weight in weights.items()
        if weight.grad is not None
    }
    optimizer.step()
    for name, weight in weights.items():
        torch.testing.assert_close(weight.detach(), expected[name], rtol=1e-5, atol=1e-6)


def test_the_stages_numbers_reach_every_group() -> None:
    optimizer = build_optimizer(two_weights(), StageConfig(weight_decay=0.2, adam_beta1=0.8, adam_beta2=0.9))
    set_learning_rate(optimizer, 0.25)
    assert [group["lr"] for group in optimizer.param_groups] == [0.25, 0.25]
    assert [group["betas"] for group in optimizer.param_groups] == [(0.8, 0.9)] * 2
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.2, 0.0]


def test_only_vectors_make_one_group() -> None:
    optimizer = build_optimizer({"norm": two_weights()["norm"]}, StageConfig(weight_decay=0.2))
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.0]


def test_a_saved_state_goes_on_bit_for_bit(tmp_path: Path) -> None:
    def advance(weights: dict[str, nn.Parameter], optimizer: torch.optim.Optimizer, seeds: range) -> None:
        for seed in seeds:
            give_gradients(weights, seed)
            optimizer.step()

    straight = two_weights()
    optimizer = build_optimizer(straight, StageConfig(weight_decay=0.1))
    set_learning_rate(optimizer, 0.1)
    advance(straight, optimizer, range(3))
    save_file(optimizer_tensors(optimizer, straight), tmp_path / "state.safetensors")
    resumed = {name: nn.Parameter(weight.detach().clone()) for name, weight in straight.items()}
    advance(straight, optimizer, range(3, 6))

    again = build_optimizer(resumed, StageConfig(weight_decay=0.1))
    restore_optimizer(again, resumed, load_file(tmp_path / "state.safetensors"))
    set_learning_rate(again, 0.1)
    advance(resumed, again, range(3, 6))
    for name, weight in straight.items():
        assert torch.equal(weight, resumed[name])
    one, other = optimizer_tensors(optimizer, straight), optimizer_tensors(again, resumed)
    assert set(one) == {f"{key}/{name}" for key in ("step", "exp_avg", "exp_avg_sq") for name in straight}
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_no_step_no_state() -> None:
    weights = two_weights()
    assert optimizer_tensors(build_optimizer(weights, StageConfig()), weights) == {}


def test_an_unknown_name_in_a_state_is_noticed() -> None:
    weights = two_weights()
    with pytest.raises(KeyError):
        restore_optimizer(build_optimizer(weights, StageConfig()), weights, {"exp_avg/other": torch.zeros(1)})
