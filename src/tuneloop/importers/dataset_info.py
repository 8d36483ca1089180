"""LLaMA-Factory's `dataset_info.json`: a data set's name to the files of a recipe."""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from tuneloop.core.errors import ConfigError
from tuneloop.importers.places import Places

FILE_NAME = "dataset_info.json"
_SOURCES = ("hf_hub_url", "ms_hub_url", "om_hub_url", "script_url", "cloud_file_name", "file_name")
_KNOWN = {
    *_SOURCES,
    "formatting",
    "ranking",
    "subset",
    "split",
    "folder",
    "num_samples",
    "columns",
    "tags",
    "file_sha1",
}
_MEDIA = ("images", "videos", "audios")
_EVERYWHERE = {name: name for name in ("system", "tools", *_MEDIA)}
_COLUMNS = {
    "alpaca": {"prompt": "instruction", "query": "input", "response": "output", "history": "history", **_EVERYWHERE},
    "sharegpt": {"messages": "messages", **_EVERYWHERE},
    "openai": {"messages": "messages", **_EVERYWHERE},
}
# parser.py, DatasetAttr: what is read where no `columns` are given.
_DEFAULT_COLUMNS = {
    "alpaca": {"prompt": "instruction", "query": "input", "response": "output"},
    "sharegpt": {"messages": "conversations"},
    "openai": {"messages": "conversations"},
}
_DEFAULT_TAGS = {
    "role_tag": "from",
    "content_tag": "value",
    "user_tag": "human",
    "assistant_tag": "gpt",
    "observation_tag": "observation",
    "function_tag": "function_call",
    "system_tag": "system",
}
_ROLES = {"user_tag": "user", "assistant_tag": "assistant", "system_tag": "system"}
_ROLES |= {"observation_tag": "tool", "function_tag": "assistant"}
# What every format of ours reads by itself.
_USUAL_ROLES = {"human", "user", "gpt", "assistant", "system", "observation", "function_call", "tool"}


@dataclass(frozen=True)
class Found:
    """One data set as a recipe's file, and what is to be said of it."""

    spec: dict[str, Any]
    differs: tuple[str, ...] = ()


@dataclass(frozen=True)
class DatasetInfo:
    """A `dataset_info.json` that was read."""

    path: Path
    entries: Mapping[str, Any]

    def entry(self, name: str) -> Mapping[str, Any]:
        """The entry of a data set.

        Raises:
            ConfigError: there is none, or it is no mapping.
        """
        if name not in self.entries:
            near = difflib.get_close_matches(name, list(self.entries), n=1, cutoff=0.5)
            hint = f"Did you mean '{near[0]}'?" if near else f"It has {len(self.entries)} others."
            raise ConfigError(f"{self.path}: has no data set '{name}'. {hint}")
        entry = self.entries[name]
        if not isinstance(entry, Mapping):
            raise ConfigError(f"{self.path}: '{name}' is not a mapping.")
        return entry


def load_dataset_info(folder: str, places: Places) -> DatasetInfo:
    """Find and read the `dataset_info.json` of a data folder.

    Raises:
        ConfigError: it is nowhere, or not JSON.
    """
    if places.data_folder is not None:
        looked = [places.data_folder / FILE_NAME]
    else:
        looked = [base / folder / FILE_NAME for base in places.bases()]
        looked.append(places.config.parent / FILE_NAME)
    path = next((candidate for candidate in looked if candidate.is_file()), None)
    if path is None:
        raise ConfigError(
            f"{places.config}: no {FILE_NAME} to look data sets up in; looked in "
            f"{', '.join(dict.fromkeys(str(candidate.parent) for candidate in looked))}. "
            "Name its folder with --dataset-dir."
        )
    try:
        entries = orjson.loads(path.read_bytes().removeprefix(b"\xef\xbb\xbf"))
    except orjson.JSONDecodeError as error:
        raise ConfigError(f"{path}:{error.lineno}: not valid JSON: {error.msg}.") from error
    if not isinstance(entries, dict):
        raise ConfigError(f"{path}: is a mapping from names to data sets.")
    return DatasetInfo(path, entries)


