"""Quantised layers against formulas of their own, and training beside them against training on the rounded weights."""

import random
from collections.abc import Callable
from pathlib import Path
from statistics import NormalDist
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tuneloop.data.batches import build_batch
from tuneloop.deploy.adapter import merge
from tuneloop.model.backbone import CausalModel
from tuneloop.model.config import ModelConfig
from tuneloop.model.fused import fuse_blocks
from tuneloop.model.load import load_model
from tuneloop.model.quantize import QuantisedLinear, dequantise, quantise_linear, quantised_layers
from tuneloop.model.quiet import quiet_transformers
from tuneloop.objectives.sft import Sft
from tuneloop.tune.build import apply_tune
from tuneloop.tune.config import AdapterConfig, Ia3Config, LoraConfig, OftConfig, TuneConfig, VeraConfig
from tuneloop.tune.fused_lora import fuse_lora
from unit.train.training_kit import HARDWARE, random_rows

pytest.importorskip("bitsandbytes")

FamilyModel = Callable[[str], Path]
SHAPES = [(64, 64), (64, 32), (7, 48), (33, 96), (5, 7), (1, 3), (8, 576), (40, 100)]
"""Rows that are whole blocks, that share a block, that end in the middle of one."""

METHODS: dict[str, TuneConfig] = {
    "lora": LoraConfig(rank=4),
    "some": LoraConfig(rank=3, targets=("q_proj", "v_proj", "down_proj"), trainable_blocks=2),
    "dropout": LoraConfig(rank=4, dropout=0.2),
    "rslora": LoraConfig(rank=4, use_rslora=True),
    "dora": LoraConfig(rank=4, use_dora=True),
    "orthogonal": LoraConfig(rank=4, init="orthogonal"),
    "oft": OftConfig(block_size=8),
    "vera": VeraConfig(rank=8),
    "ia3": Ia3Config(),
    "adapter": AdapterConfig(bottleneck=4),
}


def quantised(weight_OI: Tensor, kind: Any, *, double: bool = False, bias: Tensor | None = None) -> QuantisedLinear:
    plain = nn.Linear(weight_OI.shape[1], weight_OI.shape[0], bias=bias is not None)
    if bias is not None:
        plain.bias = nn.Parameter(bias, requires_grad=False)
    return quantise_linear(plain, weight_OI, ModelConfig(quantization=kind, double_quantization=double))


def nf4_values() -> Tensor:
    """Quantiles of N(0, 1) at even steps, eight above zero and seven below, and zero itself, scaled to end at 1.

    The tail is cut at 1 - (1/32 + 1/30) / 2. Source: arXiv:2305.14314, section 3; the values are listed in appendix E.
    """
    cut = 1 - (1 / 32 + 1 / 30) / 2
    above = [NormalDist().inv_cdf(cut + (0.5 - cut) * i / 8) for i in range(8)]
    below = [-NormalDist().inv_cdf(cut + (0.5 - cut) * i / 7) for i in range(7)]
    return torch.tensor(sorted([*below, 0.0, *above])) / max(above)


def blocks_of_64(weight_OI: Tensor) -> Tensor:
    flat = weight_OI.flatten()
    return torch.cat([flat, flat.new_zeros(-len(flat) % 64)]).view(-1, 64)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_nf4_is_the_nearest_of_16_quantiles_times_the_largest_of_64(shape: tuple[int, int]) -> None:
    weight_OI = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    blocks = blocks_of_64(weight_OI)
    largest = blocks.abs().amax(dim=1, keepdim=True)
    nearest = ((blocks / largest).unsqueeze(-1) - nf4_values()).abs().argmin(dim=-1)
    expected = (nf4_values()[nearest] * largest).flatten()[: weight_OI.numel()].view(shape)
    found = quantised(weight_OI, "nf4").weight
    # The values are known to 6 digits, and a number in the very middle of two may go either way.
    torch.testing.assert_close(found, expected, rtol=0, atol=2e-5)


