"""From a file to its store: in the order of the file, counted, found again by content, and stopped when asked."""

from pathlib import Path

import numpy as np
import pytest
from token_stores import byte_renderer, row, source_of, store_of, write_rows

from tuneloop.core.errors import DataError, StoppedError
from tuneloop.core.stop import Stop
from tuneloop.data.prompt import Renderer
from tuneloop.data.rows import iter_rows
from tuneloop.data.schema import Row
from tuneloop.data.tokens import build, shards
from tuneloop.data.tokens.build import BuildOptions, row_key, store_key
from tuneloop.data.tokens.overlong import LengthPolicy
from tuneloop.data.tokens.shards import Shard, TokenStore


@pytest.fixture(scope="module")
def renderer(tmp_path_factory: pytest.TempPathFactory) -> Renderer:
    return byte_renderer(tmp_path_factory.mktemp("bytes"))


def rows_of(store: TokenStore) -> list[tuple[bytes, bytes]]:
    return [(ids.tobytes(), weights.tobytes()) for ids, weights in map(store.row, range(len(store)))]


def stop_now() -> Stop:
    stop = Stop()
    stop.requested = True
    return stop


@pytest.mark.parametrize("chunk", [1, 3, 1024])
def test_a_store_is_the_rows_of_the_file_in_order(
    tmp_path: Path, renderer: Renderer, monkeypatch: pytest.MonkeyPatch, chunk: int
) -> None:
    """Whatever the size of a chunk, and of a shard: row by row what `encode_row` gives."""
    monkeypatch.setattr(build, "_CHUNK_ROWS", chunk)
    monkeypatch.setattr(shards, "ROWS_A_SHARD", 2 * chunk)
    lines = [row(f"q{at}", "a" * (1 + at % 5), score=at, weight=1 + at % 2) for at in range(17)]
    write_rows(tmp_path, "a.jsonl", *lines[:5], "{", *lines[5:9], row("", "a"), *lines[9:])
    source = source_of(tmp_path, "a.jsonl")
    store = store_of(source, renderer, tmp_path / "cache")
    good = [each for each in iter_rows(source) if isinstance(each, Row)]
    assert len(store) == len(good) == 17
    for each, (ids, weights) in zip(good, map(store.row, range(17)), strict=True):
        expected = renderer.encode_row(each.messages, weight=each.weight)
        assert np.array_equal(ids, expected.ids)
        assert np.array_equal(weights, expected.weights)
    assert store.column("lines").tolist() == [each.origin.line for each in good]
    assert store.column("scores").tolist() == list(range(17))
    assert store.column("keys").tobytes() == b"".join(map(row_key, good))
    assert (store.manifest.read, store.manifest.added, store.manifest.truncated) == (19, 0, 0)
    assert [str(problem) for problem in store.problems("b.jsonl")] == [
        "b.jsonl:6: not JSON: unexpected end of data at column 2 [not_json]",
        "b.jsonl:11: turn 1 (user) is empty [empty_prompt]",
    ]


def test_a_file_without_a_good_row(tmp_path: Path, renderer: Renderer) -> None:
    write_rows(tmp_path, "a.jsonl", row("q", ""), "{")
    store = store_of(source_of(tmp_path, "a.jsonl"), renderer, tmp_path / "cache")
    assert (len(store), store.manifest.read, store.manifest.problems) == (0, 2, {"empty_answer": 1, "not_json": 1})


