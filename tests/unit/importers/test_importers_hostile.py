"""Configs that nobody should have written, and configs of another tool: an error that says so, never a crash."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from importer_kit import CONFIGS, HEADS, import_text, write_config

from tuneloop.core.config import load_source
from tuneloop.core.errors import ConfigError
from tuneloop.importers.ledger import Reading
from tuneloop.importers.registry import TOOLS, import_recipe
from tuneloop.importers.shell import read_commands
from tuneloop.importers.source import known_names
from tuneloop.plan import Plan

BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 9)
)


@pytest.mark.parametrize("tool", TOOLS)
@pytest.mark.parametrize(
    ("text", "message"),
    [
        (BOMB, "aliases counted; that is no recipe"),
        ("a: &a [*a]", "nested too deep|alias|undefined"),
        ("- 1\n- 2\n", "mapping"),
        ("just text", "mapping"),
        ("", "is empty"),
        ("a: [", "not valid YAML"),
        ("a: 1\na: 2\n", "given twice"),
        ("a: !!python/name:os.system ''", "not valid YAML"),
        ("[" * 300, "not valid YAML"),
    ],
)
def test_text_that_is_no_config_is_an_error(tool: str, text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        import_recipe(tool, write_config(tmp_path, text), tmp_path)


@pytest.mark.parametrize("tool", TOOLS)
def test_a_file_that_is_no_text_is_an_error(tool: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        import_recipe(tool, tmp_path / "none.yaml", tmp_path)
    with pytest.raises(ConfigError, match="not a UTF-8"):
        import_recipe(tool, tmp_path, tmp_path)
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="not a UTF-8"):
        import_recipe(tool, tmp_path / "binary.yaml", tmp_path)
    (tmp_path / "large.yaml").write_bytes(b"a: 1\n" * 300_000)
    with pytest.raises(ConfigError, match="MiB"):
        import_recipe(tool, tmp_path / "large.yaml", tmp_path)


@pytest.mark.parametrize("tool", TOOLS)
def test_a_config_without_model_or_data_is_an_error(tool: str, tmp_path: Path) -> None:
    first, _, _ = HEADS[tool].partition("\n")
    with pytest.raises(ConfigError, match="missing"):
        import_text(tool, tmp_path, head="learning_rate: 1.0\n")
    with pytest.raises(ConfigError, match="missing"):
        import_text(tool, tmp_path, head=first + "\n")


@pytest.mark.parametrize(("tool", "path"), [(t, p) for t, p in CONFIGS if p.suffix != ".sh" and t != "trl"], ids=str)
def test_a_config_of_another_tool_is_recognised(tool: str, path: Path, tmp_path: Path) -> None:
    for other in set(TOOLS) - {tool}:
        with pytest.raises(ConfigError, match=f"config of {tool}|missing"):
            import_recipe(other, path, tmp_path)


def test_an_unknown_tool_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="Known: llamafactory, axolotl, trl, ms-swift"):
        import_recipe("unsloth", tmp_path, tmp_path)


values = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)
KEYS = {
    "llamafactory": ["lora_rank", "learning_rate", "columns", "max_samples", "val_size", "eval_dataset", "template"],
    "axolotl": ["adapter", "datasets", "test_datasets", "special_tokens", "chat_template", "lora_target_modules", "rl"],
    "trl": ["datasets", "env", "use_peft", "lora_target_modules", "max_length", "packing", "dataset_config"],
    "ms-swift": [
        "dataset",
        "val_dataset",
        "columns",
        "tuner_type",
        "env",
        "loss_scale",
        "target_modules",
        "max_length",
    ],
}


@settings(max_examples=60, deadline=None)
@given(data=st.data(), tool=st.sampled_from(sorted(TOOLS)))
def test_any_value_under_any_key_is_noted_or_is_an_error(
    data: st.DataObject, tool: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    lines = data.draw(st.dictionaries(st.sampled_from(KEYS[tool]) | st.text("abz_.", min_size=1), values, max_size=4))
    text = "".join(line + "\n" for line in HEADS[tool].splitlines() if line.split(":")[0] not in lines)
    text += "".join(f"{json.dumps(key)}: {json.dumps(value)}\n" for key, value in lines.items())
    folder = tmp_path_factory.mktemp("any")
    try:
        imported = import_recipe(tool, write_config(folder, text), folder)
    except ConfigError as error:
        assert str(error)  # noqa: PT017 - either of two ends is right
        return
    assert {note.key.split(".")[0] for note in imported.notes} >= {key for key in lines if "." not in key}


plausible = st.sampled_from([0, 1, 2, 4, 8, 16, -1, 0.1, 0.5, 1e-4, True, False, None, "all", "nf4", "rank=4,scale=2"])
plausible |= st.sampled_from([{"q_proj": 4}, {"num_decay_steps": 4}, ["q_proj", "v_proj"], [1], {}, [], ""])
OPTIMIZERS = ["adamw_torch", "adamw_8bit", "lion_8bit", "muon", "galore_adamw", "apollo_adamw_layerwise", "sgd"]
CHOICES: dict[str, dict[str, list[object]]] = {
    "llamafactory": {
        "finetuning_type": ["lora", "full", "freeze", "oft", "odd"],
        "quantization_bit": [4, 8, 2],
        "quantization_method": ["bnb", "hqq"],
        "pissa_init": [True, False],
        "freeze_trainable_layers": [-2, 0, 3],
        "use_galore": [True, False],
        "use_apollo": [True, False],
        "use_muon": [True, False],
        "loraplus_lr_ratio": [4],
        "optim": list(OPTIMIZERS),
    },
    "axolotl": {
        "adapter": ["lora", "qlora", "llama-adapter", None],
        "load_in_4bit": [True, False],
        "load_in_8bit": [True, False],
        "peft_init_lora_weights": [True, False, "pissa", "pissa_niter_4", "orthogonal", "eva"],
        "unfrozen_parameters": [["^lm_head.weight$"], ["a[0-9]+"]],
        "loraplus_lr_ratio": [4],
        "optimizer": [*OPTIMIZERS, "optimi_adamw", "q_galore_adamw8bit"],
    },
    "trl": {
        "use_peft": [True, False],
        "load_in_4bit": [True, False],
        "load_in_8bit": [True, False],
        "optim": list(OPTIMIZERS),
        "optim_args": ["rank=4", {"rank": 4}],
        "lr_scheduler_type": ["warmup_stable_decay", "polynomial", "cosine_with_restarts"],
        "lr_scheduler_kwargs": [{"num_decay_steps": 4, "decay_type": "linear"}, {"power": 2}],
    },
    "ms-swift": {
        "tuner_type": ["lora", "full", "vera", "ia3", "adapter", "boft"],
        "quant_method": ["bnb", "hqq", "fp8", "gptq"],
        "quant_bits": [4, 8, "float8"],
        "init_weights": ["true", "false", "olora", "pissa"],
        "freeze_parameters_ratio": [1.0, 0.5],
        "trainable_parameters": [["model.norm"], []],
        "optimizer": ["muon", "galore", "lorap", "default", None],
        "use_galore": [True, False],
    },
}
"""Keys that decide what becomes of others, with the values that they are given."""


@st.composite
def configs(draw: st.DrawFn, tool: str) -> dict[str, object]:
    """Some keys that decide, and some others of the tool."""
    heads = {line.split(":")[0] for line in HEADS[tool].splitlines()}
    others = draw(st.dictionaries(st.sampled_from(sorted(known_names(tool) - heads)), plausible, max_size=3))
    chosen = draw(st.lists(st.sampled_from(sorted(CHOICES[tool])), unique=True, max_size=6))
    return others | {key: draw(st.sampled_from(CHOICES[tool][key])) for key in chosen}


@settings(max_examples=80, deadline=None)
@given(data=st.data(), tool=st.sampled_from(sorted(TOOLS)))
def test_any_keys_of_a_tool_together_are_a_valid_recipe_or_an_error(
    data: st.DataObject, tool: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    lines = data.draw(configs(tool))
    text = HEADS[tool] + "".join(f"{key}: {json.dumps(value)}\n" for key, value in lines.items())
    folder = tmp_path_factory.mktemp("any")
    try:
        imported = import_recipe(tool, write_config(folder, text), folder)
    except ConfigError as error:
        # The user's own key is named: a recipe that is not valid would be the importer's fault.
        assert "the recipe" not in str(error)  # noqa: PT017 - either of two ends is right
        return
    Plan.model_validate(imported.recipe)
    assert {note.key.split(".")[0] for note in imported.notes} >= set(lines)


def test_a_key_cannot_get_two_notes(tmp_path: Path) -> None:
    reading = Reading("Tool", load_source(write_config(tmp_path, "a: 1\n")))
    reading.note("a", "carried", "once.")
    with pytest.raises(AssertionError, match="two notes"):
        reading.note("a", "ignored", "twice.")


SCRIPTS = [
    ("swift sft --model 'open", "is not closed"),
    ('swift sft --model "open', "is not closed"),
    ("swift sft --model $(open", "is not closed"),
    ("echo hello", "has no `swift"),
    ("swift sft --model a\nswift sft --model b", "2 training commands"),
    ("swift sft --model a --model b", "given twice"),
    ("swift sft a --model b", "belongs to no --flag"),
]


@pytest.mark.parametrize(("text", "message"), SCRIPTS)
def test_a_script_that_cannot_be_read_is_an_error(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        import_recipe("ms-swift", write_config(tmp_path, text, "train.sh"), tmp_path)


def test_words_of_a_script_are_what_a_shell_would_pass_on() -> None:
    text = (
        "n=2 # two\nA=1 B='x y' prog --a \"p $n\" --b c#5 \\\n  --d $(expr 16 / $n) --e $((n*3)) ${n}z $u `ls` ; next"
    )
    first, second, third = read_commands(text, "s")
    assert first.environment == {"n": ("2", 1)}
    assert second.environment == {"A": ("1", 2), "B": ("x y", 2)}
    words = ["prog", "--a", "p 2", "--b", "c#5", "--d", "8", "--e", "6", "2z", "$u", "`ls`"]
    assert [word for word, _ in second.words] == words
    assert second.words[5] == ("--d", 3)
    assert third.words == [("next", 3)]


def test_nothing_of_a_script_is_run(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    text = f"swift sft --model org/$(touch {mark}) --dataset org/rows --learning_rate `touch {mark}`"
    with pytest.raises(ConfigError):
        import_recipe("ms-swift", write_config(tmp_path, text, "train.sh"), tmp_path)
    assert not mark.exists()
