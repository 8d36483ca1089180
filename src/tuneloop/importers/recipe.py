"""A recipe as plain values in the order of Plan, and as YAML that a person reads."""

import re
from typing import Any, get_args

import yaml

from tuneloop.core.config import Source, parse_config
from tuneloop.importers.ledger import Imported
from tuneloop.plan import Plan
from tuneloop.tune.config import TuneConfig


def nest(fields: dict[str, Any]) -> dict[str, Any]:
    """Dotted fields to a tree in Plan's own order, checked.

    Raises:
        ConfigError: it is no valid recipe; the importer should have said so in the user's words.
    """
    tree: dict[str, Any] = {}
    for dotted, value in fields.items():
        *parents, last = dotted.split(".")
        here = tree
        for key in parents:
            here = here.setdefault(key, {})
        here[last] = value
    if "stages" in tree:
        tree["stages"] = [_ordered(type(Plan.model_fields["stages"].default[0]), tree["stages"]["0"])]
    ordered = _ordered(Plan, tree)
    if "tune" in ordered:
        kinds = {cls.model_fields["kind"].default: cls for cls in get_args(get_args(TuneConfig)[0])}
        ordered["tune"] = _ordered(kinds[ordered["tune"]["kind"]], ordered["tune"]) | ordered["tune"]
    for section in ("model", "data", "hardware"):
        if section in ordered:
            ordered[section] = _ordered(Plan.model_fields[section].annotation, ordered[section])
    parse_config(Plan, Source("the recipe", ordered))
    return ordered


def _ordered(cls: Any, values: dict[str, Any]) -> dict[str, Any]:
    return {name: values[name] for name in cls.model_fields if name in values}


def recipe_name(stem: str) -> str:
    """A run's name from a file's name."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", stem).strip("-._") or "run"


def recipe_text(imported: Imported) -> str:
    """The YAML of a recipe, with a head that says where it comes from."""
    counts = ", ".join(f"{number} {kind.replace('_', ' ')}" for kind, number in imported.counts().items())
    lines = [
        f"# Made by `tuneloop import` from {imported.source.name}, a config of {imported.tool}.",
        f"# Its {len(imported.notes)} keys: {counts}.",
    ]
    if imported.untrainable:
        lines.append(f"# The data alone: {imported.untrainable}")
    head = "\n".join(line.replace("\r", " ") for line in lines)
    body = yaml.safe_dump(imported.recipe, sort_keys=False, allow_unicode=True, default_flow_style=False, width=110)
    return f"{head}\n\n{body}"
