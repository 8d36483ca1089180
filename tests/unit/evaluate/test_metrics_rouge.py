"""ROUGE: values worked out by hand, in English, in Chinese, and in both at once."""

import importlib.metadata
from typing import Literal

import numpy as np
import pytest

from tuneloop.evaluate.metrics.rouge import Rouge
from tuneloop.evaluate.metrics.segment import ChineseTokenizer, Language

RougeName = Literal["rouge1", "rouge2", "rougeL"]


def rouge(name: RougeName, language: Language, answer: str, *references: str) -> float:
    metric = Rouge(name, language)
    statistics_K = metric.statistics(answer, references)
    assert statistics_K.shape == (2,)
    return metric.sample_value(statistics_K)


@pytest.mark.parametrize(("name", "value"), [("rouge1", 2 / 3), ("rouge2", 1 / 2), ("rougeL", 2 / 3)])
def test_english_by_hand(name: RougeName, value: float) -> None:
    assert rouge(name, "en", "The cat sat.", "the cat ran") == pytest.approx(value)


def test_rouge1_weighs_both_sides() -> None:
    # 2 of 2 words of the answer, 2 of 6 of the reference: 2 * 1 * (1/3) / (4/3).
    assert rouge("rouge1", "en", "cat mat", "the cat sat on the mat") == pytest.approx(0.5)


def test_rouge_l_wants_the_order() -> None:
    assert rouge("rouge1", "en", "c b a", "a b c") == 1
    assert rouge("rougeL", "en", "c b a", "a b c") == pytest.approx(1 / 3)


@pytest.mark.parametrize(("name", "value"), [("rouge1", 3 / 4), ("rouge2", 2 / 3), ("rougeL", 3 / 4)])
def test_chinese_by_hand(name: RougeName, value: float) -> None:
    # 我 / 来到 / 北京 / 清华大学 against 我 / 来到 / 北京 / 工作
    assert rouge(name, "zh", "我来到北京清华大学。", "我来到北京工作!") == pytest.approx(value)


def test_the_plain_package_scores_chinese_zero() -> None:
    """Why there is a tokeniser of our own; if this fails, the package has learnt Chinese."""
    assert rouge("rouge1", "en", "我来到北京", "我来到北京") == 0


def test_words_of_mixed_text() -> None:
    words = ChineseTokenizer().tokenize("我来到北京清华大学, Hello World! 穿T恤, e-mail 3.14 😀")
    assert words == ["我", "来到", "北京", "清华大学", "hello", "world", "穿", "t恤", "e", "mail", "3", "14"]


def test_mixed_text_scores_both_halves() -> None:
    # hello + 北京 are shared, of three words on each side.
    assert rouge("rouge1", "zh", "hello 来到北京", "hello 离开北京") == pytest.approx(2 / 3)


def test_the_best_reference_wins() -> None:
    assert rouge("rouge1", "en", "a b", "x y", "a b", "a z") == 1


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("name", ["rouge1", "rouge2", "rougeL"])
@pytest.mark.parametrize(("answer", "reference"), [("", "a b"), ("a b", ""), ("", ""), ("😀", "😀"), ("...", "...")])
def test_nothing_scores_zero(name: RougeName, language: Language, answer: str, reference: str) -> None:
    assert rouge(name, language, answer, reference) == 0


def test_one_word_has_no_pair() -> None:
    assert rouge("rouge2", "en", "yes", "yes") == 0


def test_the_value_of_a_set_is_the_mean() -> None:
    metric = Rouge("rouge1", "en")
    totals_K = np.sum([metric.statistics(answer, ["a b"]) for answer in ["a b", "x y", "a y", ""]], axis=0)
    assert metric.combine(totals_K) == pytest.approx((1 + 0 + 0.5 + 0) / 4)


def test_signature_says_what_was_computed() -> None:
    version = importlib.metadata.version
    tail = f"|version:rouge_score-{version('rouge_score')}"
    head = "type:rougeL|value:fmeasure|refs:best|case:lc|use_stemmer:no|tok:"
    assert Rouge("rougeL", "en").signature() == f"{head}default{tail}"
    assert Rouge("rougeL", "zh").signature() == f"{head}rjieba-{version('rjieba')}{tail}"


def test_no_stemmer() -> None:
    assert rouge("rouge1", "en", "running", "runs") == 0
