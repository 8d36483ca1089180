"""Continuous batching: sequences of any age go on together, and who is finished makes room for the next prompt at once.

Shapes: S sequences that run, T tokens of prompts laid end to end, D hidden size, V vocabulary.
"""

from collections import deque
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from tuneloop.generate.answer import Asked
from tuneloop.model.backbone import CausalModel
from tuneloop.model.cached_attention import Decode, KeyValueCache, Piece, Prefill

_PREFILL_TOKENS = 2048
"""Prompts are laid end to end up to this many tokens; a longer one goes alone."""
SHORTEST = 16
"""Tokens; a shorter common beginning is not worth copying."""


@dataclass
class Slots:
    """Sequences that run, each in a slot of the cache; those that run always hold the first slots."""

    model: CausalModel
    number: int
    running: list[Asked] = field(default_factory=list)
    _cache: KeyValueCache = field(init=False)
    _contents: list[np.ndarray] = field(default_factory=list)
    """The prompt whose keys and values lie at the beginning of each slot, even after its sequence has finished."""

    def __post_init__(self) -> None:
        self._cache = KeyValueCache(self.number)

    def admit(self, waiting: deque[Asked]) -> Tensor:
        """Take in prompts while there is room, and compute them; the states of their last tokens, [S, D].

        They become the last of `running`. What a prompt shares with the beginning of one that lies in a slot is
        copied from there.
        """
        pieces: list[Piece] = []
        fresh: list[np.ndarray] = []
        while waiting and len(self.running) < self.number:
            piece = self._place(waiting[0].prompt)
            if pieces and sum(other.length for other in pieces) + piece.length > _PREFILL_TOKENS:
                break
            asked = waiting.popleft()
            self._contents[piece.slot : piece.slot + 1] = [asked.prompt]
            self.running.append(asked)
            pieces.append(piece)
            fresh.append(asked.prompt[piece.shared :])
        self._cache.reserve(max(piece.shared + piece.length for piece in pieces))
        positions = [np.arange(piece.shared, piece.shared + piece.length) for piece in pieces]
        ids_BT, positions_BT = (self._on_device(np.concatenate(numbers)[None]) for numbers in (fresh, positions))
        lasts = np.cumsum([piece.length for piece in pieces]) - 1
        return self._run(ids_BT, positions_BT, Prefill(self._cache, tuple(pieces)))[0, lasts.tolist()]

    def advance(self) -> Tensor:
        """Compute the last token of every sequence that runs; their states, [S, D]."""
        positions = [asked.last_position for asked in self.running]
        step = Decode.build(self._cache, positions, self.model.device)
        ids_BT = self._on_device(np.array([[asked.ids[-1]] for asked in self.running]))
        return self._run(ids_BT, step.positions_S[:, None], step)[:, 0]

    def release(self) -> list[Asked]:
        """Take out the sequences that are done."""
        done = [asked for asked in self.running if asked.is_done]
        for asked in done:
            slot, last = self.running.index(asked), len(self.running) - 1
            if slot != last:
                moved = self.running[last]
                self._cache.move(last, slot, moved.last_position + 1)
                self.running[slot], self._contents[slot] = moved, self._contents[last]
            self.running.pop()
        return done

    def _place(self, prompt: np.ndarray) -> Piece:
        """The next slot for a prompt, and the slot that holds the longest beginning of it."""
        slot = len(self.running)
        # One token at least is computed: its state predicts the first one of the answer.
        shared = [common_length(prompt[:-1], content) for content in self._contents]
        source = max(range(len(shared)), key=shared.__getitem__, default=0)
        if not shared or shared[source] < SHORTEST:
            return Piece(slot, len(prompt))
        return Piece(slot, len(prompt) - shared[source], shared[source], source)

    def _run(self, ids_BT: Tensor, positions_BT: Tensor, step: Prefill | Decode) -> Tensor:
        decoder = self.model.base.get_decoder()
        return decoder(input_ids=ids_BT, position_ids=positions_BT, use_cache=False, step=step).last_hidden_state

    def _on_device(self, numbers: np.ndarray) -> Tensor:
        return torch.from_numpy(numbers.astype(np.int64)).to(self.model.device)


def common_length(a: np.ndarray, b: np.ndarray) -> int:
    """How many tokens two sequences have in common at their beginning."""
    shorter = min(len(a), len(b))
    differs = np.flatnonzero(a[:shorter] != b[:shorter])
    return int(differs[0]) if len(differs) else shorter
