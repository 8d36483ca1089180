"""A transformers decoder as training sees it: hidden states where a target follows, and a head.

Shapes: T tokens, N predictors (places whose next token is a target), D hidden size, V vocabulary.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from tuneloop.batch import Batch, Head
from tuneloop.core.errors import ModelError

_PROBE_TOLERANCE = 1e-3


@dataclass
class CausalModel:
    """A network (plain, or wrapped by peft) with the two views that objectives use."""

    network: Any
    """transformers' PreTrainedModel, or peft's PeftModel around one."""
    device: torch.device
    autocast_dtype: torch.dtype | None = None
    """Matrix products run in this type; None leaves everything as it is stored."""
    is_packable: bool = True
    """Whether conversations laid end to end stay blind to each other; if not, they go through one by one."""
    can_share_prefixes: bool = False
    """Whether conversations may go on from a beginning that stands once."""
    split: Any = None
    """The decoder cut in two (`model.split`), where frozen lower blocks are computed apart."""

    @property
    def base(self) -> Any:
        """The transformers model itself."""
        return self.network.get_base_model() if hasattr(self.network, "get_base_model") else self.network

    @property
    def head(self) -> Head:
        """The output head."""
        linear = self.base.get_output_embeddings()
        scale, softcap = _logit_rules(self.base.config)
        return Head(linear.weight, getattr(linear, "bias", None), scale, softcap, self.autocast_dtype)

    @contextlib.contextmanager
    def autocast(self) -> Iterator[None]:
        """The precision of this model's matrix products."""
        if self.autocast_dtype is None:
            yield
        else:
            with torch.autocast(self.device.type, dtype=self.autocast_dtype):
                yield

    def states(self, batch: Batch) -> Tensor:
        """Final hidden states at the batch's predictors, [N, D]."""
        with self.autocast():
            if self.is_packable:
                if batch.parents:
                    states_TD = self.run_decoder(batch.ids_T, batch.positions_T, batch.bounds, parents=batch.parents)
                else:
                    states_TD = self._final(batch.ids_T, batch.positions_T, batch.bounds, batch.lower_TD)
                return states_TD[batch.predictors_N]
            parts = [
                self._final(
                    batch.ids_T[begin:end],
                    batch.positions_T[begin:end],
                    (0, end - begin),
                    None if batch.lower_TD is None else batch.lower_TD[begin:end],
                )
                for begin, end in pairwise(batch.bounds)
            ]
            return torch.cat(parts)[batch.predictors_N]

    def _final(self, ids_T: Tensor, positions_T: Tensor, bounds: tuple[int, ...], lower_TD: Tensor | None) -> Tensor:
        if lower_TD is None:
            return self.run_decoder(ids_T, positions_T, bounds)
        assert self.split is not None, "whoever gave these states has cut the decoder"
        return self.split.upper(ids_T, positions_T, bounds, lower_TD)

    def run_decoder(
        self,
        ids_T: Tensor,
        positions_T: Tensor,
        bounds: tuple[int, ...],
        embedded_TD: Tensor | None = None,
        parents: tuple[int, ...] = (),
    ) -> Tensor:
        """Final hidden states of all tokens, [T, D]; from ids, or from what stands in for their embeddings."""
        shown = {"input_ids": ids_T[None]} if embedded_TD is None else {"inputs_embeds": embedded_TD[None]}
        layout = {"bounds": bounds, "parents": parents} if parents else {"bounds": bounds}
        output = self.base.get_decoder()(**shown, position_ids=positions_T[None], use_cache=False, **layout)
        return output.last_hidden_state[0]

    def find_abilities(self) -> None:
        """Find out, by running a few tokens, whether this architecture may be packed.

        Raises:
            ModelError: the head of this architecture computes logits in a way that is not known here.
        """
        size = min(7, self.base.config.get_text_config().vocab_size)
        ids = torch.arange(size, device=self.device)
        one = torch.arange(size, device=self.device)
        with torch.no_grad(), self.autocast():
            alone = self.run_decoder(ids, one, (0, size))
            self._check_head(ids, alone)
            try:
                pair = self.run_decoder(ids.repeat(2), one.repeat(2), (0, size, 2 * size))
            except (ModelError, TypeError):
                self.is_packable = False
                return
            self.is_packable = self._is_close(pair[size:], alone)
            if self.is_packable:
                cut = size // 2
                rest = one[cut:]
                ids, places = torch.cat([ids, ids[cut:]]), torch.cat([one, rest])
                shared = self.run_decoder(ids, places, (0, cut, size, len(ids)), parents=(-1, 0, 0))
                self.can_share_prefixes = self._is_close(shared[size:], alone[cut:])

    def _is_close(self, found: Tensor, expected: Tensor) -> bool:
        largest = expected.abs().max().clamp(min=1.0)
        return bool((found - expected).abs().max() < _PROBE_TOLERANCE * largest * self._slack())

    def _slack(self) -> float:
        return 1.0 if self.autocast_dtype is None and self.base.dtype == torch.float32 else 50.0

    def _check_head(self, ids_T: Tensor, states_TD: Tensor) -> None:
        expected = self.base(input_ids=ids_T[None], use_cache=False).logits[0].float()
        found = logits_of(self.head, states_TD).float()
        largest = expected.abs().max().clamp(min=1.0)
        if found.shape != expected.shape or (found - expected).abs().max() > _PROBE_TOLERANCE * largest * self._slack():
            name = type(self.base).__name__
            raise ModelError(f"model.source: {name} turns hidden states into logits in a way that is not known here.")


def logits_of(head: Head, states_ND: Tensor) -> Tensor:
    """Logits, [N, V]."""
    logits = torch.nn.functional.linear(states_ND.to(head.weight_VD.dtype), head.weight_VD, head.bias_V)
    if head.scale != 1.0:
        logits = logits * head.scale
    if head.softcap is not None:
        logits = head.softcap * torch.tanh(logits / head.softcap)
    return logits


def _logit_rules(config: Any) -> tuple[float, float | None]:
    """(scale, softcap) under the names that transformers' configs use (Cohere, Granite, Gemma)."""
    text = config.get_text_config()
    scale = 1.0
    if getattr(text, "logit_scale", None):
        scale = float(text.logit_scale)
    if getattr(text, "logits_scaling", None):
        scale = 1.0 / float(text.logits_scaling)
    softcap = getattr(text, "final_logit_softcapping", None)
    return scale, float(softcap) if softcap else None
