"""One prompt on its way to an answer, and the answer."""

from collections.abc import Container
from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True)
class Generated:
    """One answer."""

    ids: np.ndarray
    """int32 [T], without the stop id."""
    finished: bool
    """Whether the model closed its turn within the limit."""


@dataclass(eq=False)
class Asked:
    """A prompt, and what has been answered so far."""

    index: int
    """Its place among the prompts."""
    prompt: np.ndarray
    """int32 [T], at least one token."""
    key: object
    """Names the sequence's chance: the same seed and key, the same text."""
    limit: int
    """New tokens at most."""
    ids: list[int] = field(default_factory=list)
    is_closed: bool = False
    """Whether a stop id came."""

    @property
    def is_done(self) -> bool:
        """Whether no token follows."""
        return self.is_closed or len(self.ids) >= self.limit

    @property
    def last_position(self) -> int:
        """The place of the last token in the sequence."""
        return len(self.prompt) + len(self.ids) - 1

    def take(self, token_id: int, stop_ids: Container[int]) -> None:
        """Go on by one token."""
        if token_id in stop_ids:
            self.is_closed = True
        else:
            self.ids.append(token_id)

    def answer(self) -> Generated:
        """What came of it."""
        return Generated(np.array(self.ids, dtype=np.int32), self.is_closed)
