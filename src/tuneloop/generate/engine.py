"""Prompts to answers: continuous batching over a key-value cache, an end at the contract's stop ids."""

import contextlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tuneloop.core.errors import DataError
from tuneloop.core.hooks import Hooks
from tuneloop.core.stop import Stop
from tuneloop.generate.ability import can_cache, plain_attention, set_attention
from tuneloop.generate.answer import Asked, Generated
from tuneloop.generate.batching import SHORTEST, Slots
from tuneloop.generate.config import GenerateConfig
from tuneloop.generate.few_rows import LEAST, few_rows
from tuneloop.generate.picking import Picker
from tuneloop.generate.plain import answer_plainly
from tuneloop.model.attention import PACKED_ATTENTION
from tuneloop.model.backbone import CausalModel
from tuneloop.model.cached_attention import CACHED_ATTENTION

OnAnswer = Callable[[int, Generated], object]
"""Gets the place of a prompt and its answer."""


@dataclass(frozen=True)
class Engine:
    """A model that answers."""

    model: CausalModel
    stop_ids: tuple[int, ...]
    """Generation ends at any of these."""
    config: GenerateConfig
    _abilities: dict[str, bool] = field(default_factory=dict, init=False, repr=False, compare=False)
    """What was found out about the model at first use."""

    def generate(
        self,
        prompts: Sequence[np.ndarray],
        *,
        seed: int,
        hooks: Hooks,
        keys: Sequence[object] | None = None,
        on_answer: OnAnswer | None = None,
    ) -> list[Generated]:
        """Answer every prompt; the answers come in the order of the prompts.

        Args:
            prompts: int32 [T] each. Beginnings that several have in common are computed once, so that a prompt that
                is given n times, with n keys, costs little more than one.
            seed: of the samples; greedy answers need no chance.
            hooks: "generated" tells how many are answered, each time after `on_answer` was given them.
            keys: what names the chance of each prompt, instead of its place: the same seed and key draw the same
                numbers, whatever the other prompts are.
            on_answer: gets each answer as soon as it is finished; whoever saves it there loses nothing to a stop.

        Raises:
            DataError: a prompt is empty.
            StoppedError: an end was asked for.
        """
        asked = self._ask(prompts, range(len(prompts)) if keys is None else keys)
        answers: dict[int, Generated] = {}
        picker = Picker(self.config, frozenset(self.stop_ids), seed)
        for done in self._answer(asked, picker, hooks.stop, least_rows=LEAST):
            for one in done:
                answers[one.index] = one.answer()
                if on_answer is not None:
                    on_answer(one.index, answers[one.index])
            hooks.emit("generated", done=len(answers), total=len(prompts))
        return [answers[index] for index in range(len(prompts))]

    def stream(self, prompt: np.ndarray, *, show: Callable[[int], None], seed: int | None = None) -> Generated:
        """Answer one prompt, handing out each id as it comes.

        Without a `seed`, the one that torch was given last is taken.

        Raises:
            DataError: the prompt is empty.
        """
        [asked] = self._ask([prompt], [0])
        picker = Picker(self.config, frozenset(self.stop_ids), torch.initial_seed() if seed is None else seed, show)
        for _ in self._answer([asked], picker, Stop(), least_rows=1):
            pass
        return asked.answer()

    def _ask(self, prompts: Sequence[np.ndarray], keys: Sequence[object]) -> list[Asked]:
        context = getattr(self.model.base.config.get_text_config(), "max_position_embeddings", None)
        asked = []
        for index, (prompt, key) in enumerate(zip(prompts, keys, strict=True)):
            if not len(prompt):
                raise DataError(f"prompt {index} has no tokens, so there is nothing to go on from.")
            room = self.config.max_new_tokens if context is None else max(0, context - len(prompt))
            asked.append(Asked(index, prompt, key, min(room, self.config.max_new_tokens)))
        return asked

    def _answer(self, asked: Sequence[Asked], picker: Picker, stop: Stop, *, least_rows: int) -> Iterator[list[Asked]]:
        """Prompts that are done, in groups as they finish."""
        full = [one for one in asked if one.is_done]
        if full:
            yield full
        order = in_order([one for one in asked if not one.is_done])
        if not order:
            return
        with self._prepared(least_rows) as is_cached:
            if is_cached:
                yield from self._answer_cached(order, picker, stop)
            else:
                for begin in range(0, len(order), self.config.batch_size):
                    stop.check()
                    batch = order[begin : begin + self.config.batch_size]
                    answer_plainly(self.model, batch, picker)
                    yield batch

    def _answer_cached(self, order: Sequence[Asked], picker: Picker, stop: Stop) -> Iterator[list[Asked]]:
        slots = Slots(self.model, min(self.config.batch_size, len(order)))
        waiting = deque(order)
        logits = _Logits(self.model)
        while waiting or slots.running:
            stop.check()
            if waiting and len(slots.running) < slots.number:
                before = len(slots.running)
                states_SD = slots.admit(waiting)
                chosen = slots.running[before:]
            else:
                states_SD = slots.advance()
                chosen = slots.running
            picker.pick(chosen, logits(states_SD))
            done = slots.release()
            if done:
                yield done

    @contextlib.contextmanager
    def _prepared(self, least_rows: int) -> Iterator[bool]:
        """Whether the cache can be used; attention that knows it, no dropout, no gradients; afterwards as before."""
        model = self.model
        was_training = model.network.training
        model.network.eval()
        try:
            with torch.no_grad(), model.autocast(), few_rows(model, least=least_rows):
                if "cache" not in self._abilities:
                    self._abilities["cache"] = can_cache(model)
                is_cached = self._abilities["cache"]
                set_attention(model, CACHED_ATTENTION if is_cached else plain_attention(model))
                yield is_cached
        finally:
            set_attention(model, PACKED_ATTENTION)
            model.network.train(was_training)


def in_order(asked: Sequence[Asked]) -> list[Asked]:
    """Longest first, so that what is too long for the memory shows at once; prompts that begin alike follow each other.

    A beginning is then still in the cache when the next prompt that has it comes.
    """
    longest: dict[bytes, int] = {}
    for one in asked:
        beginning = _beginning(one)
        longest[beginning] = max(longest.get(beginning, 0), len(one.prompt))

    def rank(one: Asked) -> tuple[Any, ...]:
        beginning = _beginning(one)
        return (-longest[beginning], beginning, -len(one.prompt), one.prompt.tobytes(), one.index)

    return sorted(asked, key=rank)


def _beginning(asked: Asked) -> bytes:
    return asked.prompt[:SHORTEST].tobytes()


class _Logits:
    """The head of a model, with what its architecture does to the logits."""

    def __init__(self, model: CausalModel) -> None:
        self._linear = model.base.get_output_embeddings()
        self._head = model.head

    def __call__(self, states_SD: Tensor) -> Tensor:
        logits_SV = self._linear(states_SD.to(self._head.weight_VD.dtype))
        if self._head.scale != 1.0:
            logits_SV = logits_SV * self._head.scale
        if self._head.softcap is not None:
            logits_SV = self._head.softcap * torch.tanh(logits_SV / self._head.softcap)
        return logits_SV
