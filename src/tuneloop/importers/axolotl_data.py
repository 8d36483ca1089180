"""Axolotl's `datasets:` entries to the files of a recipe, each key with its note."""

from typing import Any

from tuneloop.core.errors import ConfigError
from tuneloop.importers.ledger import Reading, shorten
from tuneloop.importers.places import Places

Entry = tuple[Any, ...]
_BUILDERS = {"json", "csv", "parquet", "arrow", "text"}
_ALPACA = {"alpaca", "alpaca_chat", "alpaca_instruct", "alpaca_w_system", "explainchoice", "concisechoice", "orcamini"}
_PAIRS = {"context_qa", "creative_acr"}
_DETAIL = "weighs stretches of characters within a turn; tuneloop weighs whole turns. Use `format: segments`."


def read_datasets(reading: Reading, places: Places) -> bool:
    """Fill data.train and data.eval; whether there are held-out files.

    Raises:
        ConfigError: there are no data sets.
    """
    key = "datasets" if reading.has("datasets") else "pretraining_dataset"
    if not reading.has(key):
        raise ConfigError(f"{places.config}: datasets is missing: nothing to learn from.")
    reading.recipe["data.train"] = _files(reading, places, key, "data.train")
    held = reading.has("test_datasets")
    if held:
        reading.recipe["data.eval"] = _files(reading, places, "test_datasets", "data.eval")
    return held


def _files(reading: Reading, places: Places, key: str, target: str) -> list[dict[str, Any]]:
    entries = reading.value(key)
    if isinstance(entries, str):
        reading.note(key, "carried", f"is {target}.", target)
        return [{"path": places.data(entries)}]
    if not isinstance(entries, list) or not entries:
        raise reading.wrong(key, "is a list of data sets.")
    reading.open(key)
    return [_file(reading, places, (key, index), target) for index in range(len(entries))]


def _file(reading: Reading, places: Places, at: Entry, target: str) -> dict[str, Any]:
    if isinstance(reading.value(at), str):
        reading.note(at, "carried", f"is {target}.", target)
        return {"path": places.data(reading.value(at))}
    if not reading.mapping(at):
        raise reading.wrong(at, "is a mapping with a path.")
    reading.open(at)
    target = f"{target}.{at[-1]}"
    spec: dict[str, Any] = {"path": _path(reading, places, at, target)}
    spec |= _type(reading, at, target)
    spec |= _parts(reading, at, target)
    if reading.has((*at, "shards")):
        number = reading.whole((*at, "shards"))
        text = f"takes one of {number} parts of the rows; tuneloop takes them all. Set num_samples to rows / {number}."
        reading.note((*at, "shards"), "not_carried", text)
    for key, text in _LEFT.items():
        if reading.has((*at, key)):
            reading.note((*at, key), "not_carried", text)
    for key, text in _NO_MATTER.items():
        if not reading.noted((*at, key)):
            reading.note((*at, key), "ignored", text)
    return spec


def _parts(reading: Reading, at: Entry, target: str) -> dict[str, Any]:
    """Which part of a hub data set is read."""
    parts: dict[str, Any] = {}
    for key, ours in (("name", "subset"), ("split", "split"), ("revision", "revision")):
        if reading.has((*at, key)):
            parts[ours] = reading.text((*at, key))
            if key == "split" and set(parts[ours]) & set("[+"):
                text = f"takes a slice; tuneloop takes whole splits ({parts[ours].split('[')[0]}). Use num_samples."
                parts[ours] = parts[ours].split("[")[0].split("+")[0]
                reading.note((*at, key), "differs", text, f"{target}.split")
            else:
                reading.note((*at, key), "carried", f"is {target}.{ours}.", f"{target}.{ours}")
    return parts


_LEFT = {
    "shards_idx": "names one of the shards; tuneloop takes all rows.",
    "message_field_training_detail": _DETAIL,
    "chat_template": "one template serves a whole run: data.template.",
    "chat_template_jinja": "put the template into the model's folder instead.",
    "field_thinking": "thoughts in a field of their own are not read; write them into the content.",
    "template_thinking_key": "thoughts in a field of their own are not read; write them into the content.",
    "split_thinking": "thoughts stay where they stand in the content.",
    "drop_system_message": "system turns stay. Take them out of the rows.",
    "input_transform": "rows are not transformed while they are read.",
    "conversation": "named a FastChat template; tuneloop takes the model's own.",
}
_NO_MATTER = {
    "ds_type": "tuneloop tells a file's type by its name.",
    "trust_remote_code": "tuneloop runs no code of a data set.",
    "preprocess_shards": "is about memory; tuneloop reads row by row.",
}


