"""Answers to claims: where sentences end in two languages, and which of them claim nothing."""

# ruff: noqa: RUF001 - Chinese is written with its own punctuation

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuneloop.evaluate.claims.chunks import split_chunks
from tuneloop.evaluate.claims.sentences import split_sentences
from tuneloop.evaluate.claims.split import is_claim, split_claims


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        (
            "Mr. A. Smith paid 3.5 dollars to Foo Inc. He left at 5 p.m. on Monday.",
            ["Mr. A. Smith paid 3.5 dollars to Foo Inc.", "He left at 5 p.m. on Monday."],
        ),
        ("See e.g. No. 5 of vol. 2. U.S. law applies.", ["See e.g. No. 5 of vol. 2.", "U.S. law applies."]),
        (
            'He said "Stop!" and ran. "It is over." She cried.',
            ['He said "Stop!" and ran.', '"It is over."', "She cried."],
        ),
        ("Wait... what? Yes!", ["Wait... what?", "Yes!"]),
        (
            "他说：“不行。”然后走了！真的吗？价格为3.5元。",
            ["他说：“不行。”", "然后走了！", "真的吗？", "价格为3.5元。"],
        ),
        ("First.第二句。Third.", ["First.", "第二句。", "Third."]),
        ("The rent is\ndue monthly.\nNext line", ["The rent is due monthly.", "Next line"]),
        ("", []),
        (" \n\t\n", []),
        ("......", ["......"]),
    ],
)
def test_sentences(text: str, sentences: list[str]) -> None:
    assert split_sentences(text) == sentences


def test_the_chinese_semicolon_ends_a_claim_and_no_sentence_of_a_source() -> None:
    assert split_sentences("甲付款；乙交货。") == ["甲付款；乙交货。"]
    assert split_sentences("甲付款；乙交货。", at_semicolons=True) == ["甲付款；", "乙交货。"]


@given(st.text(alphabet='aB1 .!?。！？；"”)\n\t3,中文', max_size=80))
def test_nothing_but_white_space_is_lost(text: str) -> None:
    joined = "".join(split_sentences(text, at_semicolons=True))
    assert "".join(joined.split()) == "".join(text.split())
    assert "".join("".join(split_chunks(text, 8)).split()) == "".join(text.split())


def test_an_answer_with_everything_in_it() -> None:
    answer = """<think>The rent may be $9. I am not sure.</think># Summary
Hello! Here is what the lease says:
1. The rent is $5; it is paid monthly.
- **Deposit**: two months.
```python
x = 1  # This is no claim.
```
| branch | sales |
|---|---|
| North | 5 million |
**Closing words**
Shall I go on? I don't know the fee. The lease does not mention it.
You should consult a lawyer. I hope this helps!"""
    assert split_claims(answer) == [
        "The rent is $5; it is paid monthly.",
        "Deposit: two months.",
        "North, 5 million",
        "The lease does not mention it.",
    ]


def test_a_chinese_answer_with_everything_in_it() -> None:
    answer = """您好！以下是合同要点：
【租金】
一、月租金为2350元；押金为两个月租金。
（2）租期五年。
文中没有提到违约金。我不清楚税费。
建议您咨询专业律师。希望对您有帮助！"""
    assert split_claims(answer) == ["月租金为2350元；", "押金为两个月租金。", "租期五年。"]


@pytest.mark.parametrize(
    "text",
    [
        "Is the rent due on Monday?",
        "租金是多少？",
        "Thank you for your question.",
        "谢谢您的提问。",
        "Sure!",
        "Yes.",
        "是的。",
        "The following points matter:",
        "The document does not say who paid.",
        "I cannot answer this.",
        "无法确定具体日期。",
        "As an AI language model I have no opinion.",
        "作为人工智能助手，我不提供法律意见。",
        "---",
        "",
        "12.5",
    ],
)
def test_what_claims_nothing(text: str) -> None:
    assert not is_claim(text)


@pytest.mark.parametrize(
    "text",
    [
        "The fee may be waived.",
        "可能需要支付违约金。",
        "租期5年。",
        "Northfield has not yet said whether it will pay.",
        "公司没有说明理由。",
        "He asked a lawyer for help in May.",
        "Rent rose.",
    ],
)
def test_what_claims_something(text: str) -> None:
    assert is_claim(text)


def test_thoughts_and_code_that_never_end_are_left_out_to_the_end() -> None:
    assert split_claims("The rent is $5.\n```\nThe fee is $6.") == ["The rent is $5."]
    assert split_claims("<think>The rent is $5. And so on.") == []


def test_chunks_hold_whole_sentences_and_cut_only_what_is_too_long() -> None:
    sentences = [f"Sentence number {number} is here." for number in range(20)]
    chunks = split_chunks(" ".join(sentences), 40)
    assert all(chunk.endswith("here.") for chunk in chunks)
    assert " ".join(chunks).replace("\n", " ") == " ".join(sentences)
    assert max(map(len, split_chunks("字" * 1000, 50))) <= 50
    assert split_chunks("") == [""]


@pytest.mark.parametrize(
    "text", ["." * 200_000 + "x", "。" * 200_000, "a" * 500_000, "(" * 200_000, "- " * 100_000, "**" * 99_999]
)
def test_hostile_text_takes_no_time(text: str) -> None:
    start = time.perf_counter()
    split_claims(text)
    assert time.perf_counter() - start < 5
