"""What is computed again on the way back: never the result, only memory and time."""

from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from tuneloop.data.batches import build_batch
from tuneloop.model import checkpointing
from tuneloop.model.checkpointing import Checkpointing, checkpointed
from tuneloop.model.fused import fuse_blocks
from tuneloop.objectives.sft import Sft
from tuneloop.tune.build import apply_tune
from tuneloop.tune.config import AdapterConfig, FullConfig, LoraConfig, TuneConfig
from tuneloop.tune.fused_lora import fuse_lora
from unit.train.training_kit import load, random_rows

TUNES = [FullConfig(), LoraConfig(rank=2, dropout=0.3), LoraConfig(rank=2), AdapterConfig()]


def learned(folder: Path, tune: TuneConfig, how: Checkpointing) -> tuple[list[Tensor], int]:
    """Loss and gradients, and the operations of both ways."""
    model = load(folder)
    trainable = apply_tune(model, tune, seed=0).trainable
    fuse_blocks(model.network)
    fuse_lora(model)
    model.network.train()
    torch.manual_seed(0)
    batch = build_batch(random_rows(3))
    with checkpointed(model, how), FlopCounterMode(display=False) as counter:
        loss = Sft().loss(model, batch, Sft().counts(batch))
        loss.backward()
    gradients = [parameter.grad for parameter in trainable.values() if parameter.grad is not None]
    return [loss.detach(), *gradients], counter.get_total_flops()


@pytest.mark.slow
@pytest.mark.parametrize("tune", TUNES, ids=lambda tune: f"{tune.kind}-{getattr(tune, 'dropout', '')}")
def test_loss_and_gradients_are_the_same_bits(
    tune: TuneConfig, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpointing, "_THIN", 16)
    plain, plain_flops = learned(tiny_model, tune, how=False)
    whole, whole_flops = learned(tiny_model, tune, how=True)
    selective, selective_flops = learned(tiny_model, tune, "selective")
    for found in (whole, selective):
        assert len(found) == len(plain) > 1
        assert all(torch.equal(tensor, expected) for tensor, expected in zip(found, plain, strict=True))
    assert plain_flops <= selective_flops < whole_flops
    # Thin products of adapters are done again, no wide ones but those of the first block, below which nothing learns.
    most = {"full": 1.0001, "lora": 1.1}.get(tune.kind, 1.2)
    assert selective_flops < plain_flops * most


def test_it_ends_with_its_context(tiny_model: Path) -> None:
    model = load(tiny_model)
    with checkpointed(model, "selective"):
        assert model.base.is_activation_checkpointing
    assert not model.base.is_activation_checkpointing
