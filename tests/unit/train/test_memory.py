"""The memory estimate, by hand."""

from pathlib import Path

import pytest
import torch
from torch import nn

from tuneloop.data.batches import build_batches
from tuneloop.data.select.order import plain_plan
from tuneloop.model.config import ModelConfig
from tuneloop.model.load import load_skeleton
from tuneloop.train.config import OptimizerName, StageConfig
from tuneloop.train.memory import (
    MemoryEstimate,
    Setting,
    estimate_step,
    longest_micro_batch,
    optimizer_bytes,
    weight_bytes,
)
from tuneloop.train.simulate import split_evenly
from tuneloop.tune.build import apply_tune
from tuneloop.tune.config import FreezeConfig, FullConfig, LoraConfig, TuneConfig
from unit.train.training_kit import random_rows

WEIGHTS = 46176
"""Of the tiny Llama."""
BLOCK_LINEAR = 32 * 32 + 2 * 32 * 16 + 32 * 32 + 3 * 32 * 64
HEAD = 286 * 32
INT8_ROWS = 32 + 2 * 16 + 32 + 2 * 64 + 32
"""Outputs of a block's linear layers: each has a scale of its own."""


def estimated(
    folder: Path, tune: TuneConfig, *, model: ModelConfig | None = None, tokens: int = 100, accumulates: bool = True
) -> MemoryEstimate:
    skeleton = load_skeleton(folder)
    tuned = apply_tune(skeleton, tune, seed=0)
    setting = Setting("cpu", None, model or ModelConfig())
    micro = split_evenly(tokens, tokens, num_targets=tokens)
    return estimate_step(skeleton, tuned, StageConfig(), setting, micro, accumulates=accumulates)[0]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("tune", "moving"),
    [
        (FullConfig(), WEIGHTS),
        (FreezeConfig(trainable_blocks=1), 9280),
        (FreezeConfig(trainable_blocks=0, train_head=True), 286 * 32),
        (LoraConfig(rank=4), 6144),
        (LoraConfig(rank=4, trainable_blocks=2), 4096),
    ],
)
def test_bytes_of_weights_gradients_and_moments(tune: TuneConfig, moving: int, tiny_model: Path) -> None:
    """4 bytes a number; AdamW keeps two numbers a moving weight."""
    estimate = estimated(tiny_model, tune)
    assert estimate.weights == 4 * (WEIGHTS + (moving if tune.kind == "lora" else 0))
    assert estimate.gradients == 4 * moving
    assert estimate.optimizer == 8 * moving
    parts = (estimate.weights, estimate.gradients, estimate.optimizer, estimate.activations, estimate.rest)
    assert estimate.total == sum(parts)


@pytest.mark.slow
def test_one_micro_batch_makes_its_gradients_in_the_room_of_its_activations(tiny_model: Path) -> None:
    many, alone = (estimated(tiny_model, FullConfig(), tokens=200, accumulates=value) for value in (True, False))
    assert alone.gradients == many.gradients
    assert many.activations - alone.activations == many.gradients


@pytest.mark.parametrize(
    ("config", "bytes_a_weight"),
    [
        (ModelConfig(quantization="nf4"), 0.5 + 1 / 64 + 4 / (64 * 256)),
        (ModelConfig(quantization="nf4", double_quantization=False), 0.5625),
        (ModelConfig(quantization="int8"), 1.0 + 4 * INT8_ROWS / BLOCK_LINEAR),
    ],
)
def test_frozen_linear_layers_are_quantised_and_the_rest_is_not(
    config: ModelConfig, bytes_a_weight: float, tiny_model: Path
) -> None:
    model = load_skeleton(tiny_model)
    apply_tune(model, LoraConfig(rank=4), seed=0)
    sizes = weight_bytes(model, Setting("cpu", None, config))
    others = WEIGHTS - 3 * BLOCK_LINEAR + 6144
    assert sizes.total == pytest.approx(4 * others + bytes_a_weight * 3 * BLOCK_LINEAR, rel=1e-3)
    assert len(sizes.quantised) == 3 * 7
    assert sizes.largest_quantised == 32 * 64


