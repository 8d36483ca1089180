"""Scoring values and files: what is read, what comes out, what each error says."""

import json
from pathlib import Path

import pytest

from tuneloop.core.errors import ConfigError, DataError
from tuneloop.evaluate.metrics.exact import ExactMatch
from tuneloop.evaluate.score import measure, score_files, score_values
from tuneloop.evaluate.texts import read_texts


def write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def items(predictions: Path, references: Path, metric: str = "exact_match") -> list[float]:
    (report,) = score_files(metric, predictions, references)
    assert report.score.n == len(report.items)
    return list(report.items)


def test_values() -> None:
    (report,) = score_values("exact_match", ["a", "b", "c"], ["a", ["x", "b"], "d"])
    assert report.items == (1, 1, 0)
    assert report.score.value == pytest.approx(2 / 3)
    assert report.score.n == 3
    assert report.score.interval is not None


def test_rouge_gives_four_reports() -> None:
    reports = score_values("rouge", ["a b", "c"], ["a b", "d"])
    assert [report.score.metric for report in reports] == ["rouge1", "rouge2", "rougeL", "rougeLsum"]
    assert [report.score.value for report in reports] == [0.5, 0.5, 0.5, 0.5]


def test_items_of_bleu_are_sentence_values_and_the_score_is_the_sets() -> None:
    (report,) = score_values("bleu", ["the cat sat on the mat", "no"], ["the cat sat on the mat", "yes indeed"])
    assert report.items == (pytest.approx(100), 0)
    assert report.score.value != pytest.approx(50, abs=5)


def test_language_is_decided_once_from_all_references() -> None:
    references = ["The plaintiff appeals against the decision of the court.", "王五"]
    (mostly_english,) = score_values("bleu", references, references)
    assert "|tok:13a|" in mostly_english.score.signature
    (chinese,) = score_values("bleu", ["x", "y"], [["法院判决如下"], ["ok", "原告胜诉"]])
    assert "|tok:zh|" in chinese.score.signature
    (named,) = score_values("bleu", references, references, language="zh")
    assert "|tok:zh|" in named.score.signature


def test_seed_moves_the_interval_alone() -> None:
    answers = ["a b c d e f g"[: 2 * (i % 7) + 1] for i in range(31)]
    references = ["a b c d e f g"] * 31
    (one,) = score_values("rouge1", answers, references, seed=1)
    (same,) = score_values("rouge1", answers, references, seed=1)
    (other,) = score_values("rouge1", answers, references, seed=2)
    assert one == same
    assert one.score.interval != other.score.interval
    assert one.score.value == other.score.value


def test_one_sample_has_no_interval() -> None:
    (report,) = score_values("chrf", ["abc"], ["abc"])
    assert report.score.interval is None
    assert report.score.value == 100


def test_measure_gives_a_row_a_sample() -> None:
    assert measure(ExactMatch(), ["a", "b"], [["a"], ["c"]]).tolist() == [[1, 1], [0, 1]]


@pytest.mark.parametrize(
    ("predictions", "references", "message"),
    [
        (["a"], ["a", "b"], "1 predictions and 2 references"),
        (["a", "b"], ["a", []], "references, row 2: an empty list"),
        ([], [], "there is no sample"),
    ],
)
def test_values_that_cannot_be_scored(predictions: list[str], references: list, message: str) -> None:
    with pytest.raises(DataError, match=message):
        score_values("exact_match", predictions, references)


def test_plain_lines(tmp_path: Path) -> None:
    predictions = write(tmp_path / "p.txt", "Paris\n\n答案\n last")
    references = write(tmp_path / "r.txt", "Paris\nRome\n答案\n last \n")
    assert items(predictions, references) == [1, 0, 1, 1]


def test_a_plain_line_ends_at_newlines_alone(tmp_path: Path) -> None:
    text = "a\u2028b\x0cc\x85d"
    predictions = write(tmp_path / "p.txt", f"{text}\r\nx\r\n")
    references = write(tmp_path / "r.jsonl", f"{json.dumps(text)}\n{json.dumps('x')}\n")
    assert items(predictions, references) == [1, 1]
    # Every metric of ours ignores white space at the end of a text, so the carriage return is looked for here.
    assert read_texts(predictions) == [text, "x"]


def test_empty_last_lines_of_plain_text_are_answers(tmp_path: Path) -> None:
    predictions = write(tmp_path / "p.txt", "a\n\n")
    references = write(tmp_path / "r.txt", "a\nb\n")
    assert items(predictions, references) == [1, 0]


