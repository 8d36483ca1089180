"""From what a judge writes to its verdict, or to the name of why there is none. Nothing is guessed."""

import json
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from tuneloop.evaluate.judge.config import HIGHEST, LOWEST
from tuneloop.generate.chat import CallFailure, Completion

Shown = Literal["first", "second", "tie"]
"""Which of the answers as they were shown."""

_VERDICT = re.compile(r"\[\[\s*([ABC])\s*\]\]", re.IGNORECASE)
_SHOWN: dict[str, Shown] = {"A": "first", "B": "second", "C": "tie"}
_NUMBER = r"([0-9]+(?:\.[0-9]+)?)"
_MOST_BRACES = 200
"""Places where a JSON object may begin that are tried, from the end."""


@dataclass(frozen=True, slots=True)
class Parsed:
    """One reply of a judge, read."""

    shown: Shown | None = None
    scores: dict[str, float] = field(default_factory=dict)
    reason: str = ""
    """Why there is no verdict: `no_verdict`, `missing_score`, `out_of_range`, `cut`, `filtered`, `failed_timeout`."""


def parse_verdict(result: Completion | CallFailure) -> Parsed:
    """The last [[A]], [[B]] or [[C]] of a reply that ended by itself.

    By hand: "[[A]] looked good at first, but [[B]]" is the second answer; "A is better" is no verdict.
    """
    reason = _unfinished(result)
    if reason or isinstance(result, CallFailure):
        return Parsed(reason=reason)
    found = _VERDICT.findall(unicodedata.normalize("NFKC", result.text))
    return Parsed(shown=_SHOWN[found[-1].upper()]) if found else Parsed(reason="no_verdict")


def parse_scores(result: Completion | CallFailure, names: Sequence[str]) -> Parsed:
    """A number from 1 to 5 for every criterion: from the last JSON object that has them all, else from lines.

    By hand: '{"clarity": 4}', '**clarity**: 4/5' and 'clarity = 4' are 4; 'clarity: 7' is out of range.
    """
    reason = _unfinished(result)
    if reason or isinstance(result, CallFailure):
        return Parsed(reason=reason)
    text = unicodedata.normalize("NFKC", result.text)
    found = _json_scores(text, names) or _line_scores(text, names)
    if found is None:
        return Parsed(reason="missing_score")
    if not all(LOWEST <= score <= HIGHEST for score in found.values()):
        return Parsed(reason="out_of_range")
    return Parsed(scores=found)


def _unfinished(result: Completion | CallFailure) -> str:
    """Why a reply cannot hold a verdict: one that was cut may have been about to say the opposite."""
    if isinstance(result, CallFailure):
        return f"failed_{result.kind}"
    if result.is_cut:
        return "cut"
    return "filtered" if result.finish_reason == "content_filter" else ""


def _json_scores(text: str, names: Sequence[str]) -> dict[str, float] | None:
    decoder = json.JSONDecoder()
    places = [place for place, character in enumerate(text) if character == "{"]
    for place in reversed(places[-_MOST_BRACES:]):
        try:
            value, _ = decoder.raw_decode(text, place)
        except (ValueError, RecursionError):
            continue
        scores = {name: _number(value.get(name)) for name in names} if isinstance(value, dict) else {}
        known = {name: score for name, score in scores.items() if score is not None}
        if len(known) == len(names):
            return known
    return None


def _number(value: Any) -> float | None:
    """A number, a string that is one, or a score beside its reason: {"score": 4, "reason": "..."}."""
    if isinstance(value, dict):
        value = value.get("score")
    if isinstance(value, str) and re.fullmatch(_NUMBER, value.strip()):
        return float(value)
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number and abs(value) < 1e9 else None  # noqa: PLR2004 - far outside of any scale


def _line_scores(text: str, names: Sequence[str]) -> dict[str, float] | None:
    scores: dict[str, float] = {}
    for name in names:
        # Around the name may stand a mark of a list, quotes or asterisks; behind the number no further digit.
        pattern = rf"^[ \t\-*#>\"'`.()0-9]*{re.escape(name)}[ \t*\"'`]*[:=][ \t*\"'`]*{_NUMBER}(?![\w%]|\.\d)"
        found = re.findall(pattern, text, re.IGNORECASE | re.MULTILINE)
        if not found:
            return None
        scores[name] = float(found[-1])
    return scores
