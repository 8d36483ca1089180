"""The configs that ship with the tools: each is imported, is a valid recipe, and every key is accounted for."""

from pathlib import Path

import pytest
from importer_kit import CONFIGS, FIXTURES, UNTRAINABLE, field

from tuneloop.core.config import load_source
from tuneloop.core.errors import ConfigError
from tuneloop.data.formats.registry import FORMATS, check_columns
from tuneloop.importers.ledger import KINDS
from tuneloop.importers.recipe import recipe_text
from tuneloop.importers.registry import import_recipe
from tuneloop.plan import Plan, load_plan

_IDS = [f"{tool}/{path.name}" for tool, path in CONFIGS]


@pytest.mark.parametrize(("tool", "path"), CONFIGS, ids=_IDS)
def test_a_shipped_config_becomes_a_recipe_that_loads(tool: str, path: Path, tmp_path: Path) -> None:
    imported = import_recipe(tool, path, tmp_path)
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(recipe_text(imported), encoding="utf-8")
    plan = load_plan(recipe)
    assert plan == Plan.model_validate(imported.recipe)
    assert bool(imported.untrainable) == (path.name in UNTRAINABLE)
    assert ("stages" in imported.recipe) == ("tune" in imported.recipe) == (not imported.untrainable)
    order = list(Plan.model_fields)
    assert sorted(imported.recipe, key=order.index) == list(imported.recipe)
    for spec in plan.data.train:
        if spec.format in FORMATS:
            check_columns(spec.format, spec.columns, spec.path)


@pytest.mark.parametrize(("tool", "path"), CONFIGS, ids=_IDS)
def test_every_key_of_a_shipped_config_has_one_note(tool: str, path: Path, tmp_path: Path) -> None:
    imported = import_recipe(tool, path, tmp_path)
    keys = [note.key for note in imported.notes]
    assert len(set(keys)) == len(keys) == sum(imported.counts().values())
    assert all(note.kind in KINDS and note.text.endswith((".", "?")) for note in (*imported.notes, *imported.defaults))
    assert all(note.where.startswith(f"{path}:") for note in imported.notes)
    if path.suffix != ".sh":
        # Counted without the importer: each key of the file is a key of the ledger, or one that was opened.
        said = {key.split(".")[0] for key in keys}
        assert said == set(load_source(path).values)
    else:
        written = {
            word.lstrip("-").split("=")[0]
            for line in path.read_text().splitlines()
            if not line.lstrip().startswith("#")
            for word in line.split()
            if word.startswith("--")
        }
        assert {key.split(".")[0] for key in keys} - {"env"} == {word.removeprefix("no_") for word in written}


@pytest.mark.parametrize(("tool", "path"), CONFIGS, ids=_IDS)
def test_a_note_stands_where_its_key_stands(tool: str, path: Path, tmp_path: Path) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    for note in import_recipe(tool, path, tmp_path).notes:
        line = lines[int(note.where.rpartition(":")[2]) - 1]
        assert note.key.split(".")[-1] in line or f"no_{note.key}" in line, note


@pytest.mark.parametrize(("tool", "path"), CONFIGS, ids=_IDS)
def test_no_shipped_key_is_called_unknown_but_those_that_are(tool: str, path: Path, tmp_path: Path) -> None:
    unknown = {note.key for note in import_recipe(tool, path, tmp_path).notes if "is not a key of" in note.text}
    assert unknown <= {"test_value"}


