"""Drawing a token: by hand, against probabilities, and independent of everything but the number."""

import numpy as np
import pytest
import torch

from tuneloop.generate.config import GenerateConfig
from tuneloop.generate.sampling import choose, uniform

P = torch.tensor([[0.2, 0.5, 0.3]])


@pytest.mark.parametrize(
    ("u", "top_p", "top_k", "expected"),
    [
        (0.1, 1.0, 0, 0),
        (0.6, 1.0, 0, 1),
        (0.8, 1.0, 0, 2),
        (0.99, 0.5, 0, 1),
        (0.6, 0.8, 0, 1),
        (0.63, 0.8, 0, 2),
        (0.99, 1.0, 1, 1),
        (0.63, 1.0, 2, 2),
        (0.99, 0.6, 2, 1),
        (0.0, 1.0, 0, 0),
        (1 - 2**-53, 0.8, 0, 2),
    ],
)
def test_by_hand(u: float, top_p: float, top_k: int, expected: int) -> None:
    config = GenerateConfig(temperature=1.0, top_p=top_p, top_k=top_k)
    assert choose(P.log(), config, [u]).tolist() == [expected]


def test_temperature_divides_the_logits() -> None:
    """At temperature 0.5 the probabilities are squared: 0.04, 0.25 and 0.09 of 0.38."""
    config = GenerateConfig(temperature=0.5)
    assert choose(P.log().repeat(4, 1), config, [0.10, 0.11, 0.76, 0.77]).tolist() == [0, 1, 1, 2]
    assert choose(P, GenerateConfig(), []).tolist() == [1]


@pytest.mark.parametrize(("top_p", "top_k"), [(1.0, 0), (0.7, 0), (1.0, 40), (0.8, 40), (0.9999, 0)])
def test_draws_have_the_probabilities_of_transformers(top_p: float, top_k: int) -> None:
    """2,000 evenly spaced numbers draw each token within 1 of its expected count; the nucleus needs many candidates."""
    from transformers import TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

    torch.manual_seed(0)
    logits = torch.randn(1, 900) * 2
    cut = TemperatureLogitsWarper(1.3)(None, logits)
    cut = TopKLogitsWarper(top_k)(None, cut) if top_k else cut
    cut = TopPLogitsWarper(top_p)(None, cut) if top_p < 1 else cut
    expected = torch.softmax(cut, dim=-1)[0].double() * 2000
    numbers = ((np.arange(2000) + 0.5) / 2000).tolist()
    config = GenerateConfig(temperature=1.3, top_p=top_p, top_k=top_k)
    drawn = choose(logits.repeat(2000, 1), config, numbers)
    counts = torch.bincount(drawn, minlength=900)
    assert (counts - expected).abs().max() <= 1.0
    assert not counts[expected == 0].any()


def test_a_row_does_not_depend_on_the_others() -> None:
    torch.manual_seed(0)
    logits = torch.randn(5, 700)
    logits[2] *= 0.01
    config = GenerateConfig(temperature=1.0, top_p=0.95)
    numbers = [0.1, 0.9, 0.77, 0.4, 0.999]
    together = choose(logits, config, numbers).tolist()
    assert together == [choose(logits[i : i + 1], config, numbers[i : i + 1]).item() for i in range(5)]


def test_numbers_are_even_and_their_own() -> None:
    numbers = [uniform(1, key, place) for key in range(40) for place in range(50)]
    assert len(set(numbers)) == 2000
    assert 0 <= min(numbers) <= max(numbers) < 1
    counts = np.histogram(numbers, bins=10, range=(0, 1))[0]
    assert counts.min() > 150
    assert counts.max() < 250
    assert uniform(1, "a", 2) == uniform(1, "a", 2) != uniform(2, "a", 2)
