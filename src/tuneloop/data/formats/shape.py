"""How one file spells a format: its names of columns and of roles."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tuneloop.data.schema import Role, RowError

_ROLES: dict[str, Role] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "bing": "assistant",
    "bard": "assistant",
    "model": "assistant",
    "tool": "tool",
}


@dataclass(frozen=True)
class Shape:
    """The spelling of one file. The default is every format as its authors write it."""

    columns: Mapping[str, str] = field(default_factory=dict)
    """Field of the format -> what the file calls it; `messages.role` names a key inside a turn."""
    only_columns: bool = False
    """A field that `columns` does not name is not read."""
    roles: Mapping[str, Role] = field(default_factory=dict)
    """Names of roles beside the usual ones."""

    def get(self, value: Mapping[str, Any], name: str, *others: str) -> Any:
        """A field of a row under the file's name for it, else under one of `others`; None where there is none."""
        if name in self.columns:
            return value.get(self.columns[name])
        if self.only_columns:
            return None
        return next((value[key] for key in (name, *others) if key in value), None)

    def role(self, name: object, where: str) -> Role:
        """The role that a name stands for.

        Raises:
            RowError: it is not known.
        """
        if isinstance(name, str):
            found = self.roles.get(name) or _ROLES.get(name.strip().lower())
            if found:
                return found
        shown = repr(name[:40]) if isinstance(name, str) else type_name(name)
        raise RowError("unknown_role", f"{where} has the role {shown}; known are: {', '.join([*self.roles, *_ROLES])}")


def text_of(found: object, name: str, *, required: bool = True, missing: str = "missing_key") -> str:
    """The text of a field; "" for one that may be left out.

    Raises:
        RowError: it is missing (`missing` is the code) or is not text.
    """
    if found is None:
        if required:
            raise RowError(missing, f"'{name}' is missing or null")
        return ""
    if not isinstance(found, str):
        raise RowError("wrong_type", f"'{name}' is {type_name(found)}, not text")
    return found


def type_name(value: object) -> str:
    """The kind of a JSON value, in words."""
    match value:
        case None:
            return "null"
        case bool():
            return "true or false"
        case str():
            return "text"
        case int() | float():
            return "a number"
        case list():
            return "a list"
        case _:
            return "an object"


def keys_of(objects: Iterable[object], *, at_most: int = 8) -> list[str]:
    """The keys of the first object, for an error's text."""
    return next((sorted(map(str, value))[:at_most] for value in objects if isinstance(value, Mapping)), [])
