"""`dataset_info.json`: each field becomes a field of the recipe, or is refused with the reason."""

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest
from importer_kit import FIXTURES, field, note_of, write_config

from tuneloop.core.config import Source, parse_config
from tuneloop.core.errors import ConfigError
from tuneloop.data.config import FileSpec
from tuneloop.data.formats.registry import parse_example
from tuneloop.data.formats.shape import Shape
from tuneloop.data.schema import RowError
from tuneloop.importers.dataset_info import DatasetInfo, find_dataset
from tuneloop.importers.ledger import Imported
from tuneloop.importers.places import Places
from tuneloop.importers.registry import import_recipe

ALPACA = {"instruction": "instruction", "input": "input", "output": "output"}


def import_entry(folder: Path, entry: Any, lines: str = "") -> Imported:
    (folder / "data").mkdir(exist_ok=True)
    (folder / "data" / "dataset_info.json").write_text(json.dumps({"mine": entry}))
    config = write_config(folder, f"model_name_or_path: org/model\ndataset: mine\n{lines}\n")
    return import_recipe("llamafactory", config, folder)


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ({"file_name": "a.json"}, {"path": "data/a.json", "format": "alpaca", "columns": ALPACA}),
        ({"hf_hub_url": "org/a", "ms_hub_url": "org/b"}, {"path": "hf:org/a", "format": "alpaca", "columns": ALPACA}),
        (
            {"hf_hub_url": "org/a", "subset": "en", "split": "val", "num_samples": 9},
            {
                "path": "hf:org/a",
                "format": "alpaca",
                "columns": ALPACA,
                "subset": "en",
                "split": "val",
                "num_samples": 9,
            },
        ),
        (
            {"file_name": "a.json", "columns": {"prompt": "q", "response": "a", "history": "h", "system": "s"}},
            {
                "path": "data/a.json",
                "format": "alpaca",
                "columns": {"instruction": "q", "output": "a", "history": "h", "system": "s"},
            },
        ),
        (
            {"file_name": "a.json", "formatting": "sharegpt"},
            {"path": "data/a.json", "format": "sharegpt", "columns": {"messages": "conversations"}},
        ),
        (
            {
                "file_name": "a.json",
                "formatting": "sharegpt",
                "columns": {"messages": "talk", "tools": "tools"},
                "tags": {"role_tag": "who", "content_tag": "says", "user_tag": "patient", "assistant_tag": "doctor"},
            },
            {
                "path": "data/a.json",
                "format": "sharegpt",
                "columns": {"messages": "talk", "tools": "tools", "messages.role": "who", "messages.content": "says"},
                "roles": {"patient": "user", "doctor": "assistant"},
            },
        ),
        (
            {"file_name": "a.json", "ranking": True, "columns": {"prompt": "q", "chosen": "c", "rejected": "r"}},
            {
                "path": "data/a.json",
                "format": "preference",
                "columns": {"prompt": "q", "chosen": "c", "rejected": "r"},
            },
        ),
        (
            {"file_name": "a.json", "columns": {"prompt": "q", "response": "a", "kto_tag": "label"}},
            {
                "path": "data/a.json",
                "format": "kto",
                "columns": {"prompt": "q", "completion": "a", "label": "label"},
            },
        ),
    ],
)
def test_an_entry_becomes_a_file_of_the_recipe(entry: Any, expected: dict[str, Any], tmp_path: Path) -> None:
    imported = import_entry(tmp_path, entry)
    assert field(imported, "data.train.0") == {**expected, "only_columns": True}