EXPECTED = {
    ("llamafactory", "lora_sft.yaml"): {
        "model.source": "hf:Qwen/Qwen3-4B-Instruct-2507",
        "data.train.0.only_columns": True,
        "data.train.0.num_samples": 1000,
        "data.train.1.format": "alpaca",
        "data.cutoff_len": 2048,
        "tune.rank": 8,
        "tune.alpha": 16.0,
        "tune.dropout": 0.0,
        "tune.targets": "all-linear",
        "stages.0.batch_size": 8,
        "stages.0.learning_rate": 1e-4,
        "stages.0.warmup_ratio": 0.1,
        "stages.0.gradient_checkpointing": True,
        "stages.0.keep": "last",
        "seed": 42,
    },
    ("llamafactory", "full_sft.yaml"): {
        "tune.kind": "full",
        "stages.0.batch_size": 2,
        "stages.0.learning_rate": 1e-5,
        "stages.0.num_train_epochs": 3.0,
    },
    ("llamafactory", "freeze_sft.yaml"): {"tune.kind": "freeze", "tune.trainable_blocks": 8},
    ("llamafactory", "qlora_sft.yaml"): {
        "model.quantization": "nf4",
        "model.double_quantization": None,
        "tune.kind": "lora",
        "tune.rank": 8,
    },
    ("llamafactory", "pissa_sft.yaml"): {"tune.kind": "lora", "tune.init": "pissa", "tune.pissa_iterations": 16},
    ("llamafactory", "loraplus_sft.yaml"): {
        "tune.loraplus_lr_ratio": 16.0,
        "stages.0.learning_rate": 1e-4,
        "stages.0.weight_decay": 0.0,
    },
    ("llamafactory", "oft_sft.yaml"): {"tune.kind": "oft", "tune.block_size": 32, "tune.targets": "all-linear"},
    ("llamafactory", "galore_sft.yaml"): {
        "tune.kind": "full",
        "stages.0.optimizer": "galore",
        "stages.0.optimizer_rank": 128,
        "stages.0.optimizer_update_steps": 200,
        "stages.0.max_grad_norm": 1e9,
        "stages.0.learning_rate": 1e-5,
    },
    ("llamafactory", "lora_dpo.yaml"): {
        "data.train.0.format": "preference",
        "data.train.0.columns": {"prompt": "conversations", "chosen": "chosen", "rejected": "rejected"},
    },
    ("axolotl", "lora_1b.yml"): {
        "model.source": "hf:NousResearch/Llama-3.2-1B",
        "data.train.0.format": "alpaca",
        "data.eval_fraction": 0.1,
        "data.cutoff_len": 2048,
        "tune.rank": 16,
        "tune.alpha": 32.0,
        "tune.targets": ["gate_proj", "down_proj", "up_proj", "q_proj", "v_proj", "k_proj", "o_proj"],
        "stages.0.batch_size": 4,
        "stages.0.num_train_epochs": 1.0,
        "stages.0.lr_scheduler_type": "cosine",
    },
    ("axolotl", "phi_ft.yml"): {
        "tune.kind": "full",
        "stages.0.adam_beta2": 0.95,
        "stages.0.adam_epsilon": 1e-5,
        "stages.0.weight_decay": 0.1,
        "stages.0.learning_rate": 3e-6,
    },
    ("axolotl", "qlora.yml"): {
        "model.quantization": "nf4",
        "model.double_quantization": None,
        "tune.rank": 32,
        "stages.0.optimizer": "paged_adamw",
    },
    ("axolotl", "qlora_kto.yaml"): {"model.quantization": "nf4"},
    ("axolotl", "instruct_lora_8b.yml"): {"model.quantization": "int8", "stages.0.optimizer": "adamw_8bit"},
    ("axolotl", "loftq.yml"): {"model.quantization": None, "tune.init": None, "stages.0.optimizer": "adamw_8bit"},
    ("axolotl", "qat_fsdp2.yml"): {"model.quantization": None, "tune.kind": "full"},
    ("axolotl", "gemma_270m_qlora.yml"): {
        "model.quantization": "nf4",
        "tune.kind": "lora",
        "stages.0.optimizer": "adamw_8bit",
        "data.train.0.columns": {"messages": "conversations", "messages.role": "from", "messages.content": "value"},
    },
    ("axolotl", "streaming_sft.yaml"): {"stages.0.max_steps": 1000, "stages.0.num_train_epochs": 1000.0},
    ("trl", "example_config.yaml"): {
        "model.source": "hf:Qwen/Qwen2.5-0.5B",
        "data.train.0.path": "hf:stanfordnlp/imdb",
        "data.cutoff_len": 1024,
        "tune.kind": "full",
        "stages.0.learning_rate": 1e-4,
        "stages.0.batch_size": 8,
        "stages.0.num_train_epochs": 3.0,
    },
    ("trl", "sft_lora.sh"): {
        "tune.rank": 32,
        "tune.alpha": 16.0,
        "tune.dropout": 0.05,
        "tune.targets": ["q_proj", "v_proj"],
        "data.eval.0.split": "test",
        "stages.0.batch_size": 16,
        "stages.0.eval_steps": 100,
        "stages.0.lr_scheduler_type": "linear",
    },
    ("trl", "clis_num_processes.yaml"): {"stages.0.batch_size": 32, "stages.0.learning_rate": 2e-5},
    ("ms-swift", "lora_sft.sh"): {
        "model.source": "modelscope:Qwen/Qwen2.5-7B-Instruct",
        "data.train.0.path": "hf:AI-ModelScope/alpaca-gpt4-data-zh",
        "data.train.0.num_samples": 500,
        "data.cutoff_len": 2048,
        "tune.rank": 8,
        "tune.alpha": 32.0,
        "tune.dropout": 0.05,
        "stages.0.batch_size": 16,
        "stages.0.adam_beta2": 0.95,
        "stages.0.weight_decay": 0.1,
        "stages.0.lr_scheduler_type": "cosine",
    },
    ("ms-swift", "qlora_bnb.sh"): {
        "model.quantization": "nf4",
        "model.double_quantization": True,
        "tune.alpha": 32.0,
        "stages.0.eval_steps": 50,
        "stages.0.save_steps": 50,
    },
    ("ms-swift", "dora.sh"): {"tune.kind": "lora", "tune.use_dora": True},
    ("ms-swift", "base_to_chat_lora.sh"): {"stages.0.batch_size": 16, "stages.0.num_train_epochs": 10.0},
    ("ms-swift", "full.sh"): {"tune.kind": "full", "stages.0.learning_rate": 1e-5, "data.cutoff_len": 32768},
    ("ms-swift", "agent_loss_scale.sh"): {"data.eval_fraction": 0.01},
}