@pytest.mark.parametrize("kind", ["nf4", "fp4"])
@pytest.mark.parametrize("shape", [*SHAPES, (256, 128)], ids=str)
def test_double_quantisation_moves_the_sizes_of_blocks_by_less_than_a_hundredth_of_their_spread(
    shape: tuple[int, int], kind: str
) -> None:
    weight_OI = torch.randn(shape, generator=torch.Generator().manual_seed(1)) * torch.logspace(0, 2, shape[0])[:, None]
    once, twice = (quantised(weight_OI, kind, double=double).weight for double in (False, True))
    sizes = blocks_of_64(weight_OI).abs().amax(dim=1)
    spread = (sizes - sizes.mean()).abs().max()
    # The 8-bit code has 64 even steps from 0.1 to 1: half a step is 0.9 / 64 / 2.
    assert (once - twice).abs().max() <= 0.9 / 128 * spread * 1.01 + 1e-6
    assert torch.equal(once == 0, twice == 0), "a zero is a zero whatever its block's size"


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_int8_is_the_nearest_multiple_of_a_127th_of_the_rows_largest(shape: tuple[int, int]) -> None:
    weight_OI = torch.randn(shape, generator=torch.Generator().manual_seed(2))
    weight_OI[0] = 0
    found = quantised(weight_OI, "int8").weight
    step = weight_OI.abs().amax(dim=1, keepdim=True) / 127
    assert torch.isfinite(found).all()
    assert ((found - weight_OI).abs() <= step / 2 * 1.0001).all()
    torch.testing.assert_close(found.abs().amax(dim=1), weight_OI.abs().amax(dim=1))


@pytest.mark.parametrize("kind", ["nf4", "fp4", "int8"])
@pytest.mark.parametrize("dtype", [None, torch.bfloat16], ids=["float32", "autocast"])
@pytest.mark.parametrize("has_bias", [False, True], ids=["", "bias"])
def test_a_quantised_layer_computes_what_a_plain_one_with_the_rounded_weight_does(
    kind: str, dtype: torch.dtype | None, *, has_bias: bool
) -> None:
    random_numbers = torch.Generator().manual_seed(3)
    bias = torch.randn(33, generator=random_numbers) if has_bias else None
    layer = quantised(torch.randn(33, 96, generator=random_numbers), kind, double=True, bias=bias)
    plain = nn.Linear(96, 33, bias=has_bias)
    plain.weight = nn.Parameter(layer.weight, requires_grad=False)
    plain.bias = layer.bias
    given = torch.randn(2, 5, 96, generator=random_numbers)
    upstream = torch.randn(2, 5, 33, generator=random_numbers)
    results = []
    for module in (layer, plain):
        x = given.clone().requires_grad_()
        with torch.autocast("cpu", dtype=dtype or torch.bfloat16, enabled=dtype is not None):
            y = module(x)
        y.backward(upstream.to(y.dtype))
        results.append((y.detach(), x.grad))
    for found, expected in zip(*results, strict=True):
        assert found.dtype == expected.dtype
        torch.testing.assert_close(found, expected, rtol=0, atol=0 if dtype is None else 1e-2)
    assert layer.weight.grad is None


def pair(folder: Path, kind: Any, config: TuneConfig) -> list[tuple[CausalModel, dict[str, Any]]]:
    """Tuned on a quantised base, and on a plain one with the rounded weights; corrections are no longer silent."""
    made = []
    for is_plain in (False, True):
        model = load_model(folder, HARDWARE, ModelConfig(quantization=kind))
        if is_plain:
            assert dequantise(model.network) == 7 * 3
        trainable = apply_tune(model, config, seed=0).trainable
        random_numbers = torch.Generator().manual_seed(1)
        with torch.no_grad():
            for parameter in trainable.values():
                parameter.add_(torch.randn(parameter.shape, generator=random_numbers), alpha=0.05)
        made.append((model, trainable))
    return made


