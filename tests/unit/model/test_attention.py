"""Packed attention against the textbook in float64, with one mask over everything.

Shapes: B = 1, H heads, K key-value heads, T tokens of all conversations, D head size.
"""

from itertools import pairwise

import pytest
import torch
from torch import Tensor

from tuneloop.core.errors import ModelError
from tuneloop.model.attention import packed_attention

H, K, T, D = 4, 2, 23, 8
BOUNDS = (0, 1, 9, 23)


def textbook(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    *,
    bounds: tuple[int, ...],
    scale: float,
    window: int | None,
    softcap: float | None,
) -> Tensor:
    """One score matrix, one mask: same conversation, not later, not further back than the window."""
    conversation_T = torch.zeros(T, dtype=torch.int64)
    for number, (begin, end) in enumerate(pairwise(bounds)):
        conversation_T[begin:end] = number
    place_T = torch.arange(T)
    seen_TT = (conversation_T[:, None] == conversation_T[None, :]) & (place_T[:, None] >= place_T[None, :])
    if window is not None:
        seen_TT &= place_T[:, None] - place_T[None, :] < window
    key, value = (states.repeat_interleave(query.shape[1] // key.shape[1], dim=1) for states in (key, value))
    scores = query.double() @ key.double().transpose(-1, -2) * scale
    if softcap is not None:
        scores = softcap * torch.tanh(scores / softcap)
    scores = scores.masked_fill(~seen_TT, float("-inf"))
    return (torch.softmax(scores, dim=-1) @ value.double()).transpose(1, 2)


def states(key_heads: int = K) -> tuple[Tensor, Tensor, Tensor]:
    random = torch.Generator().manual_seed(0)
    query = 3 * torch.randn(1, H, T, D, generator=random)
    return query, torch.randn(1, key_heads, T, D, generator=random), torch.randn(1, key_heads, T, D, generator=random)


@pytest.mark.parametrize("softcap", [None, 2.0])
@pytest.mark.parametrize("window", [None, 1, 5, 8, 14, 100])
@pytest.mark.parametrize("key_heads", [1, K, H])
@pytest.mark.parametrize("bounds", [BOUNDS, (0, T)])
def test_it_is_the_textbooks(
    bounds: tuple[int, ...], key_heads: int, window: int | None, softcap: float | None
) -> None:
    query, key, value = (leaf.requires_grad_() for leaf in states(key_heads))
    features = {"scaling": 0.3, "sliding_window": window, "softcap": softcap}
    found, weights = packed_attention(torch.nn.Identity(), query, key, value, None, bounds=bounds, **features)
    expected = textbook(query, key, value, bounds=bounds, scale=0.3, window=window, softcap=softcap)
    assert weights is None
    assert found.shape == (1, T, H, D)
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-5)
    upstream = torch.randn(found.shape, generator=torch.Generator().manual_seed(1))
    gradients = torch.autograd.grad((found * upstream).sum(), (query, key, value))
    references = torch.autograd.grad((expected * upstream).sum(), (query, key, value))
    for gradient, reference in zip(gradients, references, strict=True):
        torch.testing.assert_close(gradient, reference, rtol=1e-4, atol=1e-5)


def test_the_usual_scale_and_one_conversation_are_the_defaults() -> None:
    query, key, value = states()
    found, _ = packed_attention(torch.nn.Identity(), query, key, value, None)
    expected = textbook(query, key, value, bounds=(0, T), scale=D**-0.5, window=None, softcap=None)
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("softcap", [None, 2.0])
def test_dropout_is_applied_where_asked_for(softcap: float | None) -> None:
    query, key, value = states()
    torch.manual_seed(0)
    plain, _ = packed_attention(torch.nn.Identity(), query, key, value, None, bounds=BOUNDS, softcap=softcap)
    dropped, _ = packed_attention(
        torch.nn.Identity(), query, key, value, None, bounds=BOUNDS, softcap=softcap, dropout=0.5
    )
    assert not torch.equal(plain, dropped)


@pytest.mark.parametrize("feature", ["s_aux", "head_mask", "position_bias"])
def test_what_it_does_not_compute_is_refused_by_name(feature: str) -> None:
    with pytest.raises(ModelError, match=feature):
        packed_attention(torch.nn.Identity(), *states(), None, **{feature: torch.zeros(1)})


def test_a_mask_of_its_own_is_refused() -> None:
    with pytest.raises(ModelError, match="mask"):
        packed_attention(torch.nn.Identity(), *states(), torch.zeros(1, 1, T, T))
