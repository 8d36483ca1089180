"""The numbers that a sentence says, Chinese and English, with their units, so that two spellings of one are equal."""

# ruff: noqa: SIM905 - word lists are read more easily as one string

import re
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

from tuneloop.data.legal.numerals import parse_numeral

_ENGLISH = {
    name: number
    for number, name in enumerate(
        (
            "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen "
            "sixteen seventeen eighteen nineteen"
        ).split()
    )
} | {name: 10 * tens for tens, name in enumerate(("twenty thirty forty fifty sixty seventy eighty ninety").split(), 2)}
_SCALES = {
    "hundred": 10**2, "thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12,
    "百": 10**2, "千": 10**3, "万": 10**4, "百万": 10**6, "千万": 10**7, "亿": 10**8, "万亿": 10**12,
}  # fmt: skip
_MONTHS = {
    name: number
    for number, name in enumerate(
        ("january february march april may june july august september october november december").split(),
        start=1,
    )
}
_FRACTIONS = {
    "half": Fraction(1, 2), "third": Fraction(1, 3), "thirds": Fraction(1, 3), "quarter": Fraction(1, 4),
    "quarters": Fraction(1, 4), "fifth": Fraction(1, 5), "fifths": Fraction(1, 5), "tenth": Fraction(1, 10),
    "tenths": Fraction(1, 10),
}  # fmt: skip
_UNITS = {
    "year": "year", "years": "year", "年": "year", "周年": "year", "month": "month", "months": "month", "个月": "month",
    "week": "week", "weeks": "week", "周": "week", "星期": "week", "day": "day", "days": "day", "天": "day",
    "日": "day", "号": "day", "月": "calendar", "hour": "hour", "hours": "hour", "小时": "hour", "minute": "minute", "minutes": "minute",
    "分钟": "minute", "second": "second", "seconds": "second", "秒": "second", "dollars": "money", "dollar": "money",
    "euros": "money", "euro": "money", "pounds": "money", "francs": "money", "yuan": "money", "元": "money",
    "percent": "percent", "per cent": "percent", "%": "percent", "％": "percent", "个百分点": "percent",
    "percentage points": "percent", "mg": "mg", "毫克": "mg", "kg": "kg", "公斤": "kg", "千克": "kg", "g": "g",
    "克": "g", "ml": "ml", "毫升": "ml", "km": "km", "公里": "km", "kilometres": "km", "kilometers": "km",
    "tonnes": "tonne", "tons": "tonne", "吨": "tonne", "°C": "degree", "℃": "degree",
}  # fmt: skip
"""What is written behind a number, and what it means. A noun that is no unit is left to the overlap of words."""

_DIGITS = r"\d{1,3}(?:[,，]\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?"
_HAN_DIGITS = "〇零一二三四五六七八九十百千万两"
_WORDS = "|".join(sorted(_ENGLISH, key=len, reverse=True))
_TENS = "|".join(name for name, number in _ENGLISH.items() if number >= 20)  # noqa: PLR2004 - the first of the tens
_UNIT_WORDS = "|".join(re.escape(unit) for unit in sorted(_UNITS, key=len, reverse=True))
_BETWEEN = r"(?:(?:working|business|calendar|consecutive|full|more)\s|个?工作)?"
"""May stand between a number and its unit."""
_COUNTED = "名人个次条项种起件台辆户家份间位岁层剂组片所座天日年月周号款元倍处则票员笔级"
"""Characters that show a lone Chinese digit before them to be a number: 三名, and not 三亚."""

_NUMBER = re.compile(
    rf"""
    (?P<date>(?<!\d)(?P<y>\d{{4}})-(?P<m>\d{{1,2}})-(?P<d>\d{{1,2}})(?!\d))
    | (?P<clock>(?<!\d)\d{{1,2}}[:：]\d{{2}}(?!\d))
    | \b(?P<month>{"|".join(_MONTHS)})\b(?=[\ ]\d|,)|(?<=\d\ )\b(?P<month_after>{"|".join(_MONTHS)})\b
    | (?:(?P<han_parts>[{_HAN_DIGITS}]+)分之(?P<han_share>[{_HAN_DIGITS}]+))
    | (?P<tenths>[一二三四五六七八九两])成(?![为了立功本员长分交])
    | (?:(?P<currency>[$€£¥￥])\s?)?(?P<digits>{_DIGITS})\s?(?P<scale>hundred|thousand|million|billion|trillion|万亿|百万|千万|亿|万|千|百)?[多余]?
      \s?(?:-\s?)?{_BETWEEN}(?P<unit>(?:{_UNIT_WORDS})(?![A-Za-z]))?
    | \b(?:(?P<times>one|two|three|four|a)\s)?(?P<fraction>half|thirds?|quarters?|fifths?|tenths?)\b(?!\s(?:party|time|country))
    | \b(?:(?P<tens>{_TENS})-)?(?P<word>{_WORDS})\b(?:\s(?P<word_scale>hundred|thousand|million|billion))?
      \s?(?:-\s?)?{_BETWEEN}(?P<word_unit>(?:{_UNIT_WORDS})(?![A-Za-z]))?
    | (?P<han>[{_HAN_DIGITS}]{{2,}}|[二三四五六七八九十两](?=[{_COUNTED}])|一(?=[年周]|个月|小时))
      (?P<han_scale>亿)?[多余]?{_BETWEEN}(?P<han_unit>{_UNIT_WORDS})?
    """,
    re.VERBOSE | re.IGNORECASE,
)
_LIST_MARK = re.compile(r"\s*(?:[(（]\d{1,2}[)）]|\d{1,2}[.)、])(?=\s|[^\d\s])(?!\d)")
_NO_NUMBER = re.compile(r"一一|十分(?!之)|千万(?=不|要|别)|万一|百分之|千百|万千|二手|三轮|五金|八成新|一二")


