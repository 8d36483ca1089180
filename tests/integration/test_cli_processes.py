"""Each command once as a real process, from the script that pip installed."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from integration.command_line import LEARNS, learnable_rows, write_recipe

SCRIPT = Path(sys.executable).parent / "tuneloop"


def run(*arguments: object, code: int = 0, **options: Any) -> subprocess.CompletedProcess[str]:
    result = subprocess.run(
        [SCRIPT, *map(str, arguments)], capture_output=True, text=True, check=False, timeout=240, **options
    )
    assert result.returncode == code, result
    assert "Traceback" not in result.stderr
    return result


def modules_of(*arguments: str) -> set[str]:
    """What a command has imported by its end."""
    program = (
        "import sys; sys.argv = ['tuneloop', *sys.argv[1:]]\n"
        "from tuneloop.cli.main import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "print('MODULES', *(name for name in sys.modules if '.' not in name))"
    )
    result = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=True)
    return set(result.stdout.rpartition("MODULES")[2].split())


HEAVY = {"torch", "transformers", "peft", "safetensors", "numpy", "tokenizers", "sacrebleu"}


@pytest.mark.parametrize("arguments", [("--help",), ("run", "--help"), ("data", "--help"), ("--version",)])
def test_help_imports_nothing_heavy(arguments: tuple[str, ...]) -> None:
    assert not modules_of(*arguments) & HEAVY


def test_commands_without_a_model_import_no_torch(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text('{"instruction": "a", "output": "b"}\n')
    (tmp_path / "a.txt").write_text("x\n")
    files = ("--predictions", str(tmp_path / "a.txt"), "--references", str(tmp_path / "a.txt"))
    for arguments in (("schema",), ("data", "check", str(tmp_path / "rows.jsonl")), ("score", "bleu", *files)):
        assert not modules_of(*arguments) & {"torch", "transformers", "peft"}


@pytest.mark.slow
def test_commands_that_need_no_model(tmp_path: Path) -> None:
    assert "tuneloop 0." in run("--version").stdout
    text = run("--help").stdout
    for command in ("run", "train", "eval", "export", "chat", "data", "score", "schema", "doctor", "report"):
        assert f"\n  {command} " in text
    assert json.loads(run("schema").stdout)["title"] == "Plan"
    (tmp_path / "rows.jsonl").write_text('{"instruction": "a", "output": "b"}\nnot json\n')
    checked = json.loads(run("data", "check", tmp_path / "rows.jsonl", "--json").stdout)
    assert (checked["read"], checked["kept"]) == (2, 1)
    (tmp_path / "a.txt").write_text("x\n")
    files = ("--predictions", tmp_path / "a.txt", "--references", tmp_path / "a.txt")
    assert json.loads(run("score", "chrf", *files, "--json").stdout)["value"] == 100.0
    failed = run("run", tmp_path / "no.yaml", code=2)
    assert failed.stdout == ""
    assert failed.stderr == f"ConfigError: {tmp_path / 'no.yaml'}: no such file.\n"


@pytest.mark.slow
def test_a_reader_that_has_had_enough_is_no_error() -> None:
    with subprocess.Popen([SCRIPT, "schema"], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(60) == 0


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_whole_way(tmp_path: Path, tiny_model: Path) -> None:
    recipe = write_recipe(tmp_path, tiny_model, learnable_rows(32), stages=LEARNS)
    ran = json.loads(run("run", recipe, "--out", "out", "--json", cwd=tmp_path).stdout)
    assert ran["accepted_round"] == 1
    again = run("run", recipe.name, "--out", "out", "--json", cwd=tmp_path)
    assert json.loads(again.stdout) == ran
    trained = json.loads(run("train", recipe, "--json", cwd=tmp_path).stdout)
    assert trained["folder"] == "runs/tiny"
    assert json.loads(run("eval", "runs/tiny", "--json", cwd=tmp_path).stdout)["scores"] == ran["after"]
    exported = json.loads(run("export", tmp_path / "runs/tiny", "--json").stdout)["exports"]
    assert [record["format"] for record in exported] == ["adapter", "merged"]
    for source in ("runs/tiny", "out/export/adapter", "out/export/merged"):
        said = run("chat", source, "--prompt", "Say the mat", "--max-new-tokens", 6, cwd=tmp_path)
        assert (said.stdout, said.stderr) == ("the cat\n", "")
    assert run("report", "out", cwd=tmp_path).stdout == "out/report.html\n"
    shown = json.loads(run("data", "show", recipe, "--json").stdout)
    assert shown["contract_hash"] == json.loads((tmp_path / "out/records/eval-1.json").read_text())["contract_hash"]
    assert json.loads(run("doctor", "--json").stdout)["cores"] >= 1
    refused = run("run", recipe, "--out", tmp_path / "out", "--set", "seed=1", code=2)
    assert "recipe.seed: was 0, is 1" in refused.stderr
    rejected = run("run", recipe, "--out", tmp_path / "third", "--set", "iterate.min_rows=20", code=3)
    assert "too few to tell" in rejected.stdout
