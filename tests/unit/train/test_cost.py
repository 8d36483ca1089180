"""Cards by name, and the speed of this machine."""

import pytest
import torch

from tuneloop.core.errors import ConfigError
from tuneloop.train.cost import CARDS, find_card, measured_flops


@pytest.mark.parametrize(
    ("name", "card"),
    [
        ("H100", "H100"),
        ("h200", "H200"),
        ("RTX 4090", "4090"),
        ("nvidia geforce rtx 3090", "3090"),
        ("A100-80GB", "A100"),
        ("A100-40GB", "A100-40"),
    ],
)
def test_a_card_is_found_by_the_names_that_people_use(name: str, card: str) -> None:
    assert find_card(name).name == card


def test_an_unknown_card_names_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"--device TPU: not known\..*H200, H100"):
        find_card("TPU")


def test_every_card_has_its_source_and_memory_near_its_name() -> None:
    assert all(card.source and 20_000 < card.memory_mib < 150_000 for card in CARDS)


def test_a_matrix_product_runs_at_a_speed_that_machines_have() -> None:
    assert 1e8 < measured_flops(torch.device("cpu"), torch.float32) < 1e14
