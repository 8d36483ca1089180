"""Axolotl: which weights move, on which base, by which optimiser. Checked against 0.19.0."""

from tuneloop.importers.dialect import Fixed
from tuneloop.importers.freezing import read_unfrozen
from tuneloop.importers.ledger import Reading
from tuneloop.importers.optimizers import choose_muon
from tuneloop.importers.quantization import Asked, Details, read_quantization
from tuneloop.importers.tuning import LoraDialect, note_others, read_lora

_LORA = LoraDialect(
    rank="lora_r",
    targets="lora_target_modules",
    rslora="peft_use_rslora",
    dora="peft_use_dora",
    init="peft_init_lora_weights",
    rank_pattern="lora_rank_pattern",
    alpha_pattern="lora_alpha_pattern",
    # PEFT's own defaults, which Axolotl leaves in force.
    defaults={"rank": 8, "alpha": 8, "dropout": 0.0, "targets": "all-linear"},
)
_ADAPTER_KEYS = ("lora_*", "loraplus_*", "peft", "peft_*", "qlora_*")
_CODES = ("bnb_config_kwargs", "bnb_4bit_quant_type"), ("bnb_config_kwargs", "bnb_4bit_use_double_quant")
_TYPES = tuple(("bnb_config_kwargs", f"bnb_4bit_{name}") for name in ("compute_dtype", "quant_storage"))
# axolotl.contribs.mit.muon: its AdamW for embeddings and head.
_MUON_BETAS = {"adam_beta1": 0.95, "adam_beta2": 0.95}


def read_tuning(reading: Reading) -> None:
    """Carry the way of tuning over.

    Raises:
        ConfigError: a value that cannot be trained with.
    """
    kind = reading.text("adapter")
    match kind:
        case None | "":
            _read_weights(reading)
            return
        case "lora":
            reading.note("adapter", "carried", "is tune.kind: lora.", "tune.kind")
        case "qlora":
            text = "is tune.kind: lora on a base in 4 bits (model.quantization)."
            reading.note("adapter", "carried", text, "tune.kind")
        case other:
            text = f"{other} is not there; tuneloop trains LoRA instead."
            reading.note("adapter", "differs", text, "tune.kind")
    if reading.flag("lora_target_linear"):
        reading.carry("lora_target_linear", "tune.targets", "all-linear")
    read_lora(reading, _LORA)
    _read_loftq(reading)
    for key, text in _SILENT.items():
        reading.note(key, "ignored", text)
    key = "unfrozen_parameters"
    if reading.has(key):
        text = "beside an adapter it chooses among its weights and the base's; tuneloop moves the adapter alone."
        reading.note(key, "not_carried", text)


_SILENT = {
    "loraplus_lr_embedding": "is the rate of LoRA on embeddings, which tuneloop does not put there.",
    "lora_fan_in_fan_out": "says how weights lie; tuneloop sees it.",
    "lora_on_cpu": "is about memory while loading.",
    "qlora_sharded_model_loading": "is about memory while loading.",
}


def _read_weights(reading: Reading) -> None:
    key = "unfrozen_parameters"
    if not read_unfrozen(reading, key):
        reading.recipe["tune.kind"] = "full"
        reading.default("adapter", "carried", "is absent: every weight moves (tune.kind: full).", "tune.kind")
        text = "names weights by patterns or ranges that tune.trainable_patterns cannot say: every weight moves. "
        text += "Write tune: {kind: freeze, trainable_blocks: 0, trainable_patterns: [...]}."
        if reading.has(key):
            reading.note(key, "not_carried", text)
    note_others(reading, _ADAPTER_KEYS, "has no effect in Axolotl without an adapter.")


def _read_loftq(reading: Reading) -> None:
    """`peft: {loftq_config: {loftq_bits: 4}}`."""
    if reading.mapping("peft"):
        text = "begins A and B with what rounding the base to few bits loses (LoftQ); tuneloop has no such beginning: "
        text += "B begins at zero, on the base as it is. A base in 4 bits is model.quantization."
        reading.note("peft", "not_carried", text)


def read_quantised_base(reading: Reading) -> None:
    """Carry the codes of the base over: Axolotl's are nf4 with double quantisation, unless bnb_config_kwargs says more.

    Raises:
        ConfigError: a format that bitsandbytes does not have.
    """
    kind = reading.text("adapter") or ""
    in_4_bits, in_8_bits = reading.flag("load_in_4bit"), reading.flag("load_in_8bit")
    asked = None
    if kind == "qlora":
        asked = Asked(("load_in_4bit",), 4)
        if not in_4_bits:
            text = "is what adapter: qlora wants; model.quantization: nf4 is written."
            reading.default("load_in_4bit", "carried", text, "model.quantization")
    elif kind and in_8_bits:
        asked = Asked(("load_in_8bit",), 8)
    if in_4_bits and kind and asked is None:
        reading.note("load_in_4bit", "ignored", f"has no effect in Axolotl with adapter: {kind}; qlora takes 4 bits.")
    elif in_4_bits or in_8_bits:
        text = "is refused by Axolotl without an adapter; the base is loaded in its own precision."
        for key in ("load_in_4bit", "load_in_8bit"):
            if not kind and reading.flag(key):
                reading.note(key, "not_carried", text)
    if reading.mapping("bnb_config_kwargs"):
        reading.open("bnb_config_kwargs")
    read_quantization(reading, asked, Details(*_CODES, is_double=True, others=_TYPES))


def read_chosen_optimizer(reading: Reading) -> tuple[dict[str, Fixed], dict[str, float]]:
    """Carry what Axolotl decides itself over: what it fixes of the Trainer's numbers, and its own defaults."""
    if reading.text("optimizer") == "muon":
        choose_muon(reading, "optimizer", "biases and norms do not learn there, and do here")
        return {}, _MUON_BETAS
    if reading.recipe.get("tune.loraplus_lr_ratio"):
        # peft's optimiser for LoRA+ has a decay of its own, 0, which Axolotl does not set.
        return {"weight_decay": Fixed(0.0, "loraplus_lr_ratio")}, {}
    return {}, {}
