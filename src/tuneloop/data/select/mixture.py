"""How often the rows of each source come in an epoch: copies, a part of them, or shares by temperature."""

import math
from dataclasses import dataclass

import numpy as np

from tuneloop.core.errors import ConfigError
from tuneloop.core.seeds import keyed_permutation
from tuneloop.data.select.draw import apportion


@dataclass(frozen=True)
class Mixture:
    """Sources laid end to end, and how often each comes in one epoch of the run."""

    sizes: tuple[int, ...]
    """Rows of each source."""
    epochs: tuple[float, ...]
    """2 brings every row twice an epoch, 0.5 another half of the rows each epoch."""

    def __post_init__(self) -> None:
        assert len(self.sizes) == len(self.epochs), "one number of epochs a source"
        for source, epochs in enumerate(self.epochs):
            if not (math.isfinite(epochs) and epochs > 0):
                raise ConfigError(f"data.train.{source}.epochs is {epochs}. Give a number above 0.")

    @property
    def rows_each(self) -> tuple[int, ...]:
        """Rows that each source gives to one epoch, copies counted: size times epochs, rounded.

        Never none of a source that has rows, so that no row waits for ever.
        """
        return tuple(
            max(1, math.floor(size * epochs + 0.5)) if size else 0
            for size, epochs in zip(self.sizes, self.epochs, strict=True)
        )


def plain_mixture(num_rows: int) -> Mixture:
    """One source, each row once an epoch."""
    return Mixture((num_rows,), (1.0,))


def temperature_epochs(sizes: tuple[int, ...], temperature: float) -> tuple[float, ...]:
    """Epochs of each source so that its share of the rows is in proportion to size ** (1 / temperature).

    The rows of an epoch stay as many as there are (a source that has rows gives at least one). Temperature 1 leaves
    the sources as they are, infinity gives each the same share. By hand: 900 and 100 rows at temperature 2 have
    shares 30 : 10, so 750 and 250 rows, so 0.833 and 2.5 epochs.

    Source: Arivazhagan et al. 2019, arXiv:1907.05019 (temperature 5); Xue et al. 2021, arXiv:2010.11934 (mT5: the
    exponent 0.3, temperature 3.3).

    Raises:
        ConfigError: a temperature that is not above 0.
    """
    if not temperature > 0:
        raise ConfigError(f"data.mixing.temperature is {temperature}. Give a number above 0; 1 changes nothing.")
    held = np.array([size for size in sizes if size > 0], np.float64)
    if not len(held):
        return tuple(1.0 for _ in sizes)
    # From the largest source down: no power is above one, however low the temperature.
    weights = np.exp(np.log(held / held.max()) / temperature)
    rows = iter(np.maximum(apportion(sum(sizes), weights), 1).tolist())
    return tuple(next(rows) / size if size else 1.0 for size in sizes)


def epoch_size(mixture: Mixture) -> int:
    """Rows of one epoch, copies counted; the same for every epoch."""
    return sum(mixture.rows_each)


def epoch_rows(mixture: Mixture, seed: int, epoch: int) -> np.ndarray:
    """The rows of an epoch, counted from 0, as int64 indices over all sources, in the order of the files.

    Whole copies of a source come one after the other, then the part that is left over. That part walks along one
    permutation of the source, and goes round: within an epoch the numbers of times that two rows come differ by at
    most one, and so do they over any number of epochs from the first.
    """
    offsets = np.cumsum((0, *mixture.sizes))
    parts = [np.empty(0, np.int64)]
    for source, (size, number) in enumerate(zip(mixture.sizes, mixture.rows_each, strict=True)):
        if not size:
            continue
        copies, extra = divmod(number, size)
        parts.append(np.tile(np.arange(size) + offsets[source], copies))
        if extra:
            walk = keyed_permutation(size, seed, "mixture", source)
            places = (np.arange(extra) + epoch * extra) % size
            parts.append(np.sort(walk[places]) + offsets[source])
    return np.concatenate(parts)