def test_frozen_linear_layers_lie_in_the_type_of_their_products(tiny_model: Path) -> None:
    model = load_skeleton(tiny_model)
    apply_tune(model, LoraConfig(rank=4), seed=0)
    sizes = weight_bytes(model, Setting("cuda", torch.bfloat16, ModelConfig()))
    narrow = 3 * BLOCK_LINEAR + HEAD
    assert sizes.total == 4 * (WEIGHTS - narrow + 6144) + 2 * narrow
    assert len(sizes.compact) == 3 * 7 + 1
    full = load_skeleton(tiny_model)
    apply_tune(full, FullConfig(), seed=0)
    assert weight_bytes(full, Setting("cuda", torch.bfloat16, ModelConfig())).total == 4 * WEIGHTS


@pytest.mark.parametrize(
    ("name", "matrix", "vector"),
    [
        ("adamw", 8 * 512 * 256, 8 * 64),
        ("paged_adamw", 8 * 512 * 256, 8 * 64),
        ("adamw_8bit", 2 * 512 * 256 + 8 * 512, 8 * 64),
        ("lion", 4 * 512 * 256, 4 * 64),
        ("muon", 4 * 512 * 256, 8 * 64),
        ("adafactor", 4 * (512 + 256), 4 * 64),
        ("galore", 4 * 128 * (2 * 512 + 256), 8 * 64),
        ("apollo", 4 * 128 * 2 * 512, 8 * 64),
    ],
)
def test_the_state_of_each_optimiser(name: OptimizerName, matrix: int, vector: int) -> None:
    stage = StageConfig(optimizer=name)
    shapes = {"matrix": nn.Linear(256, 512, device="meta").weight, "vector": nn.LayerNorm(64, device="meta").weight}
    assert optimizer_bytes({"up.weight": shapes["matrix"]}, stage) == matrix
    assert optimizer_bytes({"norm.weight": shapes["vector"]}, stage) == vector
    assert optimizer_bytes(shapes, stage) == matrix + vector
    if name in {"muon", "galore", "apollo"}:
        assert optimizer_bytes({"model.embed_tokens.weight": shapes["matrix"]}, stage) == 8 * 512 * 256


def test_an_optimiser_in_a_small_space_keeps_all_of_a_small_matrix() -> None:
    stage = StageConfig(optimizer="galore", optimizer_rank=128)
    assert optimizer_bytes({"up.weight": nn.Linear(100, 400, device="meta").weight}, stage) == 8 * 100 * 400


def test_the_largest_micro_batch_that_rows_can_make() -> None:
    rows = random_rows(5)
    lengths = [len(row.ids) for row in rows]
    assert longest_micro_batch([len(row.ids) for row in rows], budget=10_000, batch_size=5) == sum(lengths)
    assert longest_micro_batch([len(row.ids) for row in rows], budget=10_000, batch_size=2) == sum(sorted(lengths)[-2:])
    assert (
        longest_micro_batch([len(row.ids) for row in rows], budget=max(lengths) + 1, batch_size=5) == max(lengths) + 1
    )
    assert longest_micro_batch([len(row.ids) for row in rows], budget=1, batch_size=5) == max(lengths)


def test_no_step_makes_a_larger_micro_batch() -> None:
    rows = random_rows(20, longest=60)
    for budget, batch_size in ((64, 4), (100, 7), (1000, 3), (1, 2)):
        bound = longest_micro_batch([len(row.ids) for row in rows], budget=budget, batch_size=batch_size)
        plan = plain_plan(len(rows), seed=0)
        for step in range(plan.steps_per_epoch(batch_size)):
            chosen = plan.rows_of_step(batch_size, step)
            batches = build_batches([rows[i] for i in chosen], budget=budget)
            assert max(batch.num_tokens for batch in batches) <= bound
