"""Fused functions against peft's and transformers' own layers, and against float64 formulas."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tuneloop.data.batches import build_batch
from tuneloop.model.backbone import CausalModel
from tuneloop.model.fused import _RmsNorm, _SwiGlu, fuse_blocks
from tuneloop.objectives.sft import Sft
from tuneloop.tune.build import apply_tune
from tuneloop.tune.config import FullConfig, LoraConfig, TuneConfig
from tuneloop.tune.fused_lora import fuse_lora
from unit.train.training_kit import FAMILIES, load, random_rows

FamilyModel = Callable[[str], Path]
LORAS = {
    "plain": LoraConfig(rank=4, alpha=6),
    "rslora": LoraConfig(rank=4, alpha=6, use_rslora=True),
    "last block": LoraConfig(rank=2, alpha=8, trainable_blocks=1),
    "some layers": LoraConfig(rank=3, alpha=8, targets=("q_proj", "v_proj", "down_proj")),
}


def tuned(folder: Path, config: TuneConfig) -> tuple[CausalModel, dict[str, Any]]:
    """A model whose corrections are no longer silent."""
    model = load(folder)
    trainable = apply_tune(model, config, seed=0).trainable
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in trainable.items():
            if "lora_B" in name:
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.1)
    return model, trainable


def loss_and_gradients(model: CausalModel, trainable: dict[str, Any]) -> dict[str, Tensor]:
    for parameter in trainable.values():
        parameter.grad = None
    batch = build_batch(random_rows(4, shortest=3, longest=20))
    loss = Sft().loss(model, batch, Sft().counts(batch))
    loss.backward()
    return {"loss": loss.detach()} | {name: parameter.grad.clone() for name, parameter in trainable.items()}


@pytest.mark.parametrize("config", LORAS.values(), ids=LORAS)
def test_fused_lora_gives_pefts_loss_and_gradients(config: LoraConfig, tiny_model: Path) -> None:
    model, trainable = tuned(tiny_model, config)
    expected = loss_and_gradients(model, trainable)
    layers = sum(name.endswith("lora_A.default.weight") for name in trainable)
    assert fuse_lora(model) == layers > 0
    for name, value in loss_and_gradients(model, trainable).items():
        torch.testing.assert_close(value, expected[name], rtol=1e-4, atol=1e-6, msg=lambda text, name=name: name + text)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("config", [FullConfig(), LoraConfig(rank=2)], ids=["full", "lora"])
def test_fused_networks_give_the_same_in_every_family(
    family: str, config: TuneConfig, family_model: FamilyModel
) -> None:
    model, trainable = tuned(family_model(family), config)
    expected = loss_and_gradients(model, trainable)
    fuse_blocks(model.network)
    fuse_lora(model)
    for name, value in loss_and_gradients(model, trainable).items():
        scale = float(expected[name].abs().max())
        torch.testing.assert_close(value, expected[name], rtol=1e-4, atol=1e-5 * max(scale, 1e-3))


def test_the_layers_of_a_llama_are_really_fused(tiny_model: Path) -> None:
    model = load(tiny_model)
    blocks = model.base.config.num_hidden_layers
    assert fuse_blocks(model.network) == 3 * blocks + 1
    assert fuse_blocks(model.network) == 0


def test_parameters_keep_their_names_and_values(tiny_model: Path) -> None:
    model, _ = tuned(tiny_model, LoraConfig(rank=2))
    before = {name: value.clone() for name, value in model.network.state_dict().items()}
    fuse_lora(model)
    after = model.network.state_dict()
    assert list(before) == list(after)
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_a_merge_after_fusing_is_the_merge(tiny_model: Path) -> None:
    plain, _ = tuned(tiny_model, LoraConfig(rank=2))
    fused, _ = tuned(tiny_model, LoraConfig(rank=2))
    fuse_lora(fused)
    ids = torch.arange(3, 12)[None]
    with torch.no_grad():
        expected = plain.network.merge_and_unload()(input_ids=ids).logits
        found = fused.network.merge_and_unload()(input_ids=ids).logits
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("config", [LoraConfig(rank=2, dropout=0.1), LoraConfig(rank=2, use_dora=True)])
def test_what_is_not_plain_is_left_alone(config: LoraConfig, tiny_model: Path) -> None:
    model, _ = tuned(tiny_model, config)
    assert fuse_lora(model) == 0


def test_layers_called_with_other_inputs_are_computed_apart(tiny_model: Path) -> None:
    """Query asks with one tensor, key with another: the shared product must not be handed out."""
    model, _ = tuned(tiny_model, LoraConfig(rank=2))
    attention = model.base.model.layers[0].self_attn
    hidden = model.base.config.hidden_size
    one, other = torch.randn(1, 3, hidden), torch.randn(1, 3, hidden)
    with torch.no_grad():
        expected = (attention.q_proj(one), attention.k_proj(other))
        fuse_lora(model)
        found = (attention.q_proj(one), attention.k_proj(other))
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b)


def test_rms_norm_is_the_published_formula() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, 5, 8, generator=generator, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(8, generator=generator, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda a, b: _RmsNorm.apply(a, b, 1e-6), (x, weight))
    expected = weight * x / (x.square().mean(-1, keepdim=True) + 1e-6).sqrt()
    torch.testing.assert_close(_RmsNorm.apply(x, weight, 1e-6), expected)


def test_swiglu_is_the_published_formula() -> None:
    generator = torch.Generator().manual_seed(0)
    gate = torch.randn(3, 4, generator=generator, dtype=torch.float64, requires_grad=True)
    up = torch.randn(3, 4, generator=generator, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(_SwiGlu.apply, (gate, up))
    torch.testing.assert_close(_SwiGlu.apply(gate, up), gate / (1 + torch.exp(-gate)) * up)
