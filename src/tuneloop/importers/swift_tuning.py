"""ms-swift: which weights move, on which base, by which optimiser. Checked against 4.6.0."""

from collections.abc import Mapping

from tuneloop.importers.freezing import read_trainable
from tuneloop.importers.ledger import Reading
from tuneloop.importers.lowrank import LowRank, read_lowrank
from tuneloop.importers.methods import read_adapter, read_ia3, read_vera
from tuneloop.importers.optimizers import choose_muon
from tuneloop.importers.quantization import Asked, Details, read_quantization
from tuneloop.importers.tuning import LoraDialect, note_others, read_lora

# arguments/tuner_args.py and trainers/arguments.py
_DEFAULTS = {"rank": 8, "alpha": 32.0, "dropout": 0.05, "targets": "all-linear"}
_GALORE = LowRank(
    "galore",
    by="use_galore",
    rank="galore_rank",
    update_steps="galore_update_proj_gap",
    scale="galore_scale",
    targets="galore_target_modules",
    only={"galore_proj_type": "std", "galore_quantization": False, "galore_with_embedding": False},
    defaults={"rank": 128, "update_steps": 50, "scale": 1.0},
)
_TARGETS = ("target_modules", "target_regex", "target_parameters", "lora_target_modules")
_LORA_KEYS = ("lora_*", "lorap_*", "use_rslora", "use_dora", "use_swift_lora", "init_weights")
_WEIGHTS = ("freeze_parameters*", "trainable_parameters*")
_KEYS = {
    "lora": (*_LORA_KEYS, *_TARGETS),
    "full": _WEIGHTS,
    "vera": ("vera_*", *_TARGETS),
    "adapter": ("adapter_act", "adapter_length"),
    "ia3": (),
    "others": ("adalora_*", "boft_*", "fourier_*", "llamapro_*", "reft_*"),
}
"""Of each way of tuning; the others read none of them but those that they have in common."""
_LORAS = {"lora", "longlora", "lora_llm"}
_CODES = Details(
    "bnb_4bit_quant_type",
    "bnb_4bit_use_double_quant",
    is_double=True,
    others=("bnb_4bit_compute_dtype", "bnb_4bit_quant_storage"),
)


def read_tuning(reading: Reading, kind: str, names: Mapping[str, str]) -> str:
    """Carry the way of tuning over; the answer is why it cannot be had here, "" where it can.

    `names` are the old names of keys that the config still has.

    Raises:
        ConfigError: a value that cannot be trained with.
    """
    key = names.get("tuner_type", "tuner_type")
    ours = "lora" if kind in _LORAS else kind
    match ours:
        case "lora":
            same = kind == "lora"
            text = "is tune.kind: lora." if same else f"{kind} becomes LoRA as it is."
            reading.note(key, "carried" if same else "differs", text, "tune.kind")
            _read_lora(reading, names)
        case "full":
            _read_weights(reading, key)
        case "vera":
            reading.note(key, "carried", "is tune.kind: vera.", "tune.kind")
            read_vera(reading, names.get("target_modules", "target_modules"))
        case "ia3":
            read_ia3(reading, key)
        case "adapter":
            read_adapter(reading, key)
        case _:
            text = f"{key}: {kind} is not a way of tuning that tuneloop has."
            reading.note(key, "not_carried", text)
            return text
    own = _KEYS[ours]
    others = {pattern for patterns in _KEYS.values() for pattern in patterns} - set(own)
    note_others(reading, sorted(others), f"has no effect in ms-swift with tuner_type: {kind}.")
    return ""


def _read_lora(reading: Reading, names: Mapping[str, str]) -> None:
    """A pattern of names stands before a list of them."""
    targets = names.get("target_modules", "target_modules")
    if reading.has("target_regex"):
        reading.note(targets, "ignored", "has no effect in ms-swift beside target_regex.")
        targets = "target_regex"
    ratio = names.get("lorap_lr_ratio", "lorap_lr_ratio")
    other = reading.text("optimizer")
    if other not in {None, "lorap"}:
        reading.note(ratio, "ignored", f"has no effect in ms-swift beside optimizer: {other}.")
        ratio = ""
    dropout = names.get("lora_dropout", "lora_dropout")
    read_lora(
        reading,
        LoraDialect(dropout=dropout, targets=targets, ratio=ratio, init="init_weights", defaults=_DEFAULTS),
    )


