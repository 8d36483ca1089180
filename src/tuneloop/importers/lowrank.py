"""GaLore and APOLLO: the rank, the steps between two choices of the space, and what scales a step."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from tuneloop.importers.dialect import STAGE, Fixed
from tuneloop.importers.ledger import Reading, shorten

OPTIMIZER = STAGE + "optimizer"
NO_CLIPPING = 1e9
"""Above every norm of a gradient."""
_RANK, _STEPS = STAGE + "optimizer_rank", STAGE + "optimizer_update_steps"
_TITLES = {"galore": "GaLore", "apollo": "APOLLO"}
_EVERYWHERE = "every matrix of the blocks whose shorter side is above the rank"
# transformers 5: trainer_optimizer.py
_TRAINER_SCALES = {"galore": 0.25, "apollo": 1.0}
_TRAINER_RANK, _TRAINER_STEPS = 128, 200

Kind = Literal["galore", "apollo"]
KINDS: tuple[Kind, ...] = ("galore", "apollo")


@dataclass(frozen=True)
class LowRank:
    """A tool's own keys and defaults for one of the two."""

    kind: Kind
    by: str
    """The key that chooses it."""
    rank: str
    update_steps: str
    scale: str
    targets: str
    layerwise: str = ""
    only: Mapping[str, Any] = field(default_factory=dict)
    """Key -> the one value of it that tuneloop has, which is the tool's default."""
    defaults: Mapping[str, float] = field(default_factory=dict)
    """Of rank, update_steps and scale."""


def read_lowrank(reading: Reading, tool: LowRank) -> dict[str, Fixed]:
    """Carry a tool's own section over; the answer is what it fixes of the Trainer's numbers.

    Raises:
        ConfigError: a value that cannot be trained with.
    """
    title = _TITLES[tool.kind]
    reading.carry(tool.by, OPTIMIZER, tool.kind)
    reading.settle(tool.rank, _RANK, reading.count(tool.rank), tool.defaults["rank"])
    reading.settle(tool.update_steps, _STEPS, reading.count(tool.update_steps), tool.defaults["update_steps"])
    scale = reading.positive(tool.scale)
    if scale is None:
        text = f"is {tool.defaults['scale']:g} by itself: {_scale_text(tool.kind, tool.defaults['scale'])}"
        reading.default(tool.scale, "differs", text, STAGE + "learning_rate")
    else:
        reading.note(tool.scale, "differs", _scale_text(tool.kind, scale), STAGE + "learning_rate")
    targets = reading.words(tool.targets)
    same = targets in (["all"], ["all-linear"])
    text = f"is {_EVERYWHERE}, as here." if same else f"chooses layers; tuneloop's {title} takes {_EVERYWHERE}."
    reading.note(tool.targets, "carried" if same else "differs", text)
    for key, value in tool.only.items():
        same = reading.value(key) == value or reading.text(key) == shorten(value)
        text = "is how it is here." if same else f"has no effect here: tuneloop's {title} is as with {shorten(value)}."
        reading.note(key, "carried" if same else "differs", text)
    if not tool.layerwise or not reading.flag(tool.layerwise):
        return {}
    text = "moves each layer as soon as its gradient is there, and so cannot clip: max_grad_norm is 1e9."
    reading.note(tool.layerwise, "carried", text, STAGE + "max_grad_norm")
    return {"max_grad_norm": Fixed(NO_CLIPPING, tool.layerwise)}


def _scale_text(kind: Kind, scale: float) -> str:
    factor = f"{scale:g} x sqrt(rank / short side)" if kind == "galore" else f"sqrt({scale:g} x rank / short side)"
    return (
        f"scales each step by a fixed number; tuneloop scales steps to the size of AdamW's. The same steps want "
        f"learning_rate times {factor}, where short side is that of the matrices."
    )


def read_trainer_lowrank(reading: Reading, key: str, name: str, kind: Kind) -> dict[str, Fixed]:
    """The Trainer's `galore_adamw` and `apollo_adamw`, with their `optim_args`.

    Raises:
        ConfigError: `optim_args` cannot be read.
    """
    title = _TITLES[kind]
    reading.recipe[OPTIMIZER] = kind
    unlike = []
    if "8bit" in name:
        unlike.append("moments are kept in 8 bits there, in full here")
    if name.startswith("q_"):
        unlike.append("weights and directions are rounded there, and not here")
    if "adafactor" in name:
        unlike.append("it is Adafactor in the smaller space there, AdamW here")
    reading.note(key, "differs" if unlike else "carried", "; ".join([f"is {title}", *unlike]) + ".", OPTIMIZER)
    _read_arguments(reading, kind)
    text = f"chooses layers; tuneloop's {title} takes {_EVERYWHERE}, embeddings and head never."
    reading.note("optim_target_modules", "differs", text)
    # The Trainer hands neither its decay nor, to GaLore, its betas on.
    fixed = {"weight_decay": 0.0}
    if kind == "galore":
        fixed |= {"adam_beta1": 0.9, "adam_beta2": 0.999, "adam_epsilon": 1e-6}
    if "layerwise" in name:
        fixed["max_grad_norm"] = NO_CLIPPING
    return {field_: Fixed(value, f"{key}: {name}") for field_, value in fixed.items()}


def _read_arguments(reading: Reading, kind: Kind) -> None:
    arguments = optimizer_arguments(reading)
    rank = _count(reading, arguments.pop("rank", _TRAINER_RANK))
    steps = _count(reading, arguments.pop("update_proj_gap", _TRAINER_STEPS))
    reading.recipe |= {_RANK: rank, _STEPS: steps}
    scale = _number(reading, arguments.pop("scale", _TRAINER_SCALES[kind]))
    same = {"proj_type": "std"} | ({"proj": "random", "scale_type": "channel"} if kind == "apollo" else {})
    other = [f"{name}={shorten(value)}" for name, value in arguments.items() if same.get(name) != value]
    left = f" Not carried: {', '.join(other)}." if other else ""
    text = f"rank is {_RANK}: {rank}, update_proj_gap is {_STEPS}: {steps}; scale {_scale_text(kind, scale)}{left}"
    if reading.has("optim_args"):
        reading.note("optim_args", "differs", text, _RANK)
    else:
        reading.default("optim_args", "differs", f"is absent, so {text}", _RANK)


def optimizer_arguments(reading: Reading) -> dict[str, Any]:
    """`optim_args`: a mapping, or `rank=64,scale=0.1`.

    Raises:
        ConfigError: it is neither.
    """
    value = reading.value("optim_args")
    if isinstance(value, dict):
        return dict(value)
    pairs = [word.partition("=") for word in reading.words("optim_args")]
    if any(not equals for _, equals, _ in pairs):
        raise reading.wrong("optim_args", f"is not a list of name=value (got {shorten(value)}).")
    return {name.strip(): text.strip() for name, _, text in pairs}


def _number(reading: Reading, value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = 0.0
    if not 0 < number < float("inf"):
        raise reading.wrong("optim_args", f"rank, update_proj_gap and scale are numbers above 0, not {shorten(value)}.")
    return number


def _count(reading: Reading, value: Any) -> int:
    number = _number(reading, value)
    if number != int(number):
        raise reading.wrong("optim_args", f"rank and update_proj_gap are whole numbers, not {shorten(value)}.")
    return int(number)
