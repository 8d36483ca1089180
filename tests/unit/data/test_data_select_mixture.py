"""How often each row comes, in one epoch and over many."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tuneloop.core.errors import ConfigError
from tuneloop.data.select.mixture import Mixture, epoch_rows, epoch_size, plain_mixture, temperature_epochs

DETERMINISTIC = settings(derandomize=True, database=None, deadline=None, max_examples=60)

mixtures = st.lists(st.tuples(st.integers(0, 12), st.floats(0.01, 4)), min_size=1, max_size=4).map(
    lambda pairs: Mixture(tuple(size for size, _ in pairs), tuple(epochs for _, epochs in pairs))
)


def times_each(mixture: Mixture, rows: np.ndarray) -> list[np.ndarray]:
    """How often each row comes, source by source."""
    times = np.bincount(rows, minlength=sum(mixture.sizes))
    return np.split(times, np.cumsum(mixture.sizes)[:-1])


@DETERMINISTIC
@given(mixture=mixtures, seed=st.integers(0, 2**40), epoch=st.integers(0, 50))
def test_an_epoch_has_its_size_and_keeps_the_order_of_the_sources(mixture: Mixture, seed: int, epoch: int) -> None:
    rows = epoch_rows(mixture, seed, epoch)
    assert rows.dtype == np.int64
    assert len(rows) == epoch_size(mixture)
    assert epoch_rows(mixture, seed, epoch).tolist() == rows.tolist()
    source = np.repeat(np.arange(len(mixture.sizes)), mixture.sizes)[rows]
    assert (np.diff(source) >= 0).all()
    assert [int(times.sum()) for times in times_each(mixture, rows)] == list(mixture.rows_each)


@DETERMINISTIC
@given(mixture=mixtures, seed=st.integers(0, 2**40), num_epochs=st.integers(1, 25))
def test_no_row_is_starved(mixture: Mixture, seed: int, num_epochs: int) -> None:
    """In one epoch, and over any number of them, no row comes more than once oftener than another of its source."""
    epochs = [epoch_rows(mixture, seed, epoch) for epoch in range(num_epochs)]
    for rows in (*epochs, np.concatenate(epochs)):
        for times in times_each(mixture, rows):
            assert not len(times) or times.max() - times.min() <= 1


@pytest.mark.parametrize(("epochs", "round_of"), [(0.5, 2), (0.25, 4), (1.75, 4), (2.5, 2), (0.2, 5)])
def test_after_a_whole_round_every_row_came_equally_often(epochs: float, round_of: int) -> None:
    mixture = Mixture((100,), (epochs,))
    rows = np.concatenate([epoch_rows(mixture, 3, epoch) for epoch in range(round_of)])
    assert set(np.bincount(rows, minlength=100).tolist()) == {round(round_of * epochs)}


def test_rows_by_hand() -> None:
    mixture = Mixture((2, 4), (2.0, 0.5))
    first, second, third = (epoch_rows(mixture, 7, epoch).tolist() for epoch in range(3))
    assert first[:4] == second[:4] == [0, 1, 0, 1]
    assert sorted(first[4:] + second[4:]) == [2, 3, 4, 5]
    assert third == first


def test_the_part_is_drawn_by_the_seed_and_not_the_same_for_every_source() -> None:
    parts = {tuple(epoch_rows(Mixture((50,), (0.2,)), seed, 0).tolist()) for seed in range(20)}
    assert len(parts) == 20
    both = epoch_rows(Mixture((50, 50), (0.2, 0.2)), 0, 0)
    assert both[:10].tolist() != (both[10:] - 50).tolist()
    times = np.bincount(np.concatenate([epoch_rows(Mixture((20,), (0.25,)), seed, 0) for seed in range(2000)]))
    assert times.min() > 420
    assert times.max() < 580


def test_a_source_with_rows_always_gives_one() -> None:
    assert Mixture((10, 0), (0.001, 1.0)).rows_each == (1, 0)
    assert Mixture((5, 3), (0.1, 0.5)).rows_each == (1, 2)


def test_a_plain_mixture_is_the_file() -> None:
    assert epoch_rows(plain_mixture(5), 1, 9).tolist() == [0, 1, 2, 3, 4]
    assert epoch_rows(plain_mixture(0), 1, 9).tolist() == []


@pytest.mark.parametrize("epochs", [0.0, -1.0, math.nan, math.inf])
def test_epochs_that_mean_nothing_are_refused(epochs: float) -> None:
    with pytest.raises(ConfigError, match=r"data\.train\.1\.epochs"):
        Mixture((3, 3), (1.0, epochs))


@pytest.mark.parametrize(
    ("sizes", "temperature", "rows"),
    [
        ((900, 100), 1, (900, 100)),
        ((900, 100), 2, (750, 250)),
        ((900, 100), math.inf, (500, 500)),
        ((8, 1), 3, (6, 3)),
        ((70, 0, 30), 1, (70, 0, 30)),
        ((90, 10), 0.5, (99, 1)),
        ((10**6, 1), 0.01, (10**6 + 1, 1)),
    ],
)
def test_temperature_by_hand(sizes: tuple[int, ...], temperature: float, rows: tuple[int, ...]) -> None:
    assert Mixture(sizes, temperature_epochs(sizes, temperature)).rows_each == rows


@DETERMINISTIC
@given(
    sizes=st.lists(st.integers(50, 10**6), min_size=1, max_size=8).map(tuple),
    temperature=st.floats(1, 100) | st.just(math.inf),
)
def test_temperature_keeps_the_rows_and_their_ranks(sizes: tuple[int, ...], temperature: float) -> None:
    mixture = Mixture(sizes, temperature_epochs(sizes, temperature))
    assert abs(epoch_size(mixture) - sum(sizes)) <= sum(number == 1 for number in mixture.rows_each)
    held, given_rows = np.array(sizes, float), np.array(mixture.rows_each)
    weights = held ** (1 / temperature)
    exact = sum(sizes) * weights / weights.sum()
    assert (np.abs(given_rows - exact) < 1 + 1e-6).all()
    largest_first = np.argsort(-held)
    assert (np.diff(given_rows[largest_first]) <= 1).all()


@pytest.mark.parametrize("temperature", [0, -2, math.nan])
def test_a_temperature_that_means_nothing_is_refused(temperature: float) -> None:
    with pytest.raises(ConfigError, match=r"data\.mixing\.temperature"):
        temperature_epochs((3, 4), temperature)
