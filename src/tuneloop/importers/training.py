"""The keys that all tools share with the Hugging Face Trainer: how long, how fast, in which steps."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tuneloop.importers.ledger import Reading, shorten

_STAGE = "stages.0."
_OBJECTIVE = "stages.0.objective"
_STAGES = "stages.0"
# A run that is bounded by max_steps alone: the Trainer goes on through as many epochs as it takes.
_NO_END_EPOCHS = 1000.0
_ADAM = {"adamw", "adamw_torch", "adamw_torch_fused", "adamw_hf", "adamw_apex_fused", "adamw_torch_xla"}
_OPTIMIZERS = {
    "adamw_8bit": "adamw_8bit",
    "adamw_bnb_8bit": "adamw_8bit",
    "paged_adamw_8bit": "paged_adamw_8bit",
    "paged_adamw_32bit": "paged_adamw",
    "paged_adamw": "paged_adamw",
    "adafactor": "adafactor",
    "muon": "muon",
    "lion": "lion",
    "lion_32bit": "lion",
    "galore_adamw": "galore",
    "apollo_adamw": "apollo",
}
"""The Trainer's names of what tuneloop has."""
_SMALL_ADAM = {"adamw_torch_8bit", "adamw_torch_4bit", "ao_adamw_8bit", "ao_adamw_4bit", "ao_adamw_fp8", "adamw_32bit"}
_ADAM_FIELDS = {"adam_beta1": 0.9, "adam_beta2": 0.999, "adam_epsilon": 1e-8}


@dataclass(frozen=True)
class Dialect:
    """How a tool calls the Trainer's keys, and what it does where they are absent."""

    names: Mapping[str, str] = field(default_factory=dict)
    """The Trainer's name -> the tool's."""
    defaults: Mapping[str, Any] = field(default_factory=dict)
    """The Trainer's name -> the tool's default."""
    packed: bool = False
    """Whether a row of a batch is a packed sequence, not a conversation."""
    world_size: int = 1
    """Processes that the config itself names."""

    def key(self, name: str) -> str:
        """The tool's name."""
        return self.names.get(name, name)


# transformers 5: training_args.py
TRAINER_DEFAULTS: dict[str, Any] = {
    "num_train_epochs": 3.0,
    "per_device_train_batch_size": 8,
    "gradient_accumulation_steps": 1,
    "learning_rate": 5e-5,
    "lr_scheduler_type": "linear",
    "warmup_ratio": 0.0,
    "weight_decay": 0.0,
    "max_grad_norm": 1.0,
    "seed": 42,
    "gradient_checkpointing": False,
    **_ADAM_FIELDS,
}


def read_training(reading: Reading, dialect: Dialect) -> None:
    """Carry the stage, the seed and the precision over; every shared key gets its note."""
    _read_length(reading, dialect)
    _read_batch(reading, dialect)
    _read_rate(reading, dialect)
    _read_optimizer(reading, dialect)
    _read_memory(reading, dialect)
    _read_validation(reading, dialect)
    key = dialect.key("seed")
    seed = reading.whole(key)
    if seed is None:
        reading.fill(key, "seed", dialect.defaults["seed"])
    elif seed < 0:
        reading.note(key, "differs", "is below 0; tuneloop counts seeds from 0: seed is 0.", "seed")
    else:
        reading.recipe["seed"] = seed
        reading.note(
            key,
            "differs",
            f"is seed: {seed}, but orders of rows and first weights differ from {reading.title}'s.",
            "seed",
        )
    reading.default(
        "(loss)",
        "carried",
        "is the mean over all target tokens of a step, over its micro-batches too, in both; tuneloop then weighs turns "
        "and rows by their weights.",
        _OBJECTIVE,
    )


def _read_length(reading: Reading, dialect: Dialect) -> None:
    epochs_key, steps_key = dialect.key("num_train_epochs"), dialect.key("max_steps")
    epochs, steps = reading.number(epochs_key), reading.whole(steps_key)
    if steps is not None and steps > 0:
        reading.recipe[_STAGE + "num_train_epochs"] = _NO_END_EPOCHS
        reading.carry(steps_key, _STAGE + "max_steps", steps)
        reading.note(epochs_key, "ignored", f"has no effect beside {steps_key}: {steps}.")
        reading.default(
            epochs_key,
            "carried",
            f"does not end the run where {steps_key} is given; written out as num_train_epochs: {_NO_END_EPOCHS:g}.",
            _STAGE + "num_train_epochs",
        )
        return
    reading.note(steps_key, "ignored", "sets no limit.")
    if epochs is None:
        reading.fill(epochs_key, _STAGE + "num_train_epochs", dialect.defaults["num_train_epochs"])
    elif epochs <= 0:
        raise reading.wrong(epochs_key, f"is {epochs:g}; nothing would be trained. Give a number above 0.")
    else:
        reading.carry(epochs_key, _STAGE + "num_train_epochs", epochs)


