"""Finds questions that a data set answers in more than one way."""

import hashlib
import itertools
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from tuneloop.core.errors import DataError
from tuneloop.data.quality.shingles import normalise
from tuneloop.data.quality.texts import duplicate_groups

_KEY_BYTES = 16


@dataclass(frozen=True, slots=True)
class Contradiction:
    """Rows that ask the same and do not answer the same."""

    rows: tuple[int, ...]
    """All rows that ask it, in order."""
    answers: tuple[int, ...]
    """For each of them, the first row that gives the same answer."""

    @property
    def num_answers(self) -> int:
        """How many different answers there are."""
        return len(set(self.answers))


def find_contradictions(prompts: Iterable[str], answers: Iterable[str]) -> list[Contradiction]:
    """Find the rows with the same normalised prompt and different normalised answers, in order of their first row.

    Both are read once, side by side; 33 bytes a row are held, and about three times that while they are sorted.
    A row with an empty prompt asks nothing and contradicts nothing. Different answers need not be wrong (`Tell me a
    joke.`): it is for a reader to say.

    Raises:
        DataError: there are more prompts than answers, or fewer.
    """
    prompt_keys, answer_keys, asks = bytearray(), bytearray(), bytearray()
    for prompt, answer in itertools.zip_longest(prompts, answers):
        if prompt is None or answer is None:
            raise DataError(
                f"contradictions: only the first {len(asks)} rows have both a prompt and an answer. Give one for each."
            )
        normal = normalise(prompt)
        asks.append(bool(normal))
        prompt_keys += _key(normal)
        answer_keys += _key(normalise(answer))
    prompt_groups = duplicate_groups(_as_array(prompt_keys))
    answer_groups = duplicate_groups(_as_array(answer_keys))
    differs = (answer_groups != answer_groups[prompt_groups]) & np.frombuffer(bytes(asks), dtype=bool)
    rows = np.flatnonzero(np.isin(prompt_groups, prompt_groups[differs]))
    rows = rows[np.argsort(prompt_groups[rows], kind="stable")]
    cuts = np.flatnonzero(np.diff(prompt_groups[rows])) + 1
    return [_contradiction(group, answer_groups) for group in np.split(rows, cuts) if len(group)]


def _key(normal: str) -> bytes:
    return hashlib.blake2b(normal.encode("utf-8", "surrogatepass"), digest_size=_KEY_BYTES).digest()


def _as_array(keys: bytearray) -> np.ndarray:
    return np.frombuffer(bytes(keys), dtype=np.uint8).reshape(-1, _KEY_BYTES)


def _contradiction(rows: np.ndarray, answer_groups: np.ndarray) -> Contradiction:
    first: dict[int, int] = {}
    answers = tuple(
        first.setdefault(answer, row) for row, answer in zip(rows.tolist(), answer_groups[rows].tolist(), strict=True)
    )
    return Contradiction(tuple(rows.tolist()), answers)
