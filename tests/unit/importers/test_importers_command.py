"""`tuneloop import`: what is printed where, what is written, and the exit codes."""

import json
from pathlib import Path

import pytest
import typer
from importer_kit import FIXTURES
from typer.testing import CliRunner

from tuneloop.cli.importing import import_config
from tuneloop.core.errors import ConfigError
from tuneloop.plan import load_plan

LORA = FIXTURES / "llamafactory" / "lora_sft.yaml"
DPO = FIXTURES / "llamafactory" / "lora_dpo.yaml"

app = typer.Typer()
app.command()(import_config)


def run(*arguments: object) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout, result.stderr


def test_the_recipe_goes_to_stdout_and_the_differences_to_stderr() -> None:
    code, recipe, notes = run("llamafactory", LORA)
    assert code == 0
    assert recipe.startswith("# Made by `tuneloop import` from lora_sft.yaml, a config of LLaMA-Factory.")
    assert f"{LORA}:14: template (qwen3_nothink): " in notes
    assert "29 keys = 15 carried + 2 differs + 0 not carried + 12 ignored" in notes
    assert "lora_rank" not in notes


def test_verbose_says_every_key() -> None:
    _, _, notes = run("llamafactory", LORA, "--verbose")
    assert f"{LORA}:9: lora_rank (8): is tune.rank: 8." in notes
    assert "output_dir" in notes


def test_a_written_recipe_loads_and_is_not_overwritten(tmp_path: Path) -> None:
    out = tmp_path / "deep" / "recipe.yaml"
    code, printed, _ = run("llamafactory", LORA, "--out", out)
    assert (code, printed) == (0, "")
    path = load_plan(out).data.train[0].path
    assert (out.parent / path).resolve() == (FIXTURES / "llamafactory" / "data" / "identity.json").resolve()
    before = out.read_bytes()
    with pytest.raises(ConfigError, match="--force"):
        run("axolotl", FIXTURES / "axolotl" / "lora_1b.yml", "--out", out)
    assert out.read_bytes() == before
    assert run("axolotl", FIXTURES / "axolotl" / "lora_1b.yml", "--out", out, "--force")[0] == 0
    assert out.read_bytes() != before


def test_a_method_that_cannot_be_trained_ends_with_2_unless_the_data_was_all_that_was_asked_for() -> None:
    code, recipe, notes = run("llamafactory", DPO)
    assert code == 2
    assert "# The data alone: stage: dpo is DPO" in recipe
    assert "Only the data is written" in notes
    assert "stages" not in recipe
    assert run("llamafactory", DPO, "--data-only")[0] == 0


def test_json_holds_recipe_and_notes() -> None:
    code, printed, _ = run("llamafactory", DPO, "--json")
    answer = json.loads(printed)
    assert code == 2
    assert answer["recipe"]["data"]["train"][0]["format"] == "preference"
    assert sum(answer["counts"].values()) == len(answer["notes"])
    assert set(answer["notes"][0]) == {"where", "key", "says", "kind", "text", "target"}
    assert answer["untrainable"].startswith("stage: dpo")
