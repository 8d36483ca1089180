"""ms-swift: a script with `swift sft --flags`, or the same as YAML or JSON. Checked against 4.6.0."""

import re
from typing import Any

from tuneloop.core.config import Source
from tuneloop.core.errors import ConfigError
from tuneloop.importers.dialect import TRAINER_DEFAULTS, Dialect
from tuneloop.importers.ledger import Reading
from tuneloop.importers.places import Places
from tuneloop.importers.rows import read_length, read_share, read_streaming, say_duplicates, say_overlong
from tuneloop.importers.source import load_mapping, load_script
from tuneloop.importers.swift_tuning import read_chosen_optimizer, read_quantised_base, read_tuning
from tuneloop.importers.training import read_training

TITLE = "ms-swift"
_METHODS = ("sft", "pt", "rlhf", "infer", "deploy", "export", "eval", "sample")
# trainers/arguments.py and arguments/sft_args.py; 0 steps: as many as make a batch of 16.
_DEFAULTS = TRAINER_DEFAULTS | {
    "per_device_train_batch_size": 1,
    "gradient_accumulation_steps": 0,
    "lr_scheduler_type": "cosine",
    "weight_decay": 0.1,
    "adam_beta2": 0.95,
    "gradient_checkpointing": True,
}
_OLD_NAMES = {
    "train_type": "tuner_type",
    "sft_type": "tuner_type",
    "model_id_or_path": "model",
    "batch_size": "per_device_train_batch_size",
    "lora_dropout_p": "lora_dropout",
    "lora_target_modules": "target_modules",
    "custom_train_dataset_path": "dataset",
    "dataset_test_ratio": "split_dataset_ratio",
    "lora_lr_ratio": "lorap_lr_ratio",
}
_SAMPLE = re.compile(r"(?P<name>.*?)(#(?P<sample>\d+))?")


def load(places: Places) -> Source:
    """Read a config; the method is kept under the key `(method)`.

    Raises:
        ConfigError: it is not readable, or holds no training command.
    """
    if places.config.suffix == ".sh":
        source, method = load_script(places.config, "swift", _METHODS)
    else:
        source, method = load_mapping(places.config), "sft"
    source.lines["(method)",] = method
    return source


def read(reading: Reading, places: Places) -> str:
    """Fill the recipe; the answer is why its method cannot be trained here, "" where it can.

    Raises:
        ConfigError: no model, no data, or a value that is none.
    """
    names = {new: old for old, new in _OLD_NAMES.items() if reading.has(old) and not reading.has(new)}
    unlike = _read_method(reading)
    _read_model(reading, places, names.get("model", "model"))
    held = _read_data(reading, places, names)
    read_streaming(reading, "streaming", held=held)
    _read_rows(reading)
    _read_template(reading)
    kind = reading.text(names.get("tuner_type", "tuner_type")) or "lora"
    unlike = read_tuning(reading, kind, names) or unlike
    read_quantised_base(reading)
    read_chosen_optimizer(reading, names)
    reading.open("env")
    world = reading.count(("env", "NPROC_PER_NODE")) or 1
    text = f"its {world} processes are counted into the batch."
    reading.note(("env", "NPROC_PER_NODE"), "differs", text, "stages.0.batch_size")
    rate = 1e-5 if kind == "full" else 1e-4
    names |= {"early_stopping_patience": "early_stop_interval"}
    packed = bool(reading.flag("packing"))
    if packed:
        reading.note("packing", "carried", "keeps packed rows apart, as tuneloop always does.")
    read_training(reading, Dialect(names, _DEFAULTS | {"learning_rate": rate}, packed=packed, world_size=world))
    return unlike


