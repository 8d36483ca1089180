"""Operations of a step: by hand, against a published table's shape, and against torch's own counter."""

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from training_kit import load, random_rows

from tuneloop.batch import Batch
from tuneloop.data.batches import build_batch
from tuneloop.model.backbone import CausalModel, logits_of
from tuneloop.model.quiet import quiet_transformers
from tuneloop.train.flops import BlockShape, FlopShape, matrix_shapes, shape_of, step_flops
from tuneloop.tune.build import apply_tune
from tuneloop.tune.config import FreezeConfig, FullConfig, LoraConfig, TuneConfig

TWO_BLOCKS = FlopShape(
    blocks=(BlockShape(100.0, 0.0), BlockShape(100.0, 40.0)),
    lowest=1,
    attention_width=8,
    head=500,
    head_trainable=False,
)


def test_a_step_by_hand() -> None:
    flops = step_flops(TWO_BLOCKS, lengths=[3, 2], num_targets=4)
    assert flops.forward == 2 * 5 * 200
    # Nothing goes back below the upper block; its 40 weights need a gradient beside the 100 of its input.
    assert flops.backward == 2 * 5 * 140
    # 6 + 3 pairs: once forward in the lower block, three times over in the upper one.
    assert flops.attention == 4 * 8 * 9 * (1 + 3)
    assert flops.head == 2 * 4 * 500 * 2
    assert flops.total == flops.forward + flops.backward + flops.attention + flops.head


def test_what_a_cache_gave_is_not_counted() -> None:
    whole = step_flops(TWO_BLOCKS, lengths=[3, 2], num_targets=4)
    kept = step_flops(TWO_BLOCKS, lengths=[3, 2], num_targets=4, lower_tokens=0)
    assert whole.forward - kept.forward == 2 * 5 * 100
    assert whole.attention - kept.attention == 4 * 8 * 9
    assert (kept.backward, kept.head) == (whole.backward, whole.head)


def test_a_head_alone_learns_without_a_gradient_of_its_input() -> None:
    shape = FlopShape((BlockShape(100.0, 0.0),), lowest=1, attention_width=8, head=500, head_trainable=True)
    flops = step_flops(shape, lengths=[5], num_targets=4)
    assert (flops.backward, flops.head) == (0.0, 2 * 4 * 500 * 2)


@pytest.mark.parametrize(("length", "pairs"), [(1, 1), (4, 10), (5, 14), (10, 34)])
def test_a_window_bounds_the_pairs(length: int, pairs: int) -> None:
    shape = FlopShape((BlockShape(0.0, 0.0, window=4),), lowest=1, attention_width=1, head=0, head_trainable=False)
    assert step_flops(shape, lengths=[length], num_targets=0).attention == 4 * pairs
    seen = sum(max(0, min(place + 1, 4)) for place in range(length))
    assert pairs == seen


def smollm2(tune: TuneConfig) -> CausalModel:
    """SmolLM2-135M's shape without its weights."""
    from transformers import AutoModelForCausalLM, LlamaConfig

    config = LlamaConfig(
        vocab_size=49152,
        hidden_size=576,
        intermediate_size=1536,
        num_hidden_layers=30,
        num_attention_heads=9,
        num_key_value_heads=3,
        tie_word_embeddings=True,
    )
    with quiet_transformers(), torch.device("meta"):
        network = AutoModelForCausalLM.from_config(config)
    model = CausalModel(network, torch.device("meta"))
    apply_tune(model, tune, seed=0)
    return model


# Worked out apart from this code: 106.2 M weights in blocks, 28.3 M in the head, rows of 200 tokens, 80 % targets;
# in millions a token: 212 forward, 212 back, 91 head, 21 attention, 15 LoRA.
@pytest.mark.parametrize(
    ("tune", "blocks", "head", "total"),
    [(LoraConfig(rank=8), 212 + 212 + 15, 91, 551), (FullConfig(), 212 + 425, 136, 794)],
)
def test_a_model_of_135_million(tune: TuneConfig, blocks: int, head: int, total: int) -> None:
    flops = step_flops(shape_of(smollm2(tune)), lengths=[200] * 10, num_targets=1600)
    millions = 2000 * 1e6
    assert (flops.forward + flops.backward) / millions == pytest.approx(blocks, abs=1)
    assert flops.head / millions == pytest.approx(head, abs=0.6)
    assert flops.attention / millions == pytest.approx(21, abs=0.6)
    assert flops.total / millions == pytest.approx(total, abs=1)


def counted(model: CausalModel, batch: Batch) -> dict[str, int]:
    """What torch counts of the plainest way to the same gradients, by operator."""
    model.network.train()
    with FlopCounterMode(display=False) as counter:
        logits_NV = logits_of(model.head, model.states(batch))
        torch.nn.functional.cross_entropy(logits_NV, batch.targets_N).backward()
    return {str(operator): flops for operator, flops in counter.get_flop_counts()["Global"].items()}


@pytest.mark.parametrize("family", ["llama", "gpt2", "qwen3"])
@pytest.mark.parametrize("tune", [FullConfig(), FreezeConfig(trainable_blocks=1), LoraConfig(rank=4)])
def test_torch_counts_the_same(family: str, tune: TuneConfig, family_model: Callable[[str], Path]) -> None:
    model = load(family_model(family))
    apply_tune(model, tune, seed=0)
    batch = build_batch(random_rows(6, shortest=6, longest=12))
    lengths = [end - begin for begin, end in pairwise(batch.bounds)]
    ours = step_flops(shape_of(model), lengths=lengths, num_targets=batch.num_targets)
    theirs = counted(model, batch)
    weights = theirs["aten.mm"] + theirs.get("aten.addmm", 0)
    # The first block's queries, keys and values need no gradient of their input; a block counts as a whole here. Of
    # three blocks that is up to a twentieth, of thirty it is little.
    lowest = 0.95 if isinstance(tune, LoraConfig) else 1.0
    assert lowest <= weights / (ours.forward + ours.backward + ours.head) <= 1.0
    # torch counts one of the two ways in which attention is computed here, and as if every token saw all others.
    if attention := theirs.get("aten.bmm"):
        all_pairs = sum(length**2 for length in lengths) / sum(length * (length + 1) / 2 for length in lengths)
        assert attention / ours.attention == pytest.approx(all_pairs)


def test_stacked_experts_count_as_far_as_a_token_meets_them() -> None:
    from transformers import AutoModelForCausalLM, Qwen3MoeConfig

    config = Qwen3MoeConfig(
        vocab_size=64,
        hidden_size=16,
        moe_intermediate_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=2,
        head_dim=8,
        num_experts=8,
        num_experts_per_tok=2,
        decoder_sparse_step=1,
    )
    with quiet_transformers(), torch.device("meta"):
        model = CausalModel(AutoModelForCausalLM.from_config(config), torch.device("meta"))
    (block,) = shape_of(model).blocks
    attention, expert, router = 4 * 16 * 16, 3 * 16 * 8, 16 * 8
    # A router may be a linear layer or a bare matrix.
    assert block.weights in {attention + 2 * expert, attention + 2 * expert + router}


def test_shapes_of_matrices(tiny_model: Path) -> None:
    shapes = matrix_shapes(load(tiny_model))
    assert shapes[32, 64] == 2 * 3
    assert shapes[64, 32] == 3
    assert shapes.total() == 7 * 3 + 1
