"""Finds personal data and secrets in text, and masks them so that the row still reads as one conversation."""

# ruff: noqa: RUF001 - Chinese and full-width characters are what these patterns are about

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from tuneloop.data.quality.found import Found, Kind
from tuneloop.data.quality.personal_addresses import find_addresses
from tuneloop.data.quality.personal_keys import find_keys
from tuneloop.data.quality.personal_numbers import find_numbers

KIND_MEANINGS: dict[Kind, tuple[str, str]] = {
    "key": ("a password, an access key or a private key", "密码、访问密钥或私钥"),
    "url_credentials": ("user name and password inside an address", "网址中的用户名和密码"),
    "email": ("an e-mail address", "电子邮箱"),
    "cn_id": ("a Chinese resident identity number", "居民身份证号"),
    "iban": ("an international bank account number", "国际银行账号"),
    "bank_card": ("a bank card number", "银行卡号"),
    "cn_phone": ("a Chinese mobile phone number", "手机号码"),
    "phone": ("another phone number", "其他电话号码"),
    "passport_cn": ("a Chinese passport number", "护照号"),
    "ip": ("a public internet address of a machine", "公网 IP 地址"),
}
"""What each kind means, in English and Chinese. Where two overlap, the earlier kind is the one that is reported."""

_RANK = {kind: rank for rank, kind in enumerate(KIND_MEANINGS)}

# Clean text is told from the rest by these: most text has no digit at all, and what has one rarely has seven of them
# together, or one inside a long word.
_DIGIT = re.compile("[0-9０-９]")
_SEVEN = (
    r"(?:[ ()./\-\u00a0\u2010-\u2015\u2212－．（）　]{0,2}[0-9０-９]){6}"
    r"|[0-9０-９]{0,2}[.．][0-9０-９]{1,3}[.．][0-9０-９]{1,3}[.．][0-9０-９]"
    r"|[0-9a-fA-F]{3}:[0-9a-fA-F]{0,4}:"
)
# A digit of a password of eight characters has four of the others on one side.
_SIGN = "[0-9A-Za-z０-９_!@#$%^&*~+/=-]"
_LONG = f"{_SIGN}{{4}}|(?<={_SIGN}{{4}}.)"
_EITHER = re.compile(f"[0-9０-９](?:{_LONG}|{_SEVEN})")
_NUMBER = re.compile(f"[0-9０-９](?:{_SEVEN})")
_WORD = re.compile(f"[0-9０-９](?:{_LONG})")

# Full-width characters, and the spaces and dashes that people put into numbers, one character for one.
_PLAIN = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)}
_PLAIN |= dict.fromkeys((0x00A0, 0x3000), ord(" ")) | dict.fromkeys((*range(0x2010, 0x2016), 0x2212), ord("-"))


def find_personal(text: str) -> list[Found]:
    """Personal data and secrets of a text, in order, none inside another.

    Patterns, check digits and number ranges only: names of people and street addresses are not looked for.
    """
    digit = _DIGIT.search(text)
    suspect = _EITHER.search(text, digit.start()) if digit else None
    has_at = "@" in text or "＠" in text
    if suspect is None and not has_at:
        return []
    plain = text if text.isascii() else text.translate(_PLAIN)
    found: list[Found] = []
    if has_at:
        found += find_addresses(plain)
    if suspect and _NUMBER.search(text, suspect.start()):
        found += find_numbers(plain)
    if suspect and _WORD.search(text, suspect.start()):
        found += find_keys(plain)
    return _without_overlaps(found)


def _without_overlaps(found: list[Found]) -> list[Found]:
    found.sort(key=lambda item: (item.start, item.end))
    # Only what touches a neighbour has to be weighed, and a chain of neighbours is short.
    kept: list[Found] = []
    for chain in _chains(found):
        if len(chain) == 1:
            kept += chain
            continue
        chosen: list[Found] = []
        for item in sorted(chain, key=lambda item: (_RANK[item.kind], item.start, -item.end)):
            if all(item.end <= other.start or other.end <= item.start for other in chosen):
                chosen.append(item)
        kept += sorted(chosen, key=lambda item: item.start)
    return kept


def _chains(found: Iterable[Found]) -> Iterator[list[Found]]:
    chain: list[Found] = []
    end = -1
    for item in found:
        if chain and item.start >= end:
            yield chain
            chain = []
        chain.append(item)
        end = max(end, item.end) if len(chain) > 1 else item.end
    if chain:
        yield chain


def mask_personal(text: str) -> tuple[str, Counter[Kind]]:
    """The text with a placeholder in place of everything found, and how many places of each kind there were.

    Equal values get the same placeholder (`<EMAIL_1>`); what is already masked stays as it is.
    """
    (masked,), counts = mask_row([text])
    return masked, counts


def mask_row(texts: Sequence[str]) -> tuple[list[str], Counter[Kind]]:
    """As `mask_personal`, for the texts of one row, which share their placeholders."""
    names = _Names(texts)
    counts: Counter[Kind] = Counter()
    masked = []
    for original in texts:
        text = original
        # What stood beside a number may turn out to be one itself, once that one is gone.
        while found := find_personal(text):
            pieces = []
            end = 0
            for item in found:
                pieces += [text[end : item.start], names.get(item.kind, text[item.start : item.end])]
                end = item.end
                counts[item.kind] += 1
            text = "".join(pieces) + text[end:]
        masked.append(text)
    return masked, counts


_PLACEHOLDER = re.compile(r"<[A-Z_]{2,20}_[0-9]{1,6}>")


@dataclass
class _Names:
    """The placeholders of one row: each value its own, none that the row has already."""

    texts: Sequence[str]
    _given: dict[tuple[Kind, str], str] = field(default_factory=dict)
    _last: Counter[Kind] = field(default_factory=Counter)

    @cached_property
    def _taken(self) -> frozenset[str]:
        return frozenset(name for text in self.texts for name in _PLACEHOLDER.findall(text))

    def get(self, kind: Kind, value: str) -> str:
        key = (kind, _canonical(kind, value))
        while key not in self._given:
            self._last[kind] += 1
            name = f"<{kind.upper()}_{self._last[kind]}>"
            if name not in self._taken:
                self._given[key] = name
        return self._given[key]


def _canonical(kind: Kind, value: str) -> str:
    """What two spellings of one value have in common."""
    value = value.translate(_PLAIN)
    match kind:
        case "key" | "url_credentials":
            return value
        case "email" | "ip":
            return value.lower()
        case _:
            bare = re.sub(r"[^0-9A-Za-z]", "", value).upper()
            return bare[-11:] if kind == "cn_phone" else bare
