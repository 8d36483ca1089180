"""The worked examples of docs/mixing.md hold."""

from pathlib import Path

import numpy as np
import pytest

from tuneloop.data.config import DataConfig
from tuneloop.data.select.mixture import Mixture, epoch_rows, temperature_epochs
from tuneloop.data.select.order import WindowedOrder
from tuneloop.data.select.split import SplitBy, split_rows


@pytest.fixture(scope="module")
def page() -> str:
    return " ".join((Path(__file__).parents[3] / "docs" / "mixing.md").read_text().split())


def spaced(values: object) -> str:
    return " ".join(map(str, np.asarray(values).tolist()))


def test_the_recipe_of_the_page_is_a_recipe() -> None:
    import yaml

    text = (Path(__file__).parents[3] / "docs" / "mixing.md").read_text()
    recipe = yaml.safe_load(text.split("```yaml\n")[1].split("```")[0])
    config = DataConfig.model_validate(recipe["data"])
    assert config.train[1].num_samples == 8000
    assert config.split.stratify == "file"


def test_rows_of_three_epochs(page: str) -> None:
    mixture = Mixture((3, 4), (2.0, 0.5))
    for epoch in range(3):
        assert f"| {epoch} | {spaced(epoch_rows(mixture, 0, epoch))} |" in page


@pytest.mark.parametrize("temperature", [1, 2, 3.3, 5, float("inf")])
def test_shares_by_temperature(page: str, temperature: float) -> None:
    sizes = (8000, 1500, 500)
    epochs = temperature_epochs(sizes, temperature)
    rows = Mixture(sizes, epochs).rows_each
    assert sum(rows) == 10_000
    assert f"| {temperature} | {spaced(rows)} | {' '.join(f'{number:.2f}' for number in epochs)} |" in page


def test_windows(page: str) -> None:
    order = WindowedOrder(10, 4, seed=0, epoch=0).index_at(np.arange(10))
    assert f"{spaced(order[:4])}, {spaced(order[4:8])}, {spaced(order[8:])}." in page


def test_held_out_rows(page: str) -> None:
    strata = np.repeat([0, 1, 2], [705, 195, 100])
    counts = np.bincount(strata[split_rows(1000, 0.1, 0, by=SplitBy(strata=strata))])
    assert "so {}, {} and {}.".format(*counts) in page
    groups = np.repeat(np.arange(25), 4)
    assert f"two groups, {split_rows(100, 0.1, 0, by=SplitBy(groups=groups)).sum()} rows" in page
