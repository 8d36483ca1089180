"""What became of each key of a foreign config: every key is read, and ends in exactly one note."""

import difflib
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Literal

from tuneloop.core.config import Position, Source
from tuneloop.core.errors import ConfigError

Kind = Literal["carried", "differs", "not_carried", "ignored"]
KINDS: tuple[Kind, ...] = ("carried", "differs", "not_carried", "ignored")
_SHOWN = 60
_SURELY_A_TYPO = 0.75


@dataclass(frozen=True, slots=True)
class Note:
    """One line on one key."""

    where: str
    """`file:line` of the key."""
    key: str
    """Its dotted name in the source config."""
    says: str
    """Its value there, shortened; "" where the config does not name it and the tool's own default speaks."""
    kind: Kind
    """`carried`: means the same here. `differs`: is here, and means something else. `not_carried`: has an effect
    there, and none here. `ignored`: has no effect on what is learned."""
    text: str
    """What became of it, and what to set for the old behaviour."""
    target: str = ""
    """The field of the recipe that holds it now; "" where none does."""


@dataclass(frozen=True)
class Imported:
    """A recipe made of a foreign config."""

    tool: str
    source: Path
    recipe: dict[str, Any]
    """Passes the checks of `Plan`; only what differs from tuneloop's defaults or was said."""
    notes: tuple[Note, ...]
    """One for each key of the config, in the order of the file."""
    defaults: tuple[Note, ...]
    """What the tool would have done by itself, where the config is silent."""
    untrainable: str = ""
    """Why the method cannot be trained with tuneloop; "" where it can. The recipe then holds the data alone."""

    def counts(self) -> dict[Kind, int]:
        """Keys of each kind."""
        return {kind: sum(note.kind == kind for note in self.notes) for kind in KINDS}


Path_ = str | Position


