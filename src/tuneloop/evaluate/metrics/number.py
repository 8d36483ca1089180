r"""The final number of an answer, as GSM8K asks for it: found, brought to one spelling, compared exactly."""

import re
from collections.abc import Sequence
from decimal import Decimal, Inexact, localcontext
from fractions import Fraction

import numpy as np

import tuneloop
from tuneloop.core.errors import DataError
from tuneloop.evaluate.metrics.answer import final_part, last_boxed
from tuneloop.evaluate.metrics.metric import mean

_SHOWN_CHARACTERS = 60
_MOST_DIGITS = 100
_MOST_EXPONENT = 99
_LONGEST_SENTENCE = 1000
# A text that loops says so without end; only its end matters.
_MOST_SAYINGS = 50
# More than any accepted number has, so that only a fraction that does not end is inexact.
_PRECISION = 400

_PLAIN = str.maketrans(
    {0xFF10 + digit: str(digit) for digit in range(10)}
    | {"\uff0e": ".", "\uff0d": "-", "\u2212": "-", "\uff05": "%", "\uff04": "$", "\uffe5": "¥", "\uff0f": "/"}
)
_WIDE_THOUSANDS = re.compile("(?<=[\uff10-\uff19])\uff0c(?=[\uff10-\uff19]{3}(?![\uff10-\uff19]))")
_LATEX_THOUSANDS = re.compile(r"(?<=[0-9])(?:\{,\}|\\[,!])(?=[0-9]{3})")
_LATEX_FRACTION = re.compile(
    r"(?P<mixed>(?<=[0-9]))?\\[dt]?frac\s*\{\s*(?P<top>[0-9]+)\s*\}\s*\{\s*(?P<bottom>[0-9]+)\s*\}"
)

_DIGITS = r"(?:[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])|[0-9]+)(?:\.[0-9]+)?|(?<!\.)\.[0-9]+"
_CURRENCY = r"(?:[$€£¥₹]|(?<![A-Za-z])(?:USD|RMB|CNY|EUR|GBP))\s?"
_UNITS = {"万": 10**4, "亿": 10**8, "万亿": 10**12}
_NUMBER = re.compile(
    # A minus after an operand subtracts; digits inside a word (H2O) are no number.
    rf"(?=[-0-9.$€£¥₹A-Z])(?P<sign>(?<![A-Za-z0-9_.)\]])-)?(?:{_CURRENCY}(?P<inner>-)?|(?<![A-Za-z0-9_]))(?P<digits>{_DIGITS})"
    r"(?:[eE](?P<exponent>[+-]?[0-9]+)|\s?(?:\\times|×|\*)\s?10\^\{?(?P<power>[+-]?[0-9]+)\}?)?"  # noqa: RUF001
    r"(?:(?:[ ](?P<top>[0-9]{1,9}))?/(?P<bottom>[0-9]{1,9})(?![0-9/]))?"
    r"(?:\s?(?P<unit>万亿|亿|万))?"
)
_MARKED = re.compile(r"####(?!#)")
# "#### 2. Add them up" is a heading.
_HEADING = re.compile(r"[.)、:：]\s*[^\s.]")  # noqa: RUF001
_SAID = re.compile(
    r"\banswer\b[*_\s]*(?:to (?:the|this) (?:question|problem)\s*)?(?P<colon>:|=)?"
    r"(?(colon)|(?:is|would be|should be|will be|must be|equals|comes to)\b)\s*:?"
    r"|答案?[*_\s]*(?:应该|应|就|便)?(?:(?P<chinese_colon>[:：])|是|为|等于)",  # noqa: RUF001
    re.IGNORECASE,
)
_SENTENCE_END = re.compile(r"\.(?:\s|$)|[\n。；;!?！？]")  # noqa: RUF001
_BEFORE_NUMBER = re.compile(r"[\s*_$\\({（:：约共]*")  # noqa: RUF001
_OPERATOR = re.compile(r"\s*(?:[-+*/=×÷]|\\times|\\div)")  # noqa: RUF001


class FinalNumber:
    """Share of answers whose final number is that of one of their references, 0 to 1.

    The final number is `final_number`'s of both sides; numbers are compared exactly (1,000 = 1000.0, 1/2 = 0.5,
    0.333 is not 1/3), signs of currency and percent left out. An answer without a number is wrong.

    Source: Cobbe et al. 2021, arXiv:2110.14168, whose script compares what follows `####` with commas taken out.
    By hand: "... so she makes $18.00 a day." is right against "#### 18"; "18 eggs on 2 days" is 2, and wrong.
    """

    name = "gsm8k"
    higher_is_better = True
    is_proportion = True

    def signature(self) -> str:
        """How the number is found and compared, treatment of references, version."""
        return f"parse:####,boxed,said,last|equal:exact|refs:any|version:tuneloop-{tuneloop.__version__}"

    def statistics(self, prediction: str, references: Sequence[str]) -> np.ndarray:
        """[1 if right, else 0; 1; 1 if the answer has a number, else 0].

        Raises:
            DataError: a reference holds no number, so that no answer could be right.
        """
        answer = final_number(prediction)
        expected = [_reference_number(reference) for reference in references]
        return np.array([answer in expected, 1.0, answer is not None], dtype=np.float64)

    def combine(self, totals_K: np.ndarray) -> float:
        """The share of right answers."""
        return mean(totals_K)

    def sample_value(self, statistics_K: np.ndarray) -> float:
        """1 or 0."""
        return mean(statistics_K)

    def parts(self, totals_K: np.ndarray) -> dict[str, float]:
        """`answered`: the share of answers that hold a number at all."""
        return {"answered": float(totals_K[2] / totals_K[1])}


