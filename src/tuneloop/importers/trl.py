"""TRL: the YAML of `trl sft --config`, or the command itself in a script. Checked against 1.16.0."""

from typing import Any

from tuneloop.core.config import Source
from tuneloop.core.errors import ConfigError
from tuneloop.importers.dialect import TRAINER_DEFAULTS, Dialect
from tuneloop.importers.ledger import Reading
from tuneloop.importers.places import Places
from tuneloop.importers.quantization import Asked, Details, read_quantization
from tuneloop.importers.rows import read_length, read_streaming, say_duplicates, say_overlong
from tuneloop.importers.source import load_mapping, load_script
from tuneloop.importers.training import read_training
from tuneloop.importers.tuning import LoraDialect, note_others, read_lora

TITLE = "TRL"
_METHODS = ("sft", "dpo", "kto", "grpo", "rloo", "reward", "distillation")
# Of DPO, KTO, GRPO and the reward trainer; SFTConfig has none of them. A YAML file does not say its sub-command.
_NOT_SFT = {"beta", "num_generations", "max_completion_length", "max_prompt_length", "desirable_weight", "reward_funcs"}
_NOT_SFT |= {"precompute_ref_log_probs", "reward_model_name_or_path", "center_rewards_coefficient", "label_smoothing"}
# trainer/base_config.py, sft_config.py, model_config.py
_DEFAULTS = TRAINER_DEFAULTS | {"learning_rate": 2e-5, "gradient_checkpointing": True}
_LORA = LoraDialect(
    rank="lora_r",
    targets="lora_target_modules",
    ratio="",
    defaults={"rank": 16, "alpha": 32, "dropout": 0.05, "targets": ["q_proj", "v_proj"]},
)
_CODES = Details("bnb_4bit_quant_type", "use_bnb_nested_quant", is_double=False, others=("bnb_4bit_quant_storage",))


def load(places: Places) -> Source:
    """Read a config; the method is kept under the key `(method)`.

    Raises:
        ConfigError: it is not readable, or holds no training command.
    """
    if places.config.suffix == ".sh":
        source, method = load_script(places.config, "trl", _METHODS)
        _fold_negations(source)
        return _with_method(source, method)
    source = load_mapping(places.config)
    return _with_method(source, next((key for key in source.values if key in _NOT_SFT), "sft"))


def _with_method(source: Source, method: str) -> Source:
    source.lines["(method)",] = method
    return source


def _fold_negations(source: Source) -> None:
    """`--no_packing` says `packing: false`."""
    for key in list(source.values):
        if key.startswith("no_") and source.values[key] is True:
            source.values[key.removeprefix("no_")] = False
            source.lines[key.removeprefix("no_"),] = source.lines[key,]
            del source.values[key]


def read(reading: Reading, places: Places) -> str:
    """Fill the recipe; the answer is why its method cannot be trained here, "" where it can.

    Raises:
        ConfigError: no model, no data, or a value that is none.
    """
    method = reading.source.lines["(method)",]
    unlike = ""
    if method in _NOT_SFT:
        unlike = f"'{method}' is a key of preference or reinforcement learning, which tuneloop cannot train yet."
    elif method != "sft":
        unlike = f"trl {method} is not supervised fine-tuning; tuneloop cannot train it yet."
    elif places.config.suffix != ".sh":
        reading.default(
            "(sub-command)", "carried", "a YAML file does not say it; taken as `trl sft`.", "stages.0.objective"
        )
    model = reading.text("model_name_or_path")
    if not model:
        raise ConfigError(f"{places.config}: model_name_or_path is missing.")
    reading.carry("model_name_or_path", "model.source", places.model(model))
    if reading.has("model_revision"):
        reading.carry("model_revision", "model.revision", reading.text("model_revision"))
    held = _read_data(reading, places)
    read_streaming(reading, "dataset_streaming", held=held)
    _read_rows(reading)
    _read_template(reading)
    _read_tuning(reading)
    _read_quantised_base(reading)
    reading.open("env")
    world = reading.count("num_processes") or 1
    reading.note(
        "num_processes", "differs", f"its {world} processes are counted into the batch.", "stages.0.batch_size"
    )
    read_training(reading, Dialect({}, _DEFAULTS, packed=bool(reading.flag("packing")), world_size=world))
    return unlike