@dataclass
class Reading:
    """A config while it is read: who asks for a key says what becomes of it."""

    title: str
    """The tool's name, for sentences."""
    source: Source
    recipe: dict[str, Any] = field(default_factory=dict)
    """Dotted field of the recipe -> its value."""
    _notes: dict[Position, Note] = field(default_factory=dict)
    _opened: set[Position] = field(default_factory=set)
    _defaults: list[Note] = field(default_factory=list)

    def value(self, key: Path_) -> Any:
        """The plain value of a key; None where it is absent."""
        here: Any = self.source.values
        for part in _position(key):
            if not _holds(here, part):
                return None
            here = here[part]
        return here

    def has(self, key: Path_) -> bool:
        """Whether the config says anything under a key; null says nothing."""
        return self.value(key) is not None

    def noted(self, key: Path_) -> bool:
        """Whether it is already decided what becomes of a key."""
        return _position(key) in self._notes

    def note(self, key: Path_, kind: Kind, text: str, target: str = "") -> None:
        """Decide what becomes of a key; nothing where the config does not have it."""
        position = _position(key)
        if not self._exists(position):
            return
        assert position not in self._notes, f"{position} has two notes"
        says = shorten(self.value(position))
        self._notes[position] = Note(self.source.where(position), _dotted(position), says, kind, text, target)

    def default(self, key: str, kind: Kind, text: str, target: str = "") -> None:
        """Say what the tool does by itself where the config is silent."""
        self._defaults.append(Note(self.source.name, key, "", kind, text, target))

    def carry(self, key: Path_, target: str, value: Any, text: str = "") -> None:
        """Put a value into the recipe; it means there what the key means here."""
        self.recipe[target] = value
        self.note(key, "carried", text or f"is {target}: {shorten(value)}.", target)

    def fill(self, key: str, target: str, value: Any) -> None:
        """Put the tool's own default into the recipe, for a key that the config does not name."""
        self.recipe[target] = value
        self.default(key, "carried", f"is absent; {self.title}'s default is written out: {target}: {value}.", target)

    def settle(self, key: str, target: str, value: Any, default: Any) -> None:
        """Put a key's value into the recipe, or the tool's own default where the config does not name it."""
        if value is None:
            self.fill(key, target, default)
        else:
            self.carry(key, target, value)

    def open(self, key: Path_) -> None:
        """Count the keys below this one, not it."""
        self._opened.add(_position(key))

    def number(self, key: Path_) -> float | None:
        """A number; text that spells one counts, since YAML reads 2e-5 as text.

        Raises:
            ConfigError: it is something else.
        """
        value = self.value(key)
        if value is None:
            return None
        try:
            if isinstance(value, bool):
                raise TypeError  # noqa: TRY301 - true is a number for Python, not here
            number = float(value)
        except (TypeError, ValueError, OverflowError):
            raise self._wrong(key, value, "a number") from None
        if number - number != 0:
            raise self._wrong(key, value, "a finite number")
        return number

    def whole(self, key: Path_) -> int | None:
        """A whole number.

        Raises:
            ConfigError: it is something else.
        """
        number = self.number(key)
        if number is not None and number != int(number):
            raise self._wrong(key, number, "a whole number")
        return None if number is None else int(number)

    def positive(self, key: Path_) -> float | None:
        """A number above 0.

        Raises:
            ConfigError: it is something else.
        """
        number = self.number(key)
        if number is not None and number <= 0:
            raise self.wrong(key, f"is {number:g}; give a number above 0.")
        return number

    def count(self, key: Path_) -> int | None:
        """A whole number of at least 1.

        Raises:
            ConfigError: it is something else.
        """
        number = self.whole(key)
        if number is not None and number < 1:
            raise self.wrong(key, f"is {number}; give a number of at least 1.")
        return number

    def share(self, key: Path_) -> float | None:
        """A number from 0 to below 1.

        Raises:
            ConfigError: it is something else.
        """
        number = self.number(key)
        if number is not None and not 0 <= number < 1:
            raise self.wrong(key, f"is {number:g}; give a share from 0 to below 1.")
        return number

    def flag(self, key: Path_) -> bool | None:
        """Yes or no.

        Raises:
            ConfigError: it is something else.
        """
        value = self.value(key)
        if value is None or isinstance(value, bool):
            return value
        words = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
        if str(value).strip().lower() not in words:
            raise self._wrong(key, value, "true or false")
        return words[str(value).strip().lower()]

    def text(self, key: Path_) -> str | None:
        """Text; a number is taken as it is written.

        Raises:
            ConfigError: it is a list or a mapping.
        """
        value = self.value(key)
        if isinstance(value, Mapping | list):
            raise self._wrong(key, value, "text")
        return None if value is None else str(value)

    def words(self, key: Path_) -> list[str]:
        """A list of text; one text is split at its commas.

        Raises:
            ConfigError: it is something else.
        """
        value = self.value(key)
        if value is None:
            return []
        items = value if isinstance(value, list) else str(value).split(",")
        if isinstance(value, Mapping) or any(isinstance(item, Mapping | list) for item in items):
            raise self._wrong(key, value, "a list of names")
        return [str(item).strip() for item in items if item is not None and str(item).strip()]

    def mapping(self, key: Path_) -> dict[str, Any]:
        """A mapping; empty where the key is absent.

        Raises:
            ConfigError: it is something else.
        """
        value = self.value(key)
        if value is not None and not isinstance(value, dict):
            raise self._wrong(key, value, "a mapping")
        return value or {}

    def wrong(self, key: Path_, text: str) -> ConfigError:
        """An error that points at a key."""
        position = _position(key)
        return ConfigError(f"{self.source.where(position)}: {_dotted(position)}: {text}")

    def _wrong(self, key: Path_, value: Any, expected: str) -> ConfigError:
        return self.wrong(key, f"is not {expected} (got {shorten(value)}).")

    def _exists(self, position: Position) -> bool:
        above = self.value(position[:-1]) if position[:-1] else self.source.values
        return _holds(above, position[-1])

    def keys(self) -> list[Position]:
        """Every key, in the order of the file; what was opened counts by its parts."""
        return list(self._leaves((), self.source.values))

    def _leaves(self, position: Position, value: Any) -> Iterable[Position]:
        if not position or (position in self._opened and isinstance(value, Mapping | list) and value):
            parts = value.items() if isinstance(value, Mapping) else enumerate(value)
            for key, part in parts:
                yield from self._leaves((*position, key), part)
        else:
            yield position

    def finish(
        self, known: frozenset[str], reasons: Iterable[tuple[str, Kind, str]]
    ) -> tuple[tuple[Note, ...], tuple[Note, ...]]:
        """Decide what becomes of the keys that nobody asked for; then all notes, and the defaults.

        `reasons` are (pattern of the dotted key, kind, text); the first that fits speaks.
        """
        reasons = list(reasons)
        for position in self.keys():
            if position not in self._notes:
                self._decide(position, known, reasons)
        keys = self.keys()
        # Keys read = carried + differs + not carried + ignored: no key without a note, no note without a key.
        assert len(keys) == len(self._notes), set(keys) ^ set(self._notes)
        return tuple(self._notes[key] for key in keys), tuple(self._defaults)

    def _decide(self, position: Position, known: frozenset[str], reasons: list[tuple[str, Kind, str]]) -> None:
        key, value = _dotted(position), self.value(position)
        found = next(((kind, text) for pattern, kind, text in reasons if fnmatchcase(key, pattern)), None)
        if value is None or value in ("", [], {}):
            self.note(position, "ignored", "is empty.")
        elif (found is None or found[0] == "not_carried") and value in (False, "false", "no", "none") and key in known:
            self.note(position, "ignored", "is off, as it is here.")
        elif found is not None:
            self.note(position, *found)
        elif key in known:
            self.note(position, "not_carried", "tuneloop has nothing like it.")
        else:
            name = str(position[-1])
            near = difflib.get_close_matches(name, known, n=1, cutoff=_SURELY_A_TYPO)
            hint = f" Did you mean '{near[0]}'?" if near else ""
            self.note(position, "not_carried", f"is not a key of {self.title} that tuneloop knows.{hint}")


def _holds(value: Any, part: Hashable) -> bool:
    if isinstance(value, list):
        return isinstance(part, int) and part < len(value)
    return isinstance(value, Mapping) and part in value


def _position(key: Path_) -> tuple[Hashable, ...]:
    return (key,) if isinstance(key, str) else key


def _dotted(position: Position) -> str:
    return ".".join(map(str, position))


def shorten(value: Any) -> str:
    """A value in one short line."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    text = " ".join(str(value).split())
    return text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "..."
