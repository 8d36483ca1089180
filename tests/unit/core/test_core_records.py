"""Records: whole on disk, and any later change is found."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar, Literal

import pytest

from tuneloop.core.errors import DataError, ExitCode, IntegrityError
from tuneloop.core.records import Record, package_versions
from tuneloop.core.store import hash_json, read_json, write_json


class Note(Record):
    kind: Literal["note"] = "note"
    text: str
    values: tuple[float, ...] = ()


class LaterNote(Note):
    schema_version: ClassVar[int] = 2


NOTE = Note(
    created_at=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
    parents=("aa", "bb"),
    plan={"seed": 3, "nested": {"rank": 4}},
    seed=3,
    versions={"python": "3.11"},
    text="语 ok",
    values=(0.1, 2.0),
)


def test_round_trip(tmp_path: Path) -> None:
    NOTE.save(tmp_path / "note.json")
    loaded = Note.load(tmp_path / "note.json")
    assert loaded == NOTE
    assert loaded.hash == NOTE.hash


@pytest.mark.parametrize(
    "changes",
    [
        {"created_at": datetime(2026, 1, 2, 3, 4, 6, tzinfo=UTC)},
        {"parents": ("bb", "aa")},
        {"plan": {"seed": 3, "nested": {"rank": 5}}},
        {"seed": 4},
        {"versions": {"python": "3.12"}},
        {"text": "语 ok "},
        {"values": (0.1, 2.0000000000000004)},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_hash_covers_the_field(changes: dict[str, Any]) -> None:
    assert set(Note.model_fields) == {"kind", "created_at", "parents", "plan", "seed", "versions", "text", "values"}
    assert NOTE.replace(**changes).hash != NOTE.hash


def test_hash_covers_kind_and_schema_version() -> None:
    assert LaterNote.model_validate(NOTE.model_dump()).hash != NOTE.hash
    assert Record.model_validate(NOTE.model_dump(include=set(Record.model_fields)) | {"kind": "x"}).hash != NOTE.hash


def test_hash_is_of_the_canonical_json(tmp_path: Path) -> None:
    NOTE.save(tmp_path / "note.json")
    values = json.loads((tmp_path / "note.json").read_text())
    saved = values.pop("hash")
    assert saved == hash_json(values) == NOTE.hash


def paths_of(value: Any, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """Every leaf of a JSON tree."""
    if isinstance(value, dict):
        return [leaf for key, item in value.items() for leaf in paths_of(item, (*path, key))]
    if isinstance(value, list):
        return [leaf for index, item in enumerate(value) for leaf in paths_of(item, (*path, index))]
    return [path]


def test_any_tampered_leaf_is_found(tmp_path: Path) -> None:
    path = tmp_path / "note.json"
    NOTE.save(path)
    leaves = paths_of(read_json(path))
    assert len(leaves) >= 11
    for leaf in leaves:
        values = read_json(path)
        here = values
        for key in leaf[:-1]:
            here = here[key]
        here[leaf[-1]] = here[leaf[-1]] + (1 if isinstance(here[leaf[-1]], int | float) else "x")
        write_json(tmp_path / "other.json", values)
        with pytest.raises(IntegrityError, match="changed after it was saved"):
            Note.load(tmp_path / "other.json")


@pytest.mark.parametrize("change", ["added", "removed", "no hash"])
def test_added_and_removed_fields_are_found(tmp_path: Path, change: str) -> None:
    path = tmp_path / "note.json"
    NOTE.save(path)
    values = read_json(path)
    match change:
        case "added":
            values["more"] = 1
        case "removed":
            del values["seed"]
        case _:
            del values["hash"]
    write_json(path, values)
    with pytest.raises(IntegrityError):
        Note.load(path)


def test_layout_of_the_file_does_not_matter(tmp_path: Path) -> None:
    NOTE.save(tmp_path / "note.json")
    values = read_json(tmp_path / "note.json")
    (tmp_path / "other.json").write_text(json.dumps(dict(reversed(values.items())), ensure_ascii=True))
    assert Note.load(tmp_path / "other.json") == NOTE


def test_other_version_other_kind_no_file_no_json(tmp_path: Path) -> None:
    path = tmp_path / "note.json"
    NOTE.save(path)
    with pytest.raises(DataError, match="written as version 1 of its format; this tuneloop reads 2"):
        LaterNote.load(path)
    Record(kind="x", created_at=NOTE.created_at, versions={}).save(path)
    with pytest.raises(DataError, match="not a Note"):
        Note.load(path)
    with pytest.raises(DataError, match="no such file"):
        Note.load(tmp_path / "nothing.json")
    path.write_text('{"kind": "note", ')
    with pytest.raises(IntegrityError, match="not valid JSON"):
        Note.load(path)


@pytest.mark.parametrize("text", ["[]", "3", "null", '"text"'])
def test_json_that_is_no_object(tmp_path: Path, text: str) -> None:
    (tmp_path / "note.json").write_text(text)
    with pytest.raises((IntegrityError, DataError)):
        Note.load(tmp_path / "note.json")


def test_integrity_has_an_exit_code_of_its_own() -> None:
    assert IntegrityError.exit_code == ExitCode.INTEGRITY == 7


def test_versions_name_what_decides_results() -> None:
    versions = package_versions()
    assert {"python", "tuneloop", "torch", "transformers", "tokenizers"} <= set(versions)
    assert all(versions.values())