def _read_tuning(reading: Reading) -> None:
    if reading.flag("use_peft"):
        reading.note("use_peft", "carried", "is tune.kind: lora.", "tune.kind")
        read_lora(reading, _LORA)
        if not reading.has("lora_target_modules"):
            text = "is chosen by PEFT for each architecture, mostly q_proj and v_proj: tune.targets names these two."
            reading.default("lora_target_modules", "differs", text, "tune.targets")
        return
    reading.recipe["tune.kind"] = "full"
    reading.note("use_peft", "carried", "is off: every weight moves (tune.kind: full).", "tune.kind")
    if not reading.has("use_peft"):
        reading.default("use_peft", "carried", "is off by itself: every weight moves (tune.kind: full).", "tune.kind")
    note_others(reading, ("lora_*", "use_rslora", "use_dora"), "has no effect in TRL without use_peft: true.")


def _read_quantised_base(reading: Reading) -> None:
    bits = {key: number for key, number in (("load_in_4bit", 4), ("load_in_8bit", 8)) if reading.flag(key)}
    if len(bits) > 1:
        raise reading.wrong("load_in_8bit", "is not possible beside load_in_4bit. Keep one.")
    asked = next((Asked((key,), number) for key, number in bits.items()), None)
    read_quantization(reading, asked, _CODES)


def _read_data(reading: Reading, places: Places) -> bool:
    mixture, name = reading.value("datasets"), reading.text("dataset_name")
    if mixture is not None:
        reading.recipe["data.train"] = _mixture(reading, places)
        reading.note("dataset_name", "ignored", "has no effect beside datasets.")
        for key in ("dataset_config", "dataset_train_split"):
            reading.note(key, "ignored", "has no effect beside datasets.")
        reading.note("dataset_test_split", "not_carried", "give the held-out rows in data.eval.")
        return False
    if not name:
        raise ConfigError(f"{places.config}: dataset_name is missing: nothing to learn from.")
    spec: dict[str, Any] = {"path": places.data(name)}
    reading.note("dataset_name", "carried", f"is data.train.0.path: {spec['path']}.", "data.train.0.path")
    if reading.has("dataset_config"):
        spec["subset"] = str(reading.text("dataset_config"))
        reading.note("dataset_config", "carried", "is data.train.0.subset.", "data.train.0.subset")
    test = {**spec, "split": reading.text("dataset_test_split") or "test"}
    if reading.has("dataset_train_split"):
        spec["split"] = str(reading.text("dataset_train_split"))
        reading.note("dataset_train_split", "carried", "is data.train.0.split.", "data.train.0.split")
    strategies = [reading.text(key) or "no" for key in ("eval_strategy", "evaluation_strategy")]
    held = any(strategy in {"steps", "epoch"} for strategy in strategies)
    text_field = reading.text("dataset_text_field")
    if text_field and text_field != "text":
        for file in (spec, test):
            file["columns"] = {"text": text_field}
        reading.note("dataset_text_field", "carried", "is columns.text of the file.", "data.train.0.columns")
    else:
        reading.note("dataset_text_field", "carried", "is the name that tuneloop reads too.")
    reading.recipe["data.train"] = [spec]
    if held:
        reading.recipe["data.eval"] = [test]
        reading.note("dataset_test_split", "carried", "is data.eval.0.split.", "data.eval")
        if not reading.has("dataset_test_split"):
            text = "is 'test': data.eval.0.split. Where the data set has none, take data.eval out."
            reading.default("dataset_test_split", "carried", text, "data.eval")
    else:
        text = "TRL trains on every row of the split and validates nothing; tuneloop holds out data.eval_fraction: 0.1."
        reading.note("dataset_test_split", "ignored", "has no effect in TRL without eval_strategy.")
        reading.default("(held-out rows)", "differs", text, "data.eval_fraction")
    return held


