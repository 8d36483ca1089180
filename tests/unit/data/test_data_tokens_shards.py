"""Stores on disk: what was written is read, and a damaged or unfinished store is never taken for a whole one."""

import random
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
from token_stores import byte_renderer, row, source_of, store_of, write_rows

from tuneloop.core.errors import IntegrityError, TuneloopError
from tuneloop.data.contract import load_renderer
from tuneloop.data.prompt import Renderer
from tuneloop.data.schema import Message
from tuneloop.data.tokens import shards
from tuneloop.data.tokens.block import TokenBlock
from tuneloop.data.tokens.shards import StoreManifest, StoreWriter, TokenStore


@pytest.fixture(scope="module")
def renderer(tmp_path_factory: pytest.TempPathFactory) -> Renderer:
    return byte_renderer(tmp_path_factory.mktemp("bytes"))


def block_of(*rows: tuple[list[int], list[tuple[int, int, float]]]) -> TokenBlock:
    """Ids of each row, and its runs as (first, behind the last, weight)."""
    runs = [run for _, each in rows for run in each]
    return TokenBlock(
        rows=np.arange(len(rows)),
        ids=np.array([i for ids, _ in rows for i in ids], dtype=np.int32),
        bounds=np.cumsum([0, *(len(ids) for ids, _ in rows)]),
        run_bounds=np.cumsum([0, *(len(each) for _, each in rows)]),
        run_spans=np.array([run[:2] for run in runs], dtype=np.int32).reshape(-1, 2),
        run_weights=np.array([run[2] for run in runs], dtype=np.float32),
    )


def write_store(folder: Path, *blocks: TokenBlock) -> TokenStore:
    writer, line = StoreWriter(folder), 1
    for block in blocks:
        number = len(block.rows)
        keys = [bytes([at % 256]) * 16 for at in range(line, line + number)]
        writer.add(block, [(line + at, at) for at in range(number)], keys, [0.5] * number)
        line += number
    writer.flush()
    manifest = StoreManifest(key={}, read=line - 1, added=0, truncated=0, shards=tuple(writer.shards), problems={})
    writer.close(manifest, iter(()))
    return TokenStore(folder)


def test_rows_come_back_as_they_were_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards, "ROWS_A_SHARD", 2)
    store = write_store(
        tmp_path,
        block_of(([1, 2, 3, 4], [(1, 2, 0.5), (3, 4, 2.0)]), ([5, 6], [(0, 2, 1.0)])),
        block_of(([7], [(0, 1, 3.0)])),
        block_of(([8, 9], [(1, 2, 1.0)]), ([1] * 5, [(0, 5, 1.0)]), ([2], [(0, 1, 1.0)])),
    )
    assert [info.rows for info in store.manifest.shards] == [2, 4]
    expected = [
        ([1, 2, 3, 4], [0, 0.5, 0, 2]),
        ([5, 6], [1, 1]),
        ([7], [3]),
        ([8, 9], [0, 1]),
        ([1] * 5, [1] * 5),
        ([2], [1]),
    ]
    assert [(ids.tolist(), weights.tolist()) for ids, weights in map(store.row, range(6))] == expected
    for wanted in ([0, 1, 2, 3, 4, 5], [0, 2, 3, 5], [4], []):
        found = [(ids.tolist(), weights.tolist()) for ids, weights in store.rows(np.array(wanted, dtype=np.int64))]
        assert found == [expected[index] for index in wanted]
    assert store.column("lengths").tolist() == [4, 2, 1, 2, 5, 1]
    assert store.column("targets").tolist() == [2, 2, 1, 1, 5, 1]
    assert store.column("lines").tolist() == [1, 2, 3, 4, 5, 6]
    assert store.column("parts").tolist() == [0, 1, 0, 0, 1, 2]
    assert store.column("scores").tolist() == [0.5] * 6
    assert store.column("keys").tobytes() == b"".join(bytes([at]) * 16 for at in range(1, 7))


