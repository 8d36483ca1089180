"""The optimiser under each tool's names, and the numbers that all optimisers share."""

from tuneloop.importers.dialect import ADAM_FIELDS, STAGE, Dialect, Fixed
from tuneloop.importers.ledger import Reading, shorten
from tuneloop.importers.lowrank import KINDS, NO_CLIPPING, OPTIMIZER, optimizer_arguments, read_trainer_lowrank

_ADAM = {"adamw", "adamw_hf", "adamw_32bit", "adamw_torch", "adamw_torch_fused", "adamw_torch_xla"}
_ADAM |= {"adamw_apex_fused", "adamw_torch_npu_fused"}
_SAME = {
    "adamw_8bit": "adamw_8bit",
    "adamw_bnb_8bit": "adamw_8bit",
    "paged_adamw_8bit": "paged_adamw_8bit",
    "paged_adamw_32bit": "paged_adamw",
    "paged_adamw": "paged_adamw",
    "adafactor": "adafactor",
}
"""The Trainer's names of what tuneloop has."""
_IN_FLOAT32 = "is AdamW with sums for weights in bf16; tuneloop's AdamW moves weights in float32."
_NEAR = {
    "adamw_torch_8bit": ("adamw_8bit", "keeps moments in torchao's 8 bits; tuneloop in bitsandbytes'."),
    "ao_adamw_8bit": ("adamw_8bit", "keeps moments in torchao's 8 bits; tuneloop in bitsandbytes'."),
    "ao_adamw_fp8": ("adamw_8bit", "keeps moments in floating-point numbers of 8 bits; tuneloop in bitsandbytes' 8."),
    "adamw_torch_4bit": ("adamw_8bit", "keeps moments in 4 bits; tuneloop in 8: more memory."),
    "ao_adamw_4bit": ("adamw_8bit", "keeps moments in 4 bits; tuneloop in 8: more memory."),
    "adamw_anyprecision": ("adamw", _IN_FLOAT32),
    "optimi_adamw": ("adamw", _IN_FLOAT32),
    "flash_adamw": ("adamw", "is AdamW with moments and weights in few bits; tuneloop keeps both in float32."),
    "flash_lion": ("lion", "is Lion with moment and weights in few bits; tuneloop keeps both in float32."),
}
"""Name -> what stands in for it, and how they differ."""
_LION_BETAS = (0.9, 0.99)
_MUON_ARGUMENTS = {"momentum": "0.95", "ns_steps": "5", "nesterov": "true"}


def read_optimizer(reading: Reading, dialect: Dialect) -> None:
    """Carry the optimiser, its decay, Adam's numbers and the clipping over.

    A key of the tool's own may have chosen the optimiser already: then `stages.0.optimizer` is in the recipe.

    Raises:
        ConfigError: a value that is none.
    """
    fixed = {**dialect.fixed, **_read_choice(reading, dialect)}
    for name in ("weight_decay", *ADAM_FIELDS):
        _read_number(reading, dialect, name, fixed.get(name))
    key, target = dialect.key("max_grad_norm"), STAGE + "max_grad_norm"
    if "max_grad_norm" in fixed:
        _fix(reading, key, target, fixed["max_grad_norm"])
        return
    norm = reading.number(key)
    if norm is not None and norm > 0:
        reading.carry(key, target, norm)
    elif norm is not None:
        reading.recipe[target] = NO_CLIPPING
        reading.note(key, "carried", "does not clip: written as 1e9.", target)


def _read_number(reading: Reading, dialect: Dialect, name: str, fixed: Fixed | None) -> None:
    key, target = dialect.key(name), STAGE + name
    readers = {"adam_beta1": reading.share, "adam_beta2": reading.share, "adam_epsilon": reading.positive}
    value = readers.get(name, reading.number)(key)
    if value is not None and value < 0:
        raise reading.wrong(key, f"is {value:g}; it is not below 0.")
    if fixed is not None:
        _fix(reading, key, target, fixed)
    elif value is not None:
        reading.carry(key, target, value)
    elif dialect.defaults[name] != ADAM_FIELDS.get(name):
        reading.fill(key, target, dialect.defaults[name])


def _fix(reading: Reading, key: str, target: str, fixed: Fixed) -> None:
    reading.recipe[target] = fixed.value
    text = f"has no effect in {reading.title} beside {fixed.by}: {target} is {fixed.value:g}."
    if reading.has(key):
        reading.note(key, "ignored", text)
    else:
        reading.default(key, "carried", text, target)