def _read_method(reading: Reading) -> str:
    method = reading.source.lines["(method)",]
    kind = reading.text("rlhf_type")
    unlike = ""
    if kind or method == "rlhf":
        unlike = f"rlhf_type: {kind or 'dpo'} is not supervised fine-tuning; tuneloop cannot train it yet."
        reading.note("rlhf_type", "not_carried", unlike)
    elif method == "pt" or reading.flag("use_chat_template") is False:
        unlike = "swift pt is continued pre-training, which tuneloop cannot yet."
    elif method != "sft":
        unlike = f"swift {method} trains nothing."
    task = reading.text("task_type")
    if task not in {None, "causal_lm"}:
        unlike = unlike or f"task_type: {task} is not text generation, which alone tuneloop trains."
        reading.note("task_type", "not_carried", f"{task} is not text generation.")
    else:
        reading.note("task_type", "carried", "is text generation, as here.")
    if reading.source.lines["(method)",] == "sft" and not reading.source.name.endswith(".sh"):
        reading.default("(sub-command)", "carried", "a file of arguments does not say it; taken as `swift sft`.")
    return unlike


def _read_model(reading: Reading, places: Places, key: str) -> None:
    model = reading.text(key)
    if not model:
        raise ConfigError(f"{places.config}: model is missing.")
    hub = "hf" if reading.flag("use_hf") else "modelscope"
    reading.carry(key, "model.source", places.model(model, hub))
    where = "Hugging Face" if hub == "hf" else "ModelScope; hf:NAME takes Hugging Face's copy, where there is one"
    reading.note("use_hf", "carried", f"names come from {where}.", "model.source")
    if reading.has("model_revision"):
        reading.carry("model_revision", "model.revision", reading.text("model_revision"))


def _list(reading: Reading, key: str) -> list[str]:
    """Data sets: a word with a comma is one data set, unlike in the other tools."""
    value = reading.value(key)
    if isinstance(value, dict) or (isinstance(value, list) and any(isinstance(item, dict | list) for item in value)):
        raise reading.wrong(key, "is a list of data sets.")
    items = value if isinstance(value, list) else [] if value is None else str(value).split()
    return [str(item) for item in items if item]


def _read_data(reading: Reading, places: Places, names: dict[str, str]) -> bool:
    key = names.get("dataset", "dataset")
    train = _list(reading, key)
    if not train:
        raise ConfigError(f"{places.config}: dataset is missing: nothing to learn from.")
    files = {"data.train": (key, train), "data.eval": ("val_dataset", _list(reading, "val_dataset"))}
    columns = _columns(reading)
    for target, (source_key, items) in files.items():
        specs, differs = [], []
        for item in items:
            specs += _files(reading, places, item, differs)
        specs = [{**spec, "columns": columns} if columns else spec for spec in specs]
        if specs:
            reading.recipe[target] = specs
            text = " ".join([f"is {target}: {len(specs)} file{'s' * (len(specs) != 1)}.", *dict.fromkeys(differs)])

            reading.note(source_key, "differs" if differs else "carried", text, target)
    held = bool(files["data.eval"][1])
    read_share(reading, names.get("split_dataset_ratio", "split_dataset_ratio"), held=held)
    if reading.has("interleave_prob"):
        text = "shares are not carried: set data.train[i].epochs so that epochs x rows stand in that ratio."
        reading.note("interleave_prob", "not_carried", text)
        reading.note("stopping_strategy", "not_carried", "belongs to interleave_prob.")
    if reading.flag("dataset_shuffle") is False:
        reading.carry("dataset_shuffle", "data.order", "file")
    else:
        reading.note("dataset_shuffle", "carried", "shuffles rows, as here.")
    return held


def _columns(reading: Reading) -> dict[str, str]:
    """`columns` maps the file's names to swift's; a recipe maps the other way."""
    value = reading.value("columns")
    if not isinstance(value, dict):
        reading.note("columns", "not_carried", "is JSON in text. Write data.train[i].columns: {ours: the file's}.")
        return {}
    reading.note("columns", "carried", "is data.train[i].columns, turned round.", "data.train")
    return {str(ours): str(theirs) for theirs, ours in value.items()}