def loss_and_gradients(model: CausalModel, trainable: dict[str, Any]) -> dict[str, Tensor]:
    torch.manual_seed(0)
    model.network.train()
    batch = build_batch(random_rows(4, shortest=3, longest=20))
    loss = Sft().loss(model, batch, Sft().counts(batch))
    loss.backward()
    return {"loss": loss.detach()} | {name: parameter.grad for name, parameter in trainable.items()}


@pytest.mark.slow
@pytest.mark.parametrize("config", METHODS.values(), ids=METHODS)
@pytest.mark.parametrize("kind", ["nf4", "int8"])
def test_tuning_on_a_quantised_base_is_tuning_on_the_rounded_weights(
    config: TuneConfig, kind: str, tiny_model: Path
) -> None:
    (on_codes, moved), (plain, also_moved) = pair(tiny_model, kind, config)
    assert any(quantised_layers(on_codes.network))
    assert not any(quantised_layers(plain.network))
    assert moved.keys() == also_moved.keys()
    for model in (on_codes, plain):
        fuse_blocks(model.network)
        fuse_lora(model)
    expected = loss_and_gradients(plain, also_moved)
    for name, value in loss_and_gradients(on_codes, moved).items():
        scale = float(expected[name].abs().max())
        torch.testing.assert_close(value, expected[name], rtol=1e-4, atol=1e-5 * max(scale, 1e-3))


def test_lora_on_a_quantised_base_is_fused_and_gives_what_pefts_own_layers_do(tiny_model: Path) -> None:
    (fused, moved), _ = pair(tiny_model, "nf4", LoraConfig(rank=4))
    (own, also_moved), _ = pair(tiny_model, "nf4", LoraConfig(rank=4))
    assert fuse_lora(fused) == 7 * 3
    expected = loss_and_gradients(own, also_moved)
    for name, value in loss_and_gradients(fused, moved).items():
        torch.testing.assert_close(value, expected[name], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("config", METHODS.values(), ids=METHODS)
def test_merging_keeps_what_the_model_says_beside_its_codes(config: TuneConfig, tiny_model: Path) -> None:
    (model, _), _ = pair(tiny_model, "nf4", config)
    ids = torch.tensor([random.Random(0).choices(range(3, 250), k=17)])
    with torch.no_grad():
        beside = model.network.eval()(input_ids=ids).logits
        merge(model)
        merged = model.network(input_ids=ids).logits
    assert not any(quantised_layers(model.network))
    torch.testing.assert_close(merged, beside, rtol=1e-4, atol=2e-3)


def test_gradient_checkpointing_and_codes_give_the_same_gradients(tiny_model: Path) -> None:
    (model, moved), (other, also_moved) = pair(tiny_model, "nf4", LoraConfig(rank=4))
    for either in (model, other):
        fuse_lora(either)
    with quiet_transformers():
        model.base.gradient_checkpointing_enable({"use_reentrant": False})
    expected = loss_and_gradients(other, also_moved)
    for name, value in loss_and_gradients(model, moved).items():
        torch.testing.assert_close(value, expected[name], rtol=1e-4, atol=1e-6)


def test_a_quantised_layer_keeps_nothing_of_full_width_for_the_way_back() -> None:
    layer = quantised(torch.randn(96, 64), "nf4")
    kept: list[Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: kept.append(tensor) or tensor, lambda tensor: tensor):
        layer(torch.randn(5, 64, requires_grad=True)).sum().backward()
    assert all(tensor.numel() < 96 * 64 for tensor in kept)


@pytest.mark.parametrize("family", ["qwen2", "qwen3", "mistral", "gemma", "gemma2"])
def test_every_family_answers_as_its_rounded_self(family: str, family_model: FamilyModel) -> None:
    (model, moved), (plain, also_moved) = pair(family_model(family), "nf4", LoraConfig(rank=2))
    assert {name: tensor.shape for name, tensor in moved.items()} == {n: t.shape for n, t in also_moved.items()}
    ids = torch.arange(3, 30)[None]
    with torch.no_grad():
        torch.testing.assert_close(model.network(input_ids=ids).logits, plain.network(input_ids=ids).logits)
