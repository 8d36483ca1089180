"""Many normalised texts held in little memory, each with a key by which exact copies are found."""

import hashlib
from collections.abc import Iterable, Iterator

import numpy as np

from tuneloop.data.quality.shingles import normalise

BATCH_CHARACTERS = 1 << 18
BATCH_ROWS = 1 << 13


class TextStore:
    """Normalised texts as UTF-8: one byte a Latin letter, three a Chinese one, and 24 bytes beside each text."""

    def __init__(self, texts: Iterable[str]) -> None:
        self._bytes = bytearray()
        ends, keys = [0], bytearray()
        for text in texts:
            data = normalise(text).encode("utf-8", "surrogatepass")
            self._bytes += data
            ends.append(len(self._bytes))
            keys += hashlib.blake2b(data, digest_size=16).digest()
        self._ends = np.array(ends, dtype=np.int64)
        self.keys = np.frombuffer(bytes(keys), dtype=np.uint64).reshape(-1, 2)

    def __len__(self) -> int:
        return len(self._ends) - 1

    def sizes(self, rows: np.ndarray) -> np.ndarray:
        """Bytes of some rows; at least as many as their characters."""
        return self._ends[rows + 1] - self._ends[rows]

    def take(self, rows: np.ndarray) -> list[str]:
        """Some of the texts."""
        starts, ends = self._ends[rows].tolist(), self._ends[rows + 1].tolist()
        view = self._bytes
        return [view[a:b].decode("utf-8", "surrogatepass") for a, b in zip(starts, ends, strict=True)]


def split_by_size(sizes: np.ndarray, limit: int, max_items: int = BATCH_ROWS) -> Iterator[slice]:
    """Cut a sequence into runs of at most `limit` in sum; an item larger than that is a run of its own."""
    totals = np.concatenate([[0], np.cumsum(sizes)])
    start = 0
    while start < len(sizes):
        stop = int(np.searchsorted(totals, totals[start] + limit, side="right")) - 1
        stop = max(start + 1, min(stop, start + max_items))
        yield slice(start, stop)
        start = stop


def ranges(starts: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """The numbers from each start on, `counts` of them, one range after another, int64."""
    ends = np.cumsum(counts)
    return np.arange(ends[-1] if len(ends) else 0) + np.repeat(starts - (ends - counts), counts)


def batched(texts: Iterable[str]) -> Iterator[list[str]]:
    """Normalise a stream, in batches of bounded size."""
    batch, size = [], 0
    for text in texts:
        batch.append(normalise(text))
        size += len(batch[-1])
        if size >= BATCH_CHARACTERS or len(batch) == BATCH_ROWS:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def duplicate_groups(keys: np.ndarray) -> np.ndarray:
    """For each row, the first row with the same key, int64 [N]: a row that names itself is a first one.

    Args:
        keys: uint8 [N, 16] or uint64 [N, 2], such as 128-bit hashes of the rows.
    """
    keys = np.ascontiguousarray(keys)
    num = len(keys)
    if not num:
        return np.zeros(0, dtype=np.int64)
    words = keys.reshape(num, -1).view(np.uint64)
    order = np.lexsort(words.T)  # stable, so the first row of equal ones comes first
    ordered = words[order]
    is_new = np.ones(num, dtype=bool)
    is_new[1:] = (ordered[1:] != ordered[:-1]).any(axis=1)
    first = np.empty(num, dtype=np.int64)
    first[order] = order[np.maximum.accumulate(np.where(is_new, np.arange(num), 0))]
    return first
