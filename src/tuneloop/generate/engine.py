"""Prompts to answers: batches of similar length, a key-value cache, an end at the contract's stop ids."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tuneloop.core.hooks import Hooks
from tuneloop.core.seeds import derive_seed
from tuneloop.generate.config import GenerateConfig
from tuneloop.model.attention import PACKED_ATTENTION
from tuneloop.model.backbone import CausalModel
from tuneloop.model.quiet import quiet_transformers


@dataclass(frozen=True)
class Generated:
    """One answer."""

    ids: np.ndarray
    """int32 [T], without the stop id."""
    finished: bool
    """Whether the model closed its turn within the limit."""


@dataclass(frozen=True)
class Engine:
    """A model that answers."""

    model: CausalModel
    stop_ids: tuple[int, ...]
    """Generation ends at any of these."""
    config: GenerateConfig

    def generate(self, prompts: Sequence[np.ndarray], *, seed: int, hooks: Hooks) -> list[Generated]:
        """Answer every prompt, int32 [T] each; the answers come in the order of the prompts.

        Raises:
            StoppedError: an end was asked for.
        """
        # Longest first: what is too long for the memory shows at once, and no short prompt waits beside a long one.
        order = sorted(range(len(prompts)), key=lambda index: (-len(prompts[index]), index))
        answers: dict[int, Generated] = {}
        with _answering(self.model):
            for begin in range(0, len(order), self.config.batch_size):
                hooks.stop.check()
                chosen = order[begin : begin + self.config.batch_size]
                torch.manual_seed(derive_seed(seed, "generate", begin))
                found = self._batch([prompts[index] for index in chosen])
                answers.update(zip(chosen, found, strict=True))
                hooks.emit("generated", done=len(answers), total=len(prompts))
        return [answers[index] for index in range(len(prompts))]

    def _batch(self, prompts: Sequence[np.ndarray]) -> list[Generated]:
        width = max(len(prompt) for prompt in prompts)
        ids_BT = torch.full((len(prompts), width), self.stop_ids[0], dtype=torch.int64)
        seen_BT = torch.zeros((len(prompts), width), dtype=torch.int64)
        for row, prompt in enumerate(prompts):
            ids_BT[row, width - len(prompt) :] = torch.from_numpy(prompt.astype(np.int64))
            seen_BT[row, width - len(prompt) :] = 1
        output_BT = self._run(ids_BT, seen_BT)
        return [_cut(row, self.stop_ids) for row in output_BT[:, width:].cpu().numpy()]

    def stream(self, prompt: np.ndarray, *, show: Callable[[int], None]) -> Generated:
        """Answer one prompt, handing out each id as it comes."""
        ids_BT = torch.from_numpy(prompt.astype(np.int64))[None]
        with _answering(self.model):
            output_BT = self._run(ids_BT, torch.ones_like(ids_BT), _Streamer(show, set(self.stop_ids)))
        return _cut(output_BT[0, len(prompt) :].cpu().numpy(), self.stop_ids)

    def _run(self, ids_BT: Tensor, seen_BT: Tensor, streamer: "_Streamer | None" = None) -> Tensor:
        sampling: dict[str, Any] = {"do_sample": False, "temperature": None, "top_p": None, "top_k": None}
        if self.config.temperature > 0:
            sampling = {"do_sample": True, "temperature": self.config.temperature, "top_p": self.config.top_p}
            sampling["top_k"] = 0
        with torch.no_grad(), self.model.autocast(), quiet_transformers():
            return self.model.base.generate(
                input_ids=ids_BT.to(self.model.device),
                attention_mask=seen_BT.to(self.model.device),
                max_new_tokens=self.config.max_new_tokens,
                eos_token_id=list(self.stop_ids),
                pad_token_id=self.stop_ids[0],
                use_cache=True,
                streamer=streamer,
                **sampling,
            )


class _Streamer:
    """transformers' streaming interface: the prompt comes first, then one id at a time."""

    def __init__(self, show: Callable[[int], None], stop_ids: set[int]) -> None:
        self._show, self._stop_ids, self._is_prompt = show, stop_ids, True

    def put(self, ids: Tensor) -> None:
        if self._is_prompt:
            self._is_prompt = False
            return
        for i in ids.tolist():
            if i not in self._stop_ids:
                self._show(i)

    def end(self) -> None:
        pass


@contextlib.contextmanager
def _answering(model: CausalModel) -> Iterator[None]:
    """Attention that knows padding and a cache, no dropout; afterwards as before."""
    was_training = model.network.training
    model.network.eval()
    model.base.set_attn_implementation("sdpa" if model.base._supports_sdpa else "eager")  # noqa: SLF001 - no other way
    try:
        yield
    finally:
        model.base.set_attn_implementation(PACKED_ATTENTION)
        model.network.train(was_training)


def _cut(ids_T: np.ndarray, stop_ids: Sequence[int]) -> Generated:
    ends = np.flatnonzero(np.isin(ids_T, stop_ids))
    end = int(ends[0]) if len(ends) else len(ids_T)
    return Generated(ids_T[:end].astype(np.int32), finished=bool(len(ends)))
