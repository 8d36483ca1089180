"""Chinese numerals to numbers and back, as articles of law are counted: 一百三十三 is 133."""

# ruff: noqa: RUF001 - the other sign of zero is a digit here

MOST = 99_999_999
_DIGITS = "零一二三四五六七八九"
_VALUES = {digit: value for value, digit in enumerate(_DIGITS)} | {"〇": 0, "○": 0, "两": 2}
_UNITS = {"十": 10, "百": 100, "千": 1000}
_FULL_WIDTH = {0xFF10 + digit: str(digit) for digit in range(10)}


def format_numeral(number: int) -> str:
    """A number from 0 to 99,999,999 in Chinese, as statutes write it: 10 is 十, 110 一百一十, 1062 一千零六十二.

    Raises:
        ValueError: it lies outside.
    """
    if not 0 <= number <= MOST:
        raise ValueError(f"{number} is not a number from 0 to {MOST:,}")
    if number == 0:
        return _DIGITS[0]
    high, low = divmod(number, 10_000)
    text = f"{_below_ten_thousand(high)}万" if high else ""
    if low:
        text += "零" * bool(high and low < 1000) + _below_ten_thousand(low)  # noqa: PLR2004 - no thousands: 零 stands there
    return text.removeprefix("一") if text.startswith("一十") else text


def _below_ten_thousand(number: int) -> str:
    text, gap = "", False
    for unit, name in ((1000, "千"), (100, "百"), (10, "十"), (1, "")):
        digit, number = divmod(number, unit)
        if digit:
            text += ("零" if gap and text else "") + _DIGITS[digit] + name
        gap = not digit
    return text


def parse_numeral(text: str) -> int:
    """The number that Chinese numerals, Arabic or full-width digits say.

    一三三 and 二〇二一 are read digit by digit; 一百十三 and 一千六十二, which leave a 一 or a 零 out, are understood.
    一百三 is refused: it is said for 130 and mistyped for 103.

    Raises:
        ValueError: it is no numeral, or above 99,999,999.
    """
    plain = text.translate(_FULL_WIDTH)
    if plain.isascii() and plain.isdecimal() and len(plain) <= len(str(MOST)):
        return int(plain)
    if 0 < len(plain) <= len(str(MOST)) and all(char in _VALUES for char in plain):
        return int("".join(str(_VALUES[char]) for char in plain))
    high, has_high, low = plain.rpartition("万")
    number = _parse_section(high, text) * 10_000 if has_high else 0
    if not low:
        if not has_high:
            raise ValueError(f"'{text}' is no numeral")
        return number
    if has_high and len(low) == 1:
        raise ValueError(f"'{text}' can be read in two ways")
    return number + _parse_section(low, text)


def _parse_section(section: str, text: str) -> int:
    """A number below ten thousand: units fall, each digit has its unit, a last digit stands after 十 or 零."""
    number, digit, last_unit = 0, None, 10_000
    after_zero = False
    for char in section:
        unit = _UNITS.get(char)
        if unit is not None:
            # Only 十 may stand without a digit: 十二, 一百十三.
            if unit >= last_unit or (digit is None and (unit != _UNITS["十"] or after_zero)):
                raise ValueError(f"'{text}' is no numeral")
            number += (1 if digit is None else digit) * unit
            digit, last_unit, after_zero = None, unit, False
        elif char not in _VALUES or digit is not None:
            raise ValueError(f"'{text}' is no numeral")
        elif _VALUES[char] == 0:
            if after_zero:
                raise ValueError(f"'{text}' is no numeral")
            after_zero = True
        else:
            digit = _VALUES[char]
    if digit is not None:
        if last_unit not in {10, 10_000} and not after_zero:
            raise ValueError(f"'{text}' can be read in two ways")
        number += digit
    elif after_zero or not number:
        raise ValueError(f"'{text}' is no numeral")
    return number
