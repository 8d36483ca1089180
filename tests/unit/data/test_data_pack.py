"""Which rows a step takes, how they share micro-batches, and what becomes of them as tensors."""

import gzip
import itertools
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tuneloop.data.batches import build_batch, build_batches
from tuneloop.data.pack import pack_rows, packing_waste
from tuneloop.data.tokens.block import TokenRow

DETERMINISTIC = settings(derandomize=True, database=None, deadline=None, max_examples=80)


def row(ids: list[int], weights: list[float]) -> TokenRow:
    return TokenRow(np.array(ids, np.int32), np.array(weights, np.float32), "x:1")


def packs_in_turn(lengths: list[int], budget: int, *, best: bool) -> list[int]:
    """First-fit or best-fit decreasing, row by row: the tokens of each pack, sorted."""
    used: list[int] = []
    for length in sorted(lengths, reverse=True):
        fits = [pack for pack, tokens in enumerate(used) if tokens + length <= budget]
        if not fits:
            used.append(length)
        else:
            used[max(fits, key=lambda pack: used[pack]) if best else fits[0]] += length
    return sorted(used)


@DETERMINISTIC
@given(lengths=st.lists(st.integers(1, 60), max_size=40), budget=st.integers(1, 80))
def test_every_row_is_in_one_pack_within_the_budget(lengths: list[int], budget: int) -> None:
    packs = pack_rows(lengths, budget)
    assert sorted(index for pack in packs for index in pack) == list(range(len(lengths)))
    assert all(packs)
    for pack in packs:
        assert sum(lengths[index] for index in pack) <= budget or len(pack) == 1
        # Longest first, and rows of equal length in the order that they came in.
        assert pack == sorted(pack, key=lambda index: (-lengths[index], index))
    assert [lengths[pack[0]] for pack in packs] == sorted((lengths[pack[0]] for pack in packs), reverse=True)


@DETERMINISTIC
@given(lengths=st.lists(st.integers(1, 30), max_size=60), budget=st.integers(1, 90))
def test_packs_are_as_full_as_those_of_best_fit_row_by_row(lengths: list[int], budget: int) -> None:
    """Placing a whole length at once is only a short cut."""
    packs = pack_rows(lengths, budget)
    assert sorted(sum(lengths[index] for index in pack) for pack in packs) == packs_in_turn(lengths, budget, best=True)


@pytest.mark.parametrize("seed", range(4))
def test_packs_are_no_more_than_those_of_first_fit(seed: int) -> None:
    chance = np.random.default_rng(seed)
    for most in (40, 300, 900):
        lengths = np.minimum(chance.lognormal(4, 1, 600).astype(int) + 1, most)
        assert len(pack_rows(lengths, 512)) <= len(packs_in_turn(lengths.tolist(), 512, best=False)) + 1


@DETERMINISTIC
@given(lengths=st.lists(st.integers(1, 9), max_size=40), data=st.data())
def test_packs_hold_the_same_lengths_whatever_the_order_of_the_rows(lengths: list[int], data: st.DataObject) -> None:
    moved = data.draw(st.permutations(lengths))
    packs, packs_of_moved = pack_rows(lengths, 12), pack_rows(moved, 12)
    assert [[lengths[i] for i in pack] for pack in packs] == [[moved[i] for i in pack] for pack in packs_of_moved]


@pytest.mark.slow
def test_a_million_rows_are_packed_without_waste() -> None:
    """Quadratic code would take days."""
    lengths = np.minimum(np.random.default_rng(0).lognormal(4.5, 0.8, 1_000_000).astype(int) + 1, 2048)
    packs = pack_rows(lengths, 2048)
    assert sum(map(len, packs)) == len(lengths)
    assert len(packs) <= 1.001 * lengths.sum() / 2048


