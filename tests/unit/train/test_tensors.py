"""Tensors in files: every type and shape comes back, bit for bit, whoever wrote the pieces and whoever reads them."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from tuneloop.core.errors import IntegrityError
from tuneloop.train.tensors import (
    _TYPES,
    SavedTensors,
    Shard,
    blobs_of,
    join,
    read_tensors,
    read_windows,
    whole,
    write_shards,
)


def bits(tensor: Tensor) -> tuple[torch.dtype, torch.Size, bytes]:
    flat = tensor.contiguous().reshape(-1)
    return tensor.dtype, tensor.shape, flat.view(torch.uint8).numpy().tobytes()


def many() -> dict[str, Tensor]:
    """Each type, sizes that leave nothing aligned, no values, no dimensions, values that are no numbers."""
    torch.manual_seed(0)
    found = {f"t.{name}": torch.randint(0, 2, (3, 5)).to(dtype) for dtype, name in _TYPES.items()}
    found |= {"empty": torch.empty(0, 3), "scalar": torch.tensor(1.5), "one": torch.tensor([7], dtype=torch.uint8)}
    found |= {"odd": torch.tensor([torch.nan, torch.inf, -0.0]), "view": torch.arange(12.0).reshape(3, 4).T[1:]}
    return found


@pytest.mark.parametrize("blob_bytes", [1, 32, 100, 1 << 20])
def test_what_is_written_comes_back(blob_bytes: int, tmp_path: Path) -> None:
    saved = write_shards(tmp_path, whole(many()), blob_bytes=blob_bytes)
    found = read_tensors(tmp_path, saved)
    assert {name: bits(tensor) for name, tensor in found.items()} == {n: bits(t) for n, t in many().items()}
    assert {path.name for path in tmp_path.iterdir()} == blobs_of(saved)


def test_a_large_tensor_is_cut_and_small_ones_share_a_file(tmp_path: Path) -> None:
    tensors = {"large": torch.arange(100.0).reshape(25, 4), "a": torch.ones(4), "b": torch.zeros(4)}
    saved = write_shards(tmp_path, whole(tensors), blob_bytes=160)
    assert [part.offset for part in saved["large"].parts] == [(0, 0), (10, 0), (20, 0)]
    assert saved["a"].parts[0].blob == saved["b"].parts[0].blob
    assert all(path.stat().st_size < 160 + 300 for path in tmp_path.iterdir())


def test_files_are_safetensors_as_the_library_reads_them(tmp_path: Path) -> None:
    from safetensors.torch import load_file

    saved = write_shards(tmp_path, whole(many()))
    (blob,) = blobs_of(saved)
    found = load_file(tmp_path / blob)
    assert {name: bits(tensor) for name, tensor in found.items()} == {n: bits(t) for n, t in many().items()}


def test_bytes_that_are_there_are_not_written_again(tmp_path: Path) -> None:
    tensors = {"a": torch.ones(8), "b": torch.zeros(8)}
    first = write_shards(tmp_path, whole(tensors), blob_bytes=32)
    files = {path.name: path.stat().st_ino for path in tmp_path.iterdir()}
    tensors["b"] += 1
    second = write_shards(tmp_path, whole(dict(reversed(tensors.items()))), blob_bytes=32)
    assert second["a"] == first["a"]
    # The same values under another name are other bytes: a file says whose values it holds.
    assert second["b"].parts[0].blob not in files
    assert all((tmp_path / name).stat().st_ino == number for name, number in files.items())


def ranks(number: int, dimension: int, tensor: Tensor, folder: Path) -> list[SavedTensors]:
    """A tensor written by so many ranks, each a slice of a dimension, in files of their own."""
    tables, begin = [], 0
    for piece in torch.tensor_split(tensor, number, dim=dimension):
        offset = [0, 0]
        offset[dimension] = begin
        begin += piece.shape[dimension]
        tables.append(write_shards(folder, {"w": Shard(piece, tuple(offset), tuple(tensor.shape))}, blob_bytes=64))
    return tables


@pytest.mark.parametrize("dimension", [0, 1])
@pytest.mark.parametrize("readers", [1, 2, 5])
def test_three_ranks_write_and_another_number_reads(readers: int, dimension: int, tmp_path: Path) -> None:
    tensor = torch.arange(77.0).reshape(7, 11)
    saved = join(ranks(3, dimension, tensor, tmp_path))
    assert torch.equal(read_tensors(tmp_path, saved)["w"], tensor)
    begin = 0
    for piece in torch.tensor_split(tensor, readers):
        found = read_windows(tmp_path, saved, {"w": ((begin, 0), tuple(piece.shape))})
        assert torch.equal(found["w"], piece)
        begin += len(piece)


def test_a_window_reads_only_the_files_that_it_needs(tmp_path: Path) -> None:
    tensor = torch.arange(40.0).reshape(10, 4)
    saved = write_shards(tmp_path, whole({"w": tensor}), blob_bytes=32)
    for part in saved["w"].parts[2:]:
        (tmp_path / part.blob).unlink()
    assert torch.equal(read_windows(tmp_path, saved, {"w": ((0, 1), (3, 2))})["w"], tensor[0:3, 1:3])
    with pytest.raises(IntegrityError, match="missing"):
        read_windows(tmp_path, saved, {"w": ((0, 0), (5, 4))})


def test_a_piece_that_no_rank_wrote_is_an_error(tmp_path: Path) -> None:
    tables = ranks(3, 0, torch.arange(77.0).reshape(7, 11), tmp_path)
    with pytest.raises(IntegrityError, match="do not cover"):
        read_tensors(tmp_path, join(tables[:2]))
