"""Hashes, samples and whole shares."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tuneloop.core.seeds import keyed_hash, keyed_permutation
from tuneloop.data.select.draw import apportion, sample_rows

DETERMINISTIC = settings(derandomize=True, database=None, deadline=None, max_examples=60)


@DETERMINISTIC
@given(size=st.integers(0, 200), seed=st.integers(0, 2**62), name=st.text(max_size=5))
def test_the_order_of_the_hashes_is_the_keyed_permutation(size: int, seed: int, name: str) -> None:
    hashes = keyed_hash(np.arange(size), seed, name, 3)
    assert np.argsort(hashes).tolist() == keyed_permutation(size, seed, name, 3).tolist()
    assert len(np.unique(hashes)) == size


@DETERMINISTIC
@given(size=st.integers(0, 60), limit=st.integers(0, 70), seed=st.integers(0, 2**40))
def test_a_sample_is_the_first_rows_of_the_permutation_in_file_order(size: int, limit: int, seed: int) -> None:
    rows = sample_rows(size, limit, seed, "samples", "a.jsonl").tolist()
    assert rows == sorted(keyed_permutation(size, seed, "samples", "a.jsonl")[:limit].tolist())
    assert set(rows) <= set(sample_rows(size, limit + 1, seed, "samples", "a.jsonl").tolist())


def test_a_sample_without_a_limit_is_everything() -> None:
    assert sample_rows(4, None, 0, "samples").tolist() == [0, 1, 2, 3]
    assert sample_rows(4, 0, 0, "samples").tolist() == []


def test_each_purpose_draws_other_rows() -> None:
    drawn = {tuple(sample_rows(100, 10, seed, purpose).tolist()) for seed in (1, 2) for purpose in ("a", "b")}
    assert len(drawn) == 4


def test_a_sample_takes_every_row_about_equally_often() -> None:
    times = np.bincount(np.concatenate([sample_rows(20, 5, seed, "samples") for seed in range(2000)]), minlength=20)
    # 500 expected each, standard deviation 19.
    assert times.min() > 420
    assert times.max() < 580


@pytest.mark.parametrize(
    ("total", "weights", "shares"),
    [
        (10, [5, 3, 3], [4, 3, 3]),
        (3, [1, 1], [2, 1]),
        (1, [1, 2, 2], [0, 1, 0]),
        (0, [3, 4], [0, 0]),
        (6, [1, 2, 3], [1, 2, 3]),
        (5, [0, 1], [0, 5]),
    ],
)
def test_shares_by_hand(total: int, weights: list[int], shares: list[int]) -> None:
    assert apportion(total, np.array(weights)).tolist() == shares


@DETERMINISTIC
@given(total=st.integers(0, 10**7), weights=st.lists(st.integers(0, 10**6), min_size=1, max_size=30))
def test_shares_add_up_and_are_each_within_one_of_exact(total: int, weights: list[int]) -> None:
    weights[0] += 1
    shares = apportion(total, np.array(weights))
    assert shares.sum() == total
    assert (np.abs(shares - total * np.array(weights) / sum(weights)) < 1 + 1e-6).all()
