"""Whether an architecture computes with our cache what it computes without one: found out on a few tokens."""

from collections import deque

import numpy as np
import torch
from torch import Tensor

from tuneloop.core.errors import ModelError
from tuneloop.generate.answer import Asked
from tuneloop.generate.batching import SHORTEST, Slots
from tuneloop.model.backbone import CausalModel
from tuneloop.model.cached_attention import CACHED_ATTENTION
from tuneloop.model.quiet import quiet_transformers

_TOLERANCE = 1e-3
_NEW = 3
_LENGTH_DEPENDENT_ROPES = {"dynamic", "longrope"}
"""Their angles depend on the longest sequence of a batch."""


def set_attention(model: CausalModel, name: str) -> None:
    """Let the layers of a model call the attention function with this name."""
    with quiet_transformers():
        model.base.set_attn_implementation(name)


def plain_attention(model: CausalModel) -> str:
    """The name of the attention that transformers would choose for a model."""
    return "sdpa" if model.base._supports_sdpa else "eager"  # noqa: SLF001 - no other way


def can_cache(model: CausalModel) -> bool:
    """Run three prompts of different lengths, two with the same beginning, and some tokens after each, both ways.

    The attention of the model is another one afterwards.
    """
    if not model.is_packable or _rope_depends_on_length(model):
        return False
    size = model.base.config.get_text_config().vocab_size
    tokens = np.arange(SHORTEST + 9, dtype=np.int32) * 7 % size
    other = np.concatenate([tokens[: SHORTEST + 1], tokens[:2]])
    sequences = [tokens, tokens[3:11], other]
    with torch.no_grad(), model.autocast():
        set_attention(model, plain_attention(model))
        expected = [_plain_states(model, ids)[-1 - _NEW :] for ids in sequences]
        set_attention(model, CACHED_ATTENTION)
        try:
            found = _cached_states(model, sequences)
        except (ModelError, TypeError, AttributeError):
            return False
    return all(_is_close(model, *pair) for pair in zip(found, expected, strict=True))


def _plain_states(model: CausalModel, ids: np.ndarray) -> Tensor:
    ids_BT = torch.from_numpy(ids.astype(np.int64))[None].to(model.device)
    return model.base.get_decoder()(input_ids=ids_BT, use_cache=False).last_hidden_state[0]


def _cached_states(model: CausalModel, sequences: list[np.ndarray]) -> list[Tensor]:
    """States of the last prompt token and of those after it, fed one by one, of each sequence."""
    slots = Slots(model, len(sequences))
    asked = [Asked(index, ids[:-_NEW], index, _NEW) for index, ids in enumerate(sequences)]
    steps = [slots.admit(deque(asked))]
    for place in range(_NEW):
        for one, ids in zip(asked, sequences, strict=True):
            one.take(int(ids[len(ids) - _NEW + place]), ())
        steps.append(slots.advance())
    return list(torch.stack(steps, dim=1))


def _is_close(model: CausalModel, found: Tensor, expected: Tensor) -> bool:
    slack = 1.0 if model.autocast_dtype is None and model.base.dtype == torch.float32 else 50.0
    largest = expected.abs().max().clamp(min=1.0)
    return bool((found - expected).abs().max() < _TOLERANCE * largest * slack)


def _rope_depends_on_length(model: CausalModel) -> bool:
    rules = getattr(model.base.config.get_text_config(), "rope_parameters", None) or {}
    kinds = [rules, *(rule for rule in rules.values() if isinstance(rule, dict))]
    return any(rule.get("rope_type") in _LENGTH_DEPENDENT_ROPES for rule in kinds)
