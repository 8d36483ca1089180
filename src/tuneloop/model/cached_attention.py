"""Attention over keys and values that are kept: prompts come packed, then all sequences go on token by token.

Shapes: S sequences, H heads, K key-value heads, G = H / K heads that share one, T tokens, R room for tokens, D head
size.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface

from tuneloop.core.errors import ModelError

CACHED_ATTENTION = "tuneloop_cached"
_REFUSED_FEATURES = ("s_aux", "head_mask", "position_bias")
_BLOCK = 256
"""Tokens by which the room of a cache grows."""
_STEP = 32
"""Decoding looks at a multiple of so many places: a sum over vectors has the same order however many are empty."""


@dataclass
class KeyValueCache:
    """Keys and values of a number of sequences, each in a slot of its own: [slots, K, R, D] a layer, written in place.

    A layer's tensors are made when its first keys come, since architectures differ in their shapes.
    """

    slots: int
    room: int = 0
    """Tokens that every slot has room for."""
    _layers: dict[int, tuple[Tensor, Tensor]] = field(default_factory=dict)

    def reserve(self, length: int) -> None:
        """Have room for sequences of this many tokens."""
        if length > self.room:
            self.room = -(-length // _BLOCK) * _BLOCK

    def layer(self, index: int, key_BKTD: Tensor, value_BKTD: Tensor) -> tuple[Tensor, Tensor]:
        """The keys and values of a layer, which holds numbers like these."""
        held = self._layers.get(index)
        if held is None or held[0].shape[2] < self.room:
            old_key, old_value = held or (None, None)
            held = self._grown(old_key, key_BKTD), self._grown(old_value, value_BKTD)
            self._layers[index] = held
        return held

    def _grown(self, old: Tensor | None, like_BKTD: Tensor) -> Tensor:
        _, heads, _, size = like_BKTD.shape
        # Zeros: what is not visible is multiplied by a weight of 0, and must not be NaN.
        grown = like_BKTD.new_zeros(self.slots, heads, self.room, size)
        if old is not None:
            grown[:, :, : old.shape[2]] = old
        return grown

    def move(self, source: int, target: int, length: int) -> None:
        """Copy the first tokens of one slot over those of another."""
        for tensors in self._layers.values():
            for tensor in tensors:
                tensor[target, :, :length] = tensor[source, :, :length]


@dataclass(frozen=True)
class Rule:
    """What an attention layer computes: softmax(softcap(q k^T scale)) v, over a window that counts the token itself."""

    scale: float
    window: int | None
    softcap: float | None


@dataclass(frozen=True)
class Piece:
    """A prompt that enters a slot."""

    slot: int
    length: int
    """Tokens that are computed."""
    shared: int = 0
    """Tokens before them whose keys and values are in the slot `source` already."""
    source: int = 0


@dataclass(frozen=True)
class Prefill:
    """Prompts laid end to end. Each sees itself and the beginning that it shares.

    Pieces are written one after another in each layer, so that a piece may share what another one of the same step
    has just written.
    """

    cache: KeyValueCache
    pieces: tuple[Piece, ...]

    def attend(self, index: int, query_BHTD: Tensor, key_BKTD: Tensor, value_BKTD: Tensor, rule: Rule) -> Tensor:
        """Write the keys and values of all pieces into their slots; the output, [1, T, H, D]."""
        keys, values = self.cache.layer(index, key_BKTD, value_BKTD)
        lengths = [piece.length for piece in self.pieces]
        parts = (states.split(lengths, dim=2) for states in (query_BHTD, key_BKTD, value_BKTD))
        outputs = []
        for piece, query, key, value in zip(self.pieces, *parts, strict=True):
            slot, end = piece.slot, piece.shared + piece.length
            if piece.shared and piece.source != slot:
                keys[slot, :, : piece.shared] = keys[piece.source, :, : piece.shared]
                values[slot, :, : piece.shared] = values[piece.source, :, : piece.shared]
            keys[slot, :, piece.shared : end] = key[0]
            values[slot, :, piece.shared : end] = value[0]
            seen_key, seen_value = keys[slot : slot + 1, :, :end], values[slot : slot + 1, :, :end]
            outputs.append(_piece_attention(query, seen_key, seen_value, piece.shared, rule))
        return torch.cat(outputs, dim=2).transpose(1, 2)


@dataclass(frozen=True)
class Decode:
    """One more token for the sequences in the first S slots."""

    cache: KeyValueCache
    positions_S: Tensor
    """int64: the place of each token in its sequence."""
    seen: int
    """No sequence is longer; a multiple of the step that the kernel's sums are safe with."""
    _biases: dict[int | None, Tensor] = field(default_factory=dict)

    @classmethod
    def build(cls, cache: KeyValueCache, positions: Sequence[int], device: torch.device) -> "Decode":
        """For tokens at these places."""
        seen = -(-(max(positions) + 1) // _STEP) * _STEP
        cache.reserve(seen)
        return cls(cache, torch.tensor(positions, device=device), seen)

    def attend(self, index: int, query_BHTD: Tensor, key_BKTD: Tensor, value_BKTD: Tensor, rule: Rule) -> Tensor:
        """Write the keys and values of the new tokens; the output, [S, 1, H, D]."""
        S, H, _, D = query_BHTD.shape
        keys, values = self.cache.layer(index, key_BKTD, value_BKTD)
        places = self.positions_S[:, None, None, None]
        keys[:S].scatter_(2, places.expand_as(key_BKTD), key_BKTD)
        values[:S].scatter_(2, places.expand_as(value_BKTD), value_BKTD)
        # Heads that share keys stand in a row, as if they were several queries: nothing is repeated.
        query_SKGD = query_BHTD.reshape(S, key_BKTD.shape[1], -1, D)
        bias = self._bias(rule.window, query_SKGD.dtype)
        output = _attend(query_SKGD, keys[:S, :, : self.seen], values[:S, :, : self.seen], bias, rule)
        return output.reshape(S, 1, H, -1)

    def _bias(self, window: int | None, dtype: torch.dtype) -> Tensor:
        """0 for what a token sees, a very negative number for the rest, [S, 1, 1, seen]; the same in all layers."""
        if window not in self._biases:
            visible = _visible(self.positions_S, self.seen, window)
            self._biases[window] = _as_bias(visible, dtype)[:, None, None]
        return self._biases[window]


def cached_attention(
    module: torch.nn.Module,
    query_BHTD: Tensor,
    key_BKTD: Tensor,
    value_BKTD: Tensor,
    attention_mask: Tensor | None,
    **features: Any,
) -> tuple[Tensor, None]:
    """The function that transformers' layers call; `step`, a `Prefill` or `Decode`, comes through their arguments.

    Keys and values are written here, and not through transformers' cache: layers then need no `past_key_values`.

    Returns:
        Output, [B, T, H, D], and no attention weights.

    Raises:
        ModelError: the architecture asks for something that this attention does not compute.
    """
    refused = [name for name in _REFUSED_FEATURES if features.get(name) is not None]
    step = features.get("step")
    if refused or attention_mask is not None or step is None or not hasattr(module, "layer_idx"):
        raise ModelError(f"cached attention does not know {', '.join(refused) or type(module).__name__}")
    scale = features.get("scaling")
    scale = query_BHTD.shape[-1] ** -0.5 if scale is None else scale
    rule = Rule(scale, features.get("sliding_window"), features.get("softcap"))
    return step.attend(module.layer_idx, query_BHTD, key_BKTD, value_BKTD, rule), None


def _piece_attention(query_BHTD: Tensor, key: Tensor, value: Tensor, shared: int, rule: Rule) -> Tensor:
    """Of one prompt whose first `shared` tokens have no query, [1, H, T, D]."""
    _, H, T, D = query_BHTD.shape
    K, end = key.shape[1], key.shape[2]
    is_long = rule.window is not None and end > rule.window
    if not shared and rule.softcap is None and not is_long:
        if H != K:
            key, value = (_repeat_heads(states, H // K) for states in (key, value))
        return scaled_dot_product_attention(query_BHTD, key, value, is_causal=True, scale=rule.scale)
    visible = _visible(torch.arange(shared, end, device=key.device), end, rule.window)
    bias = _as_bias(visible, query_BHTD.dtype).repeat(H // K, 1)[None, None]
    output = _attend(query_BHTD.reshape(1, K, -1, D), key, value, bias, rule)
    return output.reshape(1, H, T, -1)


def _repeat_heads(states_BKTD: Tensor, groups: int) -> Tensor:
    B, K, T, D = states_BKTD.shape
    return states_BKTD[:, :, None].expand(B, K, groups, T, D).reshape(B, K * groups, T, D)


def _attend(query: Tensor, key: Tensor, value: Tensor, bias: Tensor, rule: Rule) -> Tensor:
    if rule.softcap is None:
        return scaled_dot_product_attention(query, key, value, bias, scale=rule.scale)
    scores = query @ key.transpose(-1, -2) * rule.scale
    scores = rule.softcap * torch.tanh(scores / rule.softcap) + bias
    return torch.softmax(scores.float(), dim=-1).to(value.dtype) @ value


def _visible(positions_T: Tensor, seen: int, window: int | None) -> Tensor:
    """Which of the first `seen` places a token at each position sees, [T, seen]."""
    distance = positions_T[:, None] - torch.arange(seen, device=positions_T.device)
    return distance >= 0 if window is None else (distance >= 0) & (distance < window)


def _as_bias(visible: Tensor, dtype: torch.dtype) -> Tensor:
    """Finite: a kernel that goes through the keys in blocks may meet one with nothing visible first."""
    bias = torch.zeros(visible.shape, dtype=dtype, device=visible.device)
    return bias.masked_fill_(~visible, torch.finfo(dtype).min / 2)


AttentionInterface.register(CACHED_ATTENTION, cached_attention)
