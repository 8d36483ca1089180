"""A critique of somebody's answer: `{"question", "answer", "critique", "verdict"}`, and the layout of CFT's authors."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tuneloop.data.content import Content, Critique
from tuneloop.data.formats.format import Format
from tuneloop.data.formats.shape import MEDIA_FIELDS, Shape, text_of, type_name
from tuneloop.data.schema import RowError

_ANSWERS = ("answer", "noisy_answer", "response", "solution")
_VERDICTS = ("verdict", "is_right", "label")
_WORDS = {
    **dict.fromkeys(("right", "correct", "true", "yes", "1", "正确", "对"), True),
    **dict.fromkeys(("wrong", "incorrect", "false", "no", "0", "错误", "不正确", "错"), False),
}
_CONCLUSION = re.compile(r"(?:\bconclusion\b|结论)[\s*_`]*[:：][\s*_`]*", re.IGNORECASE)  # noqa: RUF001 - Chinese punctuation
# "right/wrong" is the teacher's instruction said again, not a verdict.
_VERDICT = re.compile(r"(not\s+)?(?:(right|correct|正确)|(wrong|incorrect|错误|不正确))(?![a-z]|\s*/)", re.IGNORECASE)
_HAN = re.compile(r"[㐀-䶿一-鿿]")
_KANA = re.compile(r"[぀-ヿ]")
_LATIN_WORD = re.compile(r"[A-Za-z]{2,}")


@dataclass(frozen=True)
class Layout:
    """The words around a question and an answer that are to be criticised."""

    instruction: str
    question: str
    answer: str

    def question_text(self, critique: Critique) -> str:
        """Question and answer with their headings."""
        return f"{self.question}{critique.question}{self.answer}{critique.answer}"

    def split(self, text: str) -> tuple[str, str] | None:
        """The question and the answer of `question_text`; None where it is no such text."""
        if not text.startswith(self.question) or self.answer not in text:
            return None
        question, _, answer = text.removeprefix(self.question).partition(self.answer)
        return question, answer


ENGLISH = Layout(
    "Please critique whether the following solution to the question is correct.", "Question:\n", "\n\nSolution:\n"
)
"""As the authors publish their rows (Wang, Yue and Chen 2025, arXiv:2501.17703; data TIGER-Lab/WebInstruct-CFT)."""
CHINESE = Layout("请评判下面这个问题的解答是否正确。", "问题：\n", "\n\n解答：\n")  # noqa: RUF001 - Chinese punctuation
"""The same in Chinese, in our words."""


def layout_of(critique: Critique) -> Layout:
    """Chinese for a question with at least as many Chinese characters as Latin words, and no Japanese ones."""
    num_han = len(_HAN.findall(critique.question))
    is_chinese = num_han > 0 and num_han >= len(_LATIN_WORD.findall(critique.question))
    return CHINESE if is_chinese and not _KANA.search(critique.question) else ENGLISH


def parse_verdict(critique: str) -> bool | None:
    """What a critique concludes: whether the answer is right; None where its last conclusion says neither."""
    conclusions = list(_CONCLUSION.finditer(critique))
    if not conclusions:
        return None
    found = _VERDICT.match(critique, conclusions[-1].end())
    if found is None:
        return None
    return bool(found[2]) != bool(found[1])


def parse_layout(instruction: str, text: str, critique: str) -> Critique | None:
    """The critique behind a row in the authors' layout; None where it is another row."""
    for layout in (ENGLISH, CHINESE):
        parts = layout.split(text)
        if instruction.strip() == layout.instruction and parts is not None:
            return Critique(*parts, critique, parse_verdict(critique))
    return None


def write_layout(critique: Critique) -> dict[str, str]:
    """A critique as the authors publish it; a verdict that the critique does not say is left away.

    Raises:
        RowError: `not_expressible`, where the question holds the line that separates it from the answer.
    """
    layout = layout_of(critique)
    text = layout.question_text(critique)
    if layout.split(text) != (critique.question, critique.answer):
        raise RowError("not_expressible", f"the question itself holds the heading {layout.answer.strip()!r}")
    return {"instruction": layout.instruction, "input": text, "output": critique.critique}


def _parse(value: Mapping[str, Any], shape: Shape) -> Content:
    shape.refuse_media(value)
    critique = shape.get(value, "critique")
    if critique is None and shape.get(value, "output") is not None:
        return _parse_alpaca(value, shape)
    text = text_of(critique, "critique", missing="empty_answer")
    question = text_of(shape.get(value, "question"), "question")
    answer = text_of(shape.get(value, *_ANSWERS), "answer")
    said, concluded = _parse_field(shape.get(value, *_VERDICTS)), parse_verdict(text)
    if said is not None and concluded is not None and said != concluded:
        names = {True: "right", False: "wrong"}
        raise RowError(
            "verdict_mismatch", f"the row's verdict is {names[said]}, and its critique concludes {names[concluded]}"
        )
    return Critique(question, answer, text, concluded if said is None else said)


def _parse_alpaca(value: Mapping[str, Any], shape: Shape) -> Critique:
    instruction = text_of(shape.get(value, "instruction"), "instruction")
    text = text_of(shape.get(value, "input"), "input")
    output = text_of(shape.get(value, "output"), "output")
    if shape.get(value, "system") or shape.get(value, "history"):
        raise RowError("not_a_critique", "a critique has no system text and no history: read such a row as alpaca")
    found = parse_layout(instruction, text, output)
    if found is None:
        raise RowError(
            "not_a_critique",
            f"the instruction is not {ENGLISH.instruction!r}, or the input does not hold "
            f"{ENGLISH.question.strip()!r} and {ENGLISH.answer.strip()!r}",
        )
    return found


def _parse_field(found: object) -> bool | None:
    if found is None or found == "":
        return None
    known = _WORDS.get(str(found).strip().lower()) if isinstance(found, bool | int | str) else None
    if known is None:
        shown = repr(found[:40]) if isinstance(found, str) else type_name(found)
        raise RowError("wrong_type", f"the verdict is {shown}, not right or wrong, true or false")
    return known


def _write(content: Content) -> dict[str, Any]:
    if not isinstance(content, Critique):
        raise RowError("not_expressible", "critique holds critiques of answers only")
    concluded = parse_verdict(content.critique)
    if concluded is not None and content.is_right != concluded:
        raise RowError("not_expressible", "the verdict is not the one that the critique concludes with")
    written = {"question": content.question, "answer": content.answer, "critique": content.critique}
    return written if content.is_right is None else written | {"verdict": "right" if content.is_right else "wrong"}


def _recognises(value: Mapping[str, Any]) -> bool:
    if isinstance(value.get("critique"), str):
        return "question" in value
    texts = [value.get(name) for name in ("instruction", "input", "output")]
    if value.get("system") or value.get("history") or not all(isinstance(text, str) for text in texts):
        return False
    return parse_layout(*map(str, texts)) is not None


FORMAT = Format(
    name="critique",
    recognises=_recognises,
    parse=_parse,
    write=_write,
    fields=("question", "answer", "critique", "verdict", "instruction", "input", "output", *MEDIA_FIELDS),
)