def _files(reading: Reading, places: Places, item: str, differs: list[str]) -> list[dict[str, Any]]:
    """`hf::ORG/NAME:subset1/subset2#500`, or a file with `#500`."""
    hub, _, rest = item.rpartition("::")
    found = _SAMPLE.fullmatch(rest)
    assert found is not None
    name, sample = found["name"], found["sample"]
    subsets: list[str] = []
    if places.find(name) is None and ":" in name:
        name, _, listed = name.partition(":")
        subsets = [subset.strip() for subset in listed.split("/")]
    spec: dict[str, Any] = {"path": places.data(name)}
    if spec["path"].startswith("hf:") and hub.lower() != "hf" and not reading.flag("use_hf"):
        differs.append(
            "ms-swift takes hub data sets from ModelScope; tuneloop reads Hugging Face's of the same name, which may be"
            " another or none. Fetch them and give the files."
        )
    if name == "swift/self-cognition":
        differs.append(
            "self-cognition rows hold {{NAME}} and {{AUTHOR}}, which ms-swift fills in; write the names into a copy."
        )
    if sample and int(sample):
        spec["num_samples"] = int(sample)
    if not subsets:
        return [spec]
    if len(subsets) > 1 and sample:
        differs.append(f"#{sample} counts the rows of all subsets together in ms-swift, of each here.")
    return [{**spec, "subset": subset} for subset in subsets]


def _read_rows(reading: Reading) -> None:
    if reading.has("max_length"):
        read_length(reading, "max_length", 0)
    else:
        reading.recipe["data.cutoff_len"] = 32768
        text = "is the model's own limit; data.cutoff_len is 32768: set the longest that your memory takes."
        reading.default("max_length", "differs", text, "data.cutoff_len")
    match reading.text("truncation_strategy"):
        case None:
            text = "ms-swift leaves such rows out (delete), as tuneloop does: data.overlong: drop."
            reading.default("truncation_strategy", "carried", text, "data.overlong")
        case "delete":
            reading.carry("truncation_strategy", "data.overlong", "drop")
        case "left" | "right" as side:
            text = (
                f"cuts the {side} end, answers too; tuneloop leaves such rows out (data.overlong: drop), or cuts the "
            )
            reading.note("truncation_strategy", "differs", text + "question with truncate_prompt.", "data.overlong")
            say_overlong(reading, f"cuts the {side} end here")
        case "split":
            text = "splits a row into stretches of tokens; tuneloop's split_turns keeps whole exchanges together."
            reading.recipe["data.overlong"] = "split_turns"
            reading.note("truncation_strategy", "differs", text, "data.overlong")
        case other:
            raise reading.wrong("truncation_strategy", f"no '{other}'; ms-swift has delete, left, right and split.")
    say_duplicates(reading)
    scale = reading.text("loss_scale")
    match scale:
        case None | "default":
            reading.note("loss_scale", "carried", "learns every answer, as here.", "data.train_on")
        case "last_round":
            reading.carry("loss_scale", "data.train_on", "last")
        case "all":
            reading.note("loss_scale", "not_carried", "learns questions too; tuneloop learns answers alone.")
        case _:
            text = f"'{scale}' weighs parts of an answer by patterns; tuneloop weighs whole turns (weight) and rows."
            reading.note("loss_scale", "not_carried", text)


def _read_template(reading: Reading) -> None:
    target = "data.template"
    text = (
        "is ms-swift's own text of that template, default system text included; tuneloop takes the model's own and"
        " adds "
    )
    text += "no hidden text (data.template: auto). `tuneloop data show` prints the exact tokens."
    if reading.has("template"):
        reading.note("template", "differs", text, target)
    else:
        reading.default("template", "differs", "is chosen by the model: it " + text, target)
    if reading.has("system"):
        text = "is given to rows without a system turn; tuneloop adds no system text. Write it into the rows."
        reading.note("system", "not_carried", text)
    reading.note("agent_template", "not_carried", "tools are written by the model's own chat template.")
    reading.note("response_prefix", "not_carried", "is put before answers when generating; tuneloop adds nothing.")
    reading.note("torch_dtype", "ignored", "of the loaded weights; tuneloop's hardware.precision decides.")