def _path(reading: Reading, places: Places, at: Entry, target: str) -> str:
    path, files = reading.text((*at, "path")), reading.words((*at, "data_files"))
    if not path:
        raise reading.wrong(at, "has no path.")
    if path.startswith(("s3://", "gs://", "gcs://", "az://", "abfs://", "oci://", "http://", "https://")):
        raise reading.wrong((*at, "path"), f"{path} lies in a cloud store. Fetch it, and give the file or folder.")
    found = places.data(path)
    if not files:
        reading.note((*at, "path"), "carried", f"is {target}.path: {found}.", f"{target}.path")
        return found
    if found.startswith("hf:") and path not in _BUILDERS:
        reading.note((*at, "path"), "carried", f"is {target}.path: {found}.", f"{target}.path")
        text = f"names single files ({shorten(', '.join(files))}) of a hub data set; tuneloop reads the whole split."
        reading.note((*at, "data_files"), "differs", text, f"{target}.path")
        return found
    name = files[0] if path in _BUILDERS else f"{path}/{files[0]}"
    reading.note((*at, "path"), "carried", "is where data_files lie.", f"{target}.path")
    kind = "carried" if len(files) == 1 else "differs"
    more = "" if len(files) == 1 else f" The other {len(files) - 1} are left out: give each an entry of data.train."
    reading.note((*at, "data_files"), kind, f"is {target}.path.{more}", f"{target}.path")
    return places.data(name)


def _type(reading: Reading, at: Entry, target: str) -> dict[str, Any]:
    key = (*at, "type")
    if isinstance(reading.value(key), dict):
        return _user_defined(reading, key, target)
    kind = reading.text(key) or ""
    base, _, style = kind.partition(":")
    name = base.split(".")[0]
    columns: dict[str, str] = {}
    match name:
        case "chat_template" | "sharegpt" | "messages":
            spec = _chat(reading, at, target, name, base)
        case _ if name in _ALPACA:
            spec = {"format": "alpaca"}
            text = "is Axolotl's classic text (Below is an instruction ... ### Response:)"
            text = f"is Axolotl's {style or base} text" if style or name != "alpaca" else text
            text += "; tuneloop puts the rows through the model's chat template. The file is read the same."
            reading.note(key, "differs", text, f"{target}.format")
        case "completion":
            spec = {"format": "text"}
            field = reading.text((*at, "field"))
            if field:
                columns["text"] = field
            reading.note(key, "carried", "is plain text, learned whole.", f"{target}.format")
            reading.note((*at, "field"), "carried", f"is {target}.columns.text.", f"{target}.columns")
        case "input_output":
            spec = {"format": "segments"}
            reading.note(key, "carried", "is format: segments, text with a label each.", f"{target}.format")
        case _ if reading.has("rl") or base.startswith("bradley_terry"):
            format_ = "kto" if reading.text("rl") == "kto" else "preference"
            spec = {"format": format_} | _chat_columns(reading, at, target, ("chosen", "rejected"))
            text = f"is format: {format_}; its texts are put through the model's chat template."
            reading.note(key, "differs", text, f"{target}.format")
        case "":
            spec = {}
            reading.note(key, "ignored", "is empty: tuneloop looks at the rows.")
        case _:
            spec = {}
            text = f"{kind} is not known here; tuneloop looks at the rows (format: auto) and takes the chat template."
            reading.note(key, "not_carried", text)
    return spec | ({"columns": columns} if columns else {})


def _chat(reading: Reading, at: Entry, target: str, name: str, base: str) -> dict[str, Any]:
    key = (*at, "type")
    if name == "sharegpt":
        reading.note(key, "carried", "is format: sharegpt.", f"{target}.format")
        return {"format": "sharegpt"} | _chat_columns(reading, at, target)
    preference = reading.has("rl") or reading.flag("reward_model")
    format_ = "preference" if preference else "messages"
    if reading.text("rl") == "kto":
        format_ = "kto"
    text = f"is format: {format_}, through the model's chat template."
    reading.note(key, "carried" if base == "chat_template" or preference else "differs", text, f"{target}.format")
    spec = {"format": format_} | _chat_columns(reading, at, target, ("chosen", "rejected") if preference else ())
    _trained_turns(reading, at, target, spec)
    return spec


