"""Attention over conversations laid end to end: each sees itself alone, and nothing is padded.

Shapes: B = 1, H heads, K key-value heads, T tokens of all conversations, D head size.
"""

import functools
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface

from tuneloop.core.errors import ModelError

PACKED_ATTENTION = "tuneloop_packed"
_REFUSED_FEATURES = ("s_aux", "head_mask", "position_bias")


def packed_attention(
    module: torch.nn.Module,  # noqa: ARG001 - transformers' interface
    query_BHTD: Tensor,
    key_BKTD: Tensor,
    value_BKTD: Tensor,
    attention_mask: Tensor | None,
    **features: Any,
) -> tuple[Tensor, None]:
    """Causal attention inside each conversation; the function that transformers' layers call.

    `bounds` (S + 1 borders) and `parents` come from the batch; without them all tokens are one conversation.

    Returns:
        Output, [B, T, H, D], and no attention weights.

    Raises:
        ModelError: the architecture asks for something that this attention does not compute.
    """
    refused = [name for name in _REFUSED_FEATURES if features.get(name) is not None]
    if refused or attention_mask is not None:
        raise ModelError(f"packed attention does not know {', '.join(refused) or 'a mask of its own'}")
    bounds = features.get("bounds") or (0, query_BHTD.shape[2])
    window = features.get("sliding_window")
    softcap = features.get("softcap")
    scale = features.get("scaling")
    scale = query_BHTD.shape[-1] ** -0.5 if scale is None else scale
    dropout = features.get("dropout", 0.0)
    parents = features.get("parents") or (-1,) * (len(bounds) - 1)
    if can_use_varlen(query_BHTD, softcap=softcap, dropout=dropout):
        layout = (bounds, parents)
        return _varlen_attention(query_BHTD, key_BKTD, value_BKTD, layout=layout, scale=scale, window=window), None
    groups = query_BHTD.shape[1] // key_BKTD.shape[1]
    outputs = []
    # split, not slices: the gradient of a slice is as long as the whole, and zero but for the slice.
    lengths = [end - begin for begin, end in pairwise(bounds)]
    queries, keys, values = (states.split(lengths, dim=2) for states in (query_BHTD, key_BKTD, value_BKTD))
    for query, own_key, own_value, parent in zip(queries, keys, values, parents, strict=True):
        key, value = own_key, own_value
        if parent >= 0:
            key, value = torch.cat([keys[parent], key], dim=2), torch.cat([values[parent], value], dim=2)
        if groups > 1:
            key = _repeat_heads(key, groups)
            value = _repeat_heads(value, groups)
        is_long = window is not None and key.shape[2] > window
        if softcap is None and not is_long:
            visible = None if parent < 0 else _visible(query, key, window=None)
            out = scaled_dot_product_attention(
                query, key, value, visible, dropout_p=dropout, is_causal=visible is None, scale=scale
            )
        else:
            out = _explicit_attention(query, key, value, scale=scale, window=window, softcap=softcap, dropout=dropout)
        outputs.append(out.transpose(1, 2))
    return torch.cat(outputs, dim=1), None


def can_use_varlen(query_BHTD: Tensor, *, softcap: float | None, dropout: float) -> bool:
    """Whether torch's flash attention over conversations of any length computes this: half precision on CUDA."""
    return query_BHTD.is_cuda and query_BHTD.dtype in {torch.bfloat16, torch.float16} and not softcap and not dropout


def _varlen_attention(
    query_BHTD: Tensor,
    key_BKTD: Tensor,
    value_BKTD: Tensor,
    *,
    layout: tuple[tuple[int, ...], tuple[int, ...]],
    scale: float,
    window: int | None,
) -> Tensor:
    """All conversations in one kernel, [B, T, H, D]; the window counts the token itself, flash attention's does not.

    A piece that goes on from another one has that one's keys before its own: the kernel aligns the last query with
    the last key.
    """
    from torch.nn.attention.varlen import varlen_attn

    bounds, parents = layout
    places, key_bounds = keys_of_pieces(bounds, parents)
    query, key, value = (states[0].transpose(0, 1) for states in (query_BHTD, key_BKTD, value_BKTD))
    if places is not None:
        index = _on_device(places, query.device)
        key, value = key[index], value[index]
    output = varlen_attn(
        query,
        key,
        value,
        _on_device(bounds, query.device, torch.int32),
        _on_device(key_bounds, query.device, torch.int32),
        max(end - begin for begin, end in pairwise(bounds)),
        max(end - begin for begin, end in pairwise(key_bounds)),
        scale=scale,
        window_size=(-1 if window is None else window - 1, 0),
        enable_gqa=query.shape[1] != key.shape[1],
    )
    assert isinstance(output, Tensor), "no further outputs were asked for"
    return output[None]


@functools.lru_cache(maxsize=8)
def keys_of_pieces(bounds: tuple[int, ...], parents: tuple[int, ...]) -> tuple[tuple[int, ...] | None, tuple[int, ...]]:
    """The places of the keys that each piece sees, one piece after another, and the borders between them.

    No places where each piece sees itself alone.
    """
    if all(parent < 0 for parent in parents):
        return None, bounds
    places: list[int] = []
    borders = [0]
    for (begin, end), parent in zip(pairwise(bounds), parents, strict=True):
        if parent >= 0:
            places += range(bounds[parent], bounds[parent + 1])
        places += range(begin, end)
        borders.append(len(places))
    return tuple(places), tuple(borders)


@functools.lru_cache(maxsize=8)
def _on_device(numbers: tuple[int, ...], device: torch.device, dtype: torch.dtype = torch.int64) -> Tensor:
    """Numbers on the device, copied once a micro-batch and not once a layer."""
    return torch.tensor(numbers, dtype=dtype).pin_memory().to(device, non_blocking=True)


def _repeat_heads(states_BKTD: Tensor, groups: int) -> Tensor:
    B, K, T, D = states_BKTD.shape
    return states_BKTD[:, :, None].expand(B, K, groups, T, D).reshape(B, K * groups, T, D)


def _explicit_attention(  # noqa: PLR0913 - one call site
    query: Tensor,
    key: Tensor,
    value: Tensor,
    *,
    scale: float,
    window: int | None,
    softcap: float | None,
    dropout: float,
) -> Tensor:
    """softmax(softcap(q k^T scale)) v with a causal, perhaps sliding, window; written out."""
    scores = query @ key.transpose(-1, -2) * scale
    if softcap is not None:
        scores = softcap * torch.tanh(scores / softcap)
    hidden = ~_visible(query, key, window=window)
    weights = torch.softmax(scores.masked_fill(hidden, float("-inf")).float(), dim=-1).to(value.dtype)
    return torch.dropout(weights, dropout, train=dropout > 0) @ value


def _visible(query: Tensor, key: Tensor, *, window: int | None) -> Tensor:
    """Which keys each query sees, [queries, keys]; the last query stands at the last key."""
    before = key.shape[2] - query.shape[2]
    distance = (
        torch.arange(query.shape[2], device=query.device)[:, None]
        + before
        - torch.arange(key.shape[2], device=query.device)[None, :]
    )
    return distance >= 0 if window is None else (distance >= 0) & (distance < window)


AttentionInterface.register(PACKED_ATTENTION, packed_attention)
