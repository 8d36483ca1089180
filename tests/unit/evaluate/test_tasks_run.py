"""A task from rows to a record: measured through every filter, compared, cut off and gone on with."""

import json
from pathlib import Path

import pytest

from tuneloop.core.errors import ConfigError, DataError, IntegrityError
from tuneloop.core.hooks import Hooks
from tuneloop.evaluate.tasks.records import TaskRecord
from tuneloop.pipeline.tasks import TaskRun, as_json, default_folder, run_task
from unit.evaluate.task_kit import CutOffError, RuleResponder, sum_rows, sums, write_rows


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    return sum_rows(tmp_path / "rows.jsonl", 8)


def test_scores_by_hand(rows: Path, tmp_path: Path) -> None:
    """Questions 6 and 7 are wrong; even ones are marked: 0, 2, 4 right of eight."""
    record = run_task(TaskRun(sums(), rows, tmp_path / "out"), RuleResponder(wrong_from=6), Hooks())
    number, marked = record.scores
    assert (number.name, number.score.value, number.without_answer) == ("gsm8k", 6 / 8, 0)
    assert (marked.name, marked.score.value, marked.without_answer) == ("marked", 3 / 8, 4)
    assert number.score.parts == {"answered": 1.0}
    assert number.score.interval is not None
    assert (record.num_questions, record.cut_outputs, record.generated_tokens) == (8, 1, 24)
    assert TaskRecord.load(tmp_path / "out/record.json") == record
    lines = [json.loads(line) for line in (tmp_path / "out/samples.jsonl").read_text().splitlines()]
    assert [line["scores"]["gsm8k"] for line in lines] == [1, 1, 1, 1, 1, 1, 0, 0]
    assert lines[1]["answers"] == {"marked": [None]}
    assert lines[2]["answers"] == {"marked": ["6"]}
    assert as_json(record, tmp_path)["scores"][0]["value"] == 6 / 8


@pytest.mark.parametrize("cut_off_after", [0, 1, 5, 7])
def test_cut_off_and_gone_on_with(rows: Path, tmp_path: Path, cut_off_after: int) -> None:
    whole = run_task(TaskRun(sums(), rows, tmp_path / "whole"), RuleResponder(), Hooks())
    out = tmp_path / "out"
    first, second = RuleResponder(cut_off_after=cut_off_after), RuleResponder()
    with pytest.raises(CutOffError):
        run_task(TaskRun(sums(), rows, out), first, Hooks())
    with (out / "outputs.jsonl").open("ab") as file:
        file.write(b'{"question":0,"sample":0,"te')
    record = run_task(TaskRun(sums(), rows, out), second, Hooks())
    assert sorted(first.asked + second.asked) == [(question, 0) for question in range(8)]
    assert record.samples_sha256 == whole.samples_sha256
    third = RuleResponder()
    assert run_task(TaskRun(sums(), rows, out), third, Hooks()).scores == record.scores
    assert third.asked == []


def test_another_evaluation_in_the_same_folder_is_refused(rows: Path, tmp_path: Path) -> None:
    run_task(TaskRun(sums(), rows, tmp_path / "out"), RuleResponder(), Hooks())
    for run, responder in [
        (TaskRun(sums(), rows, tmp_path / "out"), RuleResponder(name="other")),
        (TaskRun(sums(prompt="{{ a }} + {{ b }} is?"), rows, tmp_path / "out"), RuleResponder()),
        (TaskRun(sums(), rows, tmp_path / "out", limit=3), RuleResponder()),
    ]:
        with pytest.raises(ConfigError, match="holds another evaluation"):
            run_task(run, responder, Hooks())


def test_damage_is_told(rows: Path, tmp_path: Path) -> None:
    run_task(TaskRun(sums(), rows, tmp_path / "out"), RuleResponder(), Hooks())
    path = tmp_path / "out/outputs.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join([lines[0], '{"question": 0}\n', *lines[1:]]))
    with pytest.raises(IntegrityError, match=r"outputs.jsonl:2: damaged"):
        run_task(TaskRun(sums(), rows, tmp_path / "out"), RuleResponder(), Hooks())


