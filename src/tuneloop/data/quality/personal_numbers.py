"""Numbers of people: identity cards, bank cards and accounts, phones, passports, and addresses of their machines.

A number counts only where its own rules hold (check digits, real dates, assigned ranges) and where it does not stand
as a quantity, a version or a part of a longer number.
"""

# ruff: noqa: RUF001 - Chinese and full-width characters are what these patterns are about

import ipaddress
import re
from collections.abc import Callable, Iterator

from tuneloop.data.quality.found import Found, Kind

# Every pattern begins with a digit and looks back only then, which lets the search skip to the next digit.
# A number does not begin inside a word, behind a decimal point or behind a dash that joins it to another number.
_BEGINS = r"(?<![0-9A-Za-z_].)(?<![0-9][.\-].)"
_ENDS = r"(?![0-9A-Za-z_])(?![.\-][0-9])"

# GB/T 2260: the first two digits of a region are its province; 83 is given to residents from Taiwan.
_PROVINCES = frozenset(
    [*range(11, 16), *range(21, 24), *range(31, 38), *range(41, 47), *range(50, 55), *range(61, 66), 71, 81, 82, 83]
)
_CN_ID = re.compile(
    r"([1-9](?<![0-9].)(?<![0-9]\..)[0-9]{5})[ -]?((?:19|20)[0-9]{2})([0-9]{2})([0-9]{2})[ -]?"
    r"([0-9]{3}[0-9Xx])(?![0-9])"
)
_CN_ID_OLD = re.compile(rf"([1-9]{_BEGINS}[0-9]{{5}})([0-9]{{2}})([0-9]{{2}})([0-9]{{2}})[0-9]{{3}}{_ENDS}")
_SAYS_ID = re.compile(r"身份证|身分证|身份證|公民身份|\b[Ii][Dd] (?:card|number|No)|(?i:identity)")
_CN_PHONE = re.compile(rf"1[3-9][0-9]([ -]?)[0-9]{{4}}\1[0-9]{{4}}{_ENDS}")
_CHINA = re.compile(r"(?<![0-9A-Za-z_+])(?:\+|00)?86[ -]?$")
_AREA_CN = r"0(?:10|2[0-9]|[3-9][0-9]{2})"
_CN_LANDLINE = re.compile(rf"{_AREA_CN}(?:\) ?|-)[2-9][0-9]{{6,7}}{_ENDS}")
# North American Numbering Plan: neither the area nor the exchange begins with 0 or 1 or ends with 11.
_US_PHONE = re.compile(
    rf"[2-9](?!11)[0-9]{{2}}(?:\) ?[2-9](?!11)[0-9]{{2}}[-.]|([-.])[2-9](?!11)[0-9]{{2}}\1)[0-9]{{4}}{_ENDS}"
)
_AMERICA = re.compile(r"(?<![0-9A-Za-z_+.])\+?1[-. ]?$")
_INTERNATIONAL = re.compile(r"\+(?<![0-9A-Za-z_+].)[1-9](?:[ .-]?\(?[0-9]\)?){7,14}(?![0-9A-Za-z])")
# ITU-T E.164 (list of assigned country codes).
_COUNTRY = re.compile(
    "1|7|2[07]|3[0-469]|4[013-9]|5[1-8]|6[0-6]|8[1246]|9[0-58]|21[12368]|2[2-6][0-9]|29[01789]|3[578][0-9]|42[013]|"
    "5[09][0-9]|6[789][0-9]|85[02356]|8[78][0-9]|96[0-8]|97[0-9]|99[2-8]"
)
_CARD = re.compile(
    rf"[2-6]{_BEGINS}(?:[0-9]{{12,18}}|[0-9]{{3}}([ -])[0-9]{{4}}\1[0-9]{{4}}\1[0-9]{{4}}(?:\1?[0-9]{{1,3}})?"
    rf"|[0-9]{{3}}([ -])[0-9]{{6}}\2[0-9]{{5}}){_ENDS}"
)
# Which cards the networks issue, as they publish it: the first four digits from and to, how long, groups needed.
# Mastercard's range from 2221 looks like the date that an order number begins with.
_CARD_RANGES = (
    (6200, 6299, (16, 17, 18, 19), False),  # UnionPay
    (4000, 4999, (13, 16, 19), False),  # Visa
    (5100, 5599, (16,), False),  # Mastercard
    (2221, 2720, (16,), True),
    (3400, 3499, (15,), False),  # American Express
    (3700, 3799, (15,), False),
    (6011, 6011, (16,), False),  # Discover
    (6440, 6599, (16,), False),
    (3528, 3589, (16,), False),  # JCB
    (3000, 3059, (14,), False),  # Diners Club
    (3600, 3699, (14,), False),
    (3800, 3999, (14,), False),
)
_SAYS_NO_CARD = re.compile(
    r"订单|运单|快递|单号|编号|流水|案号|[Oo]rder|[Tt]rack|[Ii]nvoice|\b(?:ID|id|Id|IMEI|SKU|ISBN|UPC|EAN)\b"
)
_IBAN = re.compile(r"[0-9](?<=[A-Z]{2}.)(?<![0-9A-Za-z]...)[0-9] ?[0-9A-Z]{4}")
# SWIFT's IBAN registry: how long an account number is in each country.
_IBAN_LENGTHS = {
    country: length
    for length, countries in {
        15: "NO",
        16: "BE",
        18: "DK FI FO GL NL SD",  # codespell:ignore
        19: "MK SI",
        20: "AT BA EE KZ LT LU XK",
        21: "CH HR LI LV",
        22: "BG BH CR DE GB GE IE ME RS VA",
        23: "AE GI IL IQ OM TL",
        24: "AD CZ ES MD PK RO SA SE SK TN VG",
        25: "LY PT ST",
        26: "IS TR",
        27: "BI DJ FR GR IT MC MR SM",
        28: "AL AZ BY CY DO GT HU LB NI PL SV",
        29: "BR EG PS QA UA",
        30: "JO KW MU",
        31: "MT SC",
        32: "LC",
        33: "RU",
    }.items()
    for country in countries.split()
}
_PASSPORT = re.compile(
    r"护照(?:号码|号|编号)?(?:是|为)?[:\s]{0,3}((?:[DEGPS][0-9]|E[A-HJ-NP-Z])[0-9]{7})(?![0-9A-Za-z])"
)
_IP_V4 = re.compile(r"[0-9](?<![0-9A-Za-z_.\-/].)[0-9]{0,2}(?:\.[0-9]{1,3}){3}(?![0-9A-Za-z_]|[.\-][0-9]|/[0-9])")
_IP_V6 = re.compile(r"[23](?<![0-9A-Za-z_.:].)[0-9a-fA-F]{3}(?::[0-9a-fA-F]{0,4}){2,7}(?![0-9A-Za-z_:]|/[0-9])")
_SAYS_VERSION = re.compile(
    r"(?:(?<![A-Za-z])[Vv](?:er(?:sion)?)?\.?|版本|[A-Za-z]/|Chrome|Safari|Firefox)[号为 :]{0,3}$"
)
_SMALL = 32
_MIN_GROUPS = 3


