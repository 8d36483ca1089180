"""Paths of a recipe to files."""

import os
from pathlib import Path

import pytest

from tuneloop.core.errors import DataError
from tuneloop.data.read.files import find_files


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in (
        "b.jsonl",
        "a.json",
        "README.md",
        "README.txt",
        "dataset_info.json",
        "SOURCE.md",
        ".hidden.jsonl",
        "deep/er/c.csv.gz",
        "deep/d.PARQUET",
        "deep/e.dat",
        ".cache/f.jsonl",
        "odd[1].jsonl",
    ):
        (tmp_path / "data" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "data" / name).write_text("x")
    return tmp_path


def names(spec: str, folder: Path) -> list[str]:
    files = find_files(spec, folder)
    assert all(file.path.is_file() for file in files)
    return [file.name for file in files]


FOLDER = ["data/a.json", "data/b.jsonl", "data/deep/d.PARQUET", "data/deep/er/c.csv.gz", "data/odd[1].jsonl"]


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("data/b.jsonl", ["data/b.jsonl"]),
        ("./data/README.md", ["data/README.md"]),
        ("data/odd[1].jsonl", ["data/odd[1].jsonl"]),
        ("data", FOLDER),
        ("data/", FOLDER),
        ("data/**", FOLDER),
        ("data/**/*", FOLDER),
        ("data/*", ["data/a.json", "data/b.jsonl", "data/odd[1].jsonl"]),
        ("data/[ab].*", ["data/a.json", "data/b.jsonl"]),
        ("*/*.jsonl", ["data/b.jsonl", "data/odd[1].jsonl"]),
        ("data/**/*.gz", ["data/deep/er/c.csv.gz"]),
        ("data/deep/*.dat", ["data/deep/e.dat"]),
        ("data/.h*", ["data/.hidden.jsonl"]),
    ],
)
def test_what_a_path_means(tree: Path, spec: str, expected: list[str]) -> None:
    if spec == "data/**":  # it matches folders alone (pathlib)
        with pytest.raises(DataError, match="nothing matches"):
            names(spec, tree)
        return
    assert names(spec, tree) == expected


def test_absolute_paths_keep_their_name(tree: Path) -> None:
    assert names(str(tree / "data" / "b.jsonl"), Path("/")) == [str(tree / "data" / "b.jsonl")]
    assert names(str(tree / "data" / "*.json"), Path("/")) == [str(tree / "data" / "a.json")]
    assert names("../data/b.jsonl", tree / "data") == ["../data/b.jsonl"]
    assert names("../data/b*", tree / "data") == ["../data/b.jsonl"]


def test_links_that_lead_in_a_circle(tree: Path) -> None:
    (tree / "data" / "deep" / "up").symlink_to(tree / "data")
    (tree / "data" / "self.jsonl").symlink_to("self.jsonl")
    (tree / "data" / "gone.jsonl").symlink_to("nowhere")
    assert names("data", tree) == FOLDER
    assert names("data/**/*.gz", tree) == ["data/deep/er/c.csv.gz"]


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("data/c.jsonl", "data/c.jsonl: no such file in .*Did you mean b.jsonl"),
        ("dat/b.jsonl", "Did you mean data"),
        ("data/*.xyz", "nothing matches this pattern in .*It holds: README.md"),
        ("data/b.jsonl/x", "no such file"),
        ("n\0l", "cannot be read"),
        ("x" * 5000, "cannot be read: File name too long"),
        ("empty", "holds no file of a known kind"),
        ("pipe", "is a pipe"),
    ],
)
def test_what_is_not_there(tree: Path, spec: str, said: str) -> None:
    (tree / "empty").mkdir()
    os.mkfifo(tree / "pipe")
    with pytest.raises(DataError, match=said):
        find_files(spec, tree)
