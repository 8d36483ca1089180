"""Files of rows in the formats of turns: which format is taken, which row is left out, and where it stands."""

import json
from pathlib import Path

import pytest

from tuneloop.data.config import FileSpec
from tuneloop.data.rows import Source, iter_rows, open_sources
from tuneloop.data.schema import Message, Origin, Problem, Row

ALPACA = {"instruction": "q", "input": "", "output": "a"}
MESSAGES = {"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]}


def write(folder: Path, *lines: object, name: str = "rows.jsonl", **spec: str) -> Source:
    texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    (folder / name).write_text("\n".join(texts) + "\n")
    (source,) = open_sources((FileSpec.model_validate({"path": name, **spec}),), folder, cache=folder / "cache")
    return source


def read(source: Source) -> tuple[list[Row], list[Problem]]:
    rows, problems = [], []
    for found in iter_rows(source):
        (rows if isinstance(found, Row) else problems).append(found)
    return rows, problems


def test_one_bad_row_among_good_ones(tmp_path: Path) -> None:
    source = write(tmp_path, ALPACA, ALPACA | {"output": 3}, "{", ALPACA | {"output": "b"}, name="x.jsonl")
    rows, problems = read(source)
    assert [(str(row.origin), row.answer()) for row in rows] == [("x.jsonl:1", "a"), ("x.jsonl:4", "b")]
    first, second = map(str, problems)
    assert first == "x.jsonl:2: 'output' is a number, not text [wrong_type]"
    assert second.startswith("x.jsonl:3: not JSON: ")
    assert second.endswith(" [not_json]")
    assert source.format == "alpaca"
    assert problems[0].as_json() == {
        "file": "x.jsonl",
        "line": 2,
        "code": "wrong_type",
        "reason": "'output' is a number, not text",
    }


def test_a_row_of_another_format_is_left_out(tmp_path: Path) -> None:
    rows, problems = read(write(tmp_path, ALPACA, ALPACA, MESSAGES))
    assert len(rows) == 2
    assert [(problem.origin.line, problem.code) for problem in problems] == [(3, "missing_key")]


def test_the_given_format_is_not_guessed_at(tmp_path: Path) -> None:
    rows, problems = read(write(tmp_path, ALPACA, format="messages"))
    assert (rows, [problem.code for problem in problems]) == ([], ["missing_key"])


@pytest.mark.parametrize("broken", [31, 32, 100])
def test_auto_after_broken_lines(tmp_path: Path, broken: int) -> None:
    source = write(tmp_path, *["broken"] * broken, ALPACA)
    rows, problems = read(source)
    assert (source.format, len(rows), len(problems)) == ("alpaca", 1, broken)


def test_file_of_broken_lines_only(tmp_path: Path) -> None:
    rows, problems = read(write(tmp_path, "broken", "{"))
    assert (rows, [problem.code for problem in problems]) == ([], ["not_json", "not_json"])


def test_what_evaluation_asks_and_compares_with() -> None:
    messages = (Message("system", "s"), Message("user", "q"), Message("assistant", "a"))
    row = Row(messages, Origin("rows.jsonl", 1))
    assert row.before_answer() == messages[:2]
    assert row.answer() == "a"
