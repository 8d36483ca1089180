"""A foreign config to plain values with their lines: YAML, JSON or a shell script, read and never run."""

from collections.abc import Iterable
from functools import cache
from importlib.resources import files
from pathlib import Path

from tuneloop.core.config import Source, load_source
from tuneloop.core.errors import ConfigError
from tuneloop.importers.shell import Command, flags_to_source, read_commands

_MAX_BYTES = 1 << 20

SIGNS: dict[str, frozenset[str]] = {
    "llamafactory": frozenset(
        {
            "finetuning_type",
            "dataset_dir",
            "cutoff_len",
            "lora_target",
            "stage",
            "preprocessing_num_workers",
            "val_size",
        }
    ),
    "axolotl": frozenset(
        {"base_model", "sequence_len", "micro_batch_size", "val_set_size", "adapter", "sample_packing", "num_epochs"}
    ),
    "trl": frozenset({"dataset_name", "use_peft", "lora_target_modules", "dataset_train_split", "assistant_only_loss"}),
    "ms-swift": frozenset(
        {
            "train_type",
            "tuner_type",
            "sft_type",
            "split_dataset_ratio",
            "truncation_strategy",
            "rlhf_type",
            "loss_scale",
        }
    ),
}
"""Keys that one tool has and the others do not."""


@cache
def known_names(tool: str) -> frozenset[str]:
    """The keys of a tool, as its source declares them."""
    return frozenset((files("tuneloop.importers") / "names" / f"{tool}.txt").read_text(encoding="utf-8").split())


def load_mapping(path: Path) -> Source:
    """Read YAML or JSON, of bounded size also once its aliases are written out.

    Raises:
        ConfigError: no such file, not YAML, no mapping, or too large.
    """
    # Refuses what is too large to be worth parsing.
    read_text(path)
    source = load_source(path)
    if not source.values:
        raise ConfigError(f"{path}: is empty.")
    return source


def read_text(path: Path) -> str:
    """The text of a config.

    Raises:
        ConfigError: no such file, a folder, not UTF-8, or above 1 MiB.
    """
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise ConfigError(f"{path}: has more than {_MAX_BYTES >> 20} MiB; that is no config.")
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise ConfigError(f"{path}: no such file.") from error
    except (UnicodeDecodeError, IsADirectoryError) as error:
        raise ConfigError(f"{path}: not a UTF-8 text file.") from error


def load_script(path: Path, program: str, methods: Iterable[str]) -> tuple[Source, str]:
    """The flags of the one training command in a script, and its sub-command.

    `program sub-command --flags`, or any program that runs `.../sub-command.py --flags`.

    Raises:
        ConfigError: there is none, or there are several.
    """
    methods = tuple(methods)
    found: list[tuple[Command, int, str]] = []
    for command in read_commands(read_text(path), str(path)):
        words = [word for word, _ in command.words]
        for index, word in enumerate(words):
            if word.rpartition("/")[2] == program and index + 1 < len(words) and words[index + 1] in methods:
                found.append((command, index + 2, words[index + 1]))
                break
            name = word.rpartition("/")[2]
            if name.endswith(".py") and name.removesuffix(".py") in methods:
                found.append((command, index + 1, name.removesuffix(".py")))
                break
    if not found:
        raise ConfigError(f"{path}: has no `{program} {'|'.join(methods)}` command.")
    if len(found) > 1:
        lines = ", ".join(str(command.words[0][1]) for command, _, _ in found)
        raise ConfigError(f"{path}: has {len(found)} training commands (lines {lines}). Leave one in the file.")
    command, start, method = found[0]
    return flags_to_source(command.words[start:], command, str(path)), method


def check_tool(tool: str, source: Source) -> None:
    """Refuse a config that is of another tool.

    Raises:
        ConfigError: it has no sign of this tool, and two or more of another.
    """
    signs = {name: sorted(found) for name, keys in SIGNS.items() if (found := keys & set(source.values))}
    other = max((name for name in signs if name != tool), key=lambda name: len(signs[name]), default=None)
    if tool not in signs and other and len(signs[other]) > 1:
        raise ConfigError(
            f"{source.name}: this is a config of {other}: it has {', '.join(signs[other])}. "
            f"Run: tuneloop import {other} {source.name}"
        )
