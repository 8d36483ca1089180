"""LLaMA-Factory: the YAML of `llamafactory-cli train`, with its `dataset_info.json`. Checked against 0.9.5."""

from typing import Any

from tuneloop.core.config import Source
from tuneloop.core.errors import ConfigError
from tuneloop.importers.dataset_info import DatasetInfo, find_dataset, load_dataset_info
from tuneloop.importers.dialect import TRAINER_DEFAULTS, Dialect
from tuneloop.importers.ledger import Reading
from tuneloop.importers.llamafactory_tuning import read_chosen_optimizer, read_quantised_base, read_tuning
from tuneloop.importers.places import Places
from tuneloop.importers.rows import read_length, read_share, read_streaming, say_duplicates, say_overlong
from tuneloop.importers.source import load_mapping
from tuneloop.importers.training import read_training

TITLE = "LLaMA-Factory"
_STAGES = {"pt": "continued pre-training", "rm": "reward modelling", "ppo": "PPO", "dpo": "DPO", "kto": "KTO"}


def load(places: Places) -> Source:
    """Read a config.

    Raises:
        ConfigError: it is not readable, or is of the new form.
    """
    source = load_mapping(places.config)
    if "train_dataset" in source.values and "model" in source.values:
        raise ConfigError(
            f"{places.config}: is of LLaMA-Factory's new form (v1: model, train_dataset, peft_config), which is not "
            "read yet. Write model_name_or_path, dataset and the flat names, or the recipe by hand."
        )
    return source


def read(reading: Reading, places: Places) -> str:
    """Fill the recipe; the answer is why its method cannot be trained here, "" where it can.

    Raises:
        ConfigError: no model, no data, or a data set that cannot be read.
    """
    model = reading.text("model_name_or_path")
    if not model:
        raise ConfigError(f"{places.config}: model_name_or_path is missing.")
    reading.carry("model_name_or_path", "model.source", places.model(model))
    if reading.has("model_revision"):
        reading.carry("model_revision", "model.revision", reading.text("model_revision"))
    _read_data(reading, places)
    _read_template(reading)
    _read_masks(reading)
    unlike = _read_method(reading)
    read_quantised_base(reading)
    world = reading.count("ray_num_workers") or 1
    if world > 1:
        reading.note(
            "ray_num_workers", "differs", f"its {world} processes are counted into the batch.", "stages.0.batch_size"
        )
    packed = bool(reading.flag("packing") or reading.flag("neat_packing"))
    defaults = {**TRAINER_DEFAULTS, "gradient_checkpointing": not reading.flag("disable_gradient_checkpointing")}
    off = reading.flag("disable_gradient_checkpointing")
    if off is not None:
        reading.carry("disable_gradient_checkpointing", "stages.0.gradient_checkpointing", not off)
    names = {"early_stopping_patience": "early_stopping_steps"}
    fixed = read_chosen_optimizer(reading)
    read_training(reading, Dialect(names, defaults, packed=packed, world_size=world, fixed=fixed))
    return unlike


def _read_method(reading: Reading) -> str:
    stage = reading.text("stage") or "sft"
    unlike = ""
    if stage in _STAGES:
        unlike = f"stage: {stage} is {_STAGES[stage]}, which tuneloop cannot train yet."
        reading.note("stage", "not_carried", unlike)
    elif stage == "sft":
        reading.note("stage", "carried", "is supervised fine-tuning.", "stages.0.objective")
    else:
        raise reading.wrong("stage", f"no stage '{stage}'; LLaMA-Factory has sft, {', '.join(_STAGES)}.")
    unlike = unlike or read_tuning(reading)
    if reading.flag("do_predict") and not reading.flag("do_train"):
        unlike = unlike or "do_predict without do_train trains nothing."
        reading.note("do_predict", "not_carried", "predicts only; `tuneloop eval` measures a model.")
    return unlike


def _read_data(reading: Reading, places: Places) -> None:
    folder = reading.text("dataset_dir") or "data"
    names, held_out = reading.words("dataset"), reading.words("eval_dataset")
    if not names and not held_out:
        raise ConfigError(f"{places.config}: dataset is missing: nothing to learn from.")
    if folder.startswith("REMOTE:") and places.data_folder is None:
        raise reading.wrong(
            "dataset_dir",
            f"is fetched from a hub. Fetch {folder.removeprefix('REMOTE:')} and name it with --dataset-dir.",
        )
    if folder == "ONLINE":
        train = [_limited(reading, {"path": places.data(name), "format": "alpaca"}) for name in names]
        held = [{"path": places.data(name), "format": "alpaca"} for name in held_out]
        differs: list[str] = []
        reading.note("dataset_dir", "carried", "takes names as names of the hub.", "data.train")
    else:
        info = load_dataset_info(folder, places)
        reading.note("dataset_dir", "carried", f"is where {info.path} was read.", "data.train")
        train, differs = _specs(reading, info, names, places)
        held, more = _specs(reading, info, held_out, places)
        differs += more
        if not reading.has("dataset_dir"):
            reading.default("dataset_dir", "carried", f"is 'data': {info.path} was read.", "data.train")
    if not names:
        train, held = held, []
        reading.note("eval_dataset", "differs", "is all the data there is; it became data.train.", "data.train")
    reading.recipe["data.train"] = train
    _note_data(reading, "dataset", names, differs, "data.train")
    if held:
        reading.recipe["data.eval"] = held
        _note_data(reading, "eval_dataset", held_out, [], "data.eval")
    _read_held_out(reading, held=bool(held))
    _read_mix(reading)


