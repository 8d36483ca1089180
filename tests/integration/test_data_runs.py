"""Whole runs over what is more than questions and answers: streams, plain text, tools, mixtures."""

import json
from pathlib import Path
from typing import Any

import pytest

from conftest import write_model
from integration.command_line import learnable_rows, tuneloop, write_recipe
from tuneloop.core.errors import ExitCode

TOOL_TEMPLATE = (
    "{% if tools %}<|im_start|>system\n{% for tool in tools %}{{ tool | tojson }}{% endfor %}<|im_end|>\n{% endif %}"
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}"
    "{% for call in message.tool_calls or [] %}{{ call.function | tojson }}{% endfor %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
STAGE = {"num_train_epochs": 6, "batch_size": 8, "learning_rate": 1e-2, "micro_batch_tokens": 512}


def write_rows(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def finish(recipe: Path, out: Path) -> dict[str, Any]:
    """Run to the end; the gate may say no."""
    result = tuneloop("run", recipe, "--out", out)
    assert result.code in {ExitCode.DONE, ExitCode.REJECTED}, result.err
    assert (out / "report.html").stat().st_size > 10_000
    return json.loads((out / "records/eval-1.json").read_text())


@pytest.mark.slow
def test_a_streamed_run_from_end_to_end(tmp_path: Path, tiny_model: Path) -> None:
    data = {
        "train": ["rows.jsonl"],
        "eval": ["held.jsonl"],
        "streaming": True,
        "shuffle_window": 16,
        "cutoff_len": 256,
    }
    rows = learnable_rows(60)
    recipe = write_recipe(tmp_path, tiny_model, rows[:40] + rows[:2], data=data, stages=[STAGE | {"max_steps": 12}])
    write_rows(tmp_path / "held.jsonl", rows[38:60])
    record = finish(recipe, tmp_path / "out")
    assert record["num_samples"] == 22
    ledger = json.loads((tmp_path / "out/round-1/data/ledger.json").read_text())
    assert (ledger["complete"], ledger["read"], ledger["kept"]) == (True, 42, 38)
    assert ledger["problems"] == {"duplicate": 2, "leak": 2}


def test_a_stream_needs_to_know_its_steps(tmp_path: Path, tiny_model: Path) -> None:
    data = {"train": ["rows.jsonl"], "eval_fraction": 0, "streaming": True}
    recipe = write_recipe(tmp_path, tiny_model, learnable_rows(8), data=data)
    result = tuneloop("train", recipe, "--out", tmp_path / "out")
    assert result.code == ExitCode.USER_INPUT
    assert "max_steps" in result.err


@pytest.mark.slow
def test_plain_text_is_measured_by_its_loss(tmp_path: Path, tiny_model: Path) -> None:
    recipe = write_recipe(tmp_path, tiny_model, learnable_rows(4), stages=[STAGE], data={"train": ["text.jsonl"]})
    write_rows(tmp_path / "text.jsonl", [{"text": f"the cat sat on the mat {i} and the dog ran"} for i in range(40)])
    record = finish(recipe, tmp_path / "out")
    assert [score["metric"] for score in record["scores"]] == ["loss"]


@pytest.mark.slow
def test_calls_of_tools_are_learned_and_measured(tmp_path: Path) -> None:
    model = write_model(tmp_path / "model", chat_template=TOOL_TEMPLATE)
    tools = [{"type": "function", "function": {"name": "cat", "parameters": {}}}]
    call = {"role": "assistant", "content": None, "tool_calls": [{"name": "cat", "arguments": {"mat": "dog"}}]}
    rows = [{"messages": [{"role": "user", "content": f"the {i}"}, call], "tools": tools} for i in range(40)]
    data = {"train": ["tools.jsonl"], "template": "model", "cutoff_len": 512}
    recipe = write_recipe(tmp_path, model, learnable_rows(4), stages=[STAGE], data=data)
    write_rows(tmp_path / "tools.jsonl", rows)
    finish(recipe, tmp_path / "out")
    samples = [json.loads(line) for line in (tmp_path / "out/round-1/eval/samples.jsonl").read_text().splitlines()]
    assert {sample["reference"].replace(" ", "") for sample in samples} == {'{"name":"cat","arguments":{"mat":"dog"}}'}


@pytest.mark.slow
@pytest.mark.parametrize(("overlong", "words"), [("truncate_prompt", 90), ("split_turns", 20)])
def test_rows_that_are_made_to_fit_are_evaluated_as_they_were_trained(
    tmp_path: Path, tiny_model: Path, overlong: str, words: int
) -> None:
    turns = [{"role": role, "content": "the cat " * 12} for _ in range(3) for role in ("user", "assistant")]
    rows = [{"messages": [{"role": "user", "content": f"{i} " + "the dog " * words}, *turns[1:]]} for i in range(30)]
    data = {"train": ["long.jsonl"], "cutoff_len": 200, "overlong": overlong}
    recipe = write_recipe(tmp_path, tiny_model, learnable_rows(4), stages=[STAGE | {"max_steps": 2}], data=data)
    write_rows(tmp_path / "long.jsonl", rows)
    finish(recipe, tmp_path / "out")
    record = json.loads((tmp_path / "out/records/dataset-1.json").read_text())
    (file,) = record["files"]
    assert file["read"] + file["added"] == file["kept"] + sum(file["problems"].values())
    assert record["train"]["lengths"]["longest"] <= 200