def find_numbers(text: str) -> list[Found]:
    """Numbers of people in a text whose digits, dashes and spaces are plain ones."""
    return [
        Found(kind, start, end)
        for kind, pattern, check in _RULES
        for match in pattern.finditer(text)
        for start, end in check(match)
    ]


_Spans = Iterator[tuple[int, int]]


def _cn_id(match: re.Match[str]) -> _Spans:
    region, year, month, day, rest = match.groups()
    if (
        int(region[:2]) in _PROVINCES
        and _is_date(int(year), int(month), int(day))
        and resident_check_digit(region + year + month + day + rest[:3]) == rest[3].upper()
    ):
        yield match.span()


def resident_check_digit(digits: str) -> str:
    """The last character of a resident identity number, from its first 17 digits.

    GB 11643-1999, ISO 7064 MOD 11-2: the sum of digit times 2^(18 - place) and the check digit is 1 modulo 11.
    The standard's own example, 11010519491231002, gives X.
    """
    total = sum(int(digit) * pow(2, 17 - place, 11) for place, digit in enumerate(digits))
    return "10X98765432"[total % 11]


def _cn_id_old(match: re.Match[str]) -> _Spans:
    # The form before 1999 has no check digit, so that the words before it have to say what it is.
    region, year, month, day = match.groups()
    says_id = _SAYS_ID.search(match.string, max(0, match.start() - 20), match.start())
    if says_id and int(region[:2]) in _PROVINCES and _is_date(1900 + int(year), int(month), int(day)):
        yield match.span()


