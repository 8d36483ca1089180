"""Rows of a data set on the Hugging Face hub, streamed; code that a data set brings is never run."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tuneloop.core.errors import DataError, MissingError
from tuneloop.core.optional import load_optional
from tuneloop.data.read.columnar import to_json_like
from tuneloop.data.read.found import Found
from tuneloop.data.schema import Origin, Problem, RowError

_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_FIRST_SAFE_VERSION = 4
"""From 4.0 on the library runs no code of a data set at all (its release notes); earlier ones may be asked to."""


def read_hub(name: str, subset: str | None, split: str, revision: str | None) -> Iterator[Found | Problem]:
    """The rows of `hf:ORG/NAME`, by their number from 1.

    Raises:
        MissingError: the library `datasets` is not installed or too old, or the hub cannot be reached.
        DataError: there is no such data set, subset, split or revision.
    """
    name = name.removeprefix("hf:")
    shown = f"hf:{name}"
    if not _NAME.fullmatch(name):
        raise DataError(f"{shown}: is not the name of a data set. Write hf:ORG/NAME.")
    if Path(name).exists():
        raise DataError(f"{shown}: the folder {name} is here, and would be read instead. Name it without hf:.")
    datasets = load_optional("datasets", purpose=shown, extra="hub")
    if int(datasets.__version__.partition(".")[0]) < _FIRST_SAFE_VERSION:
        raise MissingError(f"{shown} needs datasets 4 or later: pip install -U 'tuneloop[hub]'")
    try:
        rows = iter(datasets.load_dataset(name, subset, split=split, revision=revision, streaming=True))
    except Exception as error:
        raise _refusal(shown, error) from error
    number = 0
    while True:
        try:
            row = next(rows)
        except StopIteration:
            return
        except Exception as error:
            raise _refusal(f"{shown}, row {number + 1}", error) from error
        number += 1
        yield _to_value(row, number, shown)


def _to_value(row: Any, number: int, name: str) -> Found | Problem:
    try:
        return Found(number, to_json_like(dict(row)))
    except RowError as error:
        return Problem(Origin(name, number), error.code, error.reason)


def _refusal(shown: str, error: Exception) -> DataError | MissingError:
    # The library lets through the errors of whatever it is built on: only these two kinds are told apart.
    lines = str(error).strip().splitlines() or [type(error).__name__]
    if isinstance(error, FileNotFoundError | ValueError | KeyError):
        return DataError(f"{shown}: {lines[0][:300]}")
    return MissingError(f"{shown}: the hub did not give it: {type(error).__name__}: {lines[0][:300]}")