def final_number(text: str) -> str | None:
    r"""The number that `text` ends up with, in one spelling (70000, -3.5, 1/3); None where it holds none.

    The first of these that gives a number: the last `####` (a numbered heading is none); the last `\boxed{}`; the last
    "answer is", 答案是 and the like, up to the end of that sentence and behind its last `=`, or "answer:", 答案:
    directly before a number; the last number of the text. Thoughts and a next question do not count
    (`answer.final_part`).

    A number may have thousands' commas, a sign, a sign of currency before it, a power of ten, a simple fraction (1/2,
    2 1/2), 万 or 亿 after it, full-width digits, LaTeX. Numbers in words (eighteen, 十八) are none; neither is one of
    more than 100 digits or with an exponent beyond ±99.
    """
    plain = _plain(final_part(text))
    for find in (_marked, _boxed, _said, _last_in):
        found = find(plain)
        if found is not None:
            return _format(found)
    return None


def _reference_number(reference: str) -> str:
    number = final_number(reference)
    if number is None:
        shown = reference if len(reference) <= _SHOWN_CHARACTERS else "..." + reference[-_SHOWN_CHARACTERS:]
        raise DataError(
            f"the reference {shown!r} holds no number. Write the number, or the solution with '#### NUMBER' at its end."
        )
    return number


def _plain(text: str) -> str:
    """Digits, signs and LaTeX in the form that is read here."""
    text = _WIDE_THOUSANDS.sub(",", text).translate(_PLAIN)
    text = _LATEX_THOUSANDS.sub(",", text).replace(r"\$", "$").replace(r"\%", "%")
    return _LATEX_FRACTION.sub(
        lambda match: f"{' ' if match['mixed'] is not None else ''}{match['top']}/{match['bottom']}", text
    )


def _marked(text: str) -> Fraction | None:
    for mark in reversed(list(_MARKED.finditer(text))):
        match = _NUMBER.match(text, _place_of_number(text, mark.end()))
        if match and not _HEADING.match(text, match.end()):
            return _value(match)
    return None


def _boxed(text: str) -> Fraction | None:
    boxed = last_boxed(text)
    return _last_in(boxed) if boxed else None


def _said(text: str) -> Fraction | None:
    for said in reversed(list(_SAID.finditer(text))[-_MOST_SAYINGS:]):
        place = _place_of_number(text, said.end())
        if said["colon"] or said["chinese_colon"]:
            # "Answer: She sells 9 eggs ..." begins a solution, and its first number is not the final one.
            match = _NUMBER.match(text, place)
            found = _value(match) if match and not _OPERATOR.match(text, match.end()) else None
        else:
            end = _SENTENCE_END.search(text, place, place + _LONGEST_SENTENCE)
            sentence = text[said.end() : end.start() if end else place + _LONGEST_SENTENCE]
            found = _first_in(sentence.rpartition("=")[2])
        if found is not None:
            return found
    return None


def _place_of_number(text: str, place: int) -> int:
    """Behind the blanks, brackets and emphasis that may stand before a number."""
    before = _BEFORE_NUMBER.match(text, place)
    return before.end() if before else place


def _first_in(text: str) -> Fraction | None:
    return next((value for match in _NUMBER.finditer(text) if (value := _value(match)) is not None), None)


def _last_in(text: str) -> Fraction | None:
    last = None
    for match in _NUMBER.finditer(text):
        value = _value(match)
        last = last if value is None else value
    return last


def _value(match: re.Match[str]) -> Fraction | None:
    """The number that was matched; None where it is too long, or divided by zero."""
    digits = match["digits"].replace(",", "")
    exponent = match["exponent"] or match["power"] or "0"
    if len(digits) > _MOST_DIGITS or len(exponent) > len("-99") or abs(int(exponent)) > _MOST_EXPONENT:
        return None
    value = Fraction(digits) * Fraction(10) ** int(exponent)
    if match["bottom"]:
        bottom = int(match["bottom"])
        if bottom == 0:
            return None
        value = value + Fraction(int(match["top"]), bottom) if match["top"] else value / bottom
    value *= _UNITS.get(match["unit"], 1)
    return -value if match["sign"] or match["inner"] else value


def _format(value: Fraction) -> str:
    """As a decimal where it ends, else as a fraction."""
    with localcontext(prec=_PRECISION) as context:
        context.clear_flags()
        decimal = Decimal(value.numerator) / Decimal(value.denominator)
        if context.flags[Inexact]:
            return f"{value.numerator}/{value.denominator}"
        text = f"{decimal:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