def _chat_columns(reading: Reading, at: Entry, target: str, fields: tuple[str, ...] = ()) -> dict[str, Any]:
    """Names of fields, of turns' keys, and of roles."""
    columns: dict[str, str] = {}
    where = f"{target}.columns"
    pairs = [("field_messages", "prompt" if fields else "messages"), ("field_tools", "tools")]
    pairs += [("message_field_role", "messages.role"), ("message_field_content", "messages.content")]
    pairs += [("message_field_training", "messages.weight")]
    pairs += [(f"field_{field}", field) for field in fields]
    for key, ours in pairs:
        if reading.has((*at, key)):
            columns[ours] = str(reading.text((*at, key)))
            reading.note((*at, key), "carried", f"is {where}.{ours}.", where)
    mappings = (*at, "message_property_mappings")
    for key, value in reading.mapping(mappings).items():
        reading.open(mappings)
        if key in {"role", "content", "tool_calls", "name", "tool_call_id"} and isinstance(value, str):
            if value != key:
                columns[f"messages.{key}"] = value
            reading.note((*mappings, key), "carried", f"is {where}.messages.{key}: {value}.", where)
        else:
            reading.note(
                (*mappings, key), "not_carried", "is not a part of a turn that tuneloop hands to the template."
            )
    roles: dict[str, str] = {}
    for role in reading.mapping((*at, "roles")):
        reading.open((*at, "roles"))
        ours = {"human": "user", "gpt": "assistant"}.get(role, role)
        if ours in {"system", "user", "assistant", "tool"}:
            listed = reading.words((*at, "roles", role))
            roles |= {name: ours for name in listed if name != ours}
            reading.note((*at, "roles", role), "carried", f"is {target}.roles.", f"{target}.roles")
        else:
            reading.note((*at, "roles", role), "not_carried", "is not a role that tuneloop has.")
    return {name: value for name, value in (("columns", columns), ("roles", roles)) if value}


def _trained_turns(reading: Reading, at: Entry, target: str, spec: dict[str, Any]) -> None:
    roles = set(reading.words((*at, "roles_to_train")))
    if roles and roles <= {"assistant", "gpt"}:
        reading.note((*at, "roles_to_train"), "carried", "trains answers, as here.")
    elif reading.has((*at, "roles_to_train")):
        text = (
            f"trains turns of {', '.join(sorted(roles)) or 'nobody'}; tuneloop trains the assistant's alone. Name a"
            " role "
        )
        text += f"as assistant in {target}.roles, or give turns a weight."
        reading.note((*at, "roles_to_train"), "differs", text)
    for key in ("train_on_eos", "train_on_eot"):
        says = reading.text((*at, key))
        if says == "turn":
            reading.note((*at, key), "carried", "trains the end of each trained turn, as here.")
        elif says is not None:
            text = f"is '{says}'; tuneloop trains the end of each trained turn, and no other."
            reading.note((*at, key), "differs", text)
    if "messages.weight" in spec.get("columns", {}):
        text = "turns that it marks false have weight 0; a turn without the mark is trained if its role is."
        reading.default("message_field_training", "carried", text, f"{target}.columns")


def _user_defined(reading: Reading, key: Entry, target: str) -> dict[str, Any]:
    """A type of the user's own: which column is what is carried, the text around it is not."""
    reading.open(key)
    columns = {}
    for field in ("instruction", "input", "output", "system"):
        name = (*key, f"field_{field}")
        if reading.has(name):
            columns[field] = str(reading.text(name))
            reading.note(name, "carried", f"is {target}.columns.{field}.", f"{target}.columns")
    for pair in (("prompt", "instruction"), ("completion", "output"), ("chosen", "chosen"), ("rejected", "rejected")):
        name = (*key, f"field_{pair[0]}")
        if reading.has(name):
            columns[pair[1]] = str(reading.text(name))
            reading.note(name, "carried", f"is {target}.columns.{pair[1]}.", f"{target}.columns")
    for part in ("format", "no_input_format", "system_format", "system_prompt"):
        text = "is not carried: tuneloop puts the rows through the model's chat template, no text around them."
        reading.note((*key, part), "not_carried", text)
    if {"chosen", "rejected"} & set(columns):
        names = {"instruction": "prompt", "output": "completion"}
        return {"format": "preference", "columns": {names.get(name, name): value for name, value in columns.items()}}
    return {"format": "alpaca", "columns": columns, "only_columns": True}