_MOST_CHARACTERS = 40
"""Longer runs of digits count nothing."""
_MIN_DIGITS = 3
_SMALL = 13


@dataclass(frozen=True, slots=True)
class Value:
    """A number, exact, and what it counts."""

    number: Fraction
    bare: Fraction
    """Without thousand, million, 万: a table says them once, in its head."""
    unit: str
    """Of `_UNITS`, or "" where none is written; clock for a time of day (in minutes), calendar for a month's name."""
    start: int
    text: str

    def is_year(self) -> bool:
        """Whether it can be the number of a year."""
        return self.unit in {"", "year"} and self.number.denominator == 1 and 1900 <= self.number <= 2100  # noqa: PLR2004

    def equals(self, other: "Value") -> bool:
        """Whether both are the same number, in the same unit or, from 13 on, with one of the units unknown.

        Below, too many things are counted: "four days" does not bear out a vote of 4.
        A number of three digits or more without any unit also equals one that says thousand or 万 behind them.
        """
        if self.unit != other.unit and ((self.unit and other.unit) or self.number < _SMALL):
            return False
        if self.number == other.number:
            return True
        is_plain = any(not value.unit and value.number == value.bare for value in (self, other))
        return is_plain and self.bare == other.bare and sum(map(str.isdigit, self.text)) >= _MIN_DIGITS


def read_values(text: str) -> list[Value]:
    """The numbers of a sentence, in order: digits, English number words, Chinese numerals, shares, dates, times.

    An English "one" is a pronoun as often and is left out, and so is a lone Chinese 一 but before a span of time.
    A date gives its parts; the number of an item at the start, as in "(3)", is none. By hand: "1.9 billion" is 1900000000; 百分之三 and "3%" are 3 percent; 一万二千元 is 12000
    of money; "a fifth" and 五分之一 are 20 percent.
    """
    values: list[Value] = []
    mark = _LIST_MARK.match(text)
    for found in _NUMBER.finditer(text, mark.end() if mark else 0):
        if not _NO_NUMBER.match(text, found.start()) or found["han_parts"]:
            values.extend(_read(found))
    return values


def _read(found: re.Match[str]) -> Iterator[Value]:  # noqa: C901 - a branch a kind of value
    start, text = found.start(), found.group().strip()
    if len(text) > _MOST_CHARACTERS:
        return

    def value(number: Fraction | int, unit: str = "", scale: int = 1) -> Value:
        return Value(Fraction(number) * scale, Fraction(number), unit, start, text)

    if found["date"]:
        yield from (value(int(found[part])) for part in "ymd")
    elif found["clock"]:
        hours, minutes = re.split("[:：]", text)
        yield value(60 * int(hours) + int(minutes), "clock")
    elif month := found["month"] or found["month_after"]:
        # The month is a number too: "3 March 2021" is 2021年3月3日.
        yield value(_MONTHS[month.lower()], "calendar")
    elif found["han_parts"]:
        parts, share = (_SCALES.get(found[name]) or _numeral(found[name]) for name in ("han_parts", "han_share"))
        if parts and share is not None:
            yield value(Fraction(100) * share / parts, "percent")
    elif found["tenths"]:
        yield value(10 * (_numeral(found["tenths"]) or 0), "percent")
    elif found["digits"]:
        number = Fraction(re.sub("[,，]", "", found["digits"]))
        yield value(number, "money" if found["currency"] else _unit(found["unit"]), _scale(found["scale"]))
    elif found["fraction"]:
        times = _ENGLISH.get((found["times"] or "").lower(), 1)
        yield value(100 * times * _FRACTIONS[found["fraction"].lower()], "percent")
    elif found["word"]:
        if _is_number_word(found):
            number = _ENGLISH[found["word"].lower()] + _ENGLISH.get((found["tens"] or "").lower(), 0)
            yield value(number, _unit(found["word_unit"]), _scale(found["word_scale"]))
    elif (number := _numeral(found["han"])) is not None:
        yield value(number, _unit(found["han_unit"]), _scale(found["han_scale"]))


def _is_number_word(found: re.Match[str]) -> bool:
    return bool(found["tens"] or found["word_scale"] or found["word_unit"]) or found["word"].lower() != "one"


def _numeral(text: str) -> int | None:
    try:
        return parse_numeral(text)
    except ValueError:
        return None


def _scale(text: str | None) -> int:
    return _SCALES.get((text or "").lower(), 1)


def _unit(text: str | None) -> str:
    return _UNITS.get(text or "", _UNITS.get((text or "").lower(), ""))
