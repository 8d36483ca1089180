"""rougeLsum: equal to rouge_score's own, newline by newline, in English and in Chinese."""

# ruff: noqa: RUF001 - Chinese is written with its own punctuation

import random

import numpy as np
import pytest
from rouge_score.rouge_scorer import RougeScorer

from tuneloop.evaluate.metrics.rouge import Rouge
from tuneloop.evaluate.metrics.segment import ChineseTokenizer, Language


def rouge_lsum(language: Language, answer: str, *references: str) -> float:
    metric = Rouge("rougeLsum", language)
    return metric.sample_value(metric.statistics(answer, references))


def test_lines_may_change_places() -> None:
    assert rouge_lsum("en", "c d\na b", "a b\nc d") == 1
    metric = Rouge("rougeL", "en")
    assert metric.sample_value(metric.statistics("c d\na b", ["a b\nc d"])) == pytest.approx(1 / 2)


def test_the_union_of_a_line_by_hand() -> None:
    # Lin 2004, 3.2: the reference's line w1-w5 has w1 w2 and w1 w3 w5 in common with two lines: 4 of its 5 words,
    # and 4 of the answer's 9.
    value = rouge_lsum("en", "w1 w2 w6 w7\nw1 w3 w8 w9 w5", "w1 w2 w3 w4 w5")
    assert value == pytest.approx(2 * (4 / 5) * (4 / 9) / (4 / 5 + 4 / 9))


def test_chinese_lines() -> None:
    assert rouge_lsum("zh", "驳回上诉。\n原告胜诉。", "原告胜诉。\n驳回上诉。") == 1
    # A full stop is no end of a line.
    assert rouge_lsum("zh", "驳回上诉。原告胜诉。", "原告胜诉。驳回上诉。") < 1


@pytest.mark.parametrize("language", ["en", "zh"])
def test_equal_to_the_package(language: Language) -> None:
    rng = random.Random(language)
    words = ["the", "cat", "sat.", "court", "mat,", "\n", "\n\n"] if language == "en" else list("原告被告法院。，\n")
    glue = " " if language == "en" else ""
    scorer = (
        RougeScorer(["rougeLsum"], tokenizer=ChineseTokenizer()) if language == "zh" else RougeScorer(["rougeLsum"])
    )
    metric = Rouge("rougeLsum", language)
    rows, expected = [], []
    for _ in range(60):
        answer, *references = (glue.join(rng.choices(words, k=rng.randrange(20))) for _ in range(3))
        expected.append(scorer.score_multi(references, answer)["rougeLsum"].fmeasure)
        rows.append(metric.statistics(answer, references))
        assert metric.sample_value(rows[-1]) == expected[-1]
    assert 0.1 < np.mean(expected) < 0.9
    assert metric.combine(np.sum(rows, axis=0)) == pytest.approx(np.mean(expected))


@pytest.mark.parametrize("text", ["", "\n\n", "...\n", "😀"])
def test_nothing_scores_zero(text: str) -> None:
    assert rouge_lsum("en", text, "a b") == rouge_lsum("zh", "a b", text) == 0


def test_signature_names_the_type() -> None:
    assert Rouge("rougeLsum", "en").signature().startswith("type:rougeLsum|value:fmeasure|")
    assert Rouge("rougeLsum", "en").parts(np.array([1.0, 1.0])) == {}