@pytest.mark.shared
@pytest.mark.parametrize(
    ("name", "least"),
    [("alpaca_en_demo", 990), ("glaive_toolcall_en_demo", 295), ("dpo_en_demo", 300), ("kto_en_demo", 295)],
)
def test_the_demo_files_are_read_by_what_was_imported(name: str, least: int, shared: Path, tmp_path: Path) -> None:
    folder = shared / "llamafactory_demo"
    path = folder / "dataset_info.json"
    spec = FileSpec.model_validate(
        find_dataset(DatasetInfo(path, json.loads(path.read_text())), name, Places(path, tmp_path)).spec
    )
    rows = json.loads((tmp_path / spec.path).resolve().read_text())
    shape = Shape(spec.columns, only_columns=spec.only_columns, roles=spec.roles)
    read = 0
    for row in rows:
        with contextlib.suppress(RowError):
            parse_example(spec.format, row, shape)
            read += 1
    assert read >= least


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"script_url": "rows.py"}, "made by a program"),
        ({"cloud_file_name": "s3://a"}, "cloud store"),
        ({}, "names no source"),
        ([], "not a mapping"),
        ({"file_name": "a", "formatting": "xml"}, "alpaca, sharegpt or openai"),
        ({"file_name": "a", "columns": ["q"]}, "columns is not a mapping"),
    ],
)
def test_an_entry_that_cannot_be_read_says_why(entry: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        import_entry(tmp_path, entry)


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({"ms_hub_url": "org/a"}, "ModelScope"),
        ({"om_hub_url": "org/a"}, "openMind"),
        ({"hf_hub_url": "org/a", "folder": "en"}, "only the folder 'en'"),
        ({"file_name": "a.json", "columns": {"prompt": "q", "images": "images"}}, "images are not read"),
        ({"file_name": "a.json", "num_samples": 5}, "never repeats"),
        ({"file_name": "a.json", "colums": {}}, "colums"),
    ],
)
def test_what_an_entry_means_otherwise_is_said(entry: Any, said: str, tmp_path: Path) -> None:
    note = note_of(import_entry(tmp_path, entry), "dataset")
    assert note.kind == "differs"
    assert said in note.text


def test_the_smaller_of_two_limits_holds(tmp_path: Path) -> None:
    imported = import_entry(tmp_path, {"file_name": "a.json", "num_samples": 5}, "max_samples: 100")
    assert field(imported, "data.train.0.num_samples") == 5


def test_a_name_that_is_not_there_gets_the_nearest(tmp_path: Path) -> None:
    config = write_config(tmp_path, "model_name_or_path: org/model\ndataset: alpaca_en_dmeo\n")
    folder = FIXTURES / "llamafactory" / "data"
    with pytest.raises(ConfigError, match=r"'alpaca_en_dmeo'\. Did you mean 'alpaca_en_demo'"):
        import_recipe("llamafactory", config, tmp_path, data_folder=folder)


def test_a_missing_or_broken_dataset_info_is_an_error(tmp_path: Path) -> None:
    config = write_config(tmp_path, "model_name_or_path: org/model\ndataset: a\ndataset_dir: nowhere\n")
    with pytest.raises(ConfigError, match=r"no dataset_info.json .*nowhere.* --dataset-dir"):
        import_recipe("llamafactory", config, tmp_path)
    (tmp_path / "dataset_info.json").write_text("{\n'a': 1}")
    with pytest.raises(ConfigError, match=r"dataset_info.json:2: not valid JSON"):
        import_recipe("llamafactory", config, tmp_path)


def test_every_data_set_that_ships_is_a_valid_file_or_is_refused(tmp_path: Path) -> None:
    path = FIXTURES / "llamafactory" / "data" / "dataset_info.json"
    info = DatasetInfo(path, json.loads(path.read_text()))
    refused = set()
    for name in info.entries:
        try:
            found = find_dataset(info, name, Places(path, tmp_path))
        except ConfigError:
            refused.add(name)
            continue
        spec = parse_config(FileSpec, Source(name, dict(found.spec)))
        assert spec.only_columns
        assert spec.columns
    assert refused == {name for name, entry in info.entries.items() if set(entry) & {"script_url", "cloud_file_name"}}
    assert len(info.entries) > 100
