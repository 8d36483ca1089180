"""`tuneloop eval MODEL --task`, `tuneloop tasks` and `tuneloop score` as a user runs them."""

import json
import signal
from pathlib import Path

import pytest

from integration.command_line import start, tuneloop, wait_for
from unit.train.training_kit import write_model

TASK = """
name: sums
version: 1
description: sums of two numbers
prompt: "{{ a }} + {{ b }} = ?"
reference: a + b
generate: {max_new_tokens: 12, batch_size: 2, temperature: 1.0, num_samples: 2}
scores:
  - {metric: gsm8k}
  - {name: short, metric: exact_match, filters: [strip, first_line]}
"""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("eval") / "model")


@pytest.fixture
def task(tmp_path: Path) -> list[object]:
    (tmp_path / "sums.yaml").write_text(TASK)
    rows = [json.dumps({"a": index, "b": 3}) + "\n" for index in range(24)]
    (tmp_path / "rows.jsonl").write_text("".join([*rows, '{"a": 1}\n']))
    return ["--task", tmp_path / "sums.yaml", "--rows", tmp_path / "rows.jsonl"]


def outputs(folder: Path) -> list[dict[str, object]]:
    path = folder / "outputs.jsonl"
    written = path.read_bytes() if path.exists() else b""
    # read while it is written: what follows the last line break is half a line
    return [json.loads(line) for line in written[: written.rfind(b"\n") + 1].splitlines()[1:]]


def test_any_model_on_a_task(model: Path, task: list[object], tmp_path: Path) -> None:
    result = tuneloop("eval", model, *task, "--out", tmp_path / "out", "--json")
    assert result.code == 0, result.err
    answer = result.json
    assert [score["name"] for score in answer["scores"]] == ["gsm8k", "short"]
    assert answer["files"][0]["problems"] == {"template_fails": 1}
    assert answer["n"] == 24
    assert answer["contract_hash"]
    text = tuneloop("eval", model, *task, "--out", tmp_path / "out")
    assert "read 25 = asked 24 + template_fails 1" in text.out
    against = tuneloop("eval", model, *task, "--out", tmp_path / "again", "--against", tmp_path / "out", "--json")
    assert [each["difference"] for each in against.json["comparisons"]] == [0.0, 0.0]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_killed_and_gone_on_with(model: Path, task: list[object], tmp_path: Path) -> None:
    whole, run = tmp_path / "whole", tmp_path / "run"
    assert start("eval", model, *task, "--out", whole, log=tmp_path / "whole.log").finish(120).code == 0
    kills = 0
    for wanted in (3, 17, 40):
        running = start("eval", model, *task, "--out", run, log=tmp_path / "run.log")
        wait_for(lambda wanted=wanted: len(outputs(run)) >= wanted, running)
        running.signal(signal.SIGKILL)
        kills += running.finish(60).code == -signal.SIGKILL
    assert kills >= 1
    assert start("eval", model, *task, "--out", run, log=tmp_path / "run.log").finish(120).code == 0
    asked = [(line["question"], line["sample"]) for line in outputs(run)]
    assert len(asked) == len(set(asked)) == 48
    assert (run / "samples.jsonl").read_bytes() == (whole / "samples.jsonl").read_bytes()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--task", "gsm8", "--rows", "r"], "Did you mean 'gsm8k'?"),
        (["--task", "gsm8k"], "--task needs --rows"),
        (["--limit", "3"], "--limit belongs to --task"),
        (["--task", "gsm8k", "--rows", "none.jsonl"], "none.jsonl: no such file"),
        (["--task", "gsm8k", "--rows", "r", "--model", "x"], "belong to an endpoint's URL"),
    ],
)
def test_wrong_arguments_are_told(arguments: list[str], message: str, model: Path) -> None:
    result = tuneloop("eval", model, *arguments)
    assert result.code == 2
    assert message in result.err
    assert "Traceback" not in result.err


def test_an_endpoint_needs_a_name_and_an_address() -> None:
    result = tuneloop("eval", "http://127.0.0.1:9/v1", "--task", "gsm8k", "--rows", "r.jsonl")
    assert result.code == 2
    assert "an endpoint needs --model" in result.err


def test_ready_tasks_are_shown() -> None:
    assert "gsm8k" in tuneloop("tasks").out
    assert tuneloop("tasks", "cmmlu").out.startswith("name: cmmlu")
    assert tuneloop("tasks", "none").code == 2
    names = [each["name"] for each in tuneloop("tasks", "--json").json["tasks"]]
    assert "translation-en-zh" in names