def _read_weights(reading: Reading, key: str) -> None:
    if read_trainable(reading, "freeze_parameters_ratio", "trainable_parameters"):
        text = "is tune.kind: freeze, since all but trainable_parameters is frozen."
        reading.note(key, "carried", text, "tune.kind")
        reading.note("freeze_parameters", "ignored", "has no effect beside freeze_parameters_ratio: 1.")
        reading.note("freeze_parameters_regex", "ignored", "has no effect beside freeze_parameters_ratio: 1.")
        return
    reading.carry(key, "tune.kind", "full")
    text = "freezes or moves weights by name; every weight moves here. Write tune: {kind: freeze, trainable_blocks: 0, "
    text += "trainable_patterns: [...]}."
    for name in reading.source.values:
        if str(name).startswith(("freeze_parameters", "trainable_parameters")) and reading.value((name,)):
            reading.note((name,), "not_carried", text)


def read_quantised_base(reading: Reading) -> None:
    """Carry the codes of the base over; ms-swift makes some only where quant_method is said.

    Raises:
        ConfigError: a number of bits or a format that the method does not have.
    """
    method = reading.text("quant_method")
    float8 = reading.text("quant_bits") in {"float8", "fp8"}
    bits = 8 if float8 else reading.count("quant_bits")
    asked = None
    if method in {"awq", "gptq", "gptq_v2", "aqlm"}:
        text = "says that the base is quantised already; tuneloop reads no such folder. Give the whole one, and "
        reading.note("quant_method", "not_carried", text + "model.quantization.")
        reading.note("quant_bits", "not_carried", "belongs to quant_method.")
    elif method == "fp8":
        asked = Asked(("quant_method", "quant_bits"), 8, method)
    elif method and bits:
        asked = Asked(("quant_method", "quant_bits"), bits, method)
    elif method:
        raise reading.wrong("quant_method", f"is {method}, and quant_bits is missing.")
    else:
        reading.note("quant_bits", "ignored", "has no effect in ms-swift without quant_method.")
    if method != "hqq":
        reading.note("hqq_axis", "ignored", "has no effect in ms-swift without quant_method: hqq.")
    read_quantization(reading, asked, _CODES)


def read_chosen_optimizer(reading: Reading, names: Mapping[str, str]) -> None:
    """Carry the optimisers over that have keys of their own.

    Raises:
        ConfigError: a value that cannot be trained with.
    """
    key = "optimizer"
    ratio = names.get("lorap_lr_ratio", "lorap_lr_ratio")
    name = reading.text(key)
    if name is None and reading.recipe.get("tune.loraplus_lr_ratio"):
        name = "lorap"
    if name == "galore" or (name is None and reading.flag("use_galore")):
        _read_galore(reading)
        reading.note(key, "carried", "is GaLore, by galore_rank and the like.", "stages.0.optimizer")
        return
    note_others(reading, ("galore_*",), "has no effect in ms-swift without use_galore: true.")
    if reading.flag("use_galore"):
        reading.note("use_galore", "ignored", f"has no effect in ms-swift beside {name}.")
    match name:
        case None | "default":
            reading.note(key, "ignored", "is the Trainer's: optim chooses.")
        case "lorap":
            reading.note(key, "carried", f"is what {ratio} chooses by itself.", "tune.loraplus_lr_ratio")
        case "muon":
            decay = reading.number("weight_decay")
            text = "" if decay == 0 else "weight_decay pulls at biases and norms as well there"
            choose_muon(reading, key, text)
        case _:
            text = f"'{name}' is not an optimiser that tuneloop has; optim chooses."
            reading.note(key, "not_carried", text)


def _read_galore(reading: Reading) -> None:
    read_lowrank(reading, _GALORE)
    reading.note("galore_optim_per_parameter", "ignored", "is about memory: an optimiser for each matrix.")
    text = "belongs to Q-GaLore, which rounds directions and weights; tuneloop rounds neither."
    for name in reading.source.values:
        if str(name).startswith("galore_") and not reading.noted((name,)):
            reading.note((name,), "not_carried" if reading.flag("galore_quantization") else "ignored", text)
