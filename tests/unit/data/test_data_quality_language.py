"""Languages of texts: short ones, mixed ones, both forms of Chinese, and what is no language."""

# ruff: noqa: RUF001 - Chinese and full-width characters are what these patterns are about

from pathlib import Path

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from growth import is_linear
from tuneloop.data.quality.language import detect_language, language_shares


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("The answer is forty-two.", "en"),
        ("Describe 3 benefits of eating bananas.", "en"),
        ("Bonjour, comment allez-vous aujourd'hui ?", "fr"),
        ("Guten Tag, wie geht es Ihnen?", "de"),
        ("¿Dónde está la biblioteca?", "es"),
        ("Привет, как дела сегодня?", "ru"),
        ("مرحبا كيف حالك اليوم", "ar"),
        ("नमस्ते आप कैसे हैं आज", "hi"),
        ("สวัสดีครับ วันนี้เป็นอย่างไร", "th"),
        ("東京都は日本の首都です", "ja"),
        ("カタカナ", "ja"),
        ("안녕하세요 반갑습니다", "ko"),
        ("这个问题怎么解决？", "zh-Hans"),
        ("這個問題怎麼解決？", "zh-Hant"),
        ("台灣的後面還有一里", "zh-Hant"),
        ("廣東話係咩嚟㗎？", "zh-Hant"),
        ("山水有清音", "zh"),
        ("在Scratch中，什么是distance block？", "zh"),
        ("“の”在日语里是什么意思？怎么用？", "zh-Hans"),
        ("请把下面的句子翻译成英文：I would like a cup of coffee.", "zh-Hans"),
        ("Translate 你好 into English, please.", "en"),
        ("```python\nprint('hello')\n```\n这段代码做什么？", "zh-Hans"),
    ],
)
def test_language_is_told(text: str, language: str) -> None:
    assert detect_language(text) == language


@pytest.mark.parametrize(
    "text",
    [
        "",
        " \n",
        "ok",
        "Hello",
        "你",
        "3.14",
        "😀😀😀",
        "91466267",
        "def f(x):\n    return x + 1",
        "for (int i = 0; i < n; i++) { sum += a[i]; }",
        r"\frac{1}{2} x^2 + \sqrt{y} = \sum_{i} a_i",
        "A, B, C, D",
        "https://example.org/a/long/path/of/plain/words",
        "\ud800\udfff",
    ],
)
def test_what_is_too_short_or_no_language_is_undetermined(text: str) -> None:
    assert detect_language(text) == "und"


@settings(derandomize=True, database=None, deadline=None, max_examples=200)
@given(st.text(st.characters(), max_size=60))
def test_any_text_has_an_answer(text: str) -> None:
    assert 2 <= len(detect_language(text)) <= 7


def test_half_a_surrogate_pair_does_not_hide_the_language() -> None:
    assert detect_language("\ud800 a lone surrogate stands before this text") == "en"


def test_shares_are_parts_of_one_with_the_most_frequent_first() -> None:
    shares = language_shares(["这个问题", "What is the answer to that?", "这个答案", "ok"])
    assert list(shares.items()) == [("zh-Hans", 0.5), ("en", 0.25), ("und", 0.25)]
    assert language_shares([]) == {}


def test_long_text_takes_no_longer_than_its_beginning() -> None:
    assert detect_language("What is the answer to that, 先生? " * 100_000) == "en"
    assert is_linear(lambda times: detect_language("What is the answer to that, 先生? " * times), 5_000)


@pytest.mark.shared
def test_real_pairs_of_sentences_are_told_apart(shared: Path) -> None:
    rows = [
        orjson.loads(line)
        for line in (shared / "mt_tatoeba_en_zh" / "tatoeba_en_zh.jsonl").read_bytes().splitlines()[::10]
    ]
    english = language_shares(row["en"] for row in rows if len(row["en"]) >= 20)
    assert english["en"] > 0.99
    chinese = language_shares(row["zh"] for row in rows)
    assert sum(share for language, share in chinese.items() if language.startswith("zh")) > 0.99
    assert chinese.get("zh-Hant", 0) < 0.01
