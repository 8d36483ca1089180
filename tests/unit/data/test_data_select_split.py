"""Which rows are held out, and that likes stay together."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tuneloop.core.errors import DataError
from tuneloop.core.seeds import keyed_permutation
from tuneloop.data.select.split import SplitBy, eval_size, split_rows

DETERMINISTIC = settings(derandomize=True, database=None, deadline=None, max_examples=60)


def keys_of(num_rows: int) -> np.ndarray:
    return np.random.default_rng(11).integers(0, 2**64, num_rows, dtype=np.uint64)


@DETERMINISTIC
@given(num_rows=st.integers(0, 80), fraction=st.floats(0, 0.9), seed=st.integers(0, 2**40))
def test_the_plain_split_is_the_start_of_the_permutation(num_rows: int, fraction: float, seed: int) -> None:
    """Recipes of before hold out the same rows."""
    held_out = split_rows(num_rows, fraction, seed)
    number = eval_size(num_rows, fraction, None)
    assert np.flatnonzero(held_out).tolist() == sorted(keyed_permutation(num_rows, seed, "split")[:number].tolist())


@pytest.mark.parametrize(
    ("num_rows", "fraction", "limit", "number"),
    [
        (0, 0.1, None, 0),
        (1, 0.1, None, 0),
        (2, 0.01, None, 1),
        (2, 0.9, None, 1),
        (100, 0.1, None, 10),
        (100, 0.1, 4, 4),
        (100, 0.0, 4, 0),
    ],
)
def test_how_many_are_held_out(num_rows: int, fraction: float, limit: int | None, number: int) -> None:
    assert eval_size(num_rows, fraction, limit) == number
    for by in (None, SplitBy(keys=keys_of(num_rows)), SplitBy(strata=np.arange(num_rows) % 3)):
        assert split_rows(num_rows, fraction, 5, by=by, limit=limit).sum() == number


@DETERMINISTIC
@given(sizes=st.lists(st.integers(1, 40), min_size=1, max_size=6), fraction=st.floats(0.01, 0.9), seed=st.integers())
def test_each_stratum_gives_its_share_and_the_total_is_exact(sizes: list[int], fraction: float, seed: int) -> None:
    strata = np.repeat([f"kind {number}" for number in range(len(sizes))], sizes)
    held_out = split_rows(len(strata), fraction, seed, by=SplitBy(strata=strata))
    wanted = eval_size(len(strata), fraction, None)
    assert held_out.sum() == wanted
    for number, size in enumerate(sizes):
        assert abs(held_out[strata == f"kind {number}"].sum() - wanted * size / len(strata)) < 1 + 1e-9


@DETERMINISTIC
@given(groups=st.lists(st.integers(0, 15), min_size=2, max_size=80), fraction=st.floats(0.01, 0.9), seed=st.integers())
def test_a_group_stays_on_one_side(groups: list[int], fraction: float, seed: int) -> None:
    labels = np.array(groups)
    if len(set(groups)) == 1:
        with pytest.raises(DataError, match="one group"):
            split_rows(len(groups), fraction, seed, by=SplitBy(groups=labels))
        return
    held_out = split_rows(len(groups), fraction, seed, by=SplitBy(groups=labels))
    assert not set(labels[held_out]) & set(labels[~held_out])
    assert 0 < held_out.sum() < len(groups)
    wanted = eval_size(len(groups), fraction, None)
    sizes_left = [groups.count(label) for label in set(labels[~held_out].tolist())]
    if held_out.sum() > wanted:
        # Only where no group at all would fit, and then the smallest.
        assert len(set(labels[held_out])) == 1
        assert held_out.sum() == min(map(groups.count, groups))
    else:
        assert wanted - held_out.sum() < min(sizes_left)


@DETERMINISTIC
@given(
    rows=st.lists(st.tuples(st.integers(0, 12), st.integers(0, 3)), min_size=2, max_size=60),
    fraction=st.floats(0.05, 0.6),
    data=st.data(),
)
def test_the_order_of_the_rows_does_not_matter_where_there_are_keys(
    rows: list[tuple[int, int]], fraction: float, data: st.DataObject
) -> None:
    keys, (groups, strata) = keys_of(len(rows)), np.array(rows).T
    moved = np.array(data.draw(st.permutations(range(len(rows)))))
    renamed = np.random.default_rng(0).permutation(13)[groups]
    for group in (None, groups):
        if group is not None and len(np.unique(group)) == 1:
            continue
        for stratum in (None, strata):
            held_out = split_rows(len(rows), fraction, 3, by=SplitBy(keys, stratum, group))
            by = SplitBy(
                keys[moved], None if stratum is None else stratum[moved], None if group is None else renamed[moved]
            )
            assert split_rows(len(rows), fraction, 3, by=by).tolist() == held_out[moved].tolist()


def test_groups_of_one_row_are_no_groups() -> None:
    keys, strata = keys_of(300), np.arange(300) % 7
    plain = split_rows(300, 0.1, 1, by=SplitBy(keys, strata))
    assert split_rows(300, 0.1, 1, by=SplitBy(keys, strata, np.arange(300))).tolist() == plain.tolist()


@pytest.mark.parametrize("place", [0, 400, 1000])
def test_one_more_row_moves_few_others(place: int) -> None:
    keys = keys_of(1001)
    new, old = keys[-1], keys[:-1]
    grown = np.insert(old, place, new)
    kinds = (SplitBy, lambda keys: SplitBy(keys, strata=(keys % np.uint64(5))))
    for by in kinds:
        for seed in range(10):
            before = set(old[split_rows(1000, 0.1, seed, by=by(old))].tolist())
            after = set(grown[split_rows(1001, 0.1, seed, by=by(grown))].tolist())
            assert len((before ^ after) - {int(new)}) <= 2


def test_one_more_row_of_a_group_moves_few_others() -> None:
    keys = keys_of(1001)
    groups = np.concatenate([np.arange(1000) // 2, [17]])
    for seed in range(10):
        before = split_rows(1000, 0.1, seed, by=SplitBy(keys[:-1], groups=groups[:-1]))
        after = split_rows(1001, 0.1, seed, by=SplitBy(keys, groups=groups))
        assert (before != after[:-1]).sum() <= 6


def test_a_group_counts_to_the_stratum_of_its_lowest_key() -> None:
    by = SplitBy(
        keys=np.array([5, 1, 2, 3, 4, 6], np.uint64),
        strata=np.array(["a", "b", "b", "a", "a", "b"]),
        groups=np.array([0, 0, 1, 2, 3, 4]),
    )
    # Group 0 counts to b: a is rows 3 and 4 (two groups of one), b is a group of two and two of one.
    for seed in range(20):
        held_out = split_rows(6, 0.5, seed, by=by)
        assert held_out[[3, 4]].sum() == 1
        assert held_out[[0, 1, 2, 5]].sum() == 2
        assert held_out[0] == held_out[1]


def test_a_group_is_drawn_as_often_whatever_its_size() -> None:
    """Drawn by the lowest hash of its rows, a group of ten would come ten times as often."""
    groups = np.concatenate([np.repeat(np.arange(20), 10), np.arange(20, 220)])
    taken = np.zeros(220)
    for seed in range(200):
        held_out = split_rows(len(groups), 0.5, seed, by=SplitBy(groups=groups))
        taken[np.unique(groups[held_out])] += 1
    assert abs(taken[:20].mean() / taken[20:].mean() - 1) < 0.1


def test_every_row_is_held_out_about_equally_often() -> None:
    times = sum(split_rows(30, 0.2, seed, by=SplitBy(strata=np.arange(30) % 2)).astype(int) for seed in range(2000))
    # 400 expected each, standard deviation 18.
    assert times.min() > 320
    assert times.max() < 480


def test_groups_larger_than_the_share_give_the_smallest() -> None:
    groups = np.array([0] * 6 + [1] * 3 + [2] * 4)
    held_out = split_rows(13, 0.1, 0, by=SplitBy(groups=groups), limit=1)
    assert np.flatnonzero(held_out).tolist() == [6, 7, 8]
