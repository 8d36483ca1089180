"""One place in a law: article, paragraph, item, sub-item; how Chinese writes it and how it is read."""

# ruff: noqa: RUF001, RUF002 - Chinese is written with its own punctuation

import re
from dataclasses import dataclass

from tuneloop.data.legal.numerals import format_numeral, parse_numeral

_NUMBER = r"[0-9]{1,5}|[〇零一二三四五六七八九十百千万两]{1,12}"
# Each stands for one character, so that places in the text stay the same.
_PLAIN = str.maketrans(
    {0xFF10 + digit: str(digit) for digit in range(10)}
    | {0x3220 + digit: "一二三四五六七八九十"[digit] for digit in range(10)}
    | {"(": "（", ")": "）", "○": "〇", "Ｏ": "〇", "條": "条", "項": "项"}
)
_WHOLE = re.compile(
    rf"(?:第\s*)?(?P<article>{_NUMBER})\s*(?:条\s*(?:之\s*(?P<suffix>{_NUMBER}))?|之\s*(?P<early>{_NUMBER})\s*条?|-(?P<dash>[0-9]{{1,2}}))?"
    rf"(?:\s*第\s*(?P<paragraph>{_NUMBER})\s*款)?(?:\s*第\s*（?\s*(?P<item>{_NUMBER})\s*）?\s*项)?"
)


@dataclass(frozen=True, slots=True, order=True)
class Provision:
    """A place in a law, each part counted from 1."""

    article: int
    article_suffix: int = 0
    """1 for 之一; 0 where there is none."""
    paragraph: int | None = None
    """款"""
    item: int | None = None
    """项"""
    subitem: int | None = None
    """目"""

    def covers(self, other: "Provision") -> bool:
        """Whether the other place lies in this one: an article covers its paragraphs, no paragraph its article.

        An article of one paragraph is cited without 第一款, so where an item is named on both sides a missing
        paragraph agrees with any.
        """
        if (self.article, self.article_suffix) != (other.article, other.article_suffix):
            return False
        if self.item is not None and other.item != self.item:
            return False
        if self.subitem is not None and other.subitem != self.subitem:
            return False
        if self.paragraph is None or self.paragraph == other.paragraph:
            return True
        return other.paragraph is None and self.item is not None


def plain(text: str) -> str:
    """Full-width digits, ㈠, ASCII brackets and 條 in the form that is read here; no character changes its place."""
    return text.translate(_PLAIN)


def format_article(article: int, suffix: int = 0) -> str:
    """第一百三十三条之一."""
    return f"第{format_numeral(article)}条" + (f"之{format_numeral(suffix)}" if suffix else "")


def format_provision(provision: Provision) -> str:
    """第一百三十三条之一第一款第（二）项."""
    text = format_article(provision.article, provision.article_suffix)
    text += format_part(provision.paragraph, provision.item)
    return text + (f"第{provision.subitem}目" if provision.subitem is not None else "")


def format_part(paragraph: int | None, item: int | None) -> str:
    """第一款第（二）项, or what there is of it."""
    text = f"第{format_numeral(paragraph)}款" if paragraph is not None else ""
    return text + (f"第（{format_numeral(item)}）项" if item is not None else "")


def parse_provision(text: str) -> Provision | None:
    """The place that a whole text names (第一百三十三条之一第一款, 133, 133条之一, 133-1); None where it names none."""
    found = _WHOLE.fullmatch(plain(text.strip()))
    if not found:
        return None
    numbers = {name: number_of(value) for name, value in found.groupdict().items() if value is not None}
    if None in numbers.values() or 0 in numbers.values():
        return None
    suffix = numbers.get("suffix") or numbers.get("early") or numbers.get("dash") or 0
    return Provision(numbers["article"] or 0, suffix, numbers.get("paragraph"), numbers.get("item"))


def number_of(text: str) -> int | None:
    """The number that a numeral says; None where it is none."""
    try:
        return parse_numeral(text)
    except ValueError:
        return None
