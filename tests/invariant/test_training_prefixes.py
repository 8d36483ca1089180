"""What must not matter: whether a beginning that conversations share is computed once or in each of them."""

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import scaled_dot_product_attention

from invariant.test_training_packing import assert_same, loss_and_gradients
from tuneloop.data.batches import build_batch, build_batches
from tuneloop.data.prefixes import pack_with_prefixes
from tuneloop.data.tokens.block import TokenRow
from tuneloop.model import attention
from tuneloop.tune.config import LoraConfig
from unit.train.training_kit import FAMILIES, STAGE, VOCABULARY, Lab, Watch, load, random_rows

FamilyModel = Callable[[str], Path]


def with_beginning(rows: list[TokenRow], size: int, seed: int) -> list[TokenRow]:
    """The same rows behind `size` common tokens that are no targets."""
    ids = np.random.default_rng(seed).integers(3, VOCABULARY, size=size).astype(np.int32)
    front = np.zeros(size, np.float32)
    weights = [np.concatenate([front, [0.0], row.weights[1:]]).astype(np.float32) for row in rows]
    return [TokenRow(np.concatenate([ids, row.ids]), each, row.origin) for row, each in zip(rows, weights, strict=True)]


def some_rows() -> list[TokenRow]:
    """Two groups with beginnings of their own, and rows in none."""
    return [
        *with_beginning(random_rows(4, seed=1), 40, 1),
        *random_rows(3, seed=2),
        *with_beginning(random_rows(3, seed=3), 50, 2),
    ]


@pytest.mark.parametrize("family", FAMILIES)
def test_the_loss_and_every_gradient_stay(family: str, family_model: FamilyModel) -> None:
    model = load(family_model(family))
    assert model.can_share_prefixes
    rows = some_rows()
    packs = pack_with_prefixes(rows, 10_000)
    assert sorted(pack.prefix for pack in packs) == [0, 40, 50]
    shared = [build_batch([rows[place] for place in pack.rows], prefix=pack.prefix) for pack in packs]
    plain = build_batches(rows, budget=10_000)
    assert sum(batch.num_tokens for batch in plain) - sum(batch.num_tokens for batch in shared) == 3 * 40 + 2 * 50
    assert_same(loss_and_gradients(model, shared), loss_and_gradients(model, plain))


def test_a_piece_that_forgets_its_beginning_is_caught(family_model: FamilyModel) -> None:
    """The planted bug: the border is there, and the way back to the beginning is not."""
    model = load(family_model("llama"))
    rows = with_beginning(random_rows(4), 40, 1)
    good = build_batch(rows, prefix=40)
    forgetful = build_batch(rows, prefix=40)
    object.__setattr__(forgetful, "parents", ())
    with pytest.raises(AssertionError):
        assert_same(loss_and_gradients(model, [forgetful]), loss_and_gradients(model, [good]))


@given(
    st.lists(
        st.tuples(st.sampled_from([0, 8, 32, 33, 60]), st.integers(2, 40), st.integers(0, 2)), min_size=1, max_size=8
    ),
    st.integers(1, 200),
)
@settings(max_examples=60, deadline=None)
def test_every_row_is_packed_once_and_no_target_is_shared(kinds: list[tuple[int, int, int]], budget: int) -> None:
    rows = [
        with_beginning(random_rows(1, seed=number, shortest=size, longest=size), front, seed)[0]
        for number, (front, size, seed) in enumerate(kinds)
    ]
    packs = pack_with_prefixes(rows, budget)
    assert sorted(place for pack in packs for place in pack.rows) == list(range(len(rows)))
    for pack in packs:
        members = [rows[place] for place in pack.rows]
        tokens = sum(len(row.ids) for row in members) - pack.prefix * (len(members) - 1)
        assert tokens <= budget or len(members) == 1
        for row in members:
            assert not row.weights[: pack.prefix + 1].any() or pack.prefix == 0
            assert (row.ids[: pack.prefix] == members[0].ids[: pack.prefix]).all()
        batch = build_batch(members, prefix=pack.prefix)
        targets = [row.ids[1:][row.weights[1:] > 0] for row in members]
        assert batch.targets_N.tolist() == np.concatenate(targets).tolist()
        assert batch.conversation_N.tolist() == [i for i, each in enumerate(targets) for _ in each]


def test_the_keys_of_pieces_are_the_beginning_and_their_own() -> None:
    """As a CUDA kernel is given them; held against one piece after another."""
    bounds, parents = (0, 4, 9, 11, 14), (-1, 0, 0, -1)
    places, borders = attention.keys_of_pieces(bounds, parents)
    assert places is not None
    query, key, value = (torch.randn(1, 2, 14, 8, dtype=torch.float64) for _ in range(3))
    expected, _ = attention.packed_attention(torch.nn.Module(), query, key, value, None, bounds=bounds, parents=parents)
    parts = []
    for (begin, end), (first, last) in zip(pairwise(bounds), pairwise(borders), strict=True):
        index = list(places[first:last])
        before = len(index) - (end - begin)
        mask = torch.ones(end - begin, len(index), dtype=torch.bool).tril(before)
        parts.append(scaled_dot_product_attention(query[:, :, begin:end], key[:, :, index], value[:, :, index], mask))
    torch.testing.assert_close(expected, torch.cat(parts, dim=2).transpose(1, 2))


@pytest.mark.slow
def test_training_with_and_without_goes_the_same_way(tmp_path: Path, tiny_model: Path) -> None:
    rows = with_beginning(random_rows(14), 48, 1)
    losses, tokens = {}, {}
    for share in (True, False):
        watch = Watch()
        stage = STAGE.replace(share_prefixes=share, micro_batch_tokens=256)
        tune = LoraConfig(rank=2, alpha=4)
        Lab(tiny_model, tmp_path / str(share), tune=tune, stages=(stage,), rows=rows).fit(watch)
        losses[share] = [event["loss"] for event in watch.of_kind("step")]
        tokens[share] = sum(event["tokens"] for event in watch.of_kind("step"))
    assert losses[True] == pytest.approx(losses[False], rel=1e-3)
    assert tokens[True] < 0.6 * tokens[False]
