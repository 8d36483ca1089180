"""What goes wrong is told in one paragraph, with an exit code that scripts may rely on, and never as a traceback."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from integration.command_line import Result, start, tuneloop, wait_for, write_recipe
from tuneloop.core.store import own_folder
from unit.train.training_kit import alpaca_rows, flip_bit, write_model

Recipe = Callable[..., Path]


def assert_told(result: Result, kind: str, message: str, code: int = 2) -> None:
    """Exactly one error, of that kind, as the last paragraph."""
    assert result.code == code, result
    assert "Traceback" not in result.err + result.out
    assert result.err.count("Error: ") == 1
    assert message in result.err.partition(f"{kind}: ")[2], result.err
    assert result.out == ""


def test_a_missing_recipe(tmp_path: Path) -> None:
    for command in ("run", "train", "eval"):
        assert_told(tuneloop(command, tmp_path / "no.yaml"), "ConfigError", "no.yaml: no such file")


def test_an_unknown_key_with_its_line_and_a_guess(recipe: Recipe, tmp_path: Path) -> None:
    path = recipe(tune={"kind": "lora", "rnak": 4})
    line = next(n for n, text in enumerate(path.read_text().splitlines(), start=1) if "rnak" in text)
    result = tuneloop("run", path, "--out", tmp_path / "out")
    assert_told(result, "ConfigError", f"{path}:{line}: tune has no field 'rnak'. Did you mean 'rank'?")
    assert not (tmp_path / "out").exists()


def test_several_mistakes_are_told_at_once(recipe: Recipe) -> None:
    result = tuneloop("run", recipe(seed=-1, stages=[{"batch_size": 0}], evaluate={"metrics": ["blue"]}))
    assert result.code == 2
    for part in ("seed", "stages.0.batch_size"):
        assert part in result.err


def test_an_unknown_metric(recipe: Recipe, tmp_path: Path) -> None:
    assert_told(tuneloop("run", recipe(evaluate={"metrics": ["blue"]})), "ConfigError", "'blue'")
    (tmp_path / "a.txt").write_text("x\n")
    files = ("--predictions", tmp_path / "a.txt", "--references", tmp_path / "a.txt")
    assert_told(tuneloop("score", "blue", *files), "ConfigError", "no metric 'blue'")


def test_missing_files_of_rows(recipe: Recipe, tmp_path: Path) -> None:
    path = recipe(data={"train": ["nothing.jsonl"]})
    assert_told(tuneloop("train", path, "--out", tmp_path / "out"), "DataError", "nothing.jsonl: no such file")
    assert_told(tuneloop("data", "check", tmp_path / "no.jsonl"), "DataError", "no.jsonl: no such file")
    assert_told(tuneloop("data", "show", tmp_path / "no.jsonl", "--model", tmp_path), "ModelError", "config.json")
    missing = ("--predictions", tmp_path / "p", "--references", tmp_path / "r")
    assert_told(tuneloop("score", "bleu", *missing), "DataError", str(tmp_path / "p"))


@pytest.mark.parametrize("content", ["", "\n\n", "{}\n", '{"instruction": "a", "output": ""}\n'])
def test_no_rows(content: str, recipe: Recipe, tmp_path: Path) -> None:
    path = recipe()
    (tmp_path / "rows.jsonl").write_text(content)
    result = tuneloop("train", path, "--out", tmp_path / "out")
    assert result.code == 2
    assert result.err.count("DataError: ") == 1
    assert not list((tmp_path / "out").rglob("*.safetensors"))


def pickled(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(b"\\x80\\x04.")


def adapter(folder: Path) -> None:
    for path in folder.iterdir():
        path.unlink()
    (folder / "adapter_config.json").write_text("{}")
    (folder / "adapter_model.safetensors").write_bytes(b"")


WRONG_MODELS: list[tuple[str, Callable[[Path], object], str]] = [
    ("gone", shutil.rmtree, "no folder"),
    ("empty", lambda folder: [path.unlink() for path in folder.iterdir()], "has no config.json"),
    ("pickled", pickled, "pickled, which can run code"),
    ("adapter", adapter, "It is an adapter: name its base model here"),
    ("no tokenizer", lambda folder: (folder / "tokenizer.json").unlink(), "has no tokenizer.json"),
]


@pytest.mark.parametrize(
    ("change", "message"), [case[1:] for case in WRONG_MODELS], ids=[case[0] for case in WRONG_MODELS]
)
def test_a_wrong_model_folder(
    change: Callable[[Path], object], message: str, recipe: Recipe, tiny_model: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(tiny_model, tmp_path / "model"))
    change(folder)
    path = recipe(model={"source": str(folder)})
    assert_told(tuneloop("train", path, "--out", tmp_path / "out"), "ModelError", message)
    assert_told(tuneloop("run", path, "--dry-run"), "ModelError", message)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param(
            *case[1:],
            id=case[0],
        )
        for case in WRONG_MODELS
        if case[0] != "adapter"
    ],
)
def test_chat_says_the_same_of_a_wrong_model_folder(
    change: Callable[[Path], object], message: str, tiny_model: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(tiny_model, tmp_path / "model"))
    change(folder)
    assert_told(tuneloop("chat", folder, "--prompt", "x"), "ModelError", message.removeprefix("has "))


def test_chat_with_an_adapter_of_others(tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text("{}")
    assert_told(tuneloop("chat", tmp_path, "--prompt", "x"), "ModelError", "does not say which base it belongs to")


def test_folders_that_are_no_runs(tmp_path: Path) -> None:
    for command in ("export", "report"):
        assert_told(tuneloop(command, tmp_path), "ConfigError", "no run folder")
    assert_told(tuneloop("chat", tmp_path / "nothing", "--prompt", "x"), "ModelError", "no folder")
    assert_told(tuneloop("eval", tmp_path), "ConfigError", "no run folder")


def test_nothing_was_trained_yet(recipe: Recipe, tmp_path: Path) -> None:
    path, out = recipe(), tmp_path / "out"
    assert tuneloop("eval", path, "--out", out).code == 0
    assert_told(tuneloop("export", out), "ConfigError", "nothing was trained yet")
    assert_told(tuneloop("chat", out, "--prompt", "x"), "ConfigError", "has no exported model yet")


@pytest.mark.slow
def test_a_round_that_is_not_there(recipe: Recipe, tmp_path: Path) -> None:
    assert tuneloop("train", recipe(), "--out", tmp_path / "out").code == 0
    for command in ("export", "eval"):
        result = tuneloop(command, tmp_path / "out", "--round", 7)
        assert result.code == 2
        assert "checkpoint-7" in result.err


def test_errors_are_json_where_json_was_asked_for(tmp_path: Path) -> None:
    result = tuneloop("run", tmp_path / "no.yaml", "--json")
    assert (result.code, result.err) == (2, "")
    assert json.loads(result.out) == {
        "error": {"kind": "ConfigError", "message": f"{tmp_path / 'no.yaml'}: no such file.", "exit_code": 2}
    }


@pytest.mark.parametrize(
    "arguments", [("run",), ("nonsense",), ("train", "x.yaml", "--nonsense"), ("eval", "x", "--round", "0")]
)
def test_wrong_arguments(arguments: tuple[str, ...]) -> None:
    result = tuneloop(*arguments)
    assert result.code == 2
    assert "Traceback" not in result.err


def test_a_damaged_record_is_an_integrity_error(recipe: Recipe, tmp_path: Path) -> None:
    path, out = recipe(), tmp_path / "out"
    assert tuneloop("train", path, "--out", out).code == 0
    flip_bit(out / "records/checkpoint-1.json", -10)
    assert tuneloop("train", path, "--out", out).code == 7


def test_damaged_weights_of_a_finished_run_are_an_integrity_error(recipe: Recipe, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert tuneloop("train", recipe(), "--out", out).code == 0
    for blob in (out / "round-1/checkpoints/blobs").iterdir():
        flip_bit(blob, -1)
    assert_told(tuneloop("export", out), "IntegrityError", "its bytes differ", code=7)


def test_a_loss_that_is_not_finite_has_its_own_exit_code(recipe: Recipe, tmp_path: Path) -> None:
    """A base whose embedding of a token of every prompt is NaN."""
    import torch
    from safetensors.torch import load_file, save_file

    base = write_model(tmp_path / "base")
    weights = {name: tensor.clone() for name, tensor in load_file(base / "model.safetensors").items()}
    weights["model.embed_tokens.weight"][1] = torch.nan
    save_file(weights, base / "model.safetensors", metadata={"format": "pt"})
    path = recipe(model={"source": str(base)})
    result = tuneloop("train", path, "--out", tmp_path / "out")
    assert_told(result, "NonFiniteError", "5 steps in a row had no finite loss", code=4)


def test_a_folder_that_is_owned_by_another(recipe: Recipe, tmp_path: Path) -> None:
    path, out = recipe(), tmp_path / "out"
    with own_folder(out):
        for command in (("run", path, "--out", out), ("train", path, "--out", out)):
            assert_told(tuneloop(*command), "LockedError", "another process works in this folder", code=6)
    assert [entry.name for entry in out.iterdir()] == [".lock"]
    assert tuneloop("train", path, "--out", out).code == 0


@pytest.mark.slow
def test_two_processes_on_one_folder(tiny_model: Path, tmp_path: Path) -> None:
    """The first one is not disturbed: it ends as it would alone."""
    stages = [{"num_train_epochs": 50, "max_steps": 40, "batch_size": 4, "eval_steps": 10, "learning_rate": 1e-3}]
    recipe = write_recipe(tmp_path, tiny_model, alpaca_rows(24), stages=stages)
    assert tuneloop("train", recipe, "--out", tmp_path / "alone").code == 0
    out = tmp_path / "out"
    first = start("train", recipe, "--out", out, log=tmp_path / "log")
    assert wait_for((out / "records/dataset-1.json").exists, first)
    for command in (("train", recipe, "--out", out), ("run", recipe, "--out", out), ("export", out), ("eval", out)):
        assert_told(tuneloop(*command), "LockedError", "another process works in this folder", code=6)
    assert first.finish().code == 0
    one, other = (
        json.loads((folder / "records/checkpoint-1.json").read_text())["weights_sha256"]
        for folder in (tmp_path / "alone", out)
    )
    assert one == other


def test_a_row_longer_than_the_models_positions(
    recipe: Recipe, family_model: Callable[[str], Path], tmp_path: Path
) -> None:
    rows = [*alpaca_rows(6), {"instruction": "x " * 400, "input": "", "output": "the"}]
    path = recipe(model={"source": str(family_model("gpt2"))}, data={"train": ["rows.jsonl"]}, tune={"kind": "full"})
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert tuneloop("train", path, "--out", tmp_path / "out").code in {0, 2}
