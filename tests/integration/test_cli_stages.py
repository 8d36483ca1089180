"""The stages alone, and every `--json`: one object with the documented names."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from integration.command_line import LEARNS, events, learnable_rows, tuneloop, write_recipe
from tuneloop.deploy.contract import read_contract
from unit.train.training_kit import alpaca_rows

Recipe = Callable[..., Path]


@pytest.fixture(scope="module")
def trained(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder that `train` left."""
    folder = tmp_path_factory.mktemp("trained")
    recipe = write_recipe(folder, tiny_model, learnable_rows(24), stages=LEARNS)
    assert tuneloop("train", recipe, "--out", folder / "out").code == 0
    return folder / "out"


def test_train(recipe: Recipe, tmp_path: Path) -> None:
    path, out = recipe(), tmp_path / "out"
    result = tuneloop("train", path, "--out", out, "--json")
    assert result.code == 0
    values = result.json
    assert (values["kind"], values["folder"], values["round"]) == ("checkpoint", str(out), 1)
    assert values["cost"]["steps"] == 6
    assert values["trainable_parameters"] == 6144
    assert values["step"] in {2, 4, 6}
    assert values["hash"] == json.loads((out / "records/checkpoint-1.json").read_text())["hash"]
    again = tuneloop("train", path, "--out", out, "--json")
    assert (again.code, again.json) == (0, values)
    assert len(events(out, "step")) == 6
    assert events(out, "generated") == []
    assert (out / "report.html").exists()


def test_train_for_people(recipe: Recipe, tmp_path: Path) -> None:
    result = tuneloop("train", recipe(), "--out", tmp_path / "out")
    assert result.code == 0
    assert "6 steps" in result.out
    assert f"tuneloop eval {tmp_path / 'out'}" in result.out
    assert "Round 1: training" in result.err


def test_resume_insists_on_a_checkpoint(recipe: Recipe, tmp_path: Path) -> None:
    path = recipe()
    refused = tuneloop("train", path, "--out", tmp_path / "out", "--resume")
    assert refused.code == 2
    assert "no checkpoint to go on from" in refused.err
    assert tuneloop("train", path, "--out", tmp_path / "out").code == 0
    assert tuneloop("train", path, "--out", tmp_path / "out", "--resume").code == 0


@pytest.mark.slow
def test_eval_of_a_run_measures_base_and_model(trained: Path) -> None:
    result = tuneloop("eval", trained, "--json")
    assert result.code == 0
    values = result.json
    assert (values["round"], values["n"]) == (1, 6)
    assert [score["metric"] for score in values["scores"]] == ["exact_match", "rougeL", "loss"]
    assert [comparison["metric"] for comparison in values["comparisons"]] == ["exact_match", "rougeL", "loss"]
    assert values["comparisons"][0]["before"] == 0.0
    assert values["comparisons"][0]["after"] == values["scores"][0]["value"] == 1.0
    assert Path(values["samples"]).is_file()
    assert (trained / "records/eval-0.json").exists()
    steps = len(events(trained, "generated"))
    assert tuneloop("eval", trained, "--json").json == values
    assert len(events(trained, "generated")) == steps
    assert "exact_match" in tuneloop("eval", trained).out


def test_eval_of_a_recipe_measures_its_base(recipe: Recipe, tmp_path: Path) -> None:
    result = tuneloop("eval", recipe(), "--out", tmp_path / "out", "--json")
    assert result.code == 0
    assert (result.json["round"], result.json["comparisons"]) == (0, [])
    assert events(tmp_path / "out", "step") == []


def test_export(trained: Path) -> None:
    result = tuneloop("export", trained, "--json")
    assert result.code == 0
    exports = result.json["exports"]
    assert [(record["format"], record["folder"]) for record in exports] == [
        ("adapter", "export/adapter"),
        ("merged", "export/merged"),
    ]
    for record in exports:
        folder = trained / record["folder"]
        assert set(record["files"]) == {path.name for path in folder.iterdir()}
        assert {"tuneloop_contract.json", "chat_template.jinja", "tokenizer.json", "README.md"} <= set(record["files"])
        assert read_contract(folder).contract.template_name == "model"
    assert tuneloop("export", trained, "--format", "merged", "--json").json["exports"] == exports[1:]
    assert "logits differ by at most" in tuneloop("export", trained).out


