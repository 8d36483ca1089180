"""Tensors on disk: pieces of moderate size in files named by their own hash, and a table of what lies where.

The table names every piece by the tensor that it belongs to, its place and its shape. So each of many ranks can write
the pieces that it holds, and any other number of ranks read the windows that they want.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import orjson
import torch
from safetensors.torch import load
from torch import Tensor

from tuneloop.core.config import Config
from tuneloop.core.errors import IntegrityError
from tuneloop.core.store import put_blobs, read_blob

BLOB_BYTES = 1 << 26
"""A file is closed when the next piece would make it larger, and a tensor that is larger itself is cut."""

_SUFFIX = ".safetensors"
_TYPES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.float8_e4m3fn: "F8_E4M3",
    torch.float8_e5m2: "F8_E5M2",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}
"""As safetensors calls them."""


class Part(Config):
    """A piece of a tensor: a box of it, stored in a blob under the tensor's name."""

    offset: tuple[int, ...]
    """Where the box begins in the whole tensor."""
    shape: tuple[int, ...]
    blob: str


class SavedTensor(Config):
    """A tensor whose parts cover it, each place once."""

    shape: tuple[int, ...]
    dtype: str
    parts: tuple[Part, ...]


SavedTensors = dict[str, SavedTensor]


@dataclass(frozen=True)
class Shard:
    """What one rank holds of a tensor."""

    tensor: Tensor
    offset: tuple[int, ...]
    whole: tuple[int, ...]
    """The shape of the whole tensor."""


def whole(tensors: Mapping[str, Tensor]) -> dict[str, Shard]:
    """Each tensor as the only piece of itself."""
    return {name: Shard(tensor, (0,) * tensor.ndim, tuple(tensor.shape)) for name, tensor in tensors.items()}


def write_shards(folder: Path, shards: Mapping[str, Shard], *, blob_bytes: int = BLOB_BYTES) -> SavedTensors:
    """Write pieces, and say where they lie; pieces whose bytes lie there already are not written again.

    Raises:
        DiskError: the disk is full or refuses.
    """
    groups = list(_group(shards, blob_bytes))
    names = put_blobs(folder, _SUFFIX, (_encode(group) for group in groups))
    parts: dict[str, list[Part]] = {name: [] for name in shards}
    for group, blob in zip(groups, names, strict=True):
        for name, piece in group.items():
            parts[name].append(Part(offset=piece.offset, shape=tuple(piece.tensor.shape), blob=blob))
    return {
        name: SavedTensor(shape=shard.whole, dtype=_TYPES[shard.tensor.dtype], parts=tuple(parts[name]))
        for name, shard in shards.items()
    }


def join(tables: Iterable[SavedTensors]) -> SavedTensors:
    """One table of what several ranks wrote."""
    joined: SavedTensors = {}
    for table in tables:
        for name, saved in table.items():
            before = joined[name].parts if name in joined else ()
            joined[name] = saved.replace(parts=(*before, *saved.parts))
    return joined


def blobs_of(saved: SavedTensors) -> set[str]:
    """The files that a table needs."""
    return {part.blob for tensor in saved.values() for part in tensor.parts}


def read_tensors(folder: Path, saved: SavedTensors) -> dict[str, Tensor]:
    """The whole tensors, after their bytes were checked.

    Raises:
        IntegrityError: a file is missing or damaged, or the parts do not cover a tensor.
    """
    return read_windows(folder, saved, {name: ((0,) * len(t.shape), t.shape) for name, t in saved.items()})


def read_windows(
    folder: Path, saved: SavedTensors, windows: Mapping[str, tuple[Sequence[int], Sequence[int]]]
) -> dict[str, Tensor]:
    """A box (offset, shape) of each named tensor; each file that holds a piece of one is read once.

    Raises:
        IntegrityError: a file is missing or damaged, or the parts do not cover a box.
    """
    wanted: dict[str, list[tuple[str, Part]]] = {}
    for name, window in windows.items():
        for part in saved[name].parts:
            if _overlap(part, *window) is not None:
                wanted.setdefault(part.blob, []).append((name, part))
    found: dict[str, Tensor] = {}
    covered = dict.fromkeys(windows, 0)
    for blob, pieces in wanted.items():
        content = load(read_blob(folder, blob))
        for name, part in pieces:
            covered[name] += _place(found, name, content[name], part, windows[name])
    for name, (_, shape) in windows.items():
        if name not in found or covered[name] != math.prod(shape):
            raise IntegrityError(f"{folder}: the parts of {name} do not cover it: {covered[name]} values are there.")
    return {name: found[name] for name in windows}


