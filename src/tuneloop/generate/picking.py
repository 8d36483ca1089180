"""From the logits of a step to sequences that are one token longer."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor

from tuneloop.generate.answer import Asked
from tuneloop.generate.config import GenerateConfig
from tuneloop.generate.sampling import choose, uniform


@dataclass(frozen=True)
class Picker:
    """How the next token of each sequence is chosen."""

    config: GenerateConfig
    stop_ids: frozenset[int]
    seed: int
    show: Callable[[int], None] | None = None
    """Gets each token of an answer as it comes."""

    def pick(self, sequences: Sequence[Asked], logits_SV: Tensor) -> Tensor:
        """Let each sequence that is not done go on by one token; the tokens, int64 [S]."""
        numbers = []
        if self.config.temperature > 0:
            numbers = [uniform(self.seed, asked.key, len(asked.ids)) for asked in sequences]
        ids_S = choose(logits_SV, self.config, numbers)
        for asked, token_id in zip(sequences, ids_S.tolist(), strict=True):
            if asked.is_done:
                continue
            asked.take(token_id, self.stop_ids)
            if self.show is not None and not asked.is_closed:
                self.show(token_id)
        return ids_S
