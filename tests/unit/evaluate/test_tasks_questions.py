"""Rows become questions; every row is accounted for, and a wrong task is told with its place."""

from pathlib import Path
from typing import Any

import pytest

from tuneloop.core.config import load_source, parse_config
from tuneloop.core.errors import ConfigError, DataError
from tuneloop.evaluate.tasks.config import TaskConfig
from tuneloop.evaluate.tasks.questions import read_questions
from tuneloop.evaluate.tasks.registry import load_task, read_task, task_names
from unit.evaluate.task_kit import sum_rows, sums, write_rows


def test_every_row_is_accounted_for(tmp_path: Path) -> None:
    rows = [{"a": 1, "b": 2}, {"a": 1}, {"a": "x", "b": 2}, "not json", [1], {"a": 5, "b": 5}, {"a": -1, "b": 0}]
    path = write_rows(tmp_path / "rows.jsonl", rows)
    found = read_questions(sums(where="a is string or a > 0"), path)
    assert [(question.text, question.references) for question in found.asked] == [
        ("1 + 2 = ?", ("3",)),
        ("5 + 5 = ?", ("10",)),
    ]
    (ledger,) = found.ledgers
    assert (ledger.read, ledger.kept) == (7, 2)
    assert ledger.problems == {"not_json": 1, "not_selected": 1, "template_fails": 2, "wrong_type": 1}
    assert str(found.problems[0]) == f"{path}:2: the template fails on this row: 'b' is undefined [template_fails]"


def test_a_limit_draws_and_counts(tmp_path: Path) -> None:
    path = sum_rows(tmp_path / "rows.jsonl", 20)
    few, more = (read_questions(sums(), path, limit=limit, seed=3) for limit in (5, 9))
    assert few.ledgers[0].problems == {"not_drawn": 15}
    assert {question.row for question in few.asked} < {question.row for question in more.asked}
    assert few.hash != more.hash
    assert few.hash == read_questions(sums(), path, limit=5, seed=3).hash


def test_system_and_shots_stand_before_the_question(tmp_path: Path) -> None:
    task = sums(system="Add.", shots=[{"a": 1, "b": 1}], shot="#### {{ a + b }}")
    (question,) = read_questions(task, sum_rows(tmp_path / "rows.jsonl", 1)).asked
    assert [(turn.role, turn.content) for turn in question.messages] == [
        ("system", "Add."),
        ("user", "1 + 1 = ?"),
        ("assistant", "#### 2"),
        ("user", "0 + 0 = ?"),
    ]


def test_a_shot_that_lacks_a_column_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"task sums: shots.0: .*'b' is undefined"):
        read_questions(sums(shots=[{"a": 1}]), sum_rows(tmp_path / "rows.jsonl", 1))


def test_references_may_be_lists(tmp_path: Path) -> None:
    rows = [{"q": "x", "r": ["one", "two"]}, {"q": "y", "r": []}, {"q": "z", "r": None}]
    path = write_rows(tmp_path / "rows.jsonl", rows)
    found = read_questions(sums(prompt="{{ q }}", reference="r", scores=[{"metric": "f1"}]), path)
    assert found.asked[0].references == ("one", "two")
    assert found.ledgers[0].problems == {"empty_answer": 1, "wrong_type": 1}


def test_no_question_at_all_names_the_first_reasons(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "rows.jsonl", [{"x": 1}, {"x": 2}])
    with pytest.raises(DataError, match=r"no row of it becomes a question of task sums:\n .*rows.jsonl:1: .*'a'"):
        read_questions(sums(), path)


@pytest.mark.parametrize(
    "prompt", ["{{ a.__class__ }}", "{{ ''.__class__.__mro__ }}", "{% for x in range(10**9) %}{% endfor %}"]
)
def test_a_template_cannot_look_around(prompt: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="template_fails"):
        read_questions(sums(prompt=prompt + "{{ a }}"), sum_rows(tmp_path / "rows.jsonl", 1))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"prompt": "{{ a "}, "not a Jinja template"),
        ({"reference": "a +"}, "not a Jinja expression"),
        ({"where": "a b"}, "not a Jinja expression"),
        ({"scores": [{"metric": "blue"}]}, "Did you mean 'bleu'"),
        ({"scores": [{"metric": "f1", "filters": ["numbr"]}]}, "Did you mean 'number'"),
        ({"scores": [{"metric": "f1"}, {"metric": "f1"}]}, "two scores are called 'f1'"),
        ({"generate": {"num_samples": 2}}, "needs a temperature above 0"),
        ({"name": "Not A Name"}, "should match pattern"),
    ],
)
def test_a_wrong_task_is_told(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        sums(**change)


def test_a_file_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text(
        "name: own\nversion: 2\ndescription: d\nprompt: '{{ q }}'\nreference: r\n"
        "scores:\n  - {metric: json, options: {json_schema: schema.json}}\n"
    )
    task = load_task(str(tmp_path / "own.yaml"), ["generate.temperature=0.5"])
    assert task.generate.temperature == 0.5
    assert task.scores[0].options.json_schema == tmp_path / "schema.json"
    (tmp_path / "own.yaml").write_text("name: own\nversion: 2\nprmpt: x\n")
    with pytest.raises(ConfigError, match=r"own.yaml:3: .*'prmpt'.*Did you mean 'prompt'"):
        load_task(str(tmp_path / "own.yaml"))
    with pytest.raises(ConfigError, match=r"there is no task 'gsm8'. Did you mean 'gsm8k'"):
        load_task("gsm8")
    with pytest.raises(ConfigError, match="no such file"):
        load_task(str(tmp_path / "none.yaml"))


@pytest.mark.parametrize("name", task_names())
def test_ready_tasks_are_whole(name: str, tmp_path: Path) -> None:
    task = load_task(name)
    assert task.name == name
    assert len(task.hash) == 64
    (tmp_path / "copy.yaml").write_text(read_task(name))
    assert parse_config(TaskConfig, load_source(tmp_path / "copy.yaml")).hash == task.hash