def _is_date(year: int, month: int, day: int) -> bool:
    days = (31, 29 if year % 4 == 0 and (year % 100 or year % 400 == 0) else 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
    return 1 <= month <= len(days) and 1 <= day <= days[month - 1]


def _cn_phone(match: re.Match[str]) -> _Spans:
    text, start = match.string, match.start()
    if country := _CHINA.search(text, max(0, start - 6), start):
        start = country.start()
    elif not _is_border(text, start):
        return
    if not (_is_round(match[0]) or _is_quantity(text, start, match.end())):
        yield start, match.end()


def _with_area(match: re.Match[str]) -> _Spans:
    text, start = match.string, match.start()
    if ")" in match[0]:
        if text[start - 1 : start] != "(":
            return
        start -= 1
    if country := _AMERICA.search(text, max(0, start - 4), start):
        start = country.start()
    elif not _is_border(text, start):
        return
    if not (_is_round(match[0]) or _is_quantity(text, start, match.end())):
        yield start, match.end()


def _is_border(text: str, at: int) -> bool:
    before = text[max(0, at - 2) : at]
    return re.search(r"[0-9A-Za-z_+]$|[0-9][.-]$", before) is None


def _international(match: re.Match[str]) -> _Spans:
    value = match[0]
    digits = re.sub("[^0-9]", "", value)
    country = _COUNTRY.match(digits)
    is_decimal = re.fullmatch(r"\+[0-9]+\.[0-9]+", value)
    if country is None or is_decimal or _is_round(value) or _is_quantity(match.string, *match.span()):
        return
    if country[0] != "1":
        yield match.span()
    elif len(digits) >= len("12125550100"):
        places = [place for place, character in enumerate(value) if character.isdigit()]
        yield match.start(), match.start() + places[10] + 1


def _is_round(value: str) -> bool:
    return value.endswith("00000") or len(set(re.sub("[^0-9]", "", value)[-8:])) == 1


def _is_quantity(text: str, start: int, end: int) -> bool:
    """Whether a number is part of a calculation or an amount: what stands around it says so."""
    before = text[max(0, start - 4) : start].rstrip()
    after = text[end : end + 2].lstrip()
    return bool(
        before.endswith(("$", "¥", "€", "£", "*", "×", "÷", "^", "<", ">"))
        or re.search(r"[0-9)\]][ ]?[=+/-]$", before)
        or after.startswith(("*", "×", "÷", "^", "%", "元", "人", "个", "=", "+"))
    )


def _card(match: re.Match[str]) -> _Spans:
    digits = re.sub("[ -]", "", match[0])
    is_grouped = len(digits) < len(match[0])
    if not (_is_card_range(digits, is_grouped=is_grouped) and passes_luhn(digits)) or _is_round(digits):
        return
    before = match.string[max(0, match.start() - 16) : match.start()]
    if is_grouped or not (_SAYS_NO_CARD.search(before) or _is_quantity(match.string, *match.span())):
        yield match.span()


def _is_card_range(digits: str, *, is_grouped: bool) -> bool:
    head = int(digits[:4])
    return any(
        first <= head <= last and len(digits) in lengths and (is_grouped or not needs_groups)
        for first, last, lengths, needs_groups in _CARD_RANGES
    )


def passes_luhn(digits: str) -> bool:
    """Whether the sum of the digits, each second one from the right doubled, is a multiple of ten (ISO/IEC 7812-1).

    79927398713 passes.
    """
    doubled = sum(sum(divmod(2 * int(digit), 10)) for digit in digits[-2::-2])
    return (doubled + sum(int(digit) for digit in digits[-1::-2])) % 10 == 0


def _iban(match: re.Match[str]) -> _Spans:
    text, start = match.string, match.start() - 2
    length = _IBAN_LENGTHS.get(text[start : start + 2], 0)
    characters: list[str] = []
    end = start
    while len(characters) < length and end < len(text) and (text[end].isascii() and text[end].isalnum()):
        characters.append(text[end])
        end += 1
        if text[end : end + 1] == " " and len(characters) < length:
            end += 1
    number = "".join(characters)
    if length and len(number) == length and number.isupper() and not text[end : end + 1].isdigit():
        # ISO 13616: the first four characters moved to the end, letters as 10 to 35, leave 1 modulo 97.
        as_digits = "".join(str(int(character, 36)) for character in number[4:] + number[:4])
        if int(as_digits) % 97 == 1:
            yield start, end


def _passport(match: re.Match[str]) -> _Spans:
    yield match.span(1)


def _ip_v4(match: re.Match[str]) -> _Spans:
    parts = match[0].split(".")
    try:
        address = ipaddress.IPv4Address(match[0])  # no leading zeros either
    except ValueError:
        return
    # Small numbers only are a section of a document or a version far more often than a machine; 0 ends a network.
    is_machine = max(map(int, parts)) >= _SMALL and parts[3] != "0"
    before = match.string[max(0, match.start() - 12) : match.start()]
    if is_machine and address.is_global and not address.is_multicast and not _SAYS_VERSION.search(before):
        yield match.span()


def _ip_v6(match: re.Match[str]) -> _Spans:
    value = match[0]
    try:
        is_global = ipaddress.IPv6Address(value).is_global
    except ValueError:
        return
    if is_global and sum(map(bool, value.split(":"))) >= _MIN_GROUPS:
        yield match.span()


_RULES: tuple[tuple[Kind, re.Pattern[str], Callable[[re.Match[str]], _Spans]], ...] = (
    ("cn_id", _CN_ID, _cn_id),
    ("cn_id", _CN_ID_OLD, _cn_id_old),
    ("iban", _IBAN, _iban),
    ("bank_card", _CARD, _card),
    ("cn_phone", _CN_PHONE, _cn_phone),
    ("phone", _CN_LANDLINE, _with_area),
    ("phone", _US_PHONE, _with_area),
    ("phone", _INTERNATIONAL, _international),
    ("passport_cn", _PASSPORT, _passport),
    ("ip", _IP_V4, _ip_v4),
    ("ip", _IP_V6, _ip_v6),
)