@pytest.mark.parametrize(("largest", "kind"), [(65_535, "uint16"), (65_536, "int32"), (151_000, "int32")])
def test_ids_of_every_size(tmp_path: Path, largest: int, kind: str) -> None:
    store = write_store(tmp_path, block_of(([largest, 0, 3], [(1, 3, 1.0)])))
    assert store.row(0)[0].tolist() == [largest, 0, 3]
    assert store.shards[0].column("ids").dtype == kind


def test_an_empty_store(tmp_path: Path) -> None:
    store = write_store(tmp_path)
    assert len(store) == 0
    assert {name: store.column(name).shape for name in ("lengths", "keys")} == {"lengths": (0,), "keys": (0, 2)}


def flip(path: Path, bit: int) -> None:
    content = bytearray(path.read_bytes())
    content[bit // 8] ^= 1 << bit % 8
    path.write_bytes(content)


@pytest.mark.slow
def test_a_flipped_bit_in_any_shard_is_detected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards, "ROWS_A_SHARD", 2)
    blocks = [block_of(([at, 2, 3, 4], [(1, 4, 1.0)]), ([at] * 9, [(2, 9, 1.0)])) for at in range(3)]
    names = [info.name for info in write_store(tmp_path, *blocks).manifest.shards]
    assert len(names) == 3
    chance = random.Random(5)
    for trial in range(1000):
        path = tmp_path / names[trial % 3]
        bit = chance.randrange(8 * path.stat().st_size)
        flip(path, bit)
        with pytest.raises(IntegrityError, match="its bytes differ"):
            TokenStore(tmp_path)
        flip(path, bit)
    assert len(TokenStore(tmp_path)) == 6


def test_a_missing_or_short_shard_is_detected(tmp_path: Path) -> None:
    (info,) = write_store(tmp_path, block_of(([1, 2], [(1, 2, 1.0)]))).manifest.shards
    path = tmp_path / info.name
    content = path.read_bytes()
    path.write_bytes(content[:-1])
    with pytest.raises(IntegrityError):
        TokenStore(tmp_path)
    path.unlink()
    with pytest.raises(IntegrityError, match="missing"):
        TokenStore(tmp_path)


def is_detected(folder: Path, name: str, bit: int) -> bool:
    """Whether a flip is told as an error of ours; silence and any other exception are not that."""
    flip(folder / name, bit)
    try:
        list(TokenStore(folder).problems("a"))
    except Exception as error:  # noqa: BLE001 - which one it is, is the question
        return isinstance(error, TuneloopError)
    else:
        return False
    finally:
        flip(folder / name, bit)


@pytest.mark.parametrize("name", ["manifest.json", "problems.jsonl"])
def test_a_flipped_bit_beside_the_shards_is_detected(tmp_path: Path, renderer: Renderer, name: str) -> None:
    write_rows(tmp_path, "a.jsonl", row("q"), "{", row("r", ""))
    store = store_of(source_of(tmp_path, "a.jsonl"), renderer, tmp_path / "cache")
    size = 8 * (store.folder / name).stat().st_size
    missed = [bit for bit in range(0, size, 29) if not is_detected(store.folder, name, bit)]
    assert not missed


CHILD = """
import os, signal, sys
from pathlib import Path
sys.path[:0] = {paths!r}
from token_stores import source_of, store_of
from tuneloop.core import store as disk
from tuneloop.data.contract import load_renderer
from tuneloop.data.tokens import build, shards
from tuneloop.data.tokens.build import BuildOptions
folder, where, number = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
build._CHUNK_ROWS = shards.ROWS_A_SHARD = 4
left = [number]
def die():
    left[0] -= 1
    if left[0] == 0:
        os.kill(os.getpid(), signal.SIGKILL)
def dying(function):
    def call(*given):
        die()
        return function(*given)
    return call
if where == "shard":
    save = shards.save_file
    shards.save_file = lambda tensors, part: (save(tensors, part), die())
elif where == "problems":
    shards.write_jsonl = dying(shards.write_jsonl)
elif where == "manifest":
    shards.write_json = dying(shards.write_json)
renderer = load_renderer(folder / "model", template="model")
store = store_of(source_of(folder, "a.jsonl"), renderer, folder / "cache")
print(store.manifest.content_hash, len(store), sum(ids.sum() for ids, _ in map(store.row, range(len(store)))))
"""


