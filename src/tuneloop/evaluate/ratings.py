"""A table of human ratings, read from CSV: a row a rater, a column an item, an empty cell where there is none."""

import csv
import io
import math
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tuneloop.core.errors import DataError

_DELIMITERS = (",", ";", "\t")
MISSING = -1


@dataclass(frozen=True)
class Ratings:
    """Who said what about which item, as text."""

    raters: tuple[str, ...]
    items: tuple[str, ...]
    cells: tuple[tuple[str, ...], ...]
    """A row a rater, a cell an item; empty where the rater said nothing."""
    places: tuple[str, ...]
    """Where each rater's row stands: `file:line`."""


@dataclass(frozen=True)
class CodedRatings:
    """Ratings as whole numbers. Shapes: R raters, U items, V different values."""

    raters: tuple[str, ...]
    codes_RU: np.ndarray
    """Places in `labels`; MISSING where there is no rating."""
    labels: tuple[str, ...]
    numbers_V: np.ndarray
    """What the labels measure, rising; on a nominal scale just 0, 1, 2, ..."""

    def without(self, rater: int) -> "CodedRatings":
        """The table without one of its rows."""
        kept = [index for index in range(len(self.raters)) if index != rater]
        names = tuple(self.raters[index] for index in kept)
        return CodedRatings(names, self.codes_RU[kept], self.labels, self.numbers_V)

    def counts(self) -> np.ndarray:
        """How often each item got each value, [U, V]."""
        counts_VU = [(self.codes_RU == code).sum(axis=0) for code in range(len(self.labels))]
        return np.array(counts_VU, dtype=np.int64).reshape(-1, self.codes_RU.shape[1]).T

    def pairable(self) -> "CodedRatings":
        """Only the items with two ratings or more."""
        kept_U = (self.codes_RU >= 0).sum(axis=0) > 1
        return CodedRatings(self.raters, self.codes_RU[:, kept_U], self.labels, self.numbers_V)


def read_ratings(path: Path) -> Ratings:
    """Read a table of ratings.

    The first row names the items (its first cell is a heading and is not read); every further row begins with a
    rater's name. Cells are stripped and brought into Unicode's composed form; rows of empty cells are skipped. The
    file is UTF-8, with or without a byte order mark; cells are parted by the one of comma, semicolon (as Excel
    writes where the comma is the decimal sign) and tab that its first line holds most of.

    Raises:
        DataError: no such file, not UTF-8, not CSV, no items or raters, a name that is empty or given twice, or a
            row with more or fewer cells than the header.
    """
    records = _read_records(path)
    place, header = next(records, (f"{path}:1", []))
    items = header[1:]
    if not items:
        raise DataError(f"{place}: the first row names no items. Write a heading, then one name an item.")
    _check_names(items, [f"{place}: column {column}" for column in range(2, len(header) + 1)], "item")
    names: list[str] = []
    places: list[str] = []
    cells: list[tuple[str, ...]] = []
    for place, record in records:
        if len(record) != len(header):
            raise DataError(
                f"{place}: this row has {len(record)} cells, the first row has {len(header)}. Leave a cell empty "
                f"where there is no rating, and put cells that hold a separator into double quotes."
            )
        names.append(record[0])
        places.append(place)
        cells.append(tuple(record[1:]))
    if not names:
        raise DataError(f"{path}: holds no ratings. Write one row a rater below the row of items.")
    _check_names(names, places, "rater")
    return Ratings(tuple(names), tuple(items), tuple(cells), tuple(places))


def encode_labels(ratings: Ratings) -> CodedRatings:
    """Ratings as categories without an order: two are equal if their texts are."""
    labels = sorted({cell for row in ratings.cells for cell in row if cell})
    code_of = {label: code for code, label in enumerate(labels)} | {"": MISSING}
    codes = [[code_of[cell] for cell in row] for row in ratings.cells]
    return CodedRatings(ratings.raters, np.array(codes), tuple(labels), np.arange(len(labels), dtype=np.float64))


def encode_numbers(ratings: Ratings) -> CodedRatings:
    """Ratings as numbers: `4` and `4.0` are the same.

    Raises:
        DataError: a cell is no finite number.
    """
    rows = [
        [_parse_number(cell, f"{place}: item '{item}'") for cell, item in zip(row, ratings.items, strict=True)]
        for row, place in zip(ratings.cells, ratings.places, strict=True)
    ]
    numbers = sorted({number for row in rows for number in row if number is not None})
    code_of: dict[float | None, int] = {number: code for code, number in enumerate(numbers)}
    code_of[None] = MISSING
    codes = [[code_of[number] for number in row] for row in rows]
    labels = tuple(f"{number:g}" for number in numbers)
    return CodedRatings(ratings.raters, np.array(codes), labels, np.array(numbers, dtype=np.float64))


def _read_records(path: Path) -> Iterator[tuple[str, list[str]]]:
    """`file:line` of each record that is not empty, and its cells."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file.") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not a UTF-8 text file. Excel calls it 'CSV UTF-8' when saving.") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}.") from error
    first = re.sub('"[^"]*"', "", text).lstrip().partition("\n")[0]
    delimiter = max(_DELIMITERS, key=first.count)
    reader = csv.reader(io.StringIO(text), delimiter=delimiter, strict=True)
    while True:
        line = reader.line_num + 1
        try:
            record = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise DataError(f"{path}:{line}: not valid CSV: {error}.") from error
        cells = [unicodedata.normalize("NFC", cell.strip()) for cell in record]
        if any(cells):
            yield f"{path}:{line}", cells


def _check_names(names: Sequence[str], places: Sequence[str], kind: str) -> None:
    seen: dict[str, str] = {}
    for name, place in zip(names, places, strict=True):
        if not name:
            raise DataError(f"{place}: the {kind} has no name. Give each {kind} one of its own.")
        if name in seen:
            raise DataError(f"{place}: the {kind} '{name}' is given twice, first at {seen[name]}. Rename one of them.")
        seen[name] = place


def _parse_number(cell: str, where: str) -> float | None:
    if not cell:
        return None
    try:
        # Python reads 1_000 as a number; nobody who rates means that.
        number = float("no" if "_" in cell else cell)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise DataError(
            f"{where}: '{cell[:40]}' is no number, and this scale needs numbers (with a point: 3.5). Leave the cell "
            f"empty if there is no rating; for names of categories the scale is nominal."
        )
    return number + 0.0