def test_a_store_is_found_again_and_its_file_is_not_read(
    tmp_path: Path, renderer: Renderer, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_rows(tmp_path, "a.jsonl", row("q"), "{", row("r"))
    source = source_of(tmp_path, "a.jsonl")
    store = store_of(source, renderer, tmp_path / "cache")
    monkeypatch.setattr(build, "iter_rows", None)
    again = store_of(source, renderer, tmp_path / "cache")
    assert (again.manifest, rows_of(again)) == (store.manifest, rows_of(store))
    assert list(again.problems("a")) == list(store.problems("a"))


def test_a_copy_of_a_file_has_the_same_store(tmp_path: Path, renderer: Renderer) -> None:
    write_rows(tmp_path, "a.jsonl", row("q"))
    write_rows(tmp_path, "b.jsonl", row("q"))
    first, second = (store_of(source_of(tmp_path, f"{name}.jsonl"), renderer, tmp_path / "cache") for name in "ab")
    assert first.folder == second.folder


def test_what_decides_the_ids_decides_the_key(tmp_path: Path, renderer: Renderer) -> None:
    write_rows(tmp_path, "a.jsonl", row("q"))
    write_rows(tmp_path, "b.jsonl", row("r"))
    source, policy = source_of(tmp_path, "a.jsonl"), LengthPolicy("drop", 64)
    key = store_key(source, renderer, policy)
    # Where rows are only left out for their length, the length is not in the store.
    assert store_key(source, renderer, LengthPolicy("error", 100)) == key
    assert store_key(source_of(tmp_path, "a.jsonl", weight=2, epochs=3, num_samples=1), renderer, policy) == key
    others = [
        store_key(source_of(tmp_path, "b.jsonl"), renderer, policy),
        store_key(source_of(tmp_path, "a.jsonl", columns={"instruction": "question"}), renderer, policy),
        store_key(source_of(tmp_path, "a.jsonl", roles={"doctor": "assistant"}), renderer, policy),
        store_key(source, renderer.learning("last"), policy),
        store_key(source, renderer, LengthPolicy("truncate_prompt", 64)),
        store_key(source, renderer, LengthPolicy("truncate_prompt", 65)),
        store_key(source, renderer, LengthPolicy("split_turns", 64)),
    ]
    assert all(other != key for other in others)
    assert len({str(other) for other in others}) == len(others)


def test_divided_and_shortened_rows_are_counted(tmp_path: Path, renderer: Renderer) -> None:
    history = [["q", "a"], ["r", "b"]]
    write_rows(tmp_path, "a.jsonl", row("x"), row("s", "c", history=history), row("y" * 9), row("z", "a" * 90))
    source = source_of(tmp_path, "a.jsonl")
    split = store_of(source, renderer, tmp_path / "cache", policy=LengthPolicy("split_turns", 45))
    assert (split.manifest.read, split.manifest.added, split.manifest.truncated) == (4, 1, 0)
    assert list(zip(split.column("lines").tolist(), split.column("parts").tolist(), strict=True)) == [
        (1, 0),
        (2, 1),
        (2, 2),
        (3, 0),
    ]
    assert split.column("lengths").tolist() == [22, 23 + 22, 22, 30]
    cut = store_of(source, renderer, tmp_path / "cache", policy=LengthPolicy("truncate_prompt", 25))
    assert (cut.manifest.read, cut.manifest.added, cut.manifest.truncated) == (4, 0, 1)
    assert (cut.column("lines").tolist(), cut.column("lengths").tolist()) == ([1, 3], [22, 25])
    assert [problem.code for problem in cut.problems("a")] == ["overlong"] * 2
    assert all(len(cut.row(at)[0]) <= 25 for at in range(2))


def test_shards_are_told_as_soon_as_they_can_be_read(
    tmp_path: Path, renderer: Renderer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build, "_CHUNK_ROWS", 2)
    monkeypatch.setattr(shards, "ROWS_A_SHARD", 4)
    write_rows(tmp_path, "a.jsonl", *[row(f"q{at}") for at in range(11)])
    source, heard = source_of(tmp_path, "a.jsonl"), []

    def hear(shard: Shard) -> None:
        heard.append(shard.column("lines").tolist())

    for _ in range(2):
        heard.clear()
        store_of(source, renderer, tmp_path / "cache", build=BuildOptions(on_shard=hear))
        assert heard == [[1, 2, 3, 4], [5, 6, 7, 8], [9, 10, 11]]


def test_strict_holds_for_a_store_that_was_made_without_it(tmp_path: Path, renderer: Renderer) -> None:
    write_rows(tmp_path, "a.jsonl", row("q"), "{", row("r", ""))
    source = source_of(tmp_path, "a.jsonl")
    for cache in ("before", "after"):
        if cache == "after":
            store_of(source, renderer, tmp_path / cache)
        with pytest.raises(DataError, match=r"^a\.jsonl:2: not JSON.*data\.strict is on"):
            store_of(source, renderer, tmp_path / cache, build=BuildOptions(strict=True))
    assert not list((tmp_path / "before").glob("*/manifest.json"))


def test_a_stop_leaves_no_store(tmp_path: Path, renderer: Renderer) -> None:
    write_rows(tmp_path, "a.jsonl", row("q"))
    source = source_of(tmp_path, "a.jsonl")
    with pytest.raises(StoppedError):
        store_of(source, renderer, tmp_path / "cache", build=BuildOptions(stop_now()))
    assert not list((tmp_path / "cache").glob("*/manifest.json"))
    assert len(store_of(source, renderer, tmp_path / "cache")) == 1


def test_a_stop_is_heard_among_bad_rows(tmp_path: Path, renderer: Renderer) -> None:
    write_rows(tmp_path, "a.jsonl", *["{"] * 5000)
    with pytest.raises(StoppedError):
        store_of(source_of(tmp_path, "a.jsonl"), renderer, tmp_path / "cache", build=BuildOptions(stop_now()))


def test_rows_that_say_the_same_have_one_key(tmp_path: Path) -> None:
    def key(**fields: object) -> bytes:
        write_rows(tmp_path, "a.jsonl", {"instruction": "q", "output": "a", **fields})
        (found,) = iter_rows(source_of(tmp_path, "a.jsonl"))
        assert isinstance(found, Row)
        return row_key(found)

    assert key() == key(weight=2, score=1, id="x")
    assert len({key(), key(output="b"), key(instruction="Q"), key(system="s"), key(history=[["q", "a"]])}) == 5
    assert key(instruction="qa", output="b") != key(instruction="q", output="ab")
