"""A hub data set to a local file of rows, once: after that it is a file like any other."""

from collections.abc import Iterator
from pathlib import Path

from tuneloop.core.errors import DataError
from tuneloop.core.store import hash_json, write_jsonl
from tuneloop.data.config import FileSpec
from tuneloop.data.read.files import SourceFile
from tuneloop.data.read.found import Found
from tuneloop.data.read.parse import parse_found


def fetch_hub_rows(spec: FileSpec, cache: Path) -> SourceFile:
    """The rows of `hf:ORG/NAME` as JSONL in `cache`, fetched where they are not there yet.

    Raises:
        MissingError: the library `datasets` is not installed.
        DataError: the data set cannot be had, or a row of it cannot be read.
    """
    name = spec.path.removeprefix("hf:")
    asked = [name, spec.subset, spec.split, spec.revision]
    path = cache / "hub" / f"{hash_json(asked)[:24]}.jsonl"
    if not path.exists():
        write_jsonl(path, _fetch(spec, name))
    return SourceFile(path, spec.path)


def _fetch(spec: FileSpec, name: str) -> Iterator[object]:
    from tuneloop.data.read.hub import read_hub

    for found in read_hub(name, spec.subset, spec.split, spec.revision):
        if not isinstance(found, Found):
            raise DataError(f"{found}. The data set is fetched whole or not at all.")
        yield parse_found(found)
