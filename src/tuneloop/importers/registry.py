"""The tools whose configs can be read, and the one door to all of them."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from tuneloop.core.config import Source
from tuneloop.core.errors import ConfigError
from tuneloop.importers import axolotl, llamafactory, swift, trl
from tuneloop.importers.ledger import Imported, Note, Reading
from tuneloop.importers.places import Places
from tuneloop.importers.reasons import REASONS
from tuneloop.importers.recipe import nest, recipe_name
from tuneloop.importers.source import check_tool, known_names


@dataclass(frozen=True)
class _Tool:
    title: str
    load: Callable[[Places], Source]
    read: Callable[[Reading, Places], str]


TOOLS = {
    "llamafactory": _Tool(llamafactory.TITLE, llamafactory.load, llamafactory.read),
    "axolotl": _Tool(axolotl.TITLE, axolotl.load, axolotl.read),
    "trl": _Tool(trl.TITLE, trl.load, trl.read),
    "ms-swift": _Tool(swift.TITLE, swift.load, swift.read),
}
_DATA_FIELDS = ("model", "data")


def import_recipe(
    tool: str, config: Path, recipe_folder: Path, *, data_folder: Path | None = None, data_only: bool = False
) -> Imported:
    """Make a recipe of another tool's config; its paths are relative to `recipe_folder`.

    Where the method cannot be trained here, or on `data_only`, the recipe holds the model and the data alone.

    Raises:
        ConfigError: no such tool, a config that is not readable or is of another tool, or data that cannot be found.
    """
    if tool not in TOOLS:
        raise ConfigError(f"no tool '{tool}'. Known: {', '.join(TOOLS)}.")
    kind = TOOLS[tool]
    places = Places(config, recipe_folder, data_folder)
    source = kind.load(places)
    check_tool(tool, source)
    reading = Reading(kind.title, source)
    reading.recipe["name"] = recipe_name(config.stem)
    untrainable = kind.read(reading, places)
    notes, defaults = reading.finish(known_names(tool), REASONS)
    fields = reading.recipe
    if untrainable or data_only:
        fields = {key: value for key, value in fields.items() if key.split(".")[0] in {"name", *_DATA_FIELDS}}
        notes = tuple(_left_out(note) for note in notes)
        defaults = tuple(note for note in defaults if _is_kept(note))
    return Imported(kind.title, config, nest(fields), notes, defaults, untrainable)


def _is_kept(note: Note) -> bool:
    return not note.target or note.target.split(".")[0] in _DATA_FIELDS


def _left_out(note: Note) -> Note:
    """A key that went to a section which is not written."""
    if _is_kept(note) or note.kind in {"not_carried", "ignored"}:
        return note
    return replace(
        note, kind="not_carried", text=f"would be {note.target}; the data section alone is written.", target=""
    )