def child(folder: Path, where: str = "", number: int = 0) -> subprocess.Popen[str]:
    paths = [str(Path(__file__).parent), str(Path(__file__).parents[2])]
    code = textwrap.dedent(CHILD).format(paths=paths)
    command = [sys.executable, "-c", code, str(folder), where, str(number)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def prepare_folder(folder: Path) -> None:
    byte_renderer(folder / "model")
    write_rows(folder, "a.jsonl", *[row(f"q{at}", f"a{at}") for at in range(21)], "{", row("q", ""))


def check_kill(folder: Path, where: str, number: int) -> None:
    """A killed writer leaves no store; the next one makes what an uninterrupted one makes."""
    prepare_folder(folder)
    killed = child(folder, where, number)
    killed.communicate()
    assert killed.returncode == -9
    assert not list(folder.glob("cache/*/manifest.json"))
    again = child(folder)
    out, err = again.communicate()
    assert again.returncode == 0, err
    whole = folder / "whole"
    prepare_folder(whole)
    source = source_of(whole, "a.jsonl")
    store = store_of(source, load_renderer(whole / "model", template="model"), whole / "cache")
    assert int(out.split()[1]) == len(store) == 21
    ids = sum(int(ids.sum()) for ids, _ in map(store.row, range(len(store))))
    assert int(out.split()[2]) == ids
    (found,) = folder.glob("cache/*/manifest.json")
    assert [problem.code for problem in TokenStore(found.parent).problems("a")] == ["not_json", "empty_answer"]


@pytest.mark.slow
def test_a_writer_killed_inside_a_shard_leaves_no_store(tmp_path: Path) -> None:
    check_kill(tmp_path, "shard", 3)


@pytest.mark.slow
@pytest.mark.parametrize(("where", "number"), [("shard", 1), ("shard", 6), ("problems", 1), ("manifest", 1)])
def test_a_writer_killed_anywhere_leaves_no_store(tmp_path: Path, where: str, number: int) -> None:
    check_kill(tmp_path, where, number)


@pytest.mark.slow
def test_two_processes_build_one_store(tmp_path: Path) -> None:
    prepare_folder(tmp_path)
    both = [child(tmp_path) for _ in range(2)]
    answers = [each.communicate() for each in both]
    assert [each.returncode for each in both] == [0, 0], answers
    assert answers[0][0] == answers[1][0]
    (found,) = tmp_path.glob("cache/*/manifest.json")
    store = TokenStore(found.parent)
    assert {path.name for path in found.parent.glob("*.safetensors")} == {info.name for info in store.manifest.shards}
    assert not list(found.parent.glob("*.part"))


def test_a_store_without_its_manifest_is_made_anew(tmp_path: Path, renderer: Renderer) -> None:
    write_rows(tmp_path, "a.jsonl", row("q"), row("r"))
    source = source_of(tmp_path, "a.jsonl")
    store = store_of(source, renderer, tmp_path / "cache")
    name, manifest = store.manifest.shards[0].name, store.manifest
    (store.folder / "manifest.json").unlink()
    (store.folder / name).write_bytes(b"half a shard")
    again = store_of(source, renderer, tmp_path / "cache")
    assert (again.folder, again.manifest) == (store.folder, manifest)
    assert np.array_equal(again.row(1)[0], renderer.encode_row((Message("user", "r"), Message("assistant", "a"))).ids)