def find_dataset(info: DatasetInfo, name: str, places: Places) -> Found:
    """The file of a recipe for one name.

    Raises:
        ConfigError: there is no such name, or its rows come from a program or a cloud store.
    """
    entry = info.entry(name)
    differs: list[str] = []
    where = f"{info.path}: '{name}'"
    unknown = sorted(set(entry) - _KNOWN)
    if unknown:
        differs.append(f"{name}: {', '.join(unknown)} in {FILE_NAME} is not a field of LLaMA-Factory.")
    spec: dict[str, Any] = {"path": _path(entry, info, where, places, differs, name)}
    formatting = entry.get("formatting") or "alpaca"
    if formatting not in _COLUMNS:
        raise ConfigError(f"{where}: formatting is '{formatting}'; it is alpaca, sharegpt or openai.")
    columns = _mapping(entry, "columns", where)
    tags = _mapping(entry, "tags", where)
    preference = bool(entry.get("ranking"))
    kto = bool(columns.get("kto_tag"))
    spec["format"] = (
        "preference" if preference else "kto" if kto else {"openai": "messages"}.get(formatting, formatting)
    )
    spec["columns"] = _columns(formatting, columns, preference=preference, kto=kto)
    spec["only_columns"] = True
    if formatting != "alpaca":
        spec["columns"] |= _turn_columns(tags)
        spec["roles"] = _roles(tags)
    media = [kind for kind in _MEDIA if columns.get(kind)]
    if media:
        differs.append(f"{name}: its {', '.join(media)} are not read: rows that have them are left out and counted.")
    for key in ("subset", "split", "num_samples"):
        if entry.get(key) is not None:
            spec[key] = entry[key]
    if entry.get("folder"):
        differs.append(
            f"{name}: only the folder '{entry['folder']}' of it was read; tuneloop reads the whole data set."
        )
    if spec.get("num_samples"):
        differs.append(
            f"{name}: num_samples draws with repetition where there are too few rows; tuneloop never repeats."
        )
    return Found({key: value for key, value in spec.items() if value not in ({}, None)}, tuple(differs))


def _path(
    entry: Mapping[str, Any], info: DatasetInfo, where: str, places: Places, differs: list[str], name: str
) -> str:
    source = next((key for key in _SOURCES if entry.get(key)), None)
    match source:
        case "hf_hub_url":
            return f"hf:{entry[source]}"
        case "ms_hub_url" | "om_hub_url":
            hub = {"ms_hub_url": "ModelScope", "om_hub_url": "Modelers (openMind)"}[source]
            differs.append(f"{name}: lies on {hub}, which tuneloop does not read; fetch it and set its path.")
            return f"hf:{entry[source]}"
        case "script_url":
            raise ConfigError(
                f"{where}: its rows are made by a program ({entry[source]}). tuneloop runs no code of a data set: "
                "run it yourself, save the rows as JSONL, and give the file."
            )
        case "cloud_file_name":
            raise ConfigError(f"{where}: lies in a cloud store ({entry[source]}). Fetch the file, and give its path.")
        case "file_name":
            return places.relative(info.path.parent / str(entry[source]))
        case _:
            raise ConfigError(f"{where}: names no source. Give one of {', '.join(_SOURCES)}.")


def _mapping(entry: Mapping[str, Any], key: str, where: str) -> Mapping[str, Any]:
    found = entry.get(key)
    if found is not None and not isinstance(found, Mapping):
        raise ConfigError(f"{where}: {key} is not a mapping.")
    return found or {}


def _columns(formatting: str, columns: Mapping[str, Any], *, preference: bool, kto: bool) -> dict[str, str]:
    """Fields of our format to names of the file. Where columns are given, what they leave out is not read."""
    given = columns or _DEFAULT_COLUMNS[formatting]
    names = dict(_COLUMNS[formatting])
    if preference or kto:
        # Our preference and KTO rows have one prompt, be it text or turns.
        names = {"prompt": "prompt", "query": "input", "messages": "prompt", "response": "completion"}
        names |= {"chosen": "chosen", "rejected": "rejected"} if preference else {"kto_tag": "label"}
        names |= {"system": "system", "tools": "tools", "history": "history"}
    if preference:
        names.pop("response")
    elif kto:
        # There the turns end with the answer that is judged.
        names["messages"] = "messages"
    return {names[key]: str(value) for key, value in given.items() if value and key in names}


def _turn_columns(tags: Mapping[str, Any]) -> dict[str, str]:
    given = tags or _DEFAULT_TAGS
    pairs = {"messages.role": given.get("role_tag"), "messages.content": given.get("content_tag")}
    usual = {("from", "value"), ("role", "content")}
    if (pairs["messages.role"], pairs["messages.content"]) in usual:
        return {}
    return {key: str(value) for key, value in pairs.items() if value}


def _roles(tags: Mapping[str, Any]) -> dict[str, str]:
    return {str(tags[tag]): role for tag, role in _ROLES.items() if tags.get(tag) and tags[tag] not in _USUAL_ROLES}