@pytest.mark.shared
def test_windows_of_real_rows_waste_less_than_a_hundredth(shared: Path) -> None:
    with gzip.open(shared / "alpaca_en" / "alpaca_en.jsonl.gz", "rt") as file:
        lengths = [1 + sum(map(len, json.loads(line).values())) // 4 for line in itertools.islice(file, 4 * 4096)]
    for start in range(0, len(lengths), 4096):
        window = lengths[start : start + 4096]
        assert packing_waste(window, pack_rows(window, 2048), 2048) < 0.01


def test_waste_by_hand() -> None:
    assert packing_waste([5, 5], [[0], [1]], 8) == pytest.approx(6 / 16)
    assert packing_waste([5, 3, 8], [[0, 1], [2]], 8) == 0
    # A row above the budget fills its own pack, and hides no waste elsewhere.
    assert packing_waste([12, 4], [[0], [1]], 8) == pytest.approx(4 / 20)
    assert packing_waste([], [], 8) == 0


def test_packs_by_hand() -> None:
    # Longest first: 7 | 6 | 5 | 4 fits beside 6, 3 beside 7, 2 beside 5, and 1 beside 5 and 2.
    assert pack_rows([1, 2, 3, 4, 5, 6, 7], 10) == [[6, 2], [5, 3], [4, 1, 0]]
    assert pack_rows([12, 3, 12, 3], 10) == [[0], [2], [1, 3]]
    assert pack_rows([5, 5, 5], 10) == [[0, 1], [2]]
    # Best fit, where first fit would put the 2 beside the 6: it goes into the fullest pack that has room.
    assert pack_rows([6, 7, 2], 10) == [[1, 2], [0]]
    assert pack_rows([6, 7, 4, 2], 10) == [[1, 3], [0, 2]]
    assert pack_rows([], 10) == []
    assert pack_rows([3, 2], 0) == [[0], [1]]
    # An empty row takes the room of one token, and is not lost.
    assert pack_rows([0, 4, 0, 4], 4) == [[1], [3], [0, 2]]


def test_more_distinct_lengths_than_sixteen_bits_hold() -> None:
    packs = pack_rows([70_000, 1, 65_536, 4_464], 70_000)
    assert packs == [[0], [2, 3], [1]]


def test_batch_by_hand() -> None:
    batch = build_batch(
        [
            row([10, 11, 12, 13], [0, 0, 1, 0.5]),
            row([20, 21], [0, 2]),
            row([30, 31, 32], [0, 0, 1]),
        ]
    )
    assert batch.ids_T.tolist() == [10, 11, 12, 13, 20, 21, 30, 31, 32]
    assert batch.positions_T.tolist() == [0, 1, 2, 3, 0, 1, 0, 1, 2]
    assert batch.bounds == (0, 4, 6, 9)
    assert batch.targets_N.tolist() == [12, 13, 21, 32]
    assert batch.predictors_N.tolist() == [1, 2, 4, 7]
    assert batch.weights_N.tolist() == [1.0, 0.5, 2.0, 1.0]
    assert batch.conversation_N.tolist() == [0, 0, 1, 2]
    assert (batch.num_tokens, batch.num_targets) == (9, 4)
    whole = (batch.ids_T, batch.positions_T, batch.predictors_N, batch.targets_N, batch.conversation_N)
    assert {tensor.dtype for tensor in whole} == {torch.int64}
    assert batch.weights_N.dtype == torch.float32


def test_a_first_token_is_never_a_target() -> None:
    """Its predictor would be the last token of another conversation, or nothing at all."""
    rows = [row([10, 11], [1, 1]), row([20, 21], [1, 1])]
    batch = build_batch(rows)
    assert batch.targets_N.tolist() == [11, 21]
    assert batch.predictors_N.tolist() == [0, 2]
    # The rows themselves stay as they were.
    assert rows[0].weights.tolist() == [1, 1]


@st.composite
def token_rows(draw: st.DrawFn) -> list[TokenRow]:
    lengths = draw(st.lists(st.integers(2, 12), min_size=1, max_size=12))
    return [
        row(
            draw(st.lists(st.integers(0, 999), min_size=length, max_size=length)),
            [0.0, *draw(st.lists(st.sampled_from([0.0, 0.5, 1.0]), min_size=length - 1, max_size=length - 1))],
        )
        for length in lengths
    ]


@DETERMINISTIC
@given(rows=token_rows(), budget=st.integers(1, 40))
def test_targets_are_conserved(rows: list[TokenRow], budget: int) -> None:
    """However rows are packed, the same pairs of predictor and target come out with the same weights."""
    expected = sorted(
        (int(before), int(target), float(weight))
        for each in rows
        for before, target, weight in zip(each.ids, each.ids[1:], each.weights[1:], strict=False)
        if weight
    )
    batches = build_batches(rows, budget=budget)
    found = []
    for batch in batches:
        assert batch.bounds[0] == 0
        assert batch.bounds[-1] == batch.num_tokens
        assert batch.num_tokens <= budget or len(batch.bounds) == 2
        for predictor, target, weight, conversation in zip(
            batch.predictors_N.tolist(),
            batch.targets_N.tolist(),
            batch.weights_N.tolist(),
            batch.conversation_N.tolist(),
            strict=True,
        ):
            assert batch.bounds[conversation] <= predictor < predictor + 1 < batch.bounds[conversation + 1]
            assert batch.ids_T[predictor + 1] == target
            found.append((int(batch.ids_T[predictor]), target, weight))
    assert sorted(found) == expected
    assert sum(batch.num_tokens for batch in batches) == sum(len(each.ids) for each in rows)


@pytest.mark.parametrize("budget", [1, 7, 100])
def test_same_rows_same_batches(budget: int) -> None:
    rows = [row(list(range(n)), [0] + [1] * (n - 1)) for n in (5, 3, 8, 2, 6)]
    first, second = (build_batches(rows, budget=budget) for _ in range(2))
    assert [batch.ids_T.tolist() for batch in first] == [batch.ids_T.tolist() for batch in second]