def _read_choice(reading: Reading, dialect: Dialect) -> dict[str, Fixed]:
    """Choose; the answer is what the choice fixes."""
    key = dialect.key("optim")
    name = reading.text(key) or ""
    if OPTIMIZER in reading.recipe:
        _note_beside(reading, key, name)
        return {}
    kind = next((kind for kind in KINDS if name.removeprefix("q_").startswith(kind)), None)
    if kind is not None:
        return read_trainer_lowrank(reading, key, name, kind)
    if name == "muon":
        choose_muon(reading, key, "")
    elif not name or name in _ADAM:
        reading.note(key, "carried", "is AdamW, as here.", OPTIMIZER)
    elif name in _SAME:
        reading.carry(key, OPTIMIZER, _SAME[name])
    elif name in _NEAR:
        reading.recipe[OPTIMIZER], text = _NEAR[name]
        reading.note(key, "differs", text, OPTIMIZER)
    elif "lion" in name:
        _read_lion(reading, dialect, name)
    else:
        text = "is another optimiser; tuneloop trains with AdamW. Look at the learning rate again."
        reading.note(key, "not_carried", text)
    if not name or name in _ADAM or name in _SAME:
        for unread in ("optim_args", "optim_target_modules"):
            reading.note(unread, "ignored", f"has no effect in {reading.title} with {name or 'AdamW'}.")
    return {}


def _read_lion(reading: Reading, dialect: Dialect, name: str) -> None:
    reading.recipe[OPTIMIZER] = "lion"
    given = [reading.number(dialect.key(field)) for field in ("adam_beta1", "adam_beta2")]
    defaults = (dialect.defaults["adam_beta1"], dialect.defaults["adam_beta2"])
    betas = tuple(default if value is None else value for value, default in zip(given, defaults, strict=True))
    unlike = []
    if betas != _LION_BETAS:
        unlike.append(f"its betas are {betas[0]:g} and {betas[1]:g} there (adam_beta1, adam_beta2), 0.9 and 0.99 here")
    if "8bit" in name:
        unlike.append("its moment is kept in 8 bits there, in full here")
    if "paged" in name:
        unlike.append("its moment is moved between the GPU and memory there, and stays here")
    text = "; ".join(["is stages.0.optimizer: lion", *unlike]) + "."
    reading.note(dialect.key("optim"), "differs" if unlike else "carried", text, OPTIMIZER)


def choose_muon(reading: Reading, key: str, vectors: str) -> None:
    """A tool's own Muon; `vectors` says what else becomes of biases and norms there, "" where nothing does.

    Momentum, its five steps and the size of a step (0.2 sqrt(long side), arXiv:2502.16982) are the same in all tools.
    """
    reading.recipe[OPTIMIZER] = "muon"
    # Of LoRA's weights none is a vector but DoRA's magnitudes.
    moves = reading.recipe.get("tune.kind") in {"full", "freeze"} or reading.recipe.get("tune.use_dora")
    unlike = [vectors] if vectors and moves else []
    arguments = {name: str(value).lower() for name, value in optimizer_arguments(reading).items()}
    other = [f"{name}={shorten(value)}" for name, value in arguments.items() if _MUON_ARGUMENTS.get(name) != value]
    text = "; ".join(["is stages.0.optimizer: muon", *unlike]) + "."
    reading.note(key, "differs" if unlike else "carried", text, OPTIMIZER)
    text = f"are Muon's own: tuneloop has momentum 0.95, 5 steps, Nesterov; {', '.join(other)} is left out."
    reading.note("optim_args", "differs" if other else "carried", text if other else "are how they are here.")


def _note_beside(reading: Reading, key: str, name: str) -> None:
    """`optim` where another key has chosen the optimiser."""
    chosen = reading.recipe[OPTIMIZER]
    if reading.noted(key) or not name:
        return
    if chosen == "muon":
        reading.note(key, "ignored", f"has no effect in {reading.title} beside Muon.")
    elif name in _ADAM:
        reading.note(key, "carried", f"is AdamW in the smaller space of {chosen}, as here.", OPTIMIZER)
    elif name in {"adamw_8bit", "adamw_bnb_8bit", "paged_adamw_8bit"}:
        reading.note(key, "differs", f"keeps moments in 8 bits; tuneloop's {chosen} keeps them in full.", OPTIMIZER)
    else:
        reading.note(key, "differs", f"is not what runs in the smaller space of {chosen} here: AdamW.", OPTIMIZER)
