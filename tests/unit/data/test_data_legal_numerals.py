"""Chinese numerals, both ways."""

# ruff: noqa: RUF001 - Chinese digits are meant

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tuneloop.data.legal.numerals import MOST, format_numeral, parse_numeral


def test_every_number_up_to_twenty_thousand_comes_back() -> None:
    assert [parse_numeral(format_numeral(number)) for number in range(20_001)] == list(range(20_001))


def test_no_two_numbers_are_written_alike() -> None:
    assert len({format_numeral(number) for number in range(20_001)}) == 20_001


@settings(max_examples=300)
@given(st.integers(0, MOST))
def test_larger_numbers_come_back_too(number: int) -> None:
    assert parse_numeral(format_numeral(number)) == number


@settings(max_examples=300)
@given(st.text("〇零一二三四五六七八九十百千万两0９", max_size=9))
def test_any_row_of_digits_and_units_is_read_or_refused(text: str) -> None:
    try:
        number = parse_numeral(text)
    except ValueError:
        return
    assert 0 <= number <= MOST


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "零"),
        (10, "十"),
        (15, "十五"),
        (20, "二十"),
        (101, "一百零一"),
        (110, "一百一十"),
        (133, "一百三十三"),
        (1001, "一千零一"),
        (1010, "一千零一十"),
        (1062, "一千零六十二"),
        (1260, "一千二百六十"),
        (10_000, "一万"),
        (10_010, "一万零一十"),
        (11_234, "一万一千二百三十四"),
        (100_000, "十万"),
        (20_030_004, "二千零三万零四"),
    ],
)
def test_numbers_are_written_as_statutes_write_them(number: int, text: str) -> None:
    assert format_numeral(number) == text
    assert parse_numeral(text) == number


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("234", 234),
        ("２３４", 234),
        ("007", 7),
        ("两百", 200),
        ("两千零两", 2002),
        ("一百十三", 113),
        ("一千六十二", 1062),
        ("一百〇二", 102),
        ("一三三", 133),
        ("二〇二一", 2021),
        ("一○一", 101),
    ],
)
def test_other_spellings_are_read(text: str, number: int) -> None:
    assert parse_numeral(text) == number


@pytest.mark.parametrize(
    "text",
    [
        "",
        "百",
        "一百三",
        "一万二",
        "十百",
        "一百一百",
        "一零百",
        "一千零零一",
        "十零",
        "一二十",
        "X",
        "1千",
        "1.5",
        "-1",
        "万",
    ],
)
def test_what_is_no_numeral_or_has_two_meanings_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"numeral|two ways"):
        parse_numeral(text)


@pytest.mark.parametrize("number", [-1, MOST + 1])
def test_a_number_that_has_no_such_spelling_is_refused(number: int) -> None:
    with pytest.raises(ValueError, match="not a number from 0"):
        format_numeral(number)
