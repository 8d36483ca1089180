"""`tuneloop augment critique` as a user meets it: from rows to rows that train, with every teacher."""

import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from endpoint_kit import FakeEndpoint, Fault, question, serving
from integration.command_line import start, tuneloop, wait_for

ROWS = [
    {"question": "What is 17*3?", "answer": "17*3 = 41", "gold": "51"},
    {"question": "What is 2+2?", "answer": "2+2 = 4", "gold": "4"},
    {"question": "What is 6*7?", "answer": "6*7 = 42, so 42", "gold": "42"},
    {"question": "Who knows?", "answer": "Nobody."},
    {"question": "No answer"},
]


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return path


@pytest.fixture
def fake() -> Iterator[FakeEndpoint]:
    with serving(answer=lambda body: f"{len(question(body))}\nConclusion: right [END]") as found:
        yield found


def written(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_programmatic_teacher(rows: Path, tmp_path: Path) -> None:
    out = tmp_path / "critiques.jsonl"
    result = tuneloop("augment", "critique", rows, "--teacher", "programmatic", "--out", out, "--json")
    assert result.code == 0, result.err
    answer = result.json
    assert (answer["read"], answer["asked"], answer["kept"]) == (5, 4, 3)
    assert answer["problems"] == {"call_rejected": 1}
    assert answer["verdicts"] == {"right": 2, "wrong": 1}
    assert (answer["teacher_error"]["value"], answer["teacher_error"]["n"]) == (0.0, 3)
    assert (answer["calls"], answer["tokens"], answer["cost"]) == (0, 0, 0.0)
    assert written(out)[0]["output"].endswith("Conclusion: wrong [END]")
    record = json.loads(Path(answer["record"]).read_text())
    assert record["files"][0]["problems"] == {"empty_answer": 1}
    checked = tuneloop("data", "check", out, "--json")
    assert checked.code == 0, checked.err
    assert checked.json["files"][0]["format"] == "critique"
    text = tuneloop("augment", "critique", rows, "--teacher", "programmatic", "--out", out)
    assert "read 5 rows; asked 4 = kept 3 + call_rejected 1" in text.out


def test_an_endpoint_is_planned_asked_and_never_paid_twice(rows: Path, fake: FakeEndpoint, tmp_path: Path) -> None:
    out = tmp_path / "critiques.jsonl"
    words = ("augment", "critique", rows, "--teacher", fake.url, "--model", "teacher-1", "--out", out)
    dry = tuneloop(*words, "--dry-run", "--json")
    assert dry.code == 0, dry.err
    assert dry.json["plans"][0]["calls"] == 4
    assert fake.bodies == []
    first = tuneloop(*words, "--json")
    assert first.code == 0, first.err
    assert first.json["teacher_error"]["value"] == pytest.approx(1 / 3)
    assert len(fake.bodies) == 4
    assert not any("gold" in message["content"] or "51" in message["content"] for message in fake.bodies[0]["messages"])
    dropped = tuneloop(*words, "--drop-wrong", "--json")
    assert dropped.json["problems"] == {"wrong_verdict": 1}
    assert (dropped.json["calls"], len(fake.bodies)) == (4, 4)


def test_a_model_answers_first_and_is_criticised(
    rows: Path, tiny_model: Path, fake: FakeEndpoint, tmp_path: Path
) -> None:
    out = tmp_path / "critiques.jsonl"
    teachers = ("--teacher", fake.url, "--model", "teacher-1", "--teacher", "programmatic")
    answers = ("--answers-from", tiny_model, "--num-answers", 2, "--limit", 2)
    result = tuneloop("augment", "critique", rows, *teachers, *answers, "--out", out, "--json")
    assert result.code == 0, result.err
    answer = result.json
    assert answer["asked"] == 8
    assert answer["asked"] == answer["kept"] + sum(answer["problems"].values())
    assert {row["teacher"] for row in written(out)} >= {"teacher-1"}


def test_answers_and_critiques_of_one_model_are_counted_apart(rows: Path, fake: FakeEndpoint, tmp_path: Path) -> None:
    words = ("augment", "critique", rows, "--teacher", fake.url, "--answers-from", fake.url, "--model", "m")
    result = tuneloop(*words, "--out", tmp_path / "critiques.jsonl", "--json")
    assert result.code == 0, result.err
    assert result.json["calls"] == len(fake.bodies) == 10


def test_killed_and_gone_on_with(fake: FakeEndpoint, tmp_path: Path) -> None:
    out = tmp_path / "critiques.jsonl"
    many = tmp_path / "many.jsonl"
    made = [{"question": f"What is {n}+1?", "answer": str(n + 1)} for n in range(30)]
    many.write_text("".join(json.dumps(row) + "\n" for row in made))
    fake.fault = lambda number, body: Fault(wait_s=0.05)  # noqa: ARG005 - the server's interface
    words = ("augment", "critique", many, "--teacher", fake.url, "--model", "teacher-1", "--out", out)
    running = start(*words, log=tmp_path / "log")
    assert wait_for(lambda: fake.num_answered >= 5, running)
    running.signal(signal.SIGKILL)
    running.finish(60)
    before = fake.num_answered
    again = tuneloop(*words, "--json")
    assert again.code == 0, again.err
    assert again.json["kept"] == 30
    # What was on its way when the process died may have been answered without anybody hearing it.
    assert len(fake.bodies) <= 30 + 8
    assert before < 38


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--teacher", "programmatic:poetry"), "there is no programmatic teacher"),
        (("--teacher", "http://127.0.0.1:1/v1"), "needs --model"),
        (("--teacher", "programmatic", "--teacher", "programmatic"), "named twice"),
        (("--teacher", "programmatic", "--column", "colour=red"), "question=, answer= or gold="),
        (("--teacher", "programmatic", "--match", "poetry"), "poetry"),
        (("--teacher", "programmatic", "--column", "question=nothing"), "no row of it"),
    ],
)
def test_what_is_wrong_is_said(words: tuple[str, ...], message: str, rows: Path, tmp_path: Path) -> None:
    result = tuneloop("augment", "critique", rows, *words, "--out", tmp_path / "out.jsonl")
    assert result.code == 2
    assert message in result.err
    assert "Traceback" not in result.err
    assert not (tmp_path / "out.jsonl").exists()
