"""What a format is: a name, how to know it, how to read it, how to write it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tuneloop.data.content import Content
from tuneloop.data.formats.shape import Shape


@dataclass(frozen=True)
class Format:
    """One way to write rows."""

    name: str
    recognises: Callable[[Mapping[str, Any]], bool]
    """Whether the keys of a row speak for this format. Formats are asked in the registry's order."""
    parse: Callable[[Mapping[str, Any], Shape], Content]
    """One JSON object to its content.

    Raises:
        RowError: a field is missing or has the wrong type.
    """
    write: Callable[[Content], dict[str, Any]]
    """The reverse, in the spelling that the format's authors use.

    Raises:
        RowError: `not_expressible`, where the format has no place for something that the content holds.
    """
    fields: tuple[str, ...]
    """The names that `columns` may map."""
