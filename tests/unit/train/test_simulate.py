"""What a simulated step counts, held against formulas and against a real step."""

import json
from itertools import pairwise
from pathlib import Path

import pytest
import torch

from tuneloop.data.batches import build_batch
from tuneloop.model.config import HardwareConfig
from tuneloop.model.hardware import choose_hardware
from tuneloop.model.load import load_model, load_skeleton
from tuneloop.objectives.sft import Sft
from tuneloop.train import simulate
from tuneloop.train.simulate import MicroBatch, StepCost, simulate_step, split_evenly
from tuneloop.tune.build import apply_tune
from tuneloop.tune.config import FreezeConfig, FullConfig, LoraConfig, TuneConfig
from unit.train.training_kit import random_rows

BLOCK_LINEAR = 32 * 32 + 2 * 32 * 16 + 32 * 32 + 3 * 32 * 64
"""Weights of the linear layers of a block of the tiny Llama."""
VOCABULARY = 286


def deep_model(tmp_path: Path, *, blocks: int) -> Path:
    """Only a shape."""
    shape = {"num_hidden_layers": blocks, "hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 4}
    values = {"model_type": "llama", "vocab_size": VOCABULARY, "num_key_value_heads": 2} | shape
    (tmp_path / "config.json").write_text(json.dumps(values))
    return tmp_path


def simulated(folder: Path, tune: TuneConfig, micro: MicroBatch, *, checkpointing: bool = False) -> StepCost:
    model = load_skeleton(folder)
    apply_tune(model, tune, seed=0)
    return simulate_step(model, Sft(), micro, autocast_dtype=None, checkpointing=checkpointing, other_dtypes={})


def test_operations_of_full_tuning_by_hand(tiny_model: Path) -> None:
    """Forward: a product with each weight a token, 4 hidden L^2 in attention (not halved for its causality), the
    head at the targets. Backward: twice that; the head computes its logits again, and flash attention its scores."""
    cost = simulated(tiny_model, FullConfig(), MicroBatch((40, 24), 30))
    attention = 4 * 32 * (40**2 + 24**2)
    blocks = 3 * (2 * 64 * BLOCK_LINEAR + attention)
    head = 2 * 30 * 32 * VOCABULARY
    assert cost.forward_flops == blocks + head
    backward = 3 * (2 * 2 * 64 * BLOCK_LINEAR + 2.5 * attention) + 3 * head
    assert cost.flops == blocks + head + backward


@pytest.mark.slow
@pytest.mark.parametrize("tune", [FullConfig(), FreezeConfig(trainable_blocks=1), LoraConfig(rank=4)])
def test_what_a_real_step_saves_is_what_was_counted(tune: TuneConfig, tiny_model: Path) -> None:
    """Of a real forward pass the bytes that autograd holds on to, each storage once, weights left out."""
    model = load_model(tiny_model, choose_hardware(HardwareConfig(device="cpu", threads=1)))
    apply_tune(model, tune, seed=0)
    model.network.train()
    batch = build_batch(random_rows(6, longest=60))
    lengths = tuple(b - a for a, b in zip(batch.bounds[:-1], batch.bounds[1:], strict=True))
    state = {p.untyped_storage().data_ptr() for p in [*model.network.parameters(), *model.network.buffers()]}
    saved: dict[int, torch.UntypedStorage] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in state:
            saved[storage.data_ptr()] = storage
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = Sft().loss(model, batch, {"tokens": float(batch.num_targets)})
    saved_bytes = sum(storage.nbytes() for storage in saved.values())
    loss.backward()
    cost = simulated(tiny_model, tune, MicroBatch(lengths, batch.num_targets))
    # Beside what is saved there is what the step works on just then: at most a chunk of logits and some vectors.
    chunk = 4 * 4 * batch.num_targets * VOCABULARY
    assert saved_bytes <= cost.peak_bytes <= 1.1 * saved_bytes + chunk + 4 * 4 * VOCABULARY * 32


@pytest.mark.parametrize("tune", [FullConfig(), FreezeConfig(trainable_blocks=7), LoraConfig(rank=4)])
@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.slow
def test_a_few_blocks_tell_what_many_need(
    tune: TuneConfig, *, checkpointing: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = deep_model(tmp_path, blocks=12)
    micro = MicroBatch((50, 30), 40)
    few = simulated(folder, tune, micro, checkpointing=checkpointing)
    monkeypatch.setattr(simulate, "_FEW", 12)
    monkeypatch.setattr(simulate, "_SOME", 12)
    whole = simulated(folder, tune, micro, checkpointing=checkpointing)
    assert few.peak_bytes == pytest.approx(whole.peak_bytes, rel=0.02)
    assert few.flops == pytest.approx(whole.flops, rel=1e-9)


@pytest.mark.slow
def test_frozen_blocks_save_nothing(tmp_path: Path) -> None:
    folder = deep_model(tmp_path, blocks=12)
    micro = MicroBatch((80,), 40)
    one = simulated(folder, FreezeConfig(trainable_blocks=1), micro)
    half = simulated(folder, FreezeConfig(trainable_blocks=6), micro)
    whole = simulated(folder, FreezeConfig(trainable_blocks=12), micro)
    assert whole.peak_bytes - half.peak_bytes == pytest.approx(6 / 5 * (half.peak_bytes - one.peak_bytes), rel=0.02)
    assert one.forward_flops == whole.forward_flops
    assert one.flops < half.flops < whole.flops


@pytest.mark.slow
def test_checkpointing_needs_less_memory_and_most_of_a_forward_pass_more(tmp_path: Path) -> None:
    folder = deep_model(tmp_path, blocks=12)
    micro = MicroBatch((80,), 10)
    plain = simulated(folder, FullConfig(), micro)
    light = simulated(folder, FullConfig(), micro, checkpointing=True)
    assert light.peak_bytes < 0.5 * plain.peak_bytes
    again = (light.flops - plain.flops) / plain.forward_flops
    # The last product of each block, and the head, are not done again: nothing was kept of them.
    assert 0.6 < again < 1.0


@pytest.mark.slow
def test_more_tokens_need_more(tiny_model: Path) -> None:
    peaks = [simulated(tiny_model, LoraConfig(rank=4), split_evenly(n, 64, num_targets=n)) for n in (32, 64, 128, 300)]
    assert all(a.peak_bytes < b.peak_bytes and a.flops < b.flops for a, b in pairwise(peaks))


def test_a_micro_batch_is_filled_with_the_longest_rows() -> None:
    assert split_evenly(100, 40, num_targets=30) == MicroBatch((40, 40, 20), 30)
    assert split_evenly(80, 40, num_targets=500) == MicroBatch((40, 40), 79)
    assert split_evenly(2, 2, num_targets=0) == MicroBatch((2,), 1)
