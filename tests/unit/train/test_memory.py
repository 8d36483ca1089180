"""The memory estimate, by hand."""

from pathlib import Path

import pytest

from tuneloop.data.batches import build_batches
from tuneloop.data.select.order import plain_plan
from tuneloop.model.load import load_skeleton
from tuneloop.train.memory import estimate_memory, longest_micro_batch
from tuneloop.tune.build import apply_tune
from tuneloop.tune.config import FreezeConfig, FullConfig, LoraConfig, TuneConfig
from unit.train.training_kit import random_rows

WEIGHTS = 46176
"""Of the tiny Llama."""
BLOCK = 16 * 32 + 5 * 64


@pytest.mark.parametrize(
    ("tune", "moving", "blocks"),
    [
        (FullConfig(), WEIGHTS, 3),
        (FreezeConfig(trainable_blocks=1), 9280, 1),
        (FreezeConfig(trainable_blocks=0, train_head=True), 286 * 32, 0),
        (FreezeConfig(trainable_blocks=0, train_embeddings=True), 286 * 32, 3),
        (LoraConfig(rank=4), 6144, 3),
        (LoraConfig(rank=4, trainable_blocks=2), 4096, 2),
    ],
)
def test_bytes_of_each_part(tune: TuneConfig, moving: int, blocks: int, tiny_model: Path) -> None:
    """4 bytes a number; AdamW keeps two numbers a moving weight; a block keeps 16 hidden and 5 inner vectors."""
    model = load_skeleton(tiny_model)
    tuned = apply_tune(model, tune, seed=0)
    assert tuned.num_trainable == moving
    estimate = estimate_memory(model, tuned, micro_batch_tokens=100, checkpointing=False, device="cpu")
    assert estimate.weights == 4 * (WEIGHTS + (moving if tune.kind == "lora" else 0))
    assert estimate.gradients == 4 * moving
    assert estimate.optimizer == 8 * moving
    assert estimate.activations == 4 * 100 * blocks * BLOCK
    assert estimate.total == sum(
        (estimate.weights, estimate.gradients, estimate.optimizer, estimate.activations, estimate.rest)
    )


def test_checkpointing_keeps_one_vector_a_block_and_one_block_in_full(tiny_model: Path) -> None:
    model = load_skeleton(tiny_model)
    tuned = apply_tune(model, FullConfig(), seed=0)
    estimate = estimate_memory(model, tuned, micro_batch_tokens=10, checkpointing=True, device="cpu")
    assert estimate.activations == 4 * 10 * (3 * 32 + BLOCK)


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
