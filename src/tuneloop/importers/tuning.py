"""Which weights move: LoRA's keys and those of its relatives, under each tool's names."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from tuneloop.importers.ledger import Reading, shorten

_ALL_LINEAR = {"all", "all-linear", "all_linear", "ALL"}
_PATTERN = "*+?^$|()[]\\"
_ENDS = re.compile(r"\^?(?:\(\.\*\)|\.\*)?(?:\\\.|\.)?\(?(?:\?:)?([\w.]+(?:\|[\w.]+)*)\)?\$?")
"""`.*(q_proj|v_proj)`: a pattern that only names the ends of modules."""
_PISSA = re.compile(r"pissa_niter_([1-9]\d{0,5})")
_INITS = {"gaussian", "orthogonal", "olora", "pissa"}


@dataclass(frozen=True)
class LoraDialect:
    """A tool's names and defaults for LoRA; "" where it has no such key."""

    rank: str = "lora_rank"
    alpha: str = "lora_alpha"
    dropout: str = "lora_dropout"
    targets: str = "lora_target"
    rslora: str = "use_rslora"
    dora: str = "use_dora"
    ratio: str = "loraplus_lr_ratio"
    init: str = ""
    rank_pattern: str = ""
    alpha_pattern: str = ""
    defaults: Mapping[str, Any] = field(default_factory=dict)
    """Of rank, alpha (None: twice the rank), dropout, targets."""


def read_lora(reading: Reading, dialect: LoraDialect) -> None:
    """Carry a LoRA section over; alpha is always written as a number.

    Raises:
        ConfigError: a value that cannot be trained with.
    """
    defaults = dialect.defaults
    reading.recipe["tune.kind"] = "lora"
    reading.settle(dialect.rank, "tune.rank", reading.count(dialect.rank), defaults["rank"])
    alpha = float(defaults["alpha"] or 2 * reading.recipe["tune.rank"])
    reading.settle(dialect.alpha, "tune.alpha", reading.positive(dialect.alpha), alpha)
    reading.settle(dialect.dropout, "tune.dropout", reading.share(dialect.dropout), defaults["dropout"])
    read_targets(reading, dialect.targets, defaults["targets"])
    for key, target in ((dialect.rslora, "tune.use_rslora"), (dialect.dora, "tune.use_dora")):
        if reading.flag(key):
            reading.carry(key, target, value=True)
        else:
            reading.note(key, "ignored", "is off, as it is here.")
    if dialect.ratio and reading.has(dialect.ratio):
        text = "is tune.loraplus_lr_ratio: B learns at so many times the rate of A."
        reading.carry(dialect.ratio, "tune.loraplus_lr_ratio", reading.positive(dialect.ratio), text)
    for key, target in ((dialect.rank_pattern, "tune.rank_pattern"), (dialect.alpha_pattern, "tune.alpha_pattern")):
        if key:
            _read_pattern(reading, key, target)
    if dialect.init and reading.has(dialect.init):
        read_init(reading, dialect.init)


def _read_pattern(reading: Reading, key: str, target: str) -> None:
    """Other ranks or alphas for some layers: peft's rule in both."""
    values = {}
    for name in reading.mapping(key):
        read = reading.count if target == "tune.rank_pattern" else reading.positive
        value = read((key, name))
        if value is None:
            raise reading.wrong((key, name), "is empty; give a number.")
        try:
            re.compile(str(name))
        except re.error as error:
            raise reading.wrong((key, name), f"is no regular expression: {error}.") from error
        values[str(name)] = value
    if values:
        text = f"is {target}: {shorten(values)}; a key that matches no layer is an error here."
        reading.carry(key, target, values, text)


def read_init(reading: Reading, key: str) -> None:
    """Carry over how A and B begin, in peft's words (`init_lora_weights`).

    Raises:
        ConfigError: an orthogonal beginning with an odd rank, which peft refuses too.
    """
    name = str(reading.text(key)).lower()
    found = _PISSA.fullmatch(name)
    if name == "true":
        reading.note(key, "carried", "is tune.init: default.", "tune.init")
    elif found:
        reading.recipe["tune.pissa_iterations"] = int(found[1])
        text = f"is tune.init: pissa with pissa_iterations: {found[1]}."
        reading.carry(key, "tune.init", "pissa", text)
    elif name in _INITS:
        ranks = [reading.recipe["tune.rank"], *reading.recipe.get("tune.rank_pattern", {}).values()]
        if name == "orthogonal" and any(rank % 2 for rank in ranks):
            raise reading.wrong(key, "orthogonal wants even ranks.")
        reading.carry(key, "tune.init", name)
    elif name == "false":
        text = "begins with a random B, so that the model answers otherwise at once; tuneloop's B begins at zero."
        reading.note(key, "not_carried", text)
    else:
        text = f"'{shorten(name)}' is not a way to begin that tuneloop has: A is random and B zero (tune.init)."
        reading.note(key, "not_carried", text)


def read_targets(reading: Reading, key: str, default: Any) -> None:
    """Carry the chosen layers over, unless another key has chosen them all."""
    targets = reading.words(key)
    named = names_of(targets)
    everything = _ALL_LINEAR & set(targets)
    if "tune.targets" in reading.recipe:
        reading.note(key, "ignored", "has no effect beside the key that takes every linear layer.")
    elif not targets:
        reading.fill(key, "tune.targets", default)
    elif everything and len(targets) == 1:
        reading.carry(key, "tune.targets", "all-linear")
    elif everything:
        reading.recipe["tune.targets"] = "all-linear"
        others = ", ".join(target for target in targets if target not in everything)
        reading.note(key, "differs", f"is tune.targets: all-linear, without {shorten(others)}.", "tune.targets")
    elif named is None:
        reading.recipe["tune.targets"] = "all-linear"
        text = "is a pattern; tuneloop takes the ends of module names. Until you name them it is all-linear."
        reading.note(key, "differs", text, "tune.targets")
    else:
        reading.carry(key, "tune.targets", named)


def names_of(targets: list[str]) -> list[str] | None:
    """The ends of module names; None where they are patterns that say more.

    By hand: `.*(q_proj|v_proj)` is q_proj and v_proj; `model.layers.[0-3].*` is more.
    """
    if not any(set(target) & set(_PATTERN) for target in targets):
        return targets
    found = _ENDS.fullmatch(targets[0]) if len(targets) == 1 else None
    return found[1].split("|") if found else None


def note_others(reading: Reading, patterns: Iterable[str], text: str) -> None:
    """Keys of ways of tuning that were not chosen: the tool reads none of them."""
    patterns = tuple(patterns)
    for key in reading.source.values:
        if not reading.noted((key,)) and any(fnmatchcase(str(key), pattern) for pattern in patterns):
            reading.note((key,), "ignored", text)
