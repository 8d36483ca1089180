"""LLaMA-Factory: which weights move, on which base, by which optimiser. Checked against 0.9.5."""

from tuneloop.importers.dialect import Fixed
from tuneloop.importers.freezing import read_blocks
from tuneloop.importers.ledger import Reading
from tuneloop.importers.lowrank import LowRank, read_lowrank
from tuneloop.importers.methods import read_oft
from tuneloop.importers.optimizers import choose_muon
from tuneloop.importers.quantization import Asked, Details, read_quantization
from tuneloop.importers.tuning import LoraDialect, note_others, read_lora

# hparams/finetuning_args.py
_LORA = LoraDialect(defaults={"rank": 8, "alpha": None, "dropout": 0.0, "targets": "all-linear"})
_GALORE = LowRank(
    "galore",
    by="use_galore",
    rank="galore_rank",
    update_steps="galore_update_interval",
    scale="galore_scale",
    targets="galore_target",
    layerwise="galore_layerwise",
    only={"galore_proj_type": "std"},
    defaults={"rank": 16, "update_steps": 200, "scale": 2.0},
)
_APOLLO = LowRank(
    "apollo",
    by="use_apollo",
    rank="apollo_rank",
    update_steps="apollo_update_interval",
    scale="apollo_scale",
    targets="apollo_target",
    layerwise="apollo_layerwise",
    only={"apollo_proj": "random", "apollo_proj_type": "std", "apollo_scale_type": "channel"},
    defaults={"rank": 16, "update_steps": 200, "scale": 32.0},
)
_KEYS = {
    "lora": ("lora_*", "loraplus_*", "use_rslora", "use_dora", "pissa_*"),
    "oft": ("oft_*", "module_dropout"),
    "freeze": ("freeze_trainable_*", "freeze_extra_modules"),
}
"""Of each way of tuning; the others read none of them."""
_CODES = Details("quantization_type", "double_quantization", is_double=True, others=("quantization_device_map",))


def read_tuning(reading: Reading) -> str:
    """Carry the way of tuning over; the answer is why it cannot be had here, "" where it can.

    Raises:
        ConfigError: a value that cannot be trained with.
    """
    key = "finetuning_type"
    kind = reading.text(key) or "lora"
    match kind:
        case "lora":
            reading.note(key, "carried", "is tune.kind: lora.", "tune.kind")
            read_lora(reading, _LORA)
            _read_pissa(reading)
            text = "is the rate of LoRA on embeddings, which tuneloop does not put there."
            reading.note("loraplus_lr_embedding", "ignored", text)
        case "full":
            reading.carry(key, "tune.kind", "full")
        case "oft":
            reading.note(key, "carried", "is tune.kind: oft.", "tune.kind")
            read_oft(reading)
        case "freeze":
            reading.note(key, "carried", "is tune.kind: freeze.", "tune.kind")
            read_blocks(reading)
        case _:
            unlike = f"finetuning_type: {kind} is not a way of tuning that tuneloop has."
            reading.note(key, "not_carried", unlike)
            return unlike
    others = [pattern for other, patterns in _KEYS.items() if other != kind for pattern in patterns]
    note_others(reading, others, f"has no effect in LLaMA-Factory with finetuning_type: {kind}.")
    return ""


def _read_pissa(reading: Reading) -> None:
    if not reading.flag("pissa_init"):
        for key in ("pissa_iter", "pissa_convert"):
            reading.note(key, "ignored", "has no effect in LLaMA-Factory without pissa_init: true.")
        return
    reading.carry("pissa_init", "tune.init", "pissa")
    rounds, target = reading.whole("pissa_iter"), "tune.pissa_iterations"
    if rounds == -1:
        reading.note("pissa_iter", "carried", "is -1: the decomposition is exact, tuneloop's default.", target)
    elif rounds is not None and rounds < 1:
        raise reading.wrong("pissa_iter", f"is {rounds}; give a number of rounds, or -1 for an exact decomposition.")
    else:
        reading.settle("pissa_iter", target, rounds, 16)
    text = "is done at every export: the adapter fits the base as it was."
    reading.note("pissa_convert", "carried", text, "tune.init")


def read_quantised_base(reading: Reading) -> None:
    """Carry the codes of the base over.

    Raises:
        ConfigError: a number of bits or a format that LLaMA-Factory does not have.
    """
    bits = reading.count("quantization_bit")
    method = reading.text("quantization_method") or "bnb"
    method = "bnb" if method == "bitsandbytes" else method
    asked = Asked(("quantization_bit",), bits, method) if bits else None
    read_quantization(reading, asked, _CODES)
    if asked is None:
        reading.note("quantization_method", "ignored", "has no effect in LLaMA-Factory without quantization_bit.")
    elif "model.quantization" in reading.recipe:
        same = method == "bnb"
        text = "is bitsandbytes, as here." if same else f"is {method}; tuneloop has bitsandbytes' codes."
        reading.note("quantization_method", "carried" if same else "differs", text, "model.quantization")


def read_chosen_optimizer(reading: Reading) -> dict[str, Fixed]:
    """Carry the optimisers over that have keys of their own; the answer is what they fix.

    Raises:
        ConfigError: a value that cannot be trained with.
    """
    fixed: dict[str, Fixed] = {}
    chosen = ""
    # In the order of train/trainer_utils.py: the first that is on is taken.
    for tool in (_GALORE, _APOLLO):
        family = f"{tool.kind}_*"
        if reading.flag(tool.by) and not chosen:
            chosen = tool.by
            fixed = read_lowrank(reading, tool)
            text = "compares a step with the last one: a fixed factor before or after it does not matter."
            reading.note("apollo_scale_front", "ignored", text)
        else:
            text = f"has no effect in LLaMA-Factory {f'beside {chosen}' if chosen else f'without {tool.by}: true'}."
            # Where nothing is chosen its own key is off, which is said of every such key.
            note_others(reading, (family, tool.by) if chosen else (family,), text)
    if reading.recipe.get("tune.loraplus_lr_ratio"):
        chosen = chosen or "loraplus_lr_ratio"
    for key in ("use_badam", "use_adam_mini"):
        chosen = chosen or (key if reading.flag(key) else "")
    if reading.flag("use_muon") and chosen:
        reading.note("use_muon", "ignored", f"has no effect in LLaMA-Factory beside {chosen}.")
    elif reading.flag("use_muon"):
        decay = reading.number("weight_decay")
        choose_muon(reading, "use_muon", "weight_decay pulls at biases and norms as well there" if decay else "")
    return fixed
