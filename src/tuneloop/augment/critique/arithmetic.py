# ruff: noqa: RUF001 - Chinese is written with its own punctuation
"""A critic that is a program: it computes every step of an answer again."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from tuneloop.augment.critique.wording import conclusion
from tuneloop.core.errors import DataError
from tuneloop.data.content import Critique
from tuneloop.data.formats.critique import CHINESE, layout_of
from tuneloop.evaluate.metrics.number import final_number

_NUMBER = r"\d+(?:,\d{3})*(?:\.\d+)?"
_STEP = re.compile(
    rf"(?<![\w.])(?P<left>\(*{_NUMBER}\)*(?:\s*[-+*/×÷x]\s*\(*{_NUMBER}\)*)+)\s*=\s*[$€£¥]?(?P<right>-?{_NUMBER})"
)
_TOKEN = re.compile(rf"\s*({_NUMBER}|[-+*/×÷x()])")
_LONGEST = 200
"""Characters of an expression: what is longer is no step of an answer."""


@dataclass(frozen=True, slots=True)
class Step:
    """An equation of an answer."""

    text: str
    stated: Fraction
    value: Fraction

    @property
    def is_right(self) -> bool:
        """Whether it holds; a decimal may be rounded to the digits that it shows."""
        digits = len(self.text.rpartition("=")[2].partition(".")[2].strip())
        return self.stated == self.value or (digits > 0 and round(self.value, digits) == self.stated)


def find_steps(answer: str) -> list[Step]:
    """The equations `a + b * c = d` of an answer, in order; those that divide by zero or do not parse are no steps.

    By hand: "17*3 = 41, 41+1 = 42" has a step that is wrong (51) and one that is right.
    """
    steps = []
    for found in _STEP.finditer(answer):
        if len(found["left"]) > _LONGEST:
            continue
        try:
            value = _Parser(found["left"]).parse()
        except (ValueError, ZeroDivisionError):
            continue
        steps.append(Step(found[0].strip(), _to_number(found["right"]), value))
    return steps


def criticise(facts: Mapping[str, Any]) -> str:
    """The critique of `answer` to `question`, whose right answer is `gold`.

    It goes through the steps up to the first that does not hold, and compares the final numbers; these alone decide.

    Raises:
        DataError: there is no gold answer, or it holds no number.
    """
    question, answer, gold = str(facts["question"]), str(facts["answer"]), facts.get("gold")
    expected = None if gold is None else final_number(str(gold))
    if expected is None:
        raise DataError("the arithmetic critic needs a gold answer with a number in it.")
    words = _CHINESE if layout_of(Critique(question, answer, "")) is CHINESE else _ENGLISH
    lines = []
    for step in find_steps(answer):
        lines.append((words.right if step.is_right else words.wrong).format(step=step.text, value=_shown(step.value)))
        if not step.is_right:
            break
    found = final_number(answer)
    is_right = found == expected
    final = words.none if found is None else words.reached if is_right else words.missed
    lines.append(final.format(found=found, expected=expected))
    return "\n".join([*lines, conclusion(is_right=is_right, chinese=words is _CHINESE)])


@dataclass(frozen=True, slots=True)
class _Words:
    right: str
    wrong: str
    reached: str
    missed: str
    none: str


_ENGLISH = _Words(
    right="{step} is right.",
    wrong="{step} is wrong: it is {value}.",
    reached="The final answer is {found}, as it should be.",
    missed="The final answer is {found}, but it should be {expected}.",
    none="There is no final answer; it should be {expected}.",
)
_CHINESE = _Words(
    right="{step} 正确。",
    wrong="{step} 错误：应为 {value}。",
    reached="最终答案是 {found}，与正确答案一致。",
    missed="最终答案是 {found}，而正确答案是 {expected}。",
    none="没有给出最终答案；正确答案是 {expected}。",
)


def _to_number(text: str) -> Fraction:
    return Fraction(text.replace(",", ""))


def _shown(value: Fraction) -> str:
    """A whole number or a decimal that ends, else with two digits."""
    if value.denominator == 1:
        return str(value.numerator)
    rest = value.denominator
    for prime in (2, 5):
        while rest % prime == 0:
            rest //= prime
    return f"{float(value):g}" if rest == 1 else f"{float(value):.2f}"


class _Parser:
    """Sums, products and brackets over exact numbers.

    Raises:
        ValueError: the text is no expression.
        ZeroDivisionError: it divides by zero.
    """

    def __init__(self, text: str) -> None:
        self._tokens = _TOKEN.findall(text)
        if "".join(self._tokens) != re.sub(r"\s", "", text):
            raise ValueError(text)
        self._place = 0

    def parse(self) -> Fraction:
        value = self._sum()
        if self._place != len(self._tokens):
            raise ValueError("something is left over")
        return value

    def _next(self) -> str:
        return self._tokens[self._place] if self._place < len(self._tokens) else ""

    def _take(self) -> str:
        token = self._next()
        self._place += 1
        return token

    def _sum(self) -> Fraction:
        value = self._product()
        while self._next() in {"+", "-"}:
            value = value + self._product() if self._take() == "+" else value - self._product()
        return value

    def _product(self) -> Fraction:
        value = self._atom()
        while self._next() in {"*", "×", "x", "/", "÷"}:
            value = value / self._atom() if self._take() in {"/", "÷"} else value * self._atom()
        return value

    def _atom(self) -> Fraction:
        atom = self._take()
        if atom == "(":
            value = self._sum()
            if self._take() != ")":
                raise ValueError("a bracket is open")
            return value
        return _to_number(atom)