def _read_batch(reading: Reading, dialect: Dialect) -> None:
    target = _STAGE + "batch_size"
    size_key, steps_key = dialect.key("per_device_train_batch_size"), dialect.key("gradient_accumulation_steps")
    size, steps = reading.whole(size_key), reading.whole(steps_key)
    for key, number in ((size_key, size), (steps_key, steps)):
        if number is not None and number < 1:
            raise reading.wrong(key, f"is {number}; give a number of at least 1.")
    if size is None:
        size = dialect.defaults["per_device_train_batch_size"]
    if steps is None:
        steps = dialect.defaults["gradient_accumulation_steps"]
        # ms-swift fills a batch of 16 up.
        steps = steps or max(1, math.ceil(16 / size / dialect.world_size))
    total = size * steps * dialect.world_size
    reading.recipe[target] = total
    how = f"{size} x {steps}" + (f" x {dialect.world_size} processes" if dialect.world_size > 1 else "")
    text = f"is part of {target}: {total} ({how}), the rows of one optimiser step in all."
    if dialect.packed:
        unit = f"{reading.title} counts packed sequences here, tuneloop conversations: multiply {target} by how many of"
        text += f" {unit} your conversations fit into one sequence, to take as many tokens a step."
    kind = "differs" if dialect.packed else "carried"
    for key in (size_key, steps_key):
        if reading.has(key):
            reading.note(key, kind, text, target)
        else:
            reading.default(key, kind, f"is absent, {reading.title}'s default counts: {text}", target)
    if dialect.world_size == 1:
        reading.default(
            "(processes)",
            "differs",
            f"{reading.title} multiplies the batch by the number of processes that it is started with; "
            f"tuneloop's {target} is the batch in all. On N GPUs write {total} x N.",
            target,
        )


def _read_rate(reading: Reading, dialect: Dialect) -> None:
    key = dialect.key("learning_rate")
    rate = reading.number(key)
    if rate is None:
        reading.fill(key, _STAGE + "learning_rate", dialect.defaults["learning_rate"])
    elif rate <= 0:
        raise reading.wrong(key, f"is {rate:g}; nothing would be learned. Give a number above 0.")
    else:
        reading.carry(key, _STAGE + "learning_rate", rate)
    _read_warmup(reading, dialect, _read_schedule(reading, dialect))


def _read_schedule(reading: Reading, dialect: Dialect) -> str:
    key, target = dialect.key("lr_scheduler_type"), _STAGE + "lr_scheduler_type"
    kind = reading.text(key)
    match kind:
        case None:
            kind = dialect.defaults["lr_scheduler_type"]
            reading.fill(key, target, kind)
        case "cosine" | "linear" | "constant":
            reading.carry(key, target, kind)
        case "constant_with_warmup":
            reading.carry(key, target, "constant", "is constant: tuneloop's constant rises over warmup_ratio first.")
        case _:
            reading.recipe[target] = "cosine"
            reading.note(
                key, "differs", f"'{shorten(kind)}' is not there; tuneloop falls as a cosine to 0 instead.", target
            )
    return kind


def _read_warmup(reading: Reading, dialect: Dialect, kind: str) -> None:
    target = _STAGE + "warmup_ratio"
    ratio_key, steps_key = dialect.key("warmup_ratio"), dialect.key("warmup_steps")
    ratio, steps = reading.number(ratio_key), reading.number(steps_key)
    max_steps = reading.recipe.get(_STAGE + "max_steps")
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
    elif key == steps_key and max_steps:
        reading.carry(
            key, target, round(min(given / max_steps, 0.99), 6), f"is {target}: {given:g} of {max_steps} steps."
        )
    else:
        reading.note(
            key,
            "differs",
            f"counts steps, tuneloop a share of them: {target} keeps its default 0.05. Set it to {given:g} / all"
            " steps.",
            target,
        )


