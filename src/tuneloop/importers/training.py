"""The keys that all tools share with the Hugging Face Trainer: how long, how fast, in which steps."""

import math

from tuneloop.importers.dialect import STAGE, Dialect
from tuneloop.importers.ledger import Reading
from tuneloop.importers.optimizers import read_optimizer
from tuneloop.importers.rate import read_rate

_OBJECTIVE = "stages.0.objective"
# A run that is bounded by max_steps alone: the Trainer goes on through as many epochs as it takes.
_NO_END_EPOCHS = 1000.0
_NEW_NAME = "activation_checkpointing"
"""What transformers 5 calls gradient_checkpointing."""
_SELECTIVE = "selective_checkpointing"
_OFFLOADED = ("unsloth", "offload", "offload_disk")
"""Ways of Axolotl to keep the blocks' inputs elsewhere: the same results."""


def read_training(reading: Reading, dialect: Dialect) -> None:
    """Carry the stage, the seed and the precision over; every shared key gets its note."""
    _read_length(reading, dialect)
    _read_batch(reading, dialect)
    read_rate(reading, dialect)
    read_optimizer(reading, dialect)
    _read_memory(reading, dialect)
    _read_hardware(reading)
    _read_validation(reading, dialect)
    _read_saves(reading)
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
        reading.recipe[STAGE + "num_train_epochs"] = _NO_END_EPOCHS
        reading.carry(steps_key, STAGE + "max_steps", steps)
        reading.note(epochs_key, "ignored", f"has no effect beside {steps_key}: {steps}.")
        reading.default(
            epochs_key,
            "carried",
            f"does not end the run where {steps_key} is given; written out as num_train_epochs: {_NO_END_EPOCHS:g}.",
            STAGE + "num_train_epochs",
        )
        return
    reading.note(steps_key, "ignored", "sets no limit.")
    if epochs is None:
        reading.fill(epochs_key, STAGE + "num_train_epochs", dialect.defaults["num_train_epochs"])
    elif epochs <= 0:
        raise reading.wrong(epochs_key, f"is {epochs:g}; nothing would be trained. Give a number above 0.")
    else:
        reading.carry(epochs_key, STAGE + "num_train_epochs", epochs)


def _read_batch(reading: Reading, dialect: Dialect) -> None:
    target = STAGE + "batch_size"
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


def _read_memory(reading: Reading, dialect: Dialect) -> None:
    key, target = dialect.key("gradient_checkpointing"), STAGE + "gradient_checkpointing"
    if reading.has(_NEW_NAME):
        reading.note(key, "ignored", f"has no effect beside {_NEW_NAME}, its new name.")
        key = _NEW_NAME
    on = True if reading.value(key) in _OFFLOADED else reading.flag(key)
    # A mapping says which results are kept.
    selective = isinstance(reading.value(_SELECTIVE), dict) or reading.flag(_SELECTIVE)
    if selective and on is not False:
        reading.recipe[target] = "selective"
        text = f"is {target}: selective. Which results are kept changes memory and time alone."
        for name in (key, _SELECTIVE):
            reading.note(name, "carried", text, target)
    elif on is not None:
        reading.carry(key, target, on)
    elif target not in reading.recipe and dialect.defaults["gradient_checkpointing"]:
        reading.fill(key, target, value=True)


def _read_hardware(reading: Reading) -> None:
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
    for name in ("use_cpu", "no_cuda"):
        if reading.flag(name):
            reading.carry(name, "hardware.device", "cpu")


def _read_saves(reading: Reading) -> None:
    steps = reading.number("save_steps")
    if steps is not None and steps >= 1 and reading.text("save_strategy") in {None, "steps"}:
        target = STAGE + "save_steps"
        text = f"is {target}: {steps:g}, beside the checkpoints at each validation and every ten minutes."
        reading.carry("save_steps", target, int(steps), text)


def _read_validation(reading: Reading, dialect: Dialect) -> None:
    key, target = dialect.key("eval_steps"), STAGE + "eval_steps"
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
    key, target = dialect.key("early_stopping_patience"), STAGE + "early_stopping_patience"
    patience = reading.whole(key)
    if patience and patience > 0:
        reading.carry(key, target, patience)
    key = dialect.key("load_best_model_at_end")
    best = bool(reading.flag(key))
    reading.recipe[STAGE + "keep"] = "best" if best else "last"
    if reading.has(key):
        reading.carry(key, STAGE + "keep", reading.recipe[STAGE + "keep"])
    else:
        reading.fill(key, STAGE + "keep", "last")
    if best:
        key = "metric_for_best_model"
        lowest_loss = reading.text(key) in {None, "loss", "eval_loss"}
        text = (
            "is the lowest validation loss, as here." if lowest_loss else "tuneloop keeps the lowest validation loss."
        )
        reading.note(key, "carried" if lowest_loss else "differs", text, STAGE + "keep")
