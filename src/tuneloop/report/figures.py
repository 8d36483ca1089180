"""How numbers, times and foreign text are written so that a person reads them with ease."""

import math
import re
import unicodedata
from collections.abc import Iterable
from datetime import UTC, datetime

MINUS = "\N{MINUS SIGN}"
NO_BREAK = "\N{NO-BREAK SPACE}"
_HAN = ("\u3400", "\u9fff")
_KANA = ("\u3040", "\u30ff")
_HANGUL = ("\uac00", "\ud7a3")
_BIDI_CONTROLS = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def count(number: float) -> str:
    """A whole number with thousands separators: 1234567 -> 1,234,567."""
    return f"{number:,.0f}".replace("-", MINUS)


def digits_for(values: Iterable[float]) -> int:
    """Decimals that suit a set of scores: 2 for shares, 1 for scores out of a hundred, more where all lie close."""
    known = [value for value in values if math.isfinite(value)]
    if not known:
        return 2
    largest = max(abs(value) for value in known)
    digits = 1 if largest >= 20 else 2  # noqa: PLR2004 - scores out of a hundred start to show there
    spread = max(known) - min(known)
    if 0 < spread < 10**-digits:
        digits += 1
    return digits


def score(value: float, digits: int = 2) -> str:
    """A score with a fixed number of decimals and a true minus sign; never a negative zero."""
    if not math.isfinite(value):
        return "not finite"
    return f"{round(value, digits) + 0.0:,.{digits}f}".replace("-", MINUS)


def signed(value: float, digits: int = 2) -> str:
    """A difference, with its sign: +0.81."""
    text = score(value, digits)
    return f"+{text}" if round(value, digits) > 0 else text


def significant(value: float) -> str:
    """Three significant digits, plain where that is short: 0.0123, 12.3, 1,230, 2e-05 -> 2e-5."""
    if value == 0 or not math.isfinite(value):
        return "0" if value == 0 else "not finite"
    if 1e-3 <= abs(value) < 1e5:  # noqa: PLR2004 - outside, powers of ten are shorter
        decimals = max(0, 2 - math.floor(math.log10(abs(value))))
        text = f"{value:,.{decimals}f}"
        return (text.rstrip("0").rstrip(".") if "." in text else text).replace("-", MINUS)
    mantissa, _, exponent = f"{value:.2e}".partition("e")
    return f"{mantissa.rstrip('0').rstrip('.')}e{int(exponent)}".replace("-", MINUS)


def loss(value: float | None) -> str:
    """A loss with decimals that stay the same along a run: 2.74, 0.200, 0.00123; a dash where there is none."""
    if value is None:
        return "–"  # noqa: RUF001 - a dash
    if abs(value) < 1e-2:  # noqa: PLR2004
        return significant(value)
    return score(value, 2 if abs(value) >= 1 else 3)


def percent(share: float) -> str:
    """A share of one as per cent: 0.0344 -> 3.4 %, 0.00071 -> 0.071 %."""
    value = 100 * share
    if value == 0 or abs(value) >= 10:  # noqa: PLR2004 - two figures are enough
        return f"{value:.0f}{NO_BREAK}%"
    decimals = 1 - math.floor(math.log10(abs(value)))
    text = f"{value:.{decimals}f}"
    return f"{text.rstrip('0').rstrip('.')}{NO_BREAK}%".replace("-", MINUS)


def size(num_bytes: float) -> str:
    """Bytes in the unit that suits them: 3.42 GiB, 812 MiB."""
    value, unit = float(num_bytes), "B"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if value < 1024:  # noqa: PLR2004 - the definition of these units
            break
        value, unit = value / 1024, larger
    decimals = 0 if unit in {"B", "KiB"} or value >= 100 else (1 if value >= 10 else 2)  # noqa: PLR2004
    return f"{value:,.{decimals}f} {unit}"


def duration(seconds: float, units: tuple[str, str, str, str] = ("d", "h", "min", "s")) -> str:
    """A time in its two largest units: 192 -> 3 min 12 s."""
    days, hours, minutes, secs = units
    if seconds < 10:  # noqa: PLR2004 - below, tenths matter
        return f"{max(seconds, 0.0):.1f} {secs}"
    whole = round(seconds)
    if whole < 60:  # noqa: PLR2004
        return f"{whole} {secs}"
    if whole < 3600:  # noqa: PLR2004
        return f"{whole // 60} {minutes} {whole % 60} {secs}"
    if whole < 86400:  # noqa: PLR2004
        return f"{whole // 3600} {hours} {whole % 3600 // 60} {minutes}"
    return f"{whole // 86400} {days} {whole % 86400 // 3600} {hours}"


def plain(value: float) -> str:
    """A setting as a recipe would say it: 0.0002, 1e-6."""
    return re.sub(r"e([-+])0*", lambda match: "e" + match[1].replace("+", ""), f"{value:.12g}")


def moment(time: datetime) -> str:
    """A time of day for people, in UTC: 2026-11-23 18:15 UTC."""
    return f"{time.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def short_hash(digest: str) -> str:
    """The first eight characters, enough to tell records apart."""
    return digest[:8]


def clean(text: str) -> str:
    """Text that shows what is there: control characters become visible signs, nothing reorders the page."""
    if text.isprintable():
        return text
    return "".join(_visible(char) for char in text.replace("\r\n", "\n"))


def _visible(char: str) -> str:
    if char in "\n\t" or char.isprintable():
        return char
    code = ord(char)
    if code < 0x20:  # noqa: PLR2004 - the control pictures of Unicode
        return chr(0x2400 + code)
    if char in _BIDI_CONTROLS:
        return f"\N{MATHEMATICAL LEFT ANGLE BRACKET}U+{code:04X}\N{MATHEMATICAL RIGHT ANGLE BRACKET}"
    if unicodedata.category(char) in {"Cc", "Cs", "Zl", "Zp"}:
        return "\N{REPLACEMENT CHARACTER}"
    return char


def language_of(text: str) -> str | None:
    """The `lang` that lets a browser choose the right glyphs; None where Latin letters rule or it cannot be told."""
    if any(_KANA[0] <= char <= _KANA[1] for char in text):
        return "ja"
    if any(_HANGUL[0] <= char <= _HANGUL[1] for char in text):
        return "ko"
    return "zh" if any(_HAN[0] <= char <= _HAN[1] for char in text) else None
