"""Recipes: YAML read with positions, checked by closed and frozen pydantic models, errors with file:line."""

import difflib
import types
from collections.abc import Hashable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from tuneloop.core.errors import ConfigError

Position = tuple[Hashable, ...]


class Config(BaseModel):
    """A closed, frozen value: an unknown key is an error, nothing changes after it was checked."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)

    def replace(self, **changes: Any) -> Self:
        """A checked copy with some fields changed (pydantic's own `model_copy` skips the checks)."""
        return type(self).model_validate({**self.model_dump(), **changes})


ConfigT = TypeVar("ConfigT", bound=Config)

_MOST_VALUES = 50_000


@dataclass
class Source:
    """A tree of plain values, and where each of them stands."""

    name: str
    values: dict[str, Any]
    lines: dict[Position, str] = field(default_factory=dict)

    def where(self, position: Position) -> str:
        """`file:line` of a key, or of the nearest key above it."""
        while position and position not in self.lines:
            position = position[:-1]
        return self.lines.get(position, self.name)


def load_source(path: Path) -> Source:
    """Read a YAML recipe.

    Raises:
        ConfigError: no such file, not YAML, a key twice, or not a mapping.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise ConfigError(f"{path}: no such file.") from error
    except (UnicodeDecodeError, IsADirectoryError) as error:
        raise ConfigError(f"{path}: not a UTF-8 text file.") from error
    source = Source(str(path), {})
    try:
        values = _parse_yaml(text, source)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise ConfigError(f"{path}:{line}: not valid YAML: {error.problem}.") from error
    except (yaml.YAMLError, ValueError) as error:
        raise ConfigError(f"{path}: not valid YAML: {str(error).splitlines()[0]}.") from error
    except RecursionError as error:
        raise ConfigError(f"{path}: not valid YAML: nested too deep, or an alias inside itself.") from error
    if values is None:
        return source
    if not isinstance(values, dict):
        raise ConfigError(f"{path}:1: a recipe is a mapping of sections (model:, data:, ...).")
    source.values = values
    return source


def _parse_yaml(text: str, source: Source) -> Any:
    loader = yaml.SafeLoader(text)
    try:
        root = loader.get_single_node()
        return None if root is None else _build(loader, root, (), source)
    finally:
        loader.dispose()


def _build(loader: yaml.SafeLoader, node: yaml.Node, position: Position, source: Source) -> Any:
    source.lines[position] = f"{source.name}:{node.start_mark.line + 1}"
    if len(source.lines) > _MOST_VALUES:
        raise ConfigError(f"{source.name}: has more than {_MOST_VALUES:,} values, aliases counted; that is no recipe.")
    match node:
        case yaml.MappingNode():
            mapping: dict[str, Any] = {}
            for key_node, value_node in node.value:
                key = str(loader.construct_object(key_node, deep=True))
                where = f"{source.name}:{key_node.start_mark.line + 1}"
                if key in mapping:
                    raise ConfigError(f"{where}: '{key}' is given twice. Keep one.")
                mapping[key] = _build(loader, value_node, (*position, key), source)
                source.lines[(*position, key)] = where
            return mapping
        case yaml.SequenceNode():
            return [_build(loader, item, (*position, i), source) for i, item in enumerate(node.value)]
        case _:
            return loader.construct_object(node, deep=True)


def set_value(source: Source, assignment: str) -> None:
    """Apply one `--set a.b=c` to a source; a number in the path is a place in a list.

    Raises:
        ConfigError: the assignment has no `=`, or its path does not exist.
    """
    path, equals, text = assignment.partition("=")
    if not equals or not path:
        raise ConfigError(f"--set {assignment}: write it as --set section.field=value.")
    try:
        value = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigError(f"--set {assignment}: the value is not valid YAML.") from error
    keys: list[str | int] = [int(key) if key.isdecimal() else key for key in path.split(".")]
    here: Any = source.values
    for depth, key in enumerate(keys):
        last = depth == len(keys) - 1
        if isinstance(here, list) and isinstance(key, int) and key < len(here):
            pass
        elif isinstance(here, dict):
            key = str(key)  # noqa: PLW2901 - a number can be a key of a mapping
            if not last and here.get(key) is None:
                here[key] = {}
        else:
            raise ConfigError(f"--set {assignment}: '{'.'.join(map(str, keys[: depth + 1]))}' does not exist.")
        source.lines[tuple(keys[: depth + 1])] = f"--set {assignment}"
        if last:
            here[key] = value
        else:
            here = here[key]


def parse_config(cls: type[ConfigT], source: Source) -> ConfigT:
    """Check a source against its model.

    Raises:
        ConfigError: every mistake, one a line, as `file:line: what. What to do.`
    """
    try:
        return cls.model_validate(source.values)
    except ValidationError as error:
        found: list[dict[str, Any]] = [dict(item) for item in error.errors(include_url=False)]
        # Where an item of a list is wrong, pydantic adds that the list is then too short.
        inner = {item["loc"][:size] for item in found for size in range(1, len(item["loc"]))}
        lines = [_explain(cls, source, item) for item in found if item["loc"] not in inner]
        raise ConfigError("\n".join(dict.fromkeys(lines))) from None


def _explain(cls: type[BaseModel], source: Source, error: dict[str, Any]) -> str:
    position = _data_position(source.values, error["loc"])
    where = source.where(position)
    name = ".".join(map(str, position)) or "the recipe"
    match error["type"]:
        case "extra_forbidden":
            section = ".".join(map(str, position[:-1])) or "the recipe"
            known = _known_fields(cls, error["loc"][:-1])
            near = difflib.get_close_matches(str(position[-1]), known, n=1, cutoff=0.5)
            hint = f"Did you mean '{near[0]}'?" if near else f"It knows: {', '.join(sorted(known))}."
            return f"{where}: {section} has no field '{position[-1]}'. {hint}"
        case "missing":
            return f"{where}: {'.'.join(map(str, (*position, error['loc'][-1])))} is required."
        case "union_tag_invalid":
            context = error["ctx"]
            expected = [word.strip(" '") for word in context["expected_tags"].split(",")]
            near = difflib.get_close_matches(str(context["tag"]), expected, n=1, cutoff=0.5)
            hint = f"Did you mean '{near[0]}'?" if near else f"Choose one of: {', '.join(expected)}."
            return f"{where}: {name} has no kind '{context['tag']}'. {hint}"
        case "union_tag_not_found":
            return f"{where}: {name} needs a 'kind'."
        case _:
            message = error["msg"].removeprefix("Value error, ")
            shown = repr(error["input"])
            shown = shown if len(shown) <= 60 else shown[:57] + "..."  # noqa: PLR2004 - one line of a terminal
            return f"{where}: {name}: {message} (got {shown})."


def _data_position(values: Any, loc: tuple[int | str, ...]) -> Position:
    """Drop the tags of discriminated unions that pydantic puts between the keys."""
    position: list[Hashable] = []
    here = values
    for key in loc:
        is_key = (isinstance(here, dict) and key in here) or (
            isinstance(here, list) and isinstance(key, int) and key < len(here)
        )
        if is_key:
            here = here[key]
            position.append(key)
    return tuple(position)


def _known_fields(cls: type[BaseModel], loc: tuple[int | str, ...]) -> list[str]:
    """The fields of the model that stands at a place of pydantic's error path."""
    here: list[Any] = [cls]
    for key in loc:
        models = [item for item in here if _is_model(item)]
        tagged = [item for item in models if _kind_of(item) == key]
        if tagged:
            here = tagged
        elif isinstance(key, str):
            here = [
                leaf
                for item in models
                if key in item.model_fields
                for leaf in _leaves(item.model_fields[key].annotation)
            ]
    return [name for item in here if _is_model(item) for name in item.model_fields]


def _is_model(item: Any) -> bool:
    return isinstance(item, type) and issubclass(item, BaseModel)


def _kind_of(model: type[BaseModel]) -> str | None:
    kind = model.model_fields.get("kind")
    return kind.default if kind is not None and get_origin(kind.annotation) is Literal else None


def _leaves(annotation: Any) -> list[Any]:
    origin = get_origin(annotation)
    if origin is Annotated:
        return _leaves(get_args(annotation)[0])
    if origin in {Union, types.UnionType, tuple, list}:
        return [leaf for part in get_args(annotation) for leaf in _leaves(part)]
    return [annotation]