@pytest.mark.parametrize(("tool", "name"), EXPECTED, ids=[f"{tool}/{name}" for tool, name in EXPECTED])
def test_a_shipped_config_means_what_its_tool_does(tool: str, name: str, tmp_path: Path) -> None:
    imported = import_recipe(tool, FIXTURES / tool / name, tmp_path)
    expected = EXPECTED[tool, name]
    assert {key: field(imported, key) for key in expected} == expected


def test_data_that_a_hub_holds_is_asked_for(tmp_path: Path) -> None:
    path = FIXTURES / "llamafactory" / "ray_sft.yaml"
    with pytest.raises(ConfigError, match=r"ray_sft.yaml:14: dataset_dir: .* --dataset-dir"):
        import_recipe("llamafactory", path, tmp_path)
    imported = import_recipe("llamafactory", path, tmp_path, data_folder=FIXTURES / "llamafactory" / "data")
    assert field(imported, "stages.0.batch_size") == 32


def test_the_new_form_of_llamafactory_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="new form"):
        import_recipe("llamafactory", FIXTURES / "llamafactory" / "v1_lora_sft.yaml", tmp_path)


def test_data_alone_keeps_model_and_data_and_moves_the_other_keys(tmp_path: Path) -> None:
    path = FIXTURES / "llamafactory" / "lora_sft.yaml"
    imported = import_recipe("llamafactory", path, tmp_path, data_only=True)
    assert set(imported.recipe) == {"name", "model", "data"}
    rank = next(note for note in imported.notes if note.key == "lora_rank")
    assert (rank.kind, rank.target) == ("not_carried", "")
    assert not imported.untrainable