def test_two_models_are_compared_question_by_question(rows: Path, tmp_path: Path) -> None:
    run_task(TaskRun(sums(), rows, tmp_path / "bad"), RuleResponder(wrong_from=0, name="bad"), Hooks())
    run = TaskRun(sums(), rows, tmp_path / "good", against=tmp_path / "bad")
    record = run_task(run, RuleResponder(name="good"), Hooks())
    assert record.against == "bad"
    (number, marked) = record.comparisons
    assert (number.name, number.comparison.difference) == ("gsm8k", 1.0)
    assert number.comparison.is_better
    assert number.comparison.p_value is not None
    assert number.comparison.p_value < 0.05
    assert (marked.comparison.before, marked.comparison.after) == (0.0, 0.5)


def test_other_questions_cannot_be_compared(rows: Path, tmp_path: Path) -> None:
    run_task(TaskRun(sums(), rows, tmp_path / "few", limit=4), RuleResponder(), Hooks())
    with pytest.raises(DataError, match="holds other questions"):
        run_task(TaskRun(sums(), rows, tmp_path / "all", against=tmp_path / "few"), RuleResponder(), Hooks())
    (tmp_path / "few/samples.jsonl").write_text("")
    with pytest.raises(DataError, match="was changed after it was written"):
        run_task(TaskRun(sums(), rows, tmp_path / "4", limit=4, against=tmp_path / "few"), RuleResponder(), Hooks())


def test_questions_that_the_model_cannot_be_asked_are_counted(rows: Path, tmp_path: Path) -> None:
    record = run_task(TaskRun(sums(), rows, tmp_path / "out"), RuleResponder(too_long="5 +"), Hooks())
    (ledger,) = record.files
    assert (ledger.read, ledger.kept, ledger.problems) == (8, 7, {"not_askable": 1})
    with pytest.raises(DataError, match=r"no question of .* can be asked: .*too long"):
        run_task(TaskRun(sums(), rows, tmp_path / "none"), RuleResponder(too_long="+"), Hooks())


def test_several_outputs_a_question(rows: Path, tmp_path: Path) -> None:
    """Only sample 0 is right; metrics other than pass@k look at it alone."""
    task = sums(generate={"num_samples": 3, "temperature": 1.0})
    responder = RuleResponder()
    record = run_task(TaskRun(task, rows, tmp_path / "out"), responder, Hooks())
    assert len(set(responder.asked)) == 24
    assert record.scores[0].score.value == 1.0
    assert record.generated_tokens == 72


def test_pass_at_k_over_samples(tmp_path: Path) -> None:
    """The right number is a program that passes; of two samples one is right."""
    rows = write_rows(tmp_path / "rows.jsonl", [{"a": 1, "b": 2}])
    task = sums(
        prompt="{{ a }} + {{ b }} = ?",
        generate={"num_samples": 2, "temperature": 1.0},
        reference="'assert ' ~ (a + b) ~ ' == value'",
        scores=[
            {"metric": "pass@1", "filters": ["regex:#### (.*)", "number", "regex:.*"]},
            {"metric": "pass@2", "name": "both"},
        ],
    )
    record = run_task(TaskRun(task, rows, tmp_path / "out"), RuleResponder(), Hooks())
    # No program here binds `value`: the sandbox ran both, and none passed.
    assert [each.score.value for each in record.scores] == [0.0, 0.0]
    assert record.scores[0].score.parts["passed"] == 0.0


def test_default_folder() -> None:
    assert default_folder("gsm8k", "runs/harbour/export/merged/") == Path("runs/eval/gsm8k/runs-harbour-export-merged")
    assert default_folder("gsm8k", "hf:Qwen/Qwen2.5-0.5B") == Path("runs/eval/gsm8k/hf-Qwen-Qwen2.5-0.5B")
    assert default_folder("gsm8k", "/") == Path("runs/eval/gsm8k/model")
