"""What a file gives: a value with its line, or a text whose parsing is put off; and how much may be held of it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RawJson:
    """JSON that nobody parsed yet: the thread that reads stays cheap."""

    text: bytes
    column: int = 1
    """Where in its line it begins, in bytes from 1."""


@dataclass(frozen=True, slots=True)
class Found:
    """One value of a file."""

    line: int
    """The line on which it begins, from 1; the row number in a file that has no lines."""
    value: object
    """A dict, list, text, number, truth value or None; or `RawJson`."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How much of a hostile file is held or followed."""

    max_line_bytes: int = 64 << 20
    """A longer line, cell, paragraph or array element is a problem, not a row."""
    max_object_bytes: int = 512 << 20
    """A JSON object whose members are the rows is held whole, up to this size."""
    max_expansion: float = 1000
    """A compressed file may become so many times larger; text rarely passes 30."""
    free_expansion_bytes: int = 1 << 30
    """What comes out before `max_expansion` is looked at."""


DEFAULT = Limits()