def _note_data(reading: Reading, key: str, names: list[str], differs: list[str], target: str) -> None:
    text = f"is {target}: {len(names)} file{'s' * (len(names) != 1)}, with every field of dataset_info.json."
    reading.note(key, "differs" if differs else "carried", " ".join([text, *differs]), target)


def _specs(
    reading: Reading, info: DatasetInfo, names: list[str], places: Places
) -> tuple[list[dict[str, Any]], list[str]]:
    found = [find_dataset(info, name, places) for name in names]
    return [_limited(reading, item.spec) for item in found], [text for item in found for text in item.differs]


def _limited(reading: Reading, spec: dict[str, Any]) -> dict[str, Any]:
    """max_samples holds for each data set, not for all together."""
    most = reading.whole("max_samples")
    if most is None:
        return spec
    if most < 1:
        raise reading.wrong("max_samples", f"is {most}; give a number of at least 1.")
    return {**spec, "num_samples": min(most, spec.get("num_samples", most))}


def _read_held_out(reading: Reading, *, held: bool) -> None:
    most = reading.whole("max_samples")
    reading.note(
        "max_samples",
        "differs",
        f"takes the first {most} rows of each data set; tuneloop's num_samples takes {most} by chance (by the seed).",
        "data.train.num_samples",
    )
    read_share(reading, "val_size", held=held)
    read_streaming(reading, "streaming", held=held)


def _read_mix(reading: Reading) -> None:
    mix = reading.text("mix_strategy")
    if mix in {None, "concat"}:
        reading.note("mix_strategy", "carried", "puts all files together, as here.")
    else:
        text = f"{mix} draws from the files in turn; tuneloop takes every row of each once an epoch. "
        reading.note(
            "mix_strategy", "differs", text + "Set data.train[i].epochs, or data.mixing.temperature.", "data.train"
        )
    probabilities = ", ".join(reading.words("interleave_probs"))
    text = (
        f"shares {probabilities} are not carried: set data.train[i].epochs so that epochs x rows stand in that ratio."
    )
    reading.note("interleave_probs", "not_carried", text)
    if reading.flag("disable_shuffling"):
        reading.carry("disable_shuffling", "data.order", "file")


def _read_template(reading: Reading) -> None:
    target = "data.template"
    text = (
        f"is {TITLE}'s own template, default system text included; tuneloop takes the model's own and adds no hidden "
        "text (data.template: auto). `tuneloop data show` prints the exact tokens; a name of tuneloop's own "
        "templates (chatml, llama3, gemma, mistral) takes that."
    )
    if reading.has("template"):
        reading.note("template", "differs", text, target)
    else:
        text = (
            "without it base models get bare text in LLaMA-Factory; tuneloop takes the model's own (data.template:"
            " auto)."
        )
        reading.default("template", "differs", text, target)
    if reading.has("default_system"):
        text = "is not carried: tuneloop adds no system text. Write it into the rows as their system turn."
        reading.note("default_system", "not_carried", text)
    thinking = (
        "the thinking of reasoning models: LLaMA-Factory adds an empty thought where rows have none; tuneloop adds "
    )
    thinking += "nothing that the model's template does not."
    if reading.has("enable_thinking"):
        reading.note("enable_thinking", "differs", f"is about {thinking}")
    else:
        reading.default("enable_thinking", "differs", thinking)


def _read_masks(reading: Reading) -> None:
    read_length(reading, "cutoff_len", 2048)
    say_overlong(reading, "cuts question and answer in proportion")
    say_duplicates(reading)
    if reading.flag("mask_history"):
        reading.carry("mask_history", "data.train_on", "last")
    if reading.flag("train_on_prompt"):
        reading.note("train_on_prompt", "not_carried", "learns questions too; tuneloop learns answers alone.")
    if reading.flag("neat_packing"):
        reading.note("neat_packing", "carried", "keeps packed rows apart, as tuneloop always does.")
        reading.note("packing", "carried", "is neat_packing's.")
    elif reading.flag("packing"):
        text = "lets packed rows see each other; tuneloop always keeps them apart and fills its batches by itself."
        reading.note("packing", "differs", text)