def test_jsonl(tmp_path: Path) -> None:
    predictions = write(tmp_path / "p.jsonl", '"a\\nb"\n{"text": "😀", "id": 7}\n"yes"\n"q"\n\n')
    references = write(tmp_path / "r.JSONL", '["x", "a\\nb"]\n{"text": "😀"}\n{"text": ["no", "yes"]}\n"r"')
    assert items(predictions, references) == [1, 1, 1, 0]


def test_a_json_array_is_plain_text_without_the_suffix(tmp_path: Path) -> None:
    predictions = write(tmp_path / "p.txt", '["a"]\n')
    references = write(tmp_path / "r.txt", '["a"]\n')
    assert items(predictions, references) == [1]


@pytest.mark.parametrize("name", ["p.txt", "p.jsonl"])
def test_a_byte_order_mark_is_no_text(tmp_path: Path, name: str) -> None:
    text = '"a"' if name.endswith("jsonl") else "a"
    predictions = write(tmp_path / name, b"\xef\xbb\xbf" + text.encode())
    assert items(predictions, write(tmp_path / "r.txt", "a\n")) == [1]


def test_labels_in_files(tmp_path: Path) -> None:
    predictions = write(tmp_path / "p.txt", "Yes, it is.\nNo.\nI do not know\n")
    references = write(tmp_path / "r.txt", "yes\nmaybe\nno\n")
    assert items(predictions, references, "accuracy:yes|no|maybe") == [1, 0, 0]


@pytest.mark.parametrize(
    ("name", "content", "line", "message"),
    [
        ("p.txt", b"", 1, "the file is empty"),
        ("p.txt", b"\xef\xbb\xbf", 1, "the file is empty"),
        ("p.jsonl", b"\n \n", 1, "the file is empty"),
        ("p.txt", b"a\nb\nx\xff\n", 3, r"not UTF-8 \(byte 2 of the line\). Save the file as UTF-8"),
        ("p.jsonl", b'"a"\n"\xe9"\n"c"\n', 2, "not UTF-8"),
        ("p.jsonl", b'"a"\n"b\n"c"\n', 2, "not valid JSON"),
        ("p.jsonl", b'"a"\n\n"c"\n', 2, "not valid JSON"),
        ("p.jsonl", b'"a"\n"\\ud83d"\n"c"\n', 2, "not valid JSON"),
        ("p.jsonl", b'"a"\n{"txt": "b"}\n"c"\n', 2, "no text in this row"),
        ("p.jsonl", b'"a"\n"b"\n3\n', 3, "no text in this row"),
        ("p.jsonl", b'"a"\n"b"\n["c", 3]\n', 3, "no text in this row"),
        ("p.jsonl", b'"a"\n["b", "c"]\n"c"\n', 2, "a prediction is one text, not a list"),
    ],
)
def test_a_bad_file_is_told_with_its_line(tmp_path: Path, name: str, content: bytes, line: int, message: str) -> None:
    predictions = write(tmp_path / name, content)
    references = write(tmp_path / "r.txt", "a\nb\nc\n")
    with pytest.raises(DataError, match=message) as error:
        score_files("exact_match", predictions, references)
    assert str(error.value).startswith(f"{predictions}:{line}: ")


@pytest.mark.parametrize(("num_predictions", "num_references"), [(2, 4), (4, 2)])
def test_different_counts_name_the_first_line_without_partner(
    tmp_path: Path, num_predictions: int, num_references: int
) -> None:
    predictions = write(tmp_path / "p.txt", "a\n" * num_predictions)
    references = write(tmp_path / "r.txt", "a\n" * num_references)
    with pytest.raises(DataError, match=r"has 4 lines.* has 2") as error:
        score_files("exact_match", predictions, references)
    longer = predictions if num_predictions > num_references else references
    assert str(error.value).startswith(f"{longer}:3: ")


@pytest.mark.parametrize(
    ("metric", "content", "message"),
    [
        ("exact_match", '"a"\n[]\n', "an empty list of references"),
        ("accuracy:a|b", '"a"\n"perhaps"\n', "names none of the labels"),
    ],
)
def test_a_bad_reference_is_told_with_its_line(tmp_path: Path, metric: str, content: str, message: str) -> None:
    references = write(tmp_path / "r.jsonl", content)
    with pytest.raises(DataError, match=message) as error:
        score_files(metric, write(tmp_path / "p.txt", "a\nb\n"), references)
    assert str(error.value).startswith(f"{references}:2: ")


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    references = write(tmp_path / "r.txt", "a\n")
    with pytest.raises(DataError, match=r"none\.txt: no such file"):
        score_files("exact_match", tmp_path / "none.txt", references)
    with pytest.raises(DataError, match="cannot be read"):
        score_files("exact_match", tmp_path, references)


def test_a_wrong_metric_is_told_before_the_files(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="Did you mean 'bleu'"):
        score_files("bluu", tmp_path / "none", tmp_path / "none")
