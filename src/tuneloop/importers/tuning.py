"""Which weights move: LoRA's keys, under each tool's names."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tuneloop.importers.ledger import Reading, shorten

_ALL_LINEAR = {"all", "all-linear", "all_linear", "ALL"}


@dataclass(frozen=True)
class LoraDialect:
    """A tool's names and defaults for LoRA."""

    rank: str = "lora_rank"
    alpha: str = "lora_alpha"
    dropout: str = "lora_dropout"
    targets: str = "lora_target"
    rslora: str = "use_rslora"
    defaults: Mapping[str, Any] = field(default_factory=dict)
    """Of rank, alpha (None: twice the rank), dropout, targets."""


def read_lora(reading: Reading, dialect: LoraDialect) -> None:
    """Carry a LoRA section over; alpha is always written as a number.

    Raises:
        ConfigError: a value that cannot be trained with.
    """
    reading.recipe["tune.kind"] = "lora"
    rank = reading.whole(dialect.rank)
    if rank is None:
        rank = dialect.defaults["rank"]
        reading.fill(dialect.rank, "tune.rank", rank)
    elif rank < 1:
        raise reading.wrong(dialect.rank, f"is {rank}; a rank is at least 1.")
    else:
        reading.carry(dialect.rank, "tune.rank", rank)
    alpha = reading.number(dialect.alpha)
    if alpha is None:
        reading.fill(dialect.alpha, "tune.alpha", float(dialect.defaults["alpha"] or 2 * rank))
    elif alpha <= 0:
        raise reading.wrong(dialect.alpha, f"is {alpha:g}; alpha is above 0.")
    else:
        reading.carry(dialect.alpha, "tune.alpha", alpha)
    dropout = reading.number(dialect.dropout)
    if dropout is None:
        reading.fill(dialect.dropout, "tune.dropout", dialect.defaults["dropout"])
    elif not 0 <= dropout < 1:
        raise reading.wrong(dialect.dropout, f"is {dropout:g}; a share from 0 to below 1.")
    else:
        reading.carry(dialect.dropout, "tune.dropout", dropout)
    _read_targets(reading, dialect)
    if reading.has(dialect.rslora):
        reading.carry(dialect.rslora, "tune.use_rslora", bool(reading.flag(dialect.rslora)))


def _read_targets(reading: Reading, dialect: LoraDialect) -> None:
    targets = reading.words(dialect.targets)
    known = "tune.targets" in reading.recipe
    if not targets:
        if not known:
            reading.fill(dialect.targets, "tune.targets", dialect.defaults["targets"])
    elif known:
        reading.note(dialect.targets, "ignored", "has no effect beside the key that takes every linear layer.")
    elif _ALL_LINEAR & set(targets):
        reading.carry(dialect.targets, "tune.targets", "all-linear")
    elif any(character in target for target in targets for character in "*^$|()[]\\"):
        reading.recipe["tune.targets"] = "all-linear"
        text = "is a pattern; tuneloop takes the ends of module names. Until you name them it is all-linear."
        reading.note(dialect.targets, "differs", text, "tune.targets")
    else:
        reading.carry(dialect.targets, "tune.targets", targets)


def read_freeze(reading: Reading, layers_key: str, modules_key: str) -> None:
    """Carry LLaMA-Factory's freeze section over."""
    reading.recipe["tune.kind"] = "freeze"
    layers = reading.whole(layers_key)
    if layers is None:
        reading.fill(layers_key, "tune.trainable_blocks", 2)
    elif layers >= 0:
        reading.carry(layers_key, "tune.trainable_blocks", layers)
    else:
        reading.recipe["tune.trainable_blocks"] = 0
        text = f"moves the first {-layers} blocks; tuneloop counts from the end. Name them in tune.trainable_patterns."
        reading.note(layers_key, "differs", text, "tune.trainable_blocks")
    modules = reading.words(modules_key)
    if modules and modules != ["all"]:
        text = f"moves only {shorten(', '.join(modules))} of those blocks; tuneloop moves whole blocks."
        reading.note(modules_key, "differs", text + " Use trainable_blocks: 0 and tune.trainable_patterns.")
    else:
        reading.note(modules_key, "carried", "moves whole blocks, as here.")
