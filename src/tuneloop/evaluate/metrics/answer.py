r"""The part of a model's text that answers: without its thoughts, and before it asks itself another question."""

import re

_THOUGHT_BEGINS, _THOUGHT_ENDS = "<think>", "</think>"
_NEXT_QUESTION = re.compile(r"\n[ \t#*]*(?:Question|Q|问题|题目|问)[ \t*]*[0-9]{0,4}[ \t*]*[:：]")  # noqa: RUF001
_BOXED = re.compile(r"\\f?boxed\s*\{")


def final_part(text: str) -> str:
    """What is left of `text` after its thoughts, up to a next question that the model wrote for itself.

    Thoughts end at the last `</think>`; thoughts that begin the text and never end leave nothing. A next question is
    a line that is not the first and begins with Question, Q, 问题, 题目 or 问 and a colon: few-shot prompts make base
    models go on with one, and its answer is not asked for.
    """
    _, ended, after = text.rpartition(_THOUGHT_ENDS)
    if not ended:
        if text.lstrip().startswith(_THOUGHT_BEGINS):
            return ""
        after = text
    after = after.strip()
    asked = _NEXT_QUESTION.search(after)
    return after[: asked.start()] if asked else after


def last_boxed(text: str) -> str | None:
    r"""What stands in the last `\boxed{...}`, braces matched; None where there is none, or where it does not end."""
    start = None
    for match in _BOXED.finditer(text):
        start = match.end()
    if start is None:
        return None
    depth = 1
    for place in range(start, len(text)):
        depth += {"{": 1, "}": -1}.get(text[place], 0)
        if depth == 0:
            return text[start:place]
    return None
