"""Frozen matrices in half precision change nothing but the memory."""

from pathlib import Path

import pytest
import torch

from tuneloop.data.batches import build_batch
from tuneloop.model.compact import compact_frozen
from tuneloop.model.hardware import Hardware
from tuneloop.model.load import load_model
from tuneloop.objectives.sft import Sft
from tuneloop.tune.build import apply_tune
from tuneloop.tune.config import (
    AdapterConfig,
    FreezeConfig,
    FullConfig,
    Ia3Config,
    LoraConfig,
    OftConfig,
    TuneConfig,
    VeraConfig,
    is_base_frozen,
)
from unit.train.training_kit import load, random_rows

BF16 = Hardware(torch.device("cpu"), torch.bfloat16, 1)


@pytest.mark.parametrize("tune", [LoraConfig(rank=2), FreezeConfig(trainable_blocks=1)], ids=["lora", "freeze"])
def test_loss_and_gradients_stay_the_same_to_the_bit(tune: TuneConfig, tiny_model: Path) -> None:
    model = load_model(tiny_model, BF16)
    trainable = apply_tune(model, tune, seed=0).trainable
    batch = build_batch(random_rows(3))

    def learn() -> list[torch.Tensor]:
        for parameter in trainable.values():
            parameter.grad = None
        loss = Sft().loss(model, batch, Sft().counts(batch))
        loss.backward()
        return [
            loss.detach(),
            *(parameter.grad.clone() for parameter in trainable.values() if parameter.grad is not None),
        ]

    before = learn()
    assert compact_frozen(model) > 0
    assert all(torch.equal(a, b) for a, b in zip(learn(), before, strict=True))
    assert all(parameter.dtype == torch.float32 for parameter in trainable.values())
    assert model.base.get_input_embeddings().weight.dtype == torch.float32


def test_what_learns_and_what_is_float32_stays(tiny_model: Path) -> None:
    model = load_model(tiny_model, BF16)
    apply_tune(model, FullConfig(), seed=0)
    assert compact_frozen(model) == 0
    plain = load(tiny_model)
    apply_tune(plain, LoraConfig(rank=2), seed=0)
    assert compact_frozen(plain) == 0


KINDS = [LoraConfig(rank=2), LoraConfig(rank=2, init="gaussian"), OftConfig(block_size=8), Ia3Config(), AdapterConfig()]


@pytest.mark.parametrize("tune", KINDS, ids=lambda tune: f"{tune.kind}-{getattr(tune, 'init', '')}")
def test_a_base_that_is_loaded_narrow_learns_the_same_bits(tune: TuneConfig, tiny_model: Path) -> None:
    """From the same start: where it is drawn at random, it is drawn in the narrow type."""
    assert is_base_frozen(tune)
    batch = build_batch(random_rows(3))
    found, start = [], {}
    for is_frozen in (True, False):
        model = load_model(tiny_model, BF16, is_frozen=is_frozen)
        assert (model.base.get_decoder().layers[0].mlp.up_proj.weight.dtype == torch.bfloat16) is is_frozen
        trainable = apply_tune(model, tune, seed=0).trainable
        with torch.no_grad():
            for name, parameter in trainable.items():
                assert parameter.dtype == torch.float32
                drawn = start.setdefault(name, parameter.detach().clone())
                assert torch.allclose(drawn, parameter, rtol=2**-8)
                parameter.copy_(drawn)
        loss = Sft().loss(model, batch, Sft().counts(batch))
        loss.backward()
        found.append([loss.detach(), *(p.grad for p in trainable.values() if p.grad is not None)])
    assert len(found[0]) == len(found[1]) > 1
    assert all(torch.equal(narrow, whole) for narrow, whole in zip(*found, strict=True))


@pytest.mark.parametrize(
    "tune",
    [
        FullConfig(),
        FreezeConfig(),
        LoraConfig(use_dora=True),
        LoraConfig(init="pissa"),
        LoraConfig(init="orthogonal"),
        VeraConfig(),
    ],
)
def test_what_looks_at_the_weights_themselves_loads_them_whole(tune: TuneConfig) -> None:
    assert not is_base_frozen(tune)
