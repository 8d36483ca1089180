"""Damaged text and odd answers: what each code catches, and what sound text it leaves alone."""

# ruff: noqa: RUF001 - Chinese and full-width characters are what these patterns are about

import gzip
import itertools
from collections import Counter
from pathlib import Path

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from growth import is_linear
from tuneloop.data.quality.health import CODE_MEANINGS, check_answer, check_text, is_cut_off

DAMAGED = [
    ("mojibake", "手持两把锟斤拷"),
    ("mojibake", "café".encode().decode("cp1252")),
    ("mojibake", "It’s".encode().decode("cp1252")),
    ("mojibake", "25 °C".encode().decode("latin-1")),
    ("mojibake", "你好，世界".encode().decode("latin-1")),
    ("mojibake", "привет".encode().decode("latin-1")),
    ("mojibake", "你好，这是的。测试".encode().decode("gbk", "ignore")),
    ("mojibake", "🙂".encode().decode("cp1252", "replace")[:2] + "™"),
    ("replacement_character", "lost \ufffd one"),
    ("control_character", "a\x00b"),
    ("control_character", "a\x0bb"),
    ("control_character", "\x7f"),
    ("invisible_character", "any\u00adbody"),
    ("invisible_character", "自己\u200b的"),
    ("invisible_character", "\ufeffstart"),
    ("invisible_character", "pass\u200dword"),
    ("bidi_override", "access\u202e level"),
    ("bidi_override", "\u2066if\u2069"),
    ("not_nfc", "cafe\u0301"),
    ("html", "one&nbsp;two"),
    ("html", "如果 n &lt;= 1"),
    ("html", "roses<br>violets"),
    ("html", "It is <b>often</b> used."),
    ("control_token", "hi<|im_end|>"),
    ("control_token", "<|eot_id|>"),
    ("control_token", "<|begin_of_text|>x"),
    ("control_token", "<|endoftext|>"),
    ("control_token", "<|START_OF_TURN_TOKEN|>"),
    ("control_token", "<｜begin▁of▁sentence｜>"),
    ("control_token", "[INST] hi [/INST]"),
    ("control_token", "<<SYS>>be kind<</SYS>>"),
    ("control_token", "<start_of_turn>user"),
    ("control_token", "<s>Hello"),
    ("control_token", "Hello</s>"),
    ("control_token", "[gMASK]你好"),
    ("control_token", "<reserved_102>"),
    ("repetition", "I like cats. " * 20),
    ("repetition", "very " * 100),
    ("repetition", "我不知道该怎么说才好。" * 20),
    ("repetition", "A fine beginning of a text.\n" + "the same line again\n" * 12),
]

SOUND = [
    "",
    "Plain text, with a café, naïve façade, Ångström, SÃO PAULO and “quotes” — all fine… 25 °C, 3 × 4.",
    "São Tomé é uma ilha; coração, não, pães. Où êtes-vous? À bientôt! Übermäßig große Äpfel.",
    "你好，世界。这是一句话！钅旁的字：铁、铜、锛子；鐨字很少见。",
    "Привет, мир. Русский текст без ошибок.",
    "هذا نص عربي. می‌خواهم",
    "क्‍ष",
    "👨\u200d👩\u200d👧 🏴󠁧󠁢󠁥󠁮󠁧󠁿",
    "line\r\nline\ttab\x0cpage"[:14],
    "a < b && c > d; x &= y; AT&T; R&D; if (a<b) return;",
    "vector<int> and List<String>, a<p and b>c",
    "Use the <b> tag of HTML for bold text.",
    '<div class="a"><p>x</p></div>',
    "```\n<br>\n```",
    "a <| b |> c, x |> f <| y, [1] [INSTALL]",
    "I <3 you, </sarcasm>, <s>struck</s> out",
    "| a | b |\n|---|---|\n" + "".join(f"| {number} | {number * 7} |\n" for number in range(30)),
    "\n".join(f"{number}. Item number {number} is about {'abcdefghij'[number % 10] * 3}." for number in range(20)),
    "for i in range(10):\n    print(i)\n" * 2,
]


@pytest.mark.parametrize(("code", "text"), DAMAGED)
def test_damage_is_named(code: str, text: str) -> None:
    assert code in check_text(text)


@pytest.mark.parametrize("text", SOUND)
def test_sound_text_is_left_alone(text: str) -> None:
    assert check_text(text) == []


ANSWERS = [
    ("refusal", "As an AI language model, I do not have feelings."),
    ("refusal", "I'm sorry, but I can't help with that."),
    ("refusal", "I’m sorry, but I am unable to write that."),
    ("refusal", "I cannot assist with this request."),
    ("refusal", "作为一个人工智能，我没有感情。"),
    ("refusal", "作为一名AI语言模型，我无法推理出答案。"),
    ("refusal", "很抱歉，我无法为您提供帮助。"),
    ("refusal", "对不起，我不能回答这个问题。"),
    ("echo", "  what is\nthis? "),
    ("cut_off", "Calcium is a chemical element with the symbol Ca and the atomic number of"),
    ("cut_off", "We went along the road for an hour. Then, as the sun was about to set, we met a man who sold"),
    (
        "cut_off",
        "根据《中华人民共和国刑法》第三百八十二条的规定，国家工作人员利用职务上的便利，侵吞、窃取、骗取公共财物，属于贪污、侵占、",
    ),
]