@pytest.mark.slow
def test_chat_with_every_kind_of_model(trained: Path, tiny_model: Path) -> None:
    assert tuneloop("export", trained).code == 0
    answers = []
    for source in (trained, trained / "export/adapter", trained / "export/merged", tiny_model):
        result = tuneloop("chat", source, "--prompt", "Say the mat", "--max-new-tokens", 6, "--json")
        assert result.code == 0
        assert set(result.json) == {"prompt", "answer", "tokens", "finished"}
        answers.append(result.json["answer"])
        assert tuneloop("chat", source, "--prompt", "Say the mat", "--max-new-tokens", 6).out == answers[-1] + "\n"
    assert answers[:3] == ["the cat"] * 3
    assert answers[3] != "the cat"


def test_chat_with_a_system_turn_and_chance(trained: Path) -> None:
    assert tuneloop("export", trained).code == 0
    hot = ("--prompt", "Say the mat", "--max-new-tokens", 12, "--temperature", 3.0, "--json")
    first = tuneloop("chat", trained, *hot, "--seed", 1).json["answer"]
    assert tuneloop("chat", trained, *hot, "--seed", 1).json["answer"] == first
    assert tuneloop("chat", trained, *hot, "--seed", 2).json["answer"] != first
    assert tuneloop("chat", trained, *hot, "--seed", 1, "--system", "be brief").json["answer"] != first


def test_a_conversation_goes_on_line_by_line(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert tuneloop("export", trained).code == 0
    lines = iter(["Say the mat", "/new", "Say the dog", ""])
    monkeypatch.setattr("builtins.input", lambda _: next(lines))
    result = tuneloop("chat", trained, "--max-new-tokens", 6)
    assert result.code == 0
    assert result.out == "the cat\nthe cat\n"
    assert "Talking with" in result.err


def test_an_adapter_on_a_changed_base_is_refused(trained: Path, tiny_model: Path) -> None:
    assert tuneloop("export", trained).code == 0
    path = trained / "export/adapter/tuneloop_base.json"
    whole = path.read_text()
    assert json.loads(whole)["source"] == str(tiny_model)
    path.write_text(json.dumps(json.loads(whole) | {"sha256": "0" * 64}))
    try:
        result = tuneloop("chat", trained / "export/adapter", "--prompt", "x")
    finally:
        path.write_text(whole)
    assert result.code == 2
    assert "other weights than the one it was trained on" in result.err


@pytest.mark.parametrize(("language", "word"), [("en", "loss"), ("zh", "损失")])
def test_report(language: str, word: str, trained: Path) -> None:
    (trained / "report.html").unlink(missing_ok=True)
    result = tuneloop("report", trained, "--language", language)
    assert (result.code, result.out.strip()) == (0, str(trained / "report.html"))
    assert word in (trained / "report.html").read_text()


def test_schema_describes_the_recipes_that_are_read(recipe: Recipe) -> None:
    import yaml

    result = tuneloop("schema")
    assert result.code == 0
    schema = result.json
    assert schema["$schema"].startswith("https://json-schema.org/")
    assert "data" in schema["required"]
    assert set(yaml.safe_load(recipe().read_text())) <= set(schema["properties"])
    assert schema["additionalProperties"] is False


def test_doctor() -> None:
    result = tuneloop("doctor", "--json")
    assert result.code == 0
    assert {"python", "cores", "memory_gib", "cpu_float32_gflops", "cuda", "packages", "cache", "advice"} <= set(
        result.json
    )
    assert result.json["packages"]["torch"]
    for_people = tuneloop("doctor")
    assert for_people.code == 0
    assert "cores:" in for_people.out


BROKEN = (
    '{"instruction": "a", "input": "", "output": "b"}\n'
    "{not json}\n"
    '{"instruction": "c", "input": "", "output": ""}\n'
    "\n"
    '{"instruction": "a", "input": "", "output": "b"}\n'
    '{"instruction": "d", "output": 5}\n'
    '{"instruction": "e", "input": "f", "output": "g"}\n'
)


def test_data_check_names_every_row_that_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(BROKEN)
    result = tuneloop("data", "check", path, "--json")
    assert result.code == 0
    values = result.json
    assert (values["read"], values["kept"]) == (6, 2)
    assert all(set(problem) == {"file", "line", "code", "reason"} for problem in values["problems"])
    assert {(problem["line"], problem["code"]) for problem in values["problems"]} == {
        (2, "not_json"),
        (3, "empty_answer"),
        (5, "duplicate"),
        (6, "wrong_type"),
    }
    assert {problem["file"] for problem in values["problems"]} == {str(path)}
    for_people = tuneloop("data", "check", path)
    assert for_people.code == 0
    assert "read 6 = kept 2 + duplicate 1 + empty_answer 1 + not_json 1 + wrong_type 1" in for_people.out
    strict = tuneloop("data", "check", path, "--strict")
    assert strict.code == 2
    assert f"{path}:2" in strict.err


def test_data_check_with_a_model_counts_tokens(tmp_path: Path, tiny_model: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in alpaca_rows(6)))
    values = tuneloop("data", "check", path, "--model", tiny_model, "--json").json
    assert (values["read"], values["kept"], values["train"]["rows"]) == (6, 6, 6)
    assert 0 < values["train"]["target_tokens"] < values["train"]["tokens"]
    short = tuneloop(
        "data",
        "check",
        path,
        "--model",
        tiny_model,
        "--cutoff-len",
        values["train"]["lengths"]["longest"] - 1,
        "--json",
    )
    assert "overlong" in {problem["code"] for problem in short.json["problems"]}


