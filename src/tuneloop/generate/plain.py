"""transformers' own `generate`, for architectures whose state is more than keys and values: padded batches.

Shapes: B prompts of a batch, T tokens of the longest, V vocabulary.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from transformers import GenerationConfig, LogitsProcessor, StoppingCriteria

from tuneloop.generate.answer import Asked
from tuneloop.generate.picking import Picker
from tuneloop.model.backbone import CausalModel
from tuneloop.model.quiet import quiet_transformers


def answer_plainly(model: CausalModel, batch: Sequence[Asked], picker: Picker) -> None:
    """Answer the prompts of one batch; tokens are chosen, and end, as in continuous batching."""
    width = max(len(asked.prompt) for asked in batch)
    filler = min(picker.stop_ids, default=0)
    ids_BT = torch.full((len(batch), width), filler, dtype=torch.int64)
    seen_BT = torch.zeros((len(batch), width), dtype=torch.int64)
    for row, asked in enumerate(batch):
        ids_BT[row, width - len(asked.prompt) :] = torch.from_numpy(asked.prompt.astype(np.int64))
        seen_BT[row, width - len(asked.prompt) :] = 1
    # A configuration of its own: many models ship with one that samples, or punishes repetition.
    config = GenerationConfig(
        max_new_tokens=max(asked.limit for asked in batch), do_sample=False, use_cache=True, pad_token_id=filler
    )
    with quiet_transformers():
        model.base.generate(
            input_ids=ids_BT.to(model.device),
            attention_mask=seen_BT.to(model.device),
            generation_config=config,
            logits_processor=[_Pick(batch, picker)],
            stopping_criteria=[_Done(batch)],
        )


class _Pick(LogitsProcessor):
    """Chooses the tokens, and leaves transformers no other choice."""

    def __init__(self, batch: Sequence[Asked], picker: Picker) -> None:
        self._batch, self._picker = batch, picker

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:  # noqa: ARG002 - transformers' interface
        ids_B = self._picker.pick(self._batch, scores)
        return torch.full_like(scores, float("-inf")).scatter_(1, ids_B[:, None], 0.0)


class _Done(StoppingCriteria):
    def __init__(self, batch: Sequence[Asked]) -> None:
        self._batch = batch

    def __call__(self, input_ids: Tensor, scores: Tensor, **kwargs: object) -> Tensor:  # type: ignore[override] - a tensor is what transformers takes
        del scores, kwargs
        return torch.tensor([asked.is_done for asked in self._batch], device=input_ids.device)
