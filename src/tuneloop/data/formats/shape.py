"""How one file spells a format: its names of columns and of roles."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from tuneloop.data.schema import Role, RowError

Speaker = Role | Literal["function_call"]
"""What a name of a role stands for. `function_call` is the assistant in a turn whose text is the call itself."""

_SPEAKERS: dict[str, Speaker] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "bing": "assistant",
    "bard": "assistant",
    "bot": "assistant",
    "model": "assistant",
    "function_call": "function_call",
    "tool_call": "function_call",
    "tool_calls": "function_call",
    "tool": "tool",
    "function": "tool",
    "observation": "tool",
    "ipython": "tool",
    "tool_response": "tool",
    "function_response": "tool",
}
MEDIA_FIELDS = ("images", "videos", "audios")
"""What a format lists among its fields so that rows which hold such a thing are left out, and say why."""


@dataclass(frozen=True)
class Shape:
    """The spelling of one file. The default is every format as its authors write it."""

    columns: Mapping[str, str] = field(default_factory=dict)
    """Field of the format -> what the file calls it; `messages.role` names a key inside a turn."""
    only_columns: bool = False
    """A field of the row that `columns` does not name is not read. Keys inside a turn always are."""
    roles: Mapping[str, Speaker] = field(default_factory=dict)
    """Names of roles beside the usual ones, and before them."""

    def get(self, value: Mapping[str, Any], name: str, *others: str) -> Any:
        """A field of a row under the file's name for it, else under one of `others`; None where there is none."""
        if name in self.columns:
            return value.get(self.columns[name])
        if self.only_columns:
            return None
        return _first(value, name, *others)

    def get_in_turn(self, turn: Mapping[str, Any], name: str, *others: str) -> Any:
        """A key of a turn: as `columns` calls `messages.NAME`, else by its usual names; None where there is none."""
        mapped = self.columns.get(f"messages.{name}")
        return _first(turn, name, *others) if mapped is None else turn.get(mapped)

    def name_of(self, value: Mapping[str, Any], name: str, *others: str) -> str:
        """Under which name the row holds a field, for an error's text."""
        if name in self.columns:
            return self.columns[name]
        return next((key for key in (name, *others) if value.get(key) is not None), (*others, name)[0])

    def speaker(self, name: object, where: str) -> Speaker:
        """Who the name of a role stands for, in whatever case and with `-` or a space for `_`.

        Raises:
            RowError: it is not known.
        """
        if isinstance(name, str):
            plain = name.strip().lower().replace("-", "_").replace(" ", "_")
            found = self.roles.get(name) or _SPEAKERS.get(plain)
            if found:
                return found
        shown = repr(name[:40]) if isinstance(name, str) else type_name(name)
        raise RowError(
            "unknown_role", f"{where} has the role {shown}; known are: {', '.join([*self.roles, *_SPEAKERS])}"
        )

    def refuse_media(self, value: Mapping[str, Any]) -> None:
        """Refuse a row with pictures, films or sound: its text alone is not what its author meant.

        Raises:
            RowError: `not_text`.
        """
        for name in MEDIA_FIELDS:
            if self.get(value, name):
                raise RowError("not_text", f"the row has '{name}': only text is read")


def _first(value: Mapping[str, Any], *names: str) -> Any:
    # Tables write null where a row has no such key, so null is as good as absent.
    for name in names:
        if (found := value.get(name)) is not None:
            return found
    return None


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
