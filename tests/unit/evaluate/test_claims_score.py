"""Files of answers: what they may hold, and what is said about those that may not."""

# ruff: noqa: RUF001 - Chinese is written with its own punctuation

import json
from pathlib import Path
from typing import Any

import pytest

from tuneloop.core.errors import DataError
from tuneloop.evaluate.claims.build import build_checker
from tuneloop.evaluate.claims.score import score_hallucination, score_logic

CHECKER = build_checker("embedded")
RENT = "The tenant pays a rent of $2,350 a month."


def write(folder: Path, name: str, rows: list[Any]) -> Path:
    path = folder / name
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    else:
        path.write_text("".join(f"{row}\n" for row in rows), encoding="utf-8")
    return path


def test_rows_with_their_own_sources(tmp_path: Path) -> None:
    rows = [
        {"source": RENT, "output": "The rent is $2,350.", "document": 7, "source_tokens": 3_000},
        {"source": "月租金为二千元。", "output": "月租金为三千元。"},
    ]
    report = score_hallucination(write(tmp_path, "a.jsonl", rows), None, CHECKER).report
    assert (report.answers.value, report.documents) == (0.5, 2)
    assert [item.low for item in report.bins if item.side == "source"] == [0, 2_000]
    assert report.checker.checker == "embedded"


def test_two_files_line_by_line(tmp_path: Path) -> None:
    predictions = write(tmp_path, "p.txt", ["The rent is $2,350.", "", "The rent is $9."])
    for references in (
        write(tmp_path, "r.jsonl", [RENT, {"text": RENT}, {"source": ["A statute.", RENT]}]),
        write(tmp_path, "r.txt", [RENT] * 3),
    ):
        report = score_hallucination(predictions, references, CHECKER).report
        assert (report.answers.value, report.answers_without_claims) == (pytest.approx(1 / 3), 1)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"output": "x y"}], r"a\.jsonl:1: no text in 'source'"),
        ([{"source": RENT}], r"a\.jsonl:1: no text in 'output' or 'prediction' or 'text'"),
        ([{"source": RENT, "output": "x y", "source_tokens": -1}], r"a\.jsonl:1: 'source_tokens' is not a number"),
        ([{"source": RENT, "output": "x y", "output_tokens": True}], r"a\.jsonl:1: 'output_tokens' is not a number"),
        ([{"source": RENT, "output": ["a", 1]}], r"a\.jsonl:1: no text"),
        (["text alone"], r"a\.jsonl:1: no text in 'source'"),
        ([7], r"a\.jsonl:1: no text"),
        ([], r"a\.jsonl:1: the file is empty"),
    ],
)
def test_rows_that_cannot_be_used(tmp_path: Path, rows: list[Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        score_hallucination(write(tmp_path, "a.jsonl", rows), None, CHECKER)


def test_files_that_cannot_be_used(tmp_path: Path) -> None:
    two, three = write(tmp_path, "2.txt", ["a b", "c d"]), write(tmp_path, "3.txt", ["a b"] * 3)
    with pytest.raises(DataError, match=r"2\.txt has 2 lines, .*3\.txt has 3"):
        score_hallucination(two, three, CHECKER)
    with pytest.raises(DataError, match="no such file"):
        score_hallucination(tmp_path / "none.jsonl", None, CHECKER)
    with pytest.raises(DataError, match="cannot be read"):
        score_hallucination(tmp_path, None, CHECKER)
    (tmp_path / "b.jsonl").write_bytes(b'{"source": "a", "output": "b"}\n\xff\n')
    with pytest.raises(DataError, match=r"b\.jsonl:2: not UTF-8"):
        score_hallucination(tmp_path / "b.jsonl", None, CHECKER)
    (tmp_path / "c.jsonl").write_text("{" * 2_000)
    with pytest.raises(DataError, match=r"c\.jsonl:1: not valid JSON"):
        score_hallucination(tmp_path / "c.jsonl", None, CHECKER)


def test_logic_of_texts_and_of_legal_records(tmp_path: Path) -> None:
    record = {
        "facts": [{"fid": "F1", "text": "甲在道路上醉酒驾驶汽车。"}],
        "statutes": [
            {"sid": "S1", "law": "刑法", "article": "第一百三十三条之一", "text": "在道路上醉酒驾驶机动车的，处拘役。"}
        ],
        "syllogism": [{"major": ["S1"], "minor": ["F1"], "conclusion": "甲在道路上醉酒驾驶，处拘役。"}],
    }
    rows = [record, {"output": "大前提：人皆有死。小前提：甲是人。结论：乙公司应付99元。"}, "No syllogism at all."]
    report = score_logic(write(tmp_path, "a.jsonl", rows), CHECKER).report
    assert (report.answers.value, report.answers.n, report.unparsable) == (0.5, 2, 1)
    bad = record | {"facts": [{"fid": "F 1", "text": ""}]}
    with pytest.raises(DataError, match=r"a\.jsonl:1: not a legal record"):
        score_logic(write(tmp_path, "a.jsonl", [bad]), CHECKER)
