"""`tuneloop plan`: the table, what fits, what would make it fit, and what is said when memory runs out."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from integration.command_line import Result, tuneloop
from tuneloop.core.errors import ConfigError, ExitCode
from tuneloop.pipeline import rounds
from tuneloop.pipeline.planning import is_out_of_memory, parse_memory, set_lines

Recipe = Callable[..., Path]
ROOM = 620 << 20
"""About what the libraries alone are reckoned to need."""


def planned(recipe: Path, *arguments: object) -> Any:
    result = tuneloop("plan", recipe, "--json", *arguments)
    assert result.code == 0, result.err
    return result.json


@pytest.fixture
def large(recipe: Recipe) -> Path:
    """A batch of all rows at once, so that activations are most of what is needed."""
    stage = {"num_train_epochs": 2, "batch_size": 150, "learning_rate": 1e-3, "micro_batch_tokens": 4096}
    return recipe(rows=150, stages=[stage], tune={"kind": "full"})


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("24GiB", 24 * 2**30),
        ("24 gib", 24 * 2**30),
        ("24GB", 24 * 10**9),
        ("24000MB", 24 * 10**9),
        ("24G", 24 * 2**30),
        ("0.5TiB", 2**39),
        ("512MiB", 2**29),
        ("1000", 1000),
    ],
)
def test_sizes_are_read_as_people_write_them(text: str, size: int) -> None:
    assert parse_memory(text) == size


@pytest.mark.parametrize("text", ["", "much", "24ZB", "-3GiB", "0GiB", "24GiBs", "1e3GB"])
def test_other_sizes_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="24GiB, 24GB or 24000MB"):
        parse_memory(text)


def test_a_bad_size_or_device_ends_with_exit_code_2(recipe: Recipe) -> None:
    path = recipe()
    for arguments in (("--memory", "lots"), ("--device", "abacus"), ("--device", "H100", "--probe")):
        result = tuneloop("plan", path, *arguments)
        assert result.code == ExitCode.USER_INPUT, result.out
        assert arguments[0] in result.err or "--probe" in result.err


@pytest.mark.slow
def test_every_way_of_tuning_stands_side_by_side(recipe: Recipe) -> None:
    answer = planned(recipe())
    ways = {way["name"].split(",")[0]: way for way in answer["ways"]}
    assert list(ways) == ["the recipe", "full", "freeze", "lora", "qlora nf4", "adapter"]
    assert all(way["problem"] is None and way["fits"] for way in ways.values())
    assert answer["fits"] is True
    assert (answer["patch"], answer["set"], answer["patched"], answer["probe"]) == ({}, [], None, None)
    assert ways["the recipe"]["memory"] == ways["lora"]["memory"]
    assert ways["qlora nf4"]["memory"]["weights"] < ways["lora"]["memory"]["weights"] < 2 * 4 * 46176
    assert ways["full"]["memory"]["optimizer"] == 8 * 46176
    assert ways["lora"]["flops"] < ways["full"]["flops"]
    assert all(way["time_s"] == pytest.approx(way["flops"] / answer["target"]["flops"]) for way in ways.values())


@pytest.mark.slow
def test_a_named_card_is_planned_for_with_its_memory_and_an_assumed_share_of_its_peak(recipe: Recipe) -> None:
    target = planned(recipe(), "--device", "h100")["target"]
    assert target["memory_bytes"] == 81_559 << 20
    assert target["flops"] == pytest.approx(0.4 * 989e12)
    assert target["precision"] == "bf16"
    assert "assumed" in target["basis"]


@pytest.mark.slow
def test_the_patch_makes_the_recipe_fit_and_is_as_harmless_as_can_be(large: Path) -> None:
    need = planned(large)["ways"][0]["memory"]["total"]
    mild = planned(large, "--memory", f"{int(ROOM + (need - ROOM) * 0.6) // 1000}KB")
    assert mild["fits"] is False
    assert set(mild["patch"]) == {"stages.0.micro_batch_tokens"}
    arguments = [part for line in mild["set"] for part in line.split(" ", 1)]
    again = planned(large, *arguments)
    assert again["ways"][0]["memory"]["total"] == mild["patched"]["memory"]["total"]
    assert again["ways"][0]["memory"]["total"] <= mild["target"]["memory_bytes"]


@pytest.mark.slow
def test_where_nothing_helps_that_is_said(large: Path) -> None:
    answer = planned(large, "--memory", "300MiB")
    assert (answer["fits"], answer["patch"], answer["patched"]) == (False, {}, None)
    assert "no change of it was found" in tuneloop("plan", large, "--memory", "300MiB").out


@pytest.mark.slow
def test_the_table_shows_each_way_and_the_lines_to_set(large: Path) -> None:
    out = tuneloop("plan", large, "--memory", "630MiB").out
    assert [line.split(",")[0].split("  ")[0] for line in out.splitlines()[3:9]][:3] == ["the recipe", "full", "freeze"]
    assert "does not fit" in out
    assert "  --set stages.0.micro_batch_tokens=" in out


def test_lines_are_what_a_shell_hands_on_unchanged() -> None:
    changes = {"tune": {"kind": "lora", "rank": 4}, "a.b": True, "model.quantization": None, "c": 3}
    assert set_lines(changes) == [
        "--set 'tune={kind: lora, rank: 4}'",
        "--set a.b=true",
        "--set model.quantization=null",
        "--set c=3",
    ]


@pytest.mark.slow
def test_a_probe_measures_a_real_step_and_the_estimate_is_near(recipe: Recipe) -> None:
    """In a process of its own: the peak of this one is that of all tests before."""
    code = "from tuneloop.cli.main import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, "plan", str(recipe()), "--probe", "--json"], capture_output=True, check=True
    )
    answer = json.loads(done.stdout)
    probe, memory = answer["probe"], answer["ways"][0]["memory"]
    assert probe["time_s"] > 0
    assert probe["tokens"] > 0
    assert 0.6 < memory["total"] / probe["peak_bytes"] < 1.6


@pytest.mark.parametrize(
    ("error", "ran_out"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), True),
        (MemoryError(), True),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"), True),
        (RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 9 bytes"), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
    ],
)
def test_what_says_that_memory_ran_out(error: BaseException, *, ran_out: bool) -> None:
    assert is_out_of_memory(error) is ran_out


def run_out(recipe: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, tmp_path: Path) -> Result:
    def fit(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(rounds, "fit", fit)
    return tuneloop("train", recipe, "--out", tmp_path / "run", "--json")


@pytest.mark.slow
def test_running_out_of_memory_ends_with_the_plan_that_would_fit(
    large: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = run_out(large, monkeypatch, torch.OutOfMemoryError("CUDA out of memory"), tmp_path)
    assert result.code == ExitCode.MEMORY == 10
    assert result.json["error"]["kind"] == "OutOfMemoryError"
    assert "--set stages.0.micro_batch_tokens=" in result.json["error"]["message"]


def test_other_errors_of_the_engine_stay_what_they_are(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(RuntimeError, match="shapes"):
        run_out(recipe(), monkeypatch, RuntimeError("shapes cannot be multiplied"), tmp_path)
