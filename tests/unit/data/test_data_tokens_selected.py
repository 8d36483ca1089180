"""Chosen rows of several stores: each is what its store holds, and the hash names what is learned."""

from pathlib import Path

import numpy as np
import pytest
from token_stores import byte_renderer, row, source_of, store_of, write_rows

from tuneloop.data.prompt import Renderer
from tuneloop.data.tokens.selected import StoredFile, TokenRows


@pytest.fixture(scope="module")
def renderer(tmp_path_factory: pytest.TempPathFactory) -> Renderer:
    return byte_renderer(tmp_path_factory.mktemp("bytes"))


def stored(folder: Path, renderer: Renderer, name: str, *rows: object, weight: float = 1.0) -> StoredFile:
    write_rows(folder, name, *rows)
    return StoredFile(name, store_of(source_of(folder, name), renderer, folder / "cache"), weight)


def select(files: list[StoredFile], *chosen: tuple[int, int]) -> TokenRows:
    file_of, places = (np.array([pair[side] for pair in chosen], dtype=np.int64) for side in (0, 1))
    return TokenRows(files, file_of, places)


def test_rows_are_those_of_their_stores(tmp_path: Path, renderer: Renderer) -> None:
    files = [
        stored(tmp_path, renderer, "a.jsonl", row("q0"), "{", row("q1", "aa", weight=2.0), row("q2")),
        stored(tmp_path, renderer, "b.jsonl", row("r0", "bbb"), row("r1"), weight=0.5),
    ]
    rows = select(files, (1, 1), (0, 2), (1, 0), (0, 1))
    assert [each.origin for each in rows] == ["b.jsonl:2", "a.jsonl:4", "b.jsonl:1", "a.jsonl:3"]
    assert [str(rows.origin(at)) for at in range(4)] == [each.origin for each in rows]
    assert [set(each.weights[each.weights > 0].tolist()) for each in rows] == [{0.5}, {1.0}, {0.5}, {2.0}]
    for each, (file, place) in zip(rows, [(1, 1), (0, 2), (1, 0), (0, 1)], strict=True):
        assert np.array_equal(each.ids, files[file].store.row(place)[0])
    assert rows.lengths.tolist() == [len(each.ids) for each in rows]
    assert rows.targets.tolist() == [each.num_targets for each in rows]
    assert rows.column("lines").tolist() == [2, 4, 1, 3]
    assert rows[-1].origin == rows[3].origin
    assert [each.origin for each in rows[1:3]] == ["a.jsonl:4", "b.jsonl:1"]


def test_reading_at_once_gives_the_same_rows(tmp_path: Path, renderer: Renderer) -> None:
    files = [
        stored(tmp_path, renderer, "a.jsonl", *[row(f"q{at}", "a" * at) for at in range(1, 9)]),
        stored(tmp_path, renderer, "b.jsonl", *[row(f"r{at}") for at in range(5)], weight=3.0),
    ]
    rows = select(files, (0, 1), (0, 2), (0, 5), (0, 7), (1, 0), (1, 3), (1, 4))
    for begin, end in ((0, 7), (2, 5), (4, 7), (3, 3), (5, 99)):
        at_once, one_by_one = list(rows.read(begin, end)), rows[begin:end]
        assert [each.origin for each in at_once] == [each.origin for each in one_by_one]
        for left, right in zip(at_once, one_by_one, strict=True):
            assert np.array_equal(left.ids, right.ids)
            assert np.array_equal(left.weights, right.weights)


def test_no_rows() -> None:
    rows = select([])
    assert (len(rows), list(rows), list(rows.read(0, 10)), rows.lengths.tolist()) == (0, [], [], [])


def test_the_hash_names_ids_weights_and_order(tmp_path: Path, renderer: Renderer) -> None:
    lines = [row("q0"), row("q1"), row("q2")]
    file = stored(tmp_path, renderer, "a.jsonl", *lines)
    every = ((0, 0), (0, 1), (0, 2))
    own = select([file], *every).sha256
    assert select([StoredFile("b.jsonl", file.store, 1.0)], *every).sha256 == own
    assert select([stored(tmp_path / "elsewhere", renderer, "c.jsonl", *lines)], *every).sha256 == own
    changed = {
        "ids": select([stored(tmp_path, renderer, "d.jsonl", *lines[:2], row("q3"))], *every),
        "weight of a row": select([stored(tmp_path, renderer, "e.jsonl", *lines[:2], row("q2", weight=2.0))], *every),
        "weight of the file": select([StoredFile("a.jsonl", file.store, 2.0)], *every),
        "order": select([file], (0, 1), (0, 0), (0, 2)),
        "choice": select([file], *every[:2]),
        "order of the file": select([stored(tmp_path, renderer, "f.jsonl", *lines[::-1])], *every),
    }
    hashes = {name: rows.sha256 for name, rows in changed.items()}
    assert own not in hashes.values()
    assert len(set(hashes.values())) == len(hashes)


@pytest.mark.parametrize("copies", [1, 2])
def test_which_file_a_row_comes_from_is_in_the_hash(tmp_path: Path, renderer: Renderer, copies: int) -> None:
    files = [stored(tmp_path, renderer, "a.jsonl", row("q")), stored(tmp_path, renderer, "b.jsonl", row("r"))]
    first, second = select(files, *[(0, 0)] * copies), select(files, *[(1, 0)] * copies)
    assert first.sha256 != second.sha256
