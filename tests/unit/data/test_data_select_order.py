"""The order of an epoch, and the rows of a step."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tuneloop.core.errors import ConfigError
from tuneloop.core.seeds import keyed_permutation
from tuneloop.data.select.mixture import Mixture, epoch_rows, epoch_size, plain_mixture
from tuneloop.data.select.order import EpochPlan, OrderKind, WindowedOrder, epoch_order, plain_plan

DETERMINISTIC = settings(derandomize=True, database=None, deadline=None, max_examples=60)
KINDS: tuple[OrderKind, ...] = ("shuffle", "file", "length", "score")


def test_a_plain_plan_by_hand() -> None:
    """Golden: a resumed run on another machine meets the same rows."""
    plan = plain_plan(10, 7)
    steps = [[7, 4, 2, 1], [3, 6, 9, 0], [5, 8], [3, 2, 4, 0], [8, 7, 1, 6], [9, 5]]
    assert [plan.rows_of_step(4, step) for step in range(6)] == steps
    # In any order of asking.
    for step in (5, 0, 3, 17, 1, 4, 2):
        expected = steps[step] if step < 6 else plain_plan(10, 7).rows_of_step(4, step)
        assert plan.rows_of_step(4, step) == expected


@DETERMINISTIC
@given(
    sizes=st.lists(st.integers(1, 30), min_size=1, max_size=3),
    epochs=st.floats(0.1, 3),
    kind=st.sampled_from(KINDS),
    batch_size=st.integers(1, 40),
    seed=st.integers(0, 2**40),
)
def test_the_steps_of_an_epoch_take_its_rows(
    sizes: list[int], epochs: float, kind: OrderKind, batch_size: int, seed: int
) -> None:
    mixture = Mixture(tuple(sizes), (epochs,) * len(sizes))
    keys = np.arange(sum(sizes)) % 5.0
    plan = EpochPlan(mixture, kind, keys, seed)
    steps = plan.steps_per_epoch(batch_size)
    for epoch in range(3):
        taken = [plan.rows_of_step(batch_size, epoch * steps + step) for step in range(steps)]
        assert sorted(sum(taken, [])) == sorted(epoch_rows(mixture, seed, epoch).tolist())  # noqa: RUF017 - short
        assert {len(rows) for rows in taken[:-1]} <= {batch_size}
        assert len(taken[-1]) == epoch_size(mixture) - (steps - 1) * batch_size > 0


def test_an_order_is_made_once_and_two_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []

    def counted(rows: np.ndarray, kind: OrderKind, keys: np.ndarray | None, seed: int, epoch: int) -> np.ndarray:
        made.append(epoch)
        return epoch_order(rows, kind, keys, seed, epoch)

    monkeypatch.setattr("tuneloop.data.select.order.epoch_order", counted)
    plan = plain_plan(10, 0)
    for epoch in (0, 0, 1, 0, 1, 2, 1, 2, 0, 2, 1, 2):
        plan.order_of(epoch)
    # Of two, the one that was asked for longer ago makes way: 2 stayed when 1 came back.
    assert made == [0, 1, 2, 0, 1]
    plan.order_of(0)
    with pytest.raises(ValueError, match="read-only"):
        plan.order_of(0)[0] = 3
    rows = plan.rows_of_step(4, 0)
    rows[0] = 99
    assert plan.rows_of_step(4, 0) != rows


def test_shuffle_and_file_by_hand() -> None:
    rows = np.array([4, 4, 9, 2])
    assert epoch_order(rows, "file", None, 7, 0).tolist() == [4, 4, 9, 2]
    assert epoch_order(rows, "shuffle", None, 7, 0).tolist() == rows[keyed_permutation(4, 7, "order", 0)].tolist()
    assert len({tuple(epoch_order(np.arange(20), "shuffle", None, 7, epoch).tolist()) for epoch in range(9)}) == 9


@DETERMINISTIC
@given(
    keys=st.lists(st.integers(0, 9) | st.none(), max_size=120),
    kind=st.sampled_from(("length", "score")),
    seed=st.integers(0, 2**40),
)
def test_a_curriculum_rises_from_bucket_to_bucket_and_ends_with_rows_without_a_key(
    keys: list[int | None], kind: OrderKind, seed: int
) -> None:
    numbers = np.array([np.nan if key is None else key for key in keys], float)
    rows = np.arange(len(keys))
    ordered = epoch_order(rows, kind, numbers, seed, 1)
    assert sorted(ordered.tolist()) == rows.tolist()
    found = numbers[ordered]
    num_keyed = int((~np.isnan(numbers)).sum())
    assert np.isnan(found[num_keyed:]).all()
    buckets = [found[start : min(start + 16, num_keyed)] for start in range(0, num_keyed, 16)]
    assert not any(np.isnan(bucket).any() for bucket in buckets)
    for easy, hard in itertools.pairwise(buckets):
        assert easy.max() <= hard.min()


def test_a_curriculum_is_shuffled_inside_a_hundredth_of_the_rows() -> None:
    lengths = np.random.default_rng(0).permutation(5000)
    epochs = [lengths[epoch_order(np.arange(5000), "length", lengths, 3, epoch)] for epoch in range(2)]
    for values in epochs:
        assert (values // 50 == np.arange(5000) // 50).all()
        assert abs(np.corrcoef(values[:2500] % 50, np.arange(2500) % 50)[0, 1]) < 0.1
    assert (epochs[0] == epochs[1]).mean() < 0.05


def test_rows_of_equal_score_and_rows_without_one_are_shuffled() -> None:
    """A score from 1 to 3 alone would leave the files in their order over thousands of steps."""
    for scores in (np.repeat([1.0, 2.0, 3.0], 2000), np.full(6000, np.nan)):
        ordered = epoch_order(np.arange(6000), "score", scores, 0, 0)
        for start in range(0, 6000, 2000):
            part = ordered[start : start + 2000]
            assert abs(np.corrcoef(part, np.arange(2000))[0, 1]) < 0.1
        # And no row of theirs is among the first in every epoch.
        first = [set(epoch_order(np.arange(6000), "score", scores, 0, epoch)[:60].tolist()) for epoch in range(2)]
        assert len(first[0] & first[1]) < 20


def test_copies_of_a_row_share_its_key() -> None:
    plan = EpochPlan(Mixture((2, 2), (20.0, 20.0)), "length", np.array([9, 1, 5, 3]), 0)
    assert [sorted(set(plan.order_of(0)[start : start + 4].tolist())) for start in (0, 76)] == [[1], [0]]


@pytest.mark.parametrize("kind", ["length", "score"])
def test_a_curriculum_without_keys_is_refused(kind: OrderKind) -> None:
    for keys in (None, np.full(4, np.nan)):
        with pytest.raises(ConfigError, match=f"no row has a {kind}"):
            EpochPlan(plain_mixture(4), kind, keys, 0)


@DETERMINISTIC
@given(
    num_rows=st.integers(1, 90),
    window=st.integers(1, 120),
    seed=st.integers(0, 2**40),
    epoch=st.integers(0, 5),
    data=st.data(),
)
def test_a_windowed_order_is_a_permutation_of_each_window(
    num_rows: int, window: int, seed: int, epoch: int, data: st.DataObject
) -> None:
    order = WindowedOrder(num_rows, window, seed, epoch)
    whole = order.index_at(np.arange(num_rows))
    for start in range(0, num_rows, window):
        inside = whole[start : start + window].tolist()
        assert sorted(inside) == list(range(start, min(start + window, num_rows)))
    asked = data.draw(st.lists(st.integers(0, num_rows - 1), max_size=10))
    assert order.index_at(np.array(asked, np.int64)).tolist() == whole[asked].tolist()
    if window >= num_rows:
        assert whole.tolist() == keyed_permutation(num_rows, seed, "order", epoch).tolist()
    # Rows that arrive later change no window that was full.
    full = num_rows // window * window
    assert WindowedOrder(num_rows + 17, window, seed, epoch).index_at(np.arange(full)).tolist() == whole[:full].tolist()


def test_windows_are_shuffled_each_in_its_own_way() -> None:
    whole = WindowedOrder(200, 10, 0, 0).index_at(np.arange(200)).reshape(20, 10)
    assert len({tuple(row.tolist()) for row in whole % 10}) == 20
    assert WindowedOrder(200, 10, 0, 1).index_at(np.arange(200)).tolist() != whole.reshape(-1).tolist()
