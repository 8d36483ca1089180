"""Axolotl: the YAML of `axolotl train`. Checked against 0.19.0."""

from tuneloop.core.config import Source
from tuneloop.core.errors import ConfigError
from tuneloop.importers.axolotl_data import read_datasets
from tuneloop.importers.axolotl_tuning import read_chosen_optimizer, read_quantised_base, read_tuning
from tuneloop.importers.dialect import TRAINER_DEFAULTS, Dialect
from tuneloop.importers.ledger import Reading
from tuneloop.importers.places import Places
from tuneloop.importers.rows import read_length, read_share, read_streaming, say_duplicates, say_overlong
from tuneloop.importers.source import load_mapping
from tuneloop.importers.training import read_training

TITLE = "Axolotl"
_OUR_EVALUATIONS = 2
_NAMES = {
    "num_train_epochs": "num_epochs",
    "per_device_train_batch_size": "micro_batch_size",
    "lr_scheduler_type": "lr_scheduler",
    "optim": "optimizer",
}
# utils/schemas/training.py and config.py; the warm-up is core/builders/base.py.
_DEFAULTS = TRAINER_DEFAULTS | {
    "num_train_epochs": 1.0,
    "per_device_train_batch_size": 1,
    "lr_scheduler_type": "cosine",
    "warmup_ratio": 0.03,
}


def load(places: Places) -> Source:
    """Read a config.

    Raises:
        ConfigError: it is not readable.
    """
    return load_mapping(places.config)


def read(reading: Reading, places: Places) -> str:
    """Fill the recipe; the answer is why its method cannot be trained here, "" where it can.

    Raises:
        ConfigError: no model, no data, or a value that is none.
    """
    model = reading.text("base_model")
    if not model:
        raise ConfigError(f"{places.config}: base_model is missing.")
    reading.carry("base_model", "model.source", places.model(model))
    for key in ("revision_of_model", "model_revision"):
        if reading.has(key):
            reading.carry(key, "model.revision", reading.text(key))
    unlike = _read_method(reading)
    held = read_datasets(reading, places)
    read_share(reading, "val_set_size", held=held)
    read_streaming(reading, "streaming", held=held)
    _read_rows(reading)
    _read_template(reading)
    read_tuning(reading)
    read_quantised_base(reading)
    packed = bool(reading.flag("sample_packing"))
    if packed:
        reading.note("sample_packing", "carried", "keeps packed rows apart, as tuneloop always does.")
    _read_evaluations(reading)
    if isinstance(reading.value("special_tokens"), dict):
        reading.open("special_tokens")
    fixed, defaults = read_chosen_optimizer(reading)
    read_training(reading, Dialect(_NAMES, _DEFAULTS | defaults, packed=packed, fixed=fixed))
    return unlike


def _read_method(reading: Reading) -> str:
    unlike = ""
    method = reading.text("rl")
    if method:
        unlike = f"rl: {method} is not supervised fine-tuning; tuneloop cannot train it yet."
        reading.note("rl", "not_carried", unlike)
    for key in ("reward_model", "process_reward_model"):
        if reading.flag(key):
            unlike = unlike or f"{key}: true trains a reward model, which tuneloop cannot yet."
            reading.note(key, "not_carried", unlike)
    if reading.has("pretraining_dataset"):
        unlike = unlike or "pretraining_dataset is continued pre-training, which tuneloop cannot yet."
    return unlike


def _read_rows(reading: Reading) -> None:
    read_length(reading, "sequence_len", 512)
    match reading.text("excess_length_strategy"):
        case None:
            text = "Axolotl leaves such rows out, as tuneloop does: data.overlong: drop."
            reading.default("(over-long rows)", "carried", text, "data.overlong")
        case "drop":
            reading.carry("excess_length_strategy", "data.overlong", "drop")
        case "raise":
            reading.carry("excess_length_strategy", "data.overlong", "error")
        case "truncate":
            text = (
                "cuts the end, answers too; tuneloop leaves such rows out (data.overlong: drop), or cuts the question "
            )
            text += "with truncate_prompt."
            reading.note("excess_length_strategy", "differs", text, "data.overlong")
            say_overlong(reading, "cuts here")
        case other:
            raise reading.wrong("excess_length_strategy", f"no '{other}'; Axolotl has drop, truncate and raise.")
    if reading.flag("dataset_exact_deduplication"):
        reading.note("dataset_exact_deduplication", "carried", "is data.duplicates: drop, tuneloop's default.")
    else:
        say_duplicates(reading)
    if reading.flag("train_on_inputs"):
        reading.note("train_on_inputs", "not_carried", "learns questions too; tuneloop learns answers alone.")
    if reading.flag("shuffle_merged_datasets") is False or reading.flag("curriculum_sampling"):
        reading.recipe["data.order"] = "file"
        for key in ("shuffle_merged_datasets", "curriculum_sampling"):
            reading.note(key, "carried", "is data.order: file, rows as they stand.", "data.order")
    else:
        reading.note("shuffle_merged_datasets", "carried", "shuffles all rows, as here.")
        reading.note("curriculum_sampling", "ignored", "is off, as it is here.")


def _read_template(reading: Reading) -> None:
    name = reading.text("chat_template")
    target = "data.template"
    if name in {"tokenizer_default", None}:
        text = "is the model's own; tuneloop takes that too, less hidden system text where it adds any."
        reading.note("chat_template", "carried", text, target)
    else:
        text = f"{name} is Axolotl's own text of that template; tuneloop takes the model's own (data.template: auto). "
        text += "chatml, llama3, gemma and mistral name tuneloop's own; `tuneloop data show` prints the exact tokens."
        reading.note("chat_template", "differs", text, target)
    reading.note("chat_template_jinja", "not_carried", "put the template into the model's folder instead.")
    if reading.has("default_system_message"):
        text = "is not carried: tuneloop adds no system text. Write it into the rows as their system turn."
        reading.note("default_system_message", "not_carried", text)


def _read_evaluations(reading: Reading) -> None:
    if reading.has("evals_per_epoch"):
        text = f"is {reading.value('evals_per_epoch')}; tuneloop validates twice an epoch. Set stages.0.eval_steps."
        twice = reading.number("evals_per_epoch") == _OUR_EVALUATIONS
        reading.note("evals_per_epoch", "carried" if twice else "differs", text, "stages.0.eval_steps")
    if reading.has("batch_size"):
        reading.note("batch_size", "ignored", "is an old key; micro_batch_size x gradient_accumulation_steps decides.")
