"""Numbers in two languages: what is equal to what."""

# ruff: noqa: RUF001 - Chinese is written with its own punctuation

from fractions import Fraction

import pytest

from tuneloop.evaluate.claims.values import read_values


def numbers(text: str) -> list[tuple[Fraction, str]]:
    return [(value.number, value.unit) for value in read_values(text)]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("$2,350 a month", [(2350, "money")]),
        ("4 percent or 4% or 4 per cent", [(4, "percent")] * 3),
        ("1.9 billion", [(1_900_000_000, "")]),
        ("twenty-four stops and two hundred people", [(24, ""), (200, "")]),
        ("one of them, once", []),
        ("one year", [(1, "year")]),
        ("a fifth, two thirds, half", [(20, "percent"), (Fraction(200, 3), "percent"), (50, "percent")]),
        ("3 March 2021", [(3, ""), (3, "calendar"), (2021, "")]),
        ("2021-03-04", [(2021, ""), (3, ""), (4, "")]),
        ("from 8:00 to 20:30", [(480, "clock"), (1230, "clock")]),
        ("five working days", [(5, "day")]),
        ("(3) The seller pays 5 kg.", [(5, "kg")]),
        ("百分之三", [(3, "percent")]),
        ("千分之五", [(Fraction(1, 2), "percent")]),
        ("一万二千元和57亿元", [(12_000, "money"), (5_700_000_000, "money")]),
        ("2020年5月8日", [(2020, "year"), (5, "calendar"), (8, "day")]),
        ("九成，五分之一", [(90, "percent"), (20, "percent")]),
        ("三名渔民、二十二座车站、三个月、五个工作日", [(3, ""), (22, ""), (3, "month"), (5, "day")]),
        ("十分重要，万一，二手，一些，统一", []),
        ("4.8万户", [(48_000, "")]),
        ("九千二百万元", [(92_000_000, "money")]),
        ("9" * 100_000, []),
        ("", []),
    ],
)
def test_numbers_and_units(text: str, found: list[tuple[Fraction, str]]) -> None:
    assert numbers(text) == found


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("12,000元", "一万二千元"),
        ("half", "50 percent"),
        ("三个月", "three months"),
        ("2021年3月", "March 2021"),
        ("1,615 thousand euros", "1,615"),
        ("20 stops", "二十座"),
        ("9,200万元", "92 million yuan"),
    ],
)
def test_two_spellings_of_one_number(left: str, right: str) -> None:
    for mine in read_values(left):
        assert any(mine.equals(other) and other.equals(mine) for other in read_values(right))


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("5 percent", "5 days"),
        ("4 votes", "four days"),
        ("3年", "3个月"),
        ("6号线", "6亿元"),
        ("12", "1,2"),
        ("5 mg", "5 kg"),
    ],
)
def test_two_numbers_that_only_look_alike(left: str, right: str) -> None:
    assert not any(mine.equals(other) for mine in read_values(left) for other in read_values(right))