def _place(
    found: dict[str, Tensor], name: str, piece: Tensor, part: Part, window: tuple[Sequence[int], Sequence[int]]
) -> int:
    """Put what a window wants of a piece into place; return how many values that were."""
    overlap = _overlap(part, *window)
    assert overlap is not None
    source, target = overlap
    if piece[source].shape == tuple(window[1]):
        # All at once: no second copy.
        found[name] = piece[source]
    else:
        box = found.setdefault(name, torch.empty(tuple(window[1]), dtype=piece.dtype))
        box[target] = piece[source]
    return piece[source].numel()


def _overlap(
    part: Part, offset: Sequence[int], shape: Sequence[int]
) -> tuple[tuple[slice, ...], tuple[slice, ...]] | None:
    """Where a box meets a part: its place in the part, and in the box."""
    begins = [max(*pair) for pair in zip(part.offset, offset, strict=True)]
    ends = [min(a + m, b + n) for a, m, b, n in zip(part.offset, part.shape, offset, shape, strict=True)]
    sizes = tuple(end - begin for begin, end in zip(begins, ends, strict=True))
    # A tensor without values meets itself.
    if min(sizes, default=1) <= 0 and sizes != tuple(part.shape):
        return None
    return (
        tuple(slice(b - o, e - o) for b, e, o in zip(begins, ends, part.offset, strict=True)),
        tuple(slice(b - o, e - o) for b, e, o in zip(begins, ends, offset, strict=True)),
    )


def _group(shards: Mapping[str, Shard], blob_bytes: int) -> Iterator[dict[str, Shard]]:
    """Pieces that share a file, in the order of their names: equal tensors make equal files."""
    group: dict[str, Shard] = {}
    size = 0
    for name, shard in sorted(shards.items()):
        for piece in _cut(shard, blob_bytes):
            if group and (size + piece.tensor.nbytes > blob_bytes or name in group):
                yield group
                group, size = {}, 0
            group[name] = piece
            size += piece.tensor.nbytes
    if group:
        yield group


def _cut(shard: Shard, blob_bytes: int) -> Iterator[Shard]:
    """Slices of the first dimension, none larger than a blob where one row is not."""
    tensor = shard.tensor
    if tensor.nbytes <= blob_bytes or tensor.ndim == 0:
        yield shard
        return
    rows = max(1, blob_bytes * len(tensor) // tensor.nbytes)
    for begin in range(0, len(tensor), rows):
        offset = (shard.offset[0] + begin, *shard.offset[1:])
        yield Shard(tensor[begin : begin + rows], offset, shard.whole)


def _encode(group: Mapping[str, Shard]) -> list[bytes | memoryview]:
    """The bytes of a safetensors file, in pieces that need no second copy.

    Format: 8 bytes with the length of the header, a JSON header of names, types, shapes and places, then the values
    (https://huggingface.co/docs/safetensors, "Format"). The widest types come first, so that all lie aligned.
    """
    ordered = sorted(group.items(), key=lambda item: -item[1].tensor.element_size())
    header: dict[str, dict[str, object]] = {}
    values: list[bytes | memoryview] = []
    end = 0
    for name, shard in ordered:
        begin, end = end, end + shard.tensor.nbytes
        header[name] = {
            "dtype": _TYPES[shard.tensor.dtype],
            "shape": list(shard.tensor.shape),
            "data_offsets": [begin, end],
        }
        flat = shard.tensor.detach().cpu().contiguous().reshape(-1)
        values.append(flat.view(torch.uint8).numpy().data)
    text = orjson.dumps(header)
    text += b" " * (-len(text) % 8)
    return [len(text).to_bytes(8, "little"), text, *values]