def _mixture(reading: Reading, places: Places) -> list[dict[str, Any]]:
    entries = reading.value("datasets")
    if not isinstance(entries, list) or not entries:
        raise reading.wrong("datasets", "is a list of data sets.")
    reading.open("datasets")
    files = []
    for index in range(len(entries)):
        at, target = ("datasets", index), f"data.train.{index}"
        if not reading.mapping(at).get("path"):
            raise reading.wrong(at, "is a mapping with a path.")
        reading.open(at)
        spec = {"path": places.data(str(reading.text((*at, "path"))))}
        reading.note((*at, "path"), "carried", f"is {target}.path: {spec['path']}.", f"{target}.path")
        for key, ours in (("name", "subset"), ("split", "split")):
            if reading.has((*at, key)):
                spec[ours] = str(reading.text((*at, key)))
                reading.note((*at, key), "carried", f"is {target}.{ours}.", f"{target}.{ours}")
        for key in ("data_dir", "data_files"):
            if reading.has((*at, key)):
                reading.note((*at, key), "not_carried", "the whole split is read. Give the file as path.")
        if reading.has((*at, "columns")):
            text = "only chose columns; tuneloop reads the fields of the format that it finds."
            reading.note((*at, "columns"), "differs", text)
        files.append(spec)
    return files


def _read_rows(reading: Reading) -> None:
    key = "max_length" if "max_length" in reading.source.values else "max_seq_length"
    if key in reading.source.values and not reading.has(key):
        text = (
            "is null: TRL sets no limit. tuneloop has one: data.cutoff_len is 32768; set the longest that your memory"
            " takes."
        )
        reading.recipe["data.cutoff_len"] = 32768
        reading.note(key, "differs", text, "data.cutoff_len")
    else:
        read_length(reading, key if reading.has(key) else "max_length", 1024)
        say_overlong(reading, "cuts the end, answers too")
    if reading.has("truncation_mode"):
        text = (
            f"{reading.text('truncation_mode')} cuts answers or questions; tuneloop cuts nothing (data.overlong: drop)."
        )
        reading.note("truncation_mode", "differs", text, "data.overlong")
    say_duplicates(reading)
    _read_masks(reading)
    if reading.flag("shuffle_dataset") is False:
        reading.note("shuffle_dataset", "ignored", "the Trainer shuffles each epoch all the same, as tuneloop does.")
    else:
        reading.note("shuffle_dataset", "carried", "rows are shuffled, as here.")
    loss = reading.text("loss_type")
    if loss in {"nll", "chunked_nll"}:
        reading.note("loss_type", "carried", "is cross-entropy, as here.")
    elif loss:
        reading.note("loss_type", "not_carried", f"{loss} is another loss; tuneloop has cross-entropy.")
    for key in ("dtype", "torch_dtype"):
        reading.note(key, "ignored", "of the loaded weights; tuneloop's hardware.precision decides.")


def _read_masks(reading: Reading) -> None:
    masked = reading.flag("assistant_only_loss")
    text = "TRL learns every token of `messages` and `text` rows, questions too; tuneloop learns the answers of "
    text += "conversations alone, and plain text whole."
    if masked:
        reading.note("assistant_only_loss", "carried", "is tuneloop's way: answers alone are learned.")
    elif reading.has("assistant_only_loss"):
        reading.note("assistant_only_loss", "differs", f"is off: {text}")
    else:
        reading.default("assistant_only_loss", "differs", text)
    if reading.flag("completion_only_loss") is False:
        text = "is off: TRL learns prompts too; tuneloop learns completions alone."
        reading.note("completion_only_loss", "differs", text)
    else:
        reading.note("completion_only_loss", "carried", "is tuneloop's way: completions alone are learned.")
    if reading.flag("packing"):
        strategy = reading.text("packing_strategy") or "bfd"
        apart = strategy == "bfd"
        text = "keeps packed rows apart and whole, as tuneloop does." if apart else (
            f"packs by '{strategy}', which cuts rows into pieces; tuneloop packs whole rows and keeps them apart."
        )  # fmt: skip
        reading.note("packing", "carried" if apart else "differs", text)
        reading.note("packing_strategy", "carried" if apart else "differs", text)


def _read_template(reading: Reading) -> None:
    if reading.has("chat_template_path"):
        text = "is not carried: put the template into the model's folder, or name one of tuneloop's in data.template."
        reading.note("chat_template_path", "not_carried", text)
    text = (
        "rows of messages go through the model's own template in both; where that adds hidden system text (as"
        " Qwen2.5's "
    )
    text += "does) tuneloop takes one of its own that is otherwise the same. data.template: model takes it as it is."
    reading.default("(template)", "differs", text, "data.template")
