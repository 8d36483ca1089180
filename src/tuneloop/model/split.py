"""A decoder cut in two below the lowest block that learns: what lies under the cut is the same in every epoch.

Shapes: T tokens, D hidden size.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal

import torch
from torch import Tensor, nn

from tuneloop.model.backbone import CausalModel
from tuneloop.model.blocks import blocks_of

_Part = Literal["whole", "lower", "upper"]


def lowest_learning_block(model: CausalModel) -> int:
    """Index of the lowest block with something to learn; 0 where the embeddings learn or nothing is frozen below."""
    below = [model.base.get_input_embeddings(), *_outside_blocks(model)]
    if any(parameter.requires_grad for module in below for parameter in module.parameters()):
        return 0
    for index, block in enumerate(blocks_of(model)):
        if any(parameter.requires_grad for parameter in block.parameters()):
            return index
    return len(blocks_of(model))


def _outside_blocks(model: CausalModel) -> list[nn.Module]:
    """Parts of the decoder that come before its blocks: position embeddings and projections, where it has them."""
    decoder = model.base.get_decoder()
    names = ("wpe", "embed_positions", "project_in", "embedding_projection")
    return [module for name in names if isinstance(module := getattr(decoder, name, None), nn.Module)]


class SplitDecoder:
    """Runs the frozen lower blocks, or the upper ones on what those gave, through the decoder's own forward."""

    def __init__(self, model: CausalModel, cut: int) -> None:
        self._model = model
        self._part: _Part = "whole"
        self._caught: Tensor | None = None
        self.cut = cut
        """Blocks below this index are the lower part."""
        for index, block in enumerate(blocks_of(model)):
            block.forward = self._guard(block.forward, index)

    def _guard(self, forward: Callable[..., Any], index: int) -> Callable[..., Any]:
        def guarded(hidden: Tensor, *args: Any, **kwargs: Any) -> Any:
            if index == self.cut and self._part == "lower":
                self._caught = hidden
            is_lower = index < self.cut
            if self._part == "whole" or is_lower == (self._part == "lower"):
                return forward(hidden, *args, **kwargs)
            return hidden

        return guarded

    @contextmanager
    def _only(self, part: _Part) -> Iterator[None]:
        self._part = part
        try:
            yield
        finally:
            self._part = "whole"

    def lower(self, ids_T: Tensor) -> Tensor:
        """Hidden states of one conversation as they enter the upper blocks, [T, D], without gradients."""
        size = ids_T.shape[0]
        positions_T = torch.arange(size, device=ids_T.device)
        with torch.no_grad(), self._only("lower"), self._model.autocast():
            self._model.run_decoder(ids_T, positions_T, (0, size))
        assert self._caught is not None, "the block above the cut was asked"
        caught, self._caught = self._caught[0].clone(), None
        return caught

    def upper(self, ids_T: Tensor, positions_T: Tensor, bounds: tuple[int, ...], lower_TD: Tensor) -> Tensor:
        """Final hidden states, [T, D], from what the lower blocks gave."""
        with self._only("upper"):
            return self._model.run_decoder(ids_T, positions_T, bounds, lower_TD)

    def agrees(self) -> bool:
        """Whether the two halves give, bit for bit, what the whole gives, on a few tokens."""
        size = min(9, self._model.base.config.get_text_config().vocab_size)
        ids_T = torch.arange(size, device=self._model.device)
        with torch.no_grad(), self._model.autocast():
            whole = self._model.run_decoder(ids_T, ids_T, (0, size))
            halves = self.upper(ids_T, ids_T, (0, size), self.lower(ids_T))
        return torch.equal(whole, halves)
