"""Exact match and label accuracy: what counts as right."""

import pytest

from tuneloop.core.errors import DataError
from tuneloop.evaluate.metrics.accuracy import Accuracy
from tuneloop.evaluate.metrics.exact import ExactMatch
from tuneloop.evaluate.metrics.metric import Metric

YES_NO = Accuracy(["yes", "no", "maybe"])


def is_right(metric: Metric, answer: str, *references: str) -> bool:
    score, one = metric.statistics(answer, references)
    assert one == 1
    assert score in {0, 1}
    return bool(score)


@pytest.mark.parametrize(
    ("answer", "reference"),
    [
        ("Paris", "Paris"),
        (" Paris\n", "Paris"),
        ("\u3000答案\t", "答案"),
        ("e\u0301t\u00e9", "\u00e9te\u0301"),
        ("😀", "😀"),
        ("", ""),
        ("", " \n"),
    ],
)
def test_exact_match_takes(answer: str, reference: str) -> None:
    assert is_right(ExactMatch(), answer, reference)


@pytest.mark.parametrize(
    ("answer", "reference"),
    [("Paris.", "Paris"), ("paris", "Paris"), ("a  b", "a b"), ("", "Paris"), ("Paris", ""), ("\uff21", "A")],
)
def test_exact_match_refuses(answer: str, reference: str) -> None:
    assert not is_right(ExactMatch(), answer, reference)


def test_exact_match_of_any_reference() -> None:
    assert is_right(ExactMatch(), "NYC", "New York", "NYC")


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("yes", "yes"),
        ("YES!", "yes"),
        ("Answer: **Maybe**", "maybe"),
        ("No, yes would be wrong.", "no"),
        ("I would say yes, not no.", "yes"),
        ("Nobody knows.", None),
        ("yesterday", None),
        ("yes_no", None),
        ("yes1", None),
        ("\u00e9yes", None),
        ("", None),
        ("答案是yes。", "yes"),
        ("😀no😀", "no"),
    ],
)
def test_the_first_whole_word_is_the_label(text: str, label: str | None) -> None:
    assert YES_NO.parse(text) == label


@pytest.mark.parametrize(
    ("text", "label"),
    [("是", "是"), ("是。", "是"), ("答案: 否", "否"), ("不是", None), ("是的", None), ("A是", "是")],
)
def test_chinese_labels_stand_alone(text: str, label: str | None) -> None:
    assert Accuracy(["是", "否"]).parse(text) == label


def test_the_longer_of_two_labels_wins() -> None:
    metric = Accuracy(["no", "no answer"])
    assert metric.parse("No answer.") == "no answer"
    assert metric.parse("No answers.") == "no"


def test_labels_are_no_patterns() -> None:
    metric = Accuracy(["a.c", "(b)"])
    assert metric.parse("abc (B)") == "(b)"


def test_accuracy() -> None:
    assert is_right(YES_NO, "Yes, it does.", "yes")
    assert is_right(YES_NO, "Yes, it does.", "no", "Yes.")
    assert not is_right(YES_NO, "No.", "yes")
    assert not is_right(YES_NO, "It depends.", "yes")


@pytest.mark.parametrize("reference", ["perhaps", "", "x" * 500])
def test_a_reference_without_a_label_is_an_error(reference: str) -> None:
    with pytest.raises(DataError, match=r"names none of the labels of accuracy:yes\|no\|maybe") as error:
        YES_NO.statistics("also without", [reference])
    assert len(str(error.value)) < 250


def test_signatures() -> None:
    assert ExactMatch().signature().startswith("norm:strip+NFC|case:mixed|refs:any|version:tuneloop-")
    assert YES_NO.signature().startswith("labels:yes,no,maybe|parse:first-whole-word|case:lc|refs:any|version:")
    assert YES_NO.name == "accuracy:yes|no|maybe"
