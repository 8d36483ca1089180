"""Reads tables that stand in a source as text, so that a number can be asked which row and column it is of."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from tuneloop.evaluate.claims.values import Value, read_values

_LABEL = re.compile(r"\s*[-*•]?\s*(?P<label>[^:：|,，。;；\d]{1,24})[:：]\s*(?P<rest>\S.*)")
_FIELD = re.compile(r"(?P<name>[^:：.。;；,，]{1,24})[:：]\s*(?P<value>[^。;；]*?)(?=[。;；]|\.\s|\.?\Z)")
_MIN_ROWS = 2


@dataclass(frozen=True, slots=True)
class Cell:
    """A number of a table."""

    row: str
    column: str
    """"" where the source names none."""
    value: Value


def read_cells(source: str) -> list[Cell]:
    """The numbers of a source's tables.

    Two forms are read: lines of cells between `|`, whose first line names the columns and whose first cells name
    the rows; and two or more lines `label: text`, whose text holds further `name: value` pairs or only numbers. In a
    line of `name: value` pairs alone the first value names the row ("School: Hillside. Pupils: 412.").
    """
    lines = source.splitlines()
    return [*_piped(lines), *_labelled(lines)]


def _piped(lines: list[str]) -> Iterator[Cell]:
    head: list[str] = []
    for line in lines:
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if len(cells) < _MIN_ROWS:
            head = []
        elif len(cells) != len(head):
            head = cells
        else:
            for column, cell in zip(head[1:], cells[1:], strict=True):
                yield from (Cell(cells[0], column, value) for value in read_values(cell))


def _labelled(lines: list[str]) -> Iterator[Cell]:
    found = [match for line in lines if "|" not in line and (match := _LABEL.fullmatch(line))]
    if len(found) < _MIN_ROWS:
        return
    is_record = len({match["label"] for match in found}) < len(found)
    for match in found:
        fields = list(_FIELD.finditer(match["rest"]))
        row = re.split(r"[.。;；,，]", match["rest"])[0].strip() if is_record else match["label"].strip()
        if fields:
            for field in fields:
                yield from (Cell(row, field["name"].strip(), value) for value in read_values(field["value"]))
        else:
            yield from (Cell(row, "", value) for value in read_values(match["rest"]))
