"""Attention over conversations laid end to end: each sees itself alone, and nothing is padded.

Shapes: B = 1, H heads, K key-value heads, T tokens of all conversations, D head size.
"""

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

    `bounds` (S + 1 borders) comes from the batch; without it all tokens are one conversation.

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
    groups = query_BHTD.shape[1] // key_BKTD.shape[1]
    outputs = []
    for begin, end in pairwise(bounds):
        query = query_BHTD[:, :, begin:end]
        key = key_BKTD[:, :, begin:end]
        value = value_BKTD[:, :, begin:end]
        if groups > 1:
            key = _repeat_heads(key, groups)
            value = _repeat_heads(value, groups)
        is_long = window is not None and end - begin > window
        if softcap is None and not is_long:
            out = scaled_dot_product_attention(query, key, value, dropout_p=dropout, is_causal=True, scale=scale)
        else:
            out = _explicit_attention(query, key, value, scale=scale, window=window, softcap=softcap, dropout=dropout)
        outputs.append(out.transpose(1, 2))
    return torch.cat(outputs, dim=1), None


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
    length = query.shape[2]
    place = torch.arange(length, device=query.device)
    distance = place[:, None] - place[None, :]
    hidden = distance < 0 if window is None else (distance < 0) | (distance >= window)
    weights = torch.softmax(scores.masked_fill(hidden, float("-inf")).float(), dim=-1).to(value.dtype)
    return torch.dropout(weights, dropout, train=dropout > 0) @ value


AttentionInterface.register(PACKED_ATTENTION, packed_attention)
