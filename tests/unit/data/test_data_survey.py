"""The look at all rows: everything planted is found, both rows named, and the account adds up."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tuneloop.core.errors import DataError
from tuneloop.data.config import DataConfig
from tuneloop.data.ledger import Ledger
from tuneloop.data.rows import open_sources
from tuneloop.data.survey.look import Survey, SurveyOptions, histogram
from tuneloop.data.survey.records import DataReport

LONG = "please tell me in a few plain words how the old harbour master counts the ships that come in at night {}"


def row(question: str, answer: str = "An answer that is good enough.") -> dict[str, str]:
    return {"instruction": question, "output": answer}


def write(folder: Path, name: str, *rows: object) -> str:
    (folder / name).write_text("".join((r if isinstance(r, str) else json.dumps(r)) + "\n" for r in rows))
    return name


def look(
    folder: Path, train: list[Any], held_out: list[Any] | None = None, **options: Any
) -> tuple[DataReport, Survey]:
    config = DataConfig.model_validate({"train": train, "eval": held_out or []})
    sources, eval_sources = (
        open_sources(specs, folder, cache=folder / "cache") for specs in (config.train, config.eval)
    )
    strict = options.get("strict", False)
    survey = Survey(sources, eval_sources, SurveyOptions(**options), Ledger(strict=strict))
    report = survey.run()
    assert report.read == report.kept + len(survey.problems)
    return report, survey


def found(report: DataReport, kind: str) -> list[tuple[str, ...]]:
    return [finding.rows for group in report.findings if group.kind == kind for finding in group.examples]


def test_everything_that_is_planted_is_found(tmp_path: Path) -> None:
    write(
        tmp_path,
        "a.jsonl",
        row(LONG.format("one")),
        row(LONG.format("two")),
        row("What is a ship?", "A boat."),
        row("What is a ship?", "A house."),
        row("Mail me at jo@corp.org please"),
        row("What is a ship?", "A boat."),
        "{",
        row("no answer", ""),
        row("Say it.", "As an AI language model, I cannot say that."),
    )
    write(tmp_path, "e.jsonl", row("Mail me at jo@corp.org  PLEASE", "Another answer."), row("Something else."))
    report, survey = look(tmp_path, ["a.jsonl"], ["e.jsonl"])
    assert [(file.path, file.read, file.kept, file.problems) for file in report.files] == [
        ("a.jsonl", 9, 6, {"duplicate": 1, "empty_answer": 1, "not_json": 1}),
        ("e.jsonl", 2, 2, {}),
    ]
    assert {str(problem.origin) for problem in survey.problems} == {"a.jsonl:6", "a.jsonl:7", "a.jsonl:8"}
    assert found(report, "near_duplicate") == [("a.jsonl:1", "a.jsonl:2")]
    assert found(report, "contradiction") == [("a.jsonl:3", "a.jsonl:4")]
    assert found(report, "leak_exact") == [("a.jsonl:5", "e.jsonl:1")]
    assert {group.kind: (group.count, group.rows) for group in report.findings} == {
        "near_duplicate": (1, 2),
        "contradiction": (1, 2),
        "leak_exact": (1, 2),
    }
    texts = {group.kind: group.examples[0].text for group in report.findings}
    assert texts["near_duplicate"].startswith("please tell me in a few plain words")
    assert texts["contradiction"] == "What is a ship?"
    profile = report.profiles[0]
    assert (profile.rows, profile.turns) == (7, {"2": 7})
    assert {mark.code: (mark.rows, mark.examples) for mark in profile.personal} == {"email": (1, ("a.jsonl:5",))}
    assert {mark.code: mark.examples for mark in profile.health} == {"refusal": ("a.jsonl:9",)}
    assert report.skipped == ()


def test_no_held_out_rows_is_said(tmp_path: Path) -> None:
    write(tmp_path, "a.jsonl", row("q"))
    report, _ = look(tmp_path, ["a.jsonl"])
    assert report.skipped == ("leaks: no held-out rows were given",)


def test_too_many_rows_for_near_duplicates_is_said(tmp_path: Path) -> None:
    write(tmp_path, "a.jsonl", row(LONG.format("one")), row(LONG.format("two")))
    report, _ = look(tmp_path, ["a.jsonl"], max_near_rows=1)
    assert not report.findings
    assert report.skipped[0].startswith("near-duplicates: 2 rows are more than 1")


def test_copies_are_kept_where_they_are_wanted(tmp_path: Path) -> None:
    write(tmp_path, "a.jsonl", row("q"), row("q"))
    report, _ = look(tmp_path, ["a.jsonl"], keep_duplicates=True)
    assert (report.kept, found(report, "near_duplicate")) == (2, [("a.jsonl:1", "a.jsonl:2")])


def test_strict_stops_at_the_first_bad_row(tmp_path: Path) -> None:
    write(tmp_path, "a.jsonl", row("q"), "{")
    with pytest.raises(DataError, match=r"a\.jsonl:2: not JSON"):
        look(tmp_path, ["a.jsonl"], strict=True)


@settings(derandomize=True, database=None, deadline=None, max_examples=60)
@given(values=st.lists(st.integers(0, 5000), max_size=60))
def test_a_histogram_counts_every_value_once(values: list[int]) -> None:
    made = histogram(np.array(values, dtype=np.int64))
    assert sum(made.counts) == len(values)
    assert len(made.edges) == (len(made.counts) + 1 if values else 0)
    assert list(made.edges) == sorted(made.edges)
    if values:
        assert made.edges[0] == min(values)
        assert made.edges[-1] >= max(values)


def test_a_histogram_of_equal_shares_is_flat() -> None:
    assert len(set(histogram(np.arange(240)).counts)) == 1
