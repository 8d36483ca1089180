"""How fast a stage learns: the peak of the learning rate, its warm-up and the way it falls."""

import json
import math
from typing import Any

from tuneloop.importers.dialect import STAGE, Dialect
from tuneloop.importers.ledger import Reading, shorten

_SCHEDULE = STAGE + "lr_scheduler_type"
_KWARGS = "lr_scheduler_kwargs"
_LONGEST_WARMUP = 0.99


def read_rate(reading: Reading, dialect: Dialect) -> None:
    """Carry the learning rate and its schedule over.

    Raises:
        ConfigError: a rate that nothing is learned with, or text where a number belongs.
    """
    key = dialect.key("learning_rate")
    reading.settle(key, STAGE + "learning_rate", reading.positive(key), dialect.defaults["learning_rate"])
    kind = _read_schedule(reading, dialect)
    _read_warmup(reading, dialect, kind)
    if kind == "warmup_stable_decay":
        _read_decay(reading, dialect.key("lr_scheduler_type"))


def _read_schedule(reading: Reading, dialect: Dialect) -> str:
    """Carry the shape over; the answer is the Trainer's name of it."""
    key = dialect.key("lr_scheduler_type")
    kind = reading.text(key)
    match kind:
        case None:
            kind = str(dialect.defaults["lr_scheduler_type"])
            reading.fill(key, _SCHEDULE, kind)
        case "cosine" | "linear" | "constant":
            reading.carry(key, _SCHEDULE, kind)
        case "constant_with_warmup":
            reading.carry(key, _SCHEDULE, "constant", "is constant: tuneloop's constant rises over warmup_ratio first.")
        case "cosine_with_restarts" if _settings(reading).get("num_cycles", 1) == 1:
            reading.carry(key, _SCHEDULE, "cosine", "is cosine: with one cycle it never restarts.")
            reading.note(_KWARGS, "carried", "is one cycle, a plain cosine.", _SCHEDULE)
        case "polynomial" if _settings(reading).get("power", 1) == 1:
            end = _settings(reading).get("lr_end", 1e-7)
            _stand_in(reading, key, "linear", f"of power 1 falls to {shorten(end)}; tuneloop falls linearly to 0.")
        case "warmup_stable_decay":
            # Its notes depend on how it falls: `_read_decay`.
            reading.recipe[_SCHEDULE] = "wsd"
        case _:
            name = shorten(kind)
            _stand_in(reading, key, "cosine", f"'{name}' is not there; tuneloop falls as a cosine to 0 instead.")
    return kind


def _stand_in(reading: Reading, key: str, ours: str, text: str) -> None:
    reading.recipe[_SCHEDULE] = ours
    reading.note(key, "differs", text, _SCHEDULE)
    reading.note(_KWARGS, "not_carried", f"belongs to a schedule that {ours} stands in for.")


def _settings(reading: Reading) -> dict[str, Any]:
    """The schedule's own numbers: a mapping, or JSON in text."""
    value = reading.value(_KWARGS)
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError as error:
            raise reading.wrong(_KWARGS, f"is no JSON (got {shorten(value)}).") from error
    if value is not None and not isinstance(value, dict):
        raise reading.wrong(_KWARGS, f"is not a mapping (got {shorten(value)}).")
    return value or {}


def _read_decay(reading: Reading, key: str) -> None:
    """`warmup_stable_decay` is wsd; the Trainer counts steps of the decay, tuneloop a share of all."""
    target = STAGE + "decay_ratio"
    settings = _settings(reading)
    decay, all_steps = settings.get("num_decay_steps"), reading.recipe.get(STAGE + "max_steps")
    unlike = []
    shape = settings.get("decay_type", "cosine")
    if shape != "linear":
        unlike.append(f"the decay is {shorten(shape)} there and linear here")
    if settings.get("warmup_type", "linear") != "linear":
        unlike.append(f"the warm-up is {shorten(settings['warmup_type'])} there and linear here")
    if settings.get("min_lr_ratio"):
        unlike.append(f"it ends at {shorten(settings['min_lr_ratio'])} of the rate there and at 0 here")
    if settings.get("num_stable_steps") is not None:
        unlike.append("num_stable_steps is not carried: the rate stays up until the decay begins")
    if isinstance(decay, bool) or not isinstance(decay, int | float) or not 0 < decay <= (all_steps or math.inf):
        unlike.append(f"num_decay_steps is {shorten(decay)}: {target} keeps its default 0.2")
    elif all_steps:
        reading.recipe[target] = share_of_steps(decay, all_steps)
    else:
        unlike.append(f"{target} keeps its default 0.2: set it to {decay:g} / all steps")
    text = "; ".join(["is wsd", *unlike]) + "."
    reading.note(key, "differs" if unlike else "carried", text, _SCHEDULE)
    told = f"is {target}: {reading.recipe[target]:g}" if target in reading.recipe else f"is about {target}"
    reading.note(_KWARGS, "differs" if unlike else "carried", "; ".join([told, *unlike]) + ".", target)


def share_of_steps(part: float, steps: int) -> float:
    """`part` / `steps` with few digits, so that `steps` times it, rounded up, is `part` again.

    By hand: 20 of 200 is 0.1; 20 of 300 is 0.066666666, since 0.066667 would be 21 steps; 111 of 3,125 is 0.035519999,
    since 3,125 times 0.03552 is a little more than 111 in floating point.
    """
    share = part / steps
    below = math.floor(share * 1e9)
    shares = (round(share, 6), below / 1e9, (below - 1) / 1e9)
    return next((near for near in shares if math.ceil(near * steps) == math.ceil(part)), share)


def _read_warmup(reading: Reading, dialect: Dialect, kind: str) -> None:
    target = STAGE + "warmup_ratio"
    ratio_key, steps_key = dialect.key("warmup_ratio"), dialect.key("warmup_steps")
    ratio, steps = reading.number(ratio_key), reading.number(steps_key)
    max_steps = reading.recipe.get(STAGE + "max_steps")
    if kind == "constant":
        reading.recipe[target] = 0.0
        for key in (ratio_key, steps_key):
            reading.note(key, "ignored", f"has no effect in {reading.title} with a constant rate: {target} is 0.")
        return
    given = steps or ratio
    if steps and ratio is not None:
        reading.note(ratio_key, "ignored", f"has no effect beside {steps_key}.")
    elif steps is not None and not steps:
        reading.note(steps_key, "ignored", "is 0.")
    key = steps_key if steps else ratio_key
    if given is None:
        reading.fill(ratio_key, target, dialect.defaults["warmup_ratio"])
    elif 0 <= given < 1:
        reading.carry(key, target, given)
    elif key == steps_key and max_steps and given > 0:
        share = min(share_of_steps(given, max_steps), _LONGEST_WARMUP)
        reading.carry(key, target, share, f"is {target}: {given:g} of {max_steps} steps.")
    else:
        text = f"counts steps, tuneloop a share of them: {target} keeps its default 0.05. Set it to {given:g} / all"
        reading.note(key, "differs", text + " steps.", target)