def test_perplexity_of_lines(model: Path, tmp_path: Path) -> None:
    (tmp_path / "texts.txt").write_text("one text\nanother text of the same\n")
    arguments = ["score", "perplexity", "--predictions", tmp_path / "texts.txt"]
    result = tuneloop(*arguments, "--model", model, "--json", "--items")
    assert result.code == 0, result.err
    assert result.json["metric"] == "perplexity"
    assert result.json["value"] > 1
    assert len(result.json["items"]) == 2
    assert "needs --model" in tuneloop(*arguments).err


def test_agreement_of_raters(tmp_path: Path) -> None:
    (tmp_path / "ratings.csv").write_text("rater,i1,i2,i3,i4\nann,1,2,3,3\nben,1,2,3,\ncy,1,2,,3\n")
    result = tuneloop("score", "agreement", "--ratings", tmp_path / "ratings.csv", "--scale", "ordinal", "--json")
    assert result.code == 0, result.err
    assert result.json["value"] == 1.0
    assert result.json["parts"]["raters"] == 3


def test_two_sets_of_answers_are_compared(tmp_path: Path) -> None:
    (tmp_path / "right.txt").write_text("".join(f"{index}\n" for index in range(20)))
    (tmp_path / "wrong.txt").write_text("".join(f"{index + 1}\n" for index in range(20)))
    files = ["--predictions", tmp_path / "right.txt", "--references", tmp_path / "right.txt"]
    result = tuneloop("score", "exact_match", *files, "--against", tmp_path / "wrong.txt", "--json")
    assert result.json["comparison"]["difference"] == 1.0
    assert result.json["comparison"]["p_value"] < 0.01


def test_programs_are_scored_by_their_tests(tmp_path: Path) -> None:
    (tmp_path / "programs.jsonl").write_text('["def f():\\n    return 1", "def f():\\n    return 2"]\n')
    (tmp_path / "tests.jsonl").write_text('"assert f() == 1"\n')
    files = ["--predictions", tmp_path / "programs.jsonl", "--references", tmp_path / "tests.jsonl"]
    result = tuneloop("score", "pass@1", *files, "--json")
    assert result.code == 0, result.err
    assert result.json["value"] == 0.5
    assert result.json["parts"]["passed"] == 0.5


def test_hallucination_stands_beside_the_accuracy_of_its_checker(tmp_path: Path) -> None:
    rows = [
        {"source": "The rent is $2,350 a month.", "output": "The rent is $2,350 a month.", "document": "a"},
        {"source": "The rent is $2,350 a month.", "output": "The rent is $9,999 a month.", "document": "b"},
        {"source": "月租金为3000元。", "output": "月租金为3000元。", "document": "c"},
    ]
    (tmp_path / "answers.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    arguments = ["score", "hallucination", "--predictions", tmp_path / "answers.jsonl", "--checker", "embedded"]
    values = tuneloop(*arguments, "--json", "--items").json
    assert values["metric"] == "hallucination"
    assert values["value"] == pytest.approx(1 / 3)
    assert [item["supported"] for item in values["items"]] == [True, False, True]
    assert {entry["language"] for entry in values["parts"]["accuracy"]} == {"en", "zh"}
    assert "checker embedded, English: right on 0." in tuneloop(*arguments).out
    assert tuneloop(*arguments[:-1], "none").code == 2


def test_logic_counts_what_states_no_syllogism(tmp_path: Path) -> None:
    rows = ["大前提:逾期应付违约金。小前提:甲逾期。结论:甲应付违约金。", "没有推理。"]
    (tmp_path / "answers.jsonl").write_text("".join(json.dumps({"output": row}) + "\n" for row in rows))
    arguments = ["score", "logic", "--predictions", tmp_path / "answers.jsonl", "--checker", "embedded"]
    values = tuneloop(*arguments, "--json").json
    assert (values["metric"], values["n"], values["parts"]["unparsable"]) == ("logic", 1, 1)
    assert "1 answers state no complete syllogism" in tuneloop(*arguments).out


def test_the_judge_is_reached() -> None:
    result = tuneloop("judge", "--help")
    assert result.code == 0
    assert "pairs" in result.out
    assert "rubric" in result.out