def test_data_check_of_a_recipe(recipe: Recipe) -> None:
    values = tuneloop("data", "check", recipe(), "--json").json
    assert (values["train"]["rows"], values["eval"]["rows"]) == (18, 6)


def test_data_show_marks_the_targets(tmp_path: Path, tiny_model: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"instruction": "the dog", "input": "", "output": "the cat"}\n')
    result = tuneloop("data", "show", path, "--model", tiny_model, "--json")
    assert result.code == 0
    values = result.json
    assert set(values) >= {"template", "contract_hash", "rows"}
    (row,) = values["rows"]
    assert row["row"] == f"{path}:1"
    tokens = row["tokens"]
    assert all(set(token) == {"id", "text", "weight"} for token in tokens)
    assert "".join(token["text"] for token in tokens if token["weight"] > 0) == "the cat<|im_end|>"
    assert "".join(token["text"] for token in tokens).startswith("<|im_start|>user\nthe dog<|im_end|>\n")
    assert row["num_targets"] == sum(token["weight"] > 0 for token in tokens)
    for_people = tuneloop("data", "show", path, "--model", tiny_model)
    assert for_people.code == 0
    assert "the cat" in for_people.out


def test_data_show_of_a_recipe(recipe: Recipe) -> None:
    assert len(tuneloop("data", "show", recipe(), "--rows", 2, "--json").json["rows"]) == 2


def test_score(tmp_path: Path) -> None:
    (tmp_path / "predictions.txt").write_text("a b c\nx\n")
    (tmp_path / "references.txt").write_text("a b c\ny\n")
    files = ("--predictions", tmp_path / "predictions.txt", "--references", tmp_path / "references.txt")
    result = tuneloop("score", "exact_match", *files, "--json")
    assert result.code == 0
    assert set(result.json) == {"metric", "value", "interval", "n", "signature", "parts"}
    assert (result.json["metric"], result.json["value"], result.json["n"]) == ("exact_match", 0.5, 2)
    assert set(result.json["interval"]) == {"low", "high", "level"}
    items = tuneloop("score", "exact_match", *files, "--items", "--json").json["items"]
    assert items == [1.0, 0.0]
    several = tuneloop("score", "rouge", *files, "--json").json
    assert [score["metric"] for score in several["scores"]] == ["rouge1", "rouge2", "rougeL", "rougeLsum"]
    assert "exact_match 0.5000" in tuneloop("score", "exact_match", *files).out
