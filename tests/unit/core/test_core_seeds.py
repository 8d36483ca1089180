"""Chance by name: the same everywhere, different for every purpose."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tuneloop.core.seeds import derive_seed, keyed_permutation

MASK = 2**64 - 1


def permutation_by_hand(size: int, key: int) -> list[int]:
    """The same in plain integers: sort by splitmix64's finaliser of key + item * golden ratio."""

    def mix(item: int) -> int:
        z = (item * 0x9E3779B97F4A7C15 + key) & MASK
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
        return z ^ (z >> 31)

    return sorted(range(size), key=mix)


def test_golden_values() -> None:
    """A run that is resumed on another machine or version must meet the same rows."""
    assert derive_seed(0) == 4246866556266386882
    assert derive_seed(7, "dropout", 3) == 6742028289292392483
    assert keyed_permutation(10, 0).tolist() == [7, 5, 1, 6, 2, 3, 4, 8, 9, 0]
    assert keyed_permutation(10, 7, "order", 0).tolist() == [7, 4, 2, 1, 3, 6, 9, 0, 5, 8]
    assert keyed_permutation(10, 7, "order", 1).tolist() == [3, 2, 4, 0, 8, 7, 1, 6, 9, 5]


@settings(derandomize=True, database=None, deadline=None, max_examples=60)
@given(size=st.integers(0, 300), seed=st.integers(0, 2**70), name=st.text(max_size=5))
def test_permutation(size: int, seed: int, name: str) -> None:
    order = keyed_permutation(size, seed, name).tolist()
    assert sorted(order) == list(range(size))
    assert order == permutation_by_hand(size, derive_seed(seed, name))


def test_orders_differ_by_seed_name_and_epoch() -> None:
    orders = {
        tuple(keyed_permutation(50, seed, name, epoch).tolist())
        for seed in range(5)
        for name in ("order", "split")
        for epoch in range(20)
    }
    assert len(orders) == 5 * 2 * 20


def test_no_place_is_preferred() -> None:
    """The first of ten items is each of them about as often: 200 expected, standard deviation 13.4."""
    firsts = np.bincount([keyed_permutation(10, seed)[0] for seed in range(2000)], minlength=10)
    assert firsts.min() > 200 - 5 * 13.4
    assert firsts.max() < 200 + 5 * 13.4


@pytest.mark.parametrize(
    ("left", "right"),
    [((1, "ab", "c"), (1, "a", "bc")), ((1, 23), (12, 3)), ((1, "a"), (2, "a")), ((1, "a"), (1, "a", ""))],
)
def test_names_do_not_run_together(left: tuple[int, object], right: tuple[int, object]) -> None:
    assert derive_seed(*left) != derive_seed(*right)


def test_seed_is_taken_by_every_generator() -> None:
    """63 bits: torch.manual_seed takes nothing above 2**63 - 1."""
    seeds = [derive_seed(0, index) for index in range(200)]
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert max(seeds) > 2**62