FINE_ANSWERS = [
    "",
    "Yes",
    "An AI can write code, and a language model is one kind of it.",
    "The cakes were so good that I can't help but take another one.",
    "I am sorry to hear that you are not well.",
    "作为一名医生，我建议您多喝水。",
    "人工智能是计算机科学的一个分支。",
    "很抱歉让您久等了。",
    "这些食物富含维生素，对身体很有好处。除此之外，患者还应保持良好的心情，加强锻炼，增强体质，定期到医院检查身体的各项指标，以免加重病情",
    "Some things that help are these. They are many, and all cost little:\n- going for a walk in the park each day",
    "We are proud to present what we made for you all. Come and see it in our shop! #New #Summer",
    '"Design is not just what it looks like and feels like. Design is how it works" - Steve Jobs',
    "Dear Ann, thank you for the letter that you wrote me last week. It was a joy.\n\nBest regards,",
    "You find all of it on the page of the bureau. The address of it is https://www.example.org/a/b.html",
    "def add(a, b):\n    # Adds two numbers. They may be of any kind that knows how to add\n    return a + b",
]


@pytest.mark.parametrize(("code", "answer"), ANSWERS)
def test_odd_answer_is_named(code: str, answer: str) -> None:
    assert check_answer("What is this?", answer) == [code]


@pytest.mark.parametrize("answer", FINE_ANSWERS)
def test_fine_answer_is_left_alone(answer: str) -> None:
    assert check_answer("What is this?", answer) == []


def test_answer_is_checked_as_a_text_too() -> None:
    assert check_answer("?", "lost \ufffd<|im_end|>") == ["replacement_character", "control_token"]


def test_every_code_has_an_example_and_a_meaning_in_two_languages() -> None:
    assert {code for code, _ in DAMAGED + ANSWERS} == set(CODE_MEANINGS)
    assert all(english.isascii() and not chinese.isascii() for english, chinese in CODE_MEANINGS.values())


@settings(derandomize=True, database=None, deadline=None, max_examples=200)
@given(st.text(st.characters(), max_size=80), st.text(max_size=20))
def test_any_text_has_an_answer_and_each_code_once(text: str, prompt: str) -> None:
    codes = check_answer(prompt, text)
    assert len(set(codes)) == len(codes)
    assert set(codes) <= set(CODE_MEANINGS)


@settings(derandomize=True, database=None, deadline=None, max_examples=200)
@given(st.text(st.characters(min_codepoint=0x4E00, max_codepoint=0x9FA5), min_size=3, max_size=20))
def test_chinese_read_as_latin_is_always_seen(text: str) -> None:
    assert "mojibake" in check_text(text.encode().decode("latin-1"))


@pytest.mark.parametrize(
    "piece",
    [
        "<",
        "&",
        "<a ",
        "<a x=",
        "<|",
        "<|a",
        "[",
        "Ã",
        "锛",
        "à\u0080",
        "\n",
        " ",
        "\n ",
        "sorry ",
        "I'm ",
        "as an ai",
        "a. A",
        "的",
        "#a",
        "</s> ",
    ],
)
def test_hostile_text_takes_time_in_proportion_to_its_length(piece: str) -> None:
    assert is_linear(lambda length: check_answer("", piece * (length // len(piece.encode())) + "x"), 20_000)


@pytest.mark.shared
def test_real_files_hold_what_reading_them_shows(shared: Path) -> None:
    chinese: Counter[str] = Counter()
    for line in (shared / "alpaca_zh" / "alpaca_zh_carbonz0.jsonl").read_bytes().splitlines():
        chinese.update(check_text(orjson.loads(line)["output"]))
    # Much of it was translated by a service that escaped it and put U+200B between characters.
    assert 300 < chinese["html"] < 1000
    assert chinese["invisible_character"] > 50
    assert chinese["mojibake"] == chinese["replacement_character"] == 0
    with gzip.open(shared / "alpaca_en" / "alpaca_en.jsonl.gz") as file:
        english = [orjson.loads(line) for line in itertools.islice(file, 8000)]
    found = Counter(code for row in english for code in check_answer(row["instruction"], row["output"]))
    assert found.total() < 0.005 * len(english)
    cut = [row["output"] for row in english]
    halves = [text[: len(text) // 2] for text in cut if len(text) > 200]
    assert sum(map(is_cut_off, halves)) > 0.3 * len(halves) > 1000 * sum(map(is_cut_off, cut)) / len(cut)