def _read_optimizer(reading: Reading, dialect: Dialect) -> None:
    decay_key = dialect.key("weight_decay")
    decay = reading.number(decay_key)
    if decay is None:
        reading.fill(decay_key, _STAGE + "weight_decay", dialect.defaults["weight_decay"])
    else:
        reading.carry(decay_key, _STAGE + "weight_decay", decay)
    for name, ours in _ADAM_FIELDS.items():
        key = dialect.key(name)
        value = reading.number(key)
        if value is not None:
            reading.carry(key, _STAGE + name, value)
        elif dialect.defaults[name] != ours:
            reading.fill(key, _STAGE + name, dialect.defaults[name])
    key = dialect.key("max_grad_norm")
    norm = reading.number(key)
    if norm is not None and norm > 0:
        reading.carry(key, _STAGE + "max_grad_norm", norm)
    elif norm is not None:
        reading.recipe[_STAGE + "max_grad_norm"] = 1e9
        reading.note(key, "carried", "does not clip: written as 1e9.", _STAGE + "max_grad_norm")
    key = dialect.key("optim")
    optimizer = reading.text(key)
    if optimizer in _ADAM:
        reading.note(key, "carried", "is AdamW, as here.", _STAGES)
    elif optimizer in _OPTIMIZERS:
        reading.carry(key, _STAGE + "optimizer", _OPTIMIZERS[optimizer])
    elif optimizer in _SMALL_ADAM:
        reading.note(
            key,
            "differs",
            "keeps small optimiser states of a kind not here; AdamW: more memory. Near: adamw_8bit.",
            _STAGES,
        )
    else:
        reading.note(
            key, "not_carried", "is another optimiser; tuneloop trains with AdamW. Look at the learning rate again."
        )


def _read_memory(reading: Reading, dialect: Dialect) -> None:
    key, target = dialect.key("gradient_checkpointing"), _STAGE + "gradient_checkpointing"
    if reading.value(key) in ("unsloth", "offload", "offload_disk"):
        reading.carry(key, target, value=True)
    elif (on := reading.flag(key)) is not None:
        reading.carry(key, target, on)
    elif dialect.defaults["gradient_checkpointing"]:
        reading.fill(key, target, value=True)
    precision = "hardware.precision: auto takes bf16 on a GPU that has it, else float32"
    for name in ("bf16", "fp16", "pure_bf16", "float16", "bfloat16"):
        if not reading.has(name) or reading.noted(name):
            continue
        on = reading.value(name) in ("auto", "full") or reading.flag(name)
        match name, bool(on):
            case _, False:
                reading.note(name, "ignored", f"is off; {precision}.")
            case "bf16", _:
                reading.note(name, "carried", f"is tuneloop's choice too: {precision}.", "hardware.precision")
            case "pure_bf16" | "bfloat16", _:
                text = f"keeps trained weights in bf16 too; tuneloop keeps them in float32; {precision}."
                reading.note(name, "differs", text, "hardware.precision")
            case _:
                reading.note(name, "differs", f"float16 is not there; {precision}.", "hardware.precision")


def _read_validation(reading: Reading, dialect: Dialect) -> None:
    key, target = dialect.key("eval_steps"), _STAGE + "eval_steps"
    steps = reading.number(key)
    if steps is not None and steps >= 1:
        reading.carry(key, target, int(steps))
    else:
        reading.note(
            key, "differs", "is a share of the run; tuneloop validates twice an epoch. Set eval_steps to a number."
        )
    for name in ("eval_strategy", "evaluation_strategy"):
        says = "tuneloop always validates: twice an epoch, or every eval_steps."
        reading.note(name, "carried" if reading.text(name) == "steps" else "differs", says)
    key, target = dialect.key("early_stopping_patience"), _STAGE + "early_stopping_patience"
    patience = reading.whole(key)
    if patience and patience > 0:
        reading.carry(key, target, patience)
    key = dialect.key("load_best_model_at_end")
    best = bool(reading.flag(key))
    reading.recipe[_STAGE + "keep"] = "best" if best else "last"
    if reading.has(key):
        reading.carry(key, _STAGE + "keep", reading.recipe[_STAGE + "keep"])
    else:
        reading.fill(key, _STAGE + "keep", "last")
    if best:
        key = "metric_for_best_model"
        lowest_loss = reading.text(key) in {None, "loss", "eval_loss"}
        text = (
            "is the lowest validation loss, as here." if lowest_loss else "tuneloop keeps the lowest validation loss."
        )
        reading.note(key, "carried" if lowest_loss else "differs", text, _STAGE + "keep")
