"""Token F1: SQuAD's formula against a second writing of it, and Chinese by characters."""

# ruff: noqa: RUF001 - Chinese is written with its own punctuation

import random
import re

import numpy as np
import pytest

from tuneloop.evaluate.metrics.f1 import TokenF1
from tuneloop.evaluate.metrics.segment import Language


def f1(language: Language, answer: str, *references: str) -> float:
    metric = TokenF1(language)
    return metric.sample_value(metric.statistics(answer, references))


@pytest.mark.parametrize(
    ("answer", "reference", "value"),
    [
        ("The cat sat.", "a cat ran", 1 / 2),
        ("New York City", "New York", 4 / 5),
        ("the the cat", "cat", 1),
        ("cat cat cat", "cat", 1 / 2),
        ("Theatre", "the atre", 0),
        ("e-mail", "email", 1),
        ("$3.14", "314", 1),
        ("", "", 1),
        ("the", "", 1),
        ("", "cat", 0),
        ("cat", "...", 0),
        ("  CAT \n", "cat", 1),
    ],
)
def test_english_by_hand(answer: str, reference: str, value: float) -> None:
    assert f1("en", answer, reference) == pytest.approx(value)


@pytest.mark.parametrize(
    ("answer", "reference", "value"),
    [
        ("北京市", "北京", 4 / 5),
        ("北京。", "《北京》", 1),
        ("京北", "北京", 1),
        ("2014年5月", "2014年6月", 3 / 4),
        ("Hello 世界", "hello世界!", 1),
        ("the 世界", "世界", 4 / 5),
        ("，。", "", 1),
        ("", "北京", 0),
        ("\U00020000", "\U00020000", 1),
    ],
)
def test_chinese_by_hand(answer: str, reference: str, value: float) -> None:
    assert f1("zh", answer, reference) == pytest.approx(value)


def test_the_best_reference_counts() -> None:
    assert f1("en", "big cat", "dog", "cat", "big cat") == 1


def test_against_the_formula_written_another_way() -> None:
    """Tokens by regular expression, the shared ones by crossing each off once."""
    rng = random.Random("f1")
    words = ["the", "a", "An", "cat,", "cat", "dog.", "(dog)", "mat", "3.5", "it's", "theatre"]

    def tokens(text: str) -> list[str]:
        kept = "".join(char for char in text.lower() if char.isalnum() or char.isspace())
        return [word for word in re.findall(r"\S+", kept) if word not in {"a", "an", "the"}]

    for _ in range(300):
        answer, reference = (" ".join(rng.choices(words, k=rng.randrange(8))) for _ in range(2))
        left, right = tokens(answer), tokens(reference)
        rest, shared = list(right), 0
        for word in left:
            if word in rest:
                rest.remove(word)
                shared += 1
        if not left or not right:
            expected = float(left == right)
        elif shared == 0:
            expected = 0.0
        else:
            precision, recall = shared / len(left), shared / len(right)
            expected = 2 * precision * recall / (precision + recall)
        assert f1("en", answer, reference) == pytest.approx(expected)


def test_the_value_of_a_set_is_the_mean() -> None:
    metric = TokenF1("en")
    totals_K = np.sum([metric.statistics(answer, ["red cat"]) for answer in ["red cat", "cat", "", "dog"]], axis=0)
    assert metric.combine(totals_K) == pytest.approx((1 + 2 / 3) / 4)
    assert metric.parts(totals_K) == pytest.approx({"precision": 2 / 4, "recall": 1.5 / 4})


def test_signature_says_what_was_computed() -> None:
    assert (
        TokenF1("en").signature().startswith("norm:lc+punct(ascii)+articles|tok:whitespace|refs:best|version:tuneloop-")
    )
    assert TokenF1("zh").signature().startswith("norm:lc+punct(P*)|tok:han-characters|")


@pytest.mark.parametrize("language", ["en", "zh"])
def test_hostile_texts_have_a_value(language: Language) -> None:
    for text in ("\ud800", "\0", "a" * 100_000, "字 " * 20_000, "\u202e。", "😀"):
        assert f1(language, text, text) == 1
        assert 0 <= f1(language, text, "cat") <= 1
