"""Whether the conclusions of reasoned answers follow from the premises that they state themselves."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tuneloop.core.errors import DataError
from tuneloop.core.hooks import Hooks
from tuneloop.data.legal.record import LegalRecord
from tuneloop.evaluate.claims.calibration import accuracy_of
from tuneloop.evaluate.claims.checker import Checker, Pair, Verdict
from tuneloop.evaluate.claims.clusters import share_of
from tuneloop.evaluate.claims.records import CheckerAccuracy, LogicReport, Share
from tuneloop.evaluate.proportions import wilson_interval
from tuneloop.evaluate.records import Score

_PAIRS_AT_ONCE = 256
_MAJOR = "major premise|legal basis|applicable law|governing law|rule|大前提|法律依据|法律规定|适用法律"
_MINOR = "minor premise|application|facts of the case|facts?|小前提|案件事实|事实认定|本案事实|事实"
_CONCLUSION = "conclusions?|therefore|holding|结论|裁判结论|推理结论"
_MARKER = re.compile(
    rf"(?:^|(?<=[\n。；;.]))[ \t]*(?:[-*•#>]+[ \t]*)*(?:[(（]?[0-9一二三四五六七八九十]{{1,3}}[.、)）][ \t]*)?[*_【\[]*"
    rf"(?:(?P<major>{_MAJOR})|(?P<minor>{_MINOR})|(?P<conclusion>{_CONCLUSION}))"
    r"(?:[ \t]*[(（][^()（）\n]{1,30}[)）])?[*_】\]]*[ \t]*(?:[:：][*_]*|(?<=therefore),)",
    re.IGNORECASE,
)
_THOUGHT = re.compile(r"<think>.*?(?:</think>|\Z)", re.DOTALL)
_HEADING = re.compile(r"^[ \t]*(?:#{1,6}\s.*|【[^】]*】)[ \t]*$", re.MULTILINE)


@dataclass(frozen=True)
class Step:
    """Premises, and what they are said to entail."""

    major: str
    """The law or the rule."""
    minor: str
    """The facts."""
    conclusion: str

    @property
    def premises(self) -> str:
        """Both, the rule first: the source of the check."""
        return f"{self.major}\n{self.minor}"


@dataclass(frozen=True)
class CheckedStep:
    """A step of an answer, with its verdict."""

    answer: int
    """Index of the answer."""
    step: Step
    verdict: Verdict


@dataclass(frozen=True)
class MeasuredLogic:
    """The report, and every step behind it."""

    report: LogicReport
    steps: tuple[CheckedStep, ...]


def parse_steps(text: str) -> list[Step]:
    """The syllogisms of an answer, in order; none where it states no complete one.

    Read are paragraphs that begin with a marker and a colon: Major premise, Legal basis, Rule or 大前提, 法律依据;
    Minor premise, Facts or 小前提, 事实; Conclusion or 结论. Several premises of a kind belong together. A conclusion
    ends a step; one without both kinds of premises before it makes the whole answer unparsable, for what it rests on
    is not said. Thoughts between `<think>` and `</think>` are left out.

    By hand: "大前提：人皆有死。小前提：甲是人。结论：甲会死。" is one step.
    """
    text = _HEADING.sub("", _THOUGHT.sub("", text))
    found = list(_MARKER.finditer(text))
    parts: dict[str, list[str]] = {"major": [], "minor": []}
    steps: list[Step] = []
    ends = [*(marker.start() for marker in found[1:]), len(text)]
    for marker, end in zip(found, ends[: len(found)], strict=True):
        said = text[marker.end() : end].strip().strip("*_").strip()
        kind = marker.lastgroup or ""
        if kind != "conclusion":
            parts[kind].append(said)
            continue
        # What comes after a blank line is no longer the conclusion.
        said = re.split(r"\n\s*\n", said)[0].strip()
        major, minor = ("\n".join(filter(None, parts[name])) for name in ("major", "minor"))
        if not (major and minor and said):
            return []
        steps.append(Step(major, minor, said))
        parts = {"major": [], "minor": []}
    return steps


def steps_of_record(record: LegalRecord) -> list[Step]:
    """The syllogisms of a legal record, with statutes and facts written out.

    None where a premise is not in the record, or a statute has no text: the check would have nothing to go by.
    """
    statutes = {statute.sid: statute.text for statute in record.statutes}
    facts = {fact.fid: fact.text for fact in record.facts}
    steps = []
    for step in record.syllogism:
        major = [statutes.get(sid, "") for sid in step.major]
        minor = [facts.get(fid, "") for fid in step.minor]
        if not (major and minor and all(major) and all(minor) and step.conclusion.strip()):
            return []
        steps.append(Step("\n".join(major), "\n".join(minor), step.conclusion))
    return steps


def measure_logic(
    answers: Sequence[Sequence[Step]],
    checker: Checker,
    *,
    accuracy: CheckerAccuracy | None = None,
    seed: int = 0,
    hooks: Hooks | None = None,
) -> MeasuredLogic:
    """The share of answers in which each conclusion is entailed by the premises stated for it.

    The premises are the source, the conclusion is the claim. Answers without a complete syllogism, and those with a
    conclusion that the checker could not decide, are counted and are in no rate. The interval over answers is
    Wilson's; that over steps is a bootstrap over answers.

    Whether the premises are true is another question: a false statute entails what it likes.

    Args:
        answers: the steps of each (`parse_steps`, `steps_of_record`); an empty list is an unparsable answer.
        checker: decides.
        accuracy: of this checker; None looks for the stored one, and else measures it on the calibration set.
        seed: of the bootstrap.
        hooks: asked between groups of steps whether to go on.

    Raises:
        DataError: no answer has a step that the checker could decide.
        StoppedError: an end was asked for.
    """
    steps = [(place, step) for place, answer in enumerate(answers) for step in answer]
    verdicts: list[Verdict] = []
    for start in range(0, len(steps), _PAIRS_AT_ONCE):
        (hooks or Hooks()).stop.check()
        group = steps[start : start + _PAIRS_AT_ONCE]
        verdicts += checker.check([Pair(step.premises, step.conclusion) for _, step in group])
    checked = tuple(CheckedStep(place, step, verdict) for (place, step), verdict in zip(steps, verdicts, strict=True))
    undecided = {item.answer for item in checked if not item.verdict.decided}
    counts: dict[int, list[int]] = {}
    for item in checked:
        if item.answer not in undecided:
            row = counts.setdefault(item.answer, [0, 0])
            row[0] += item.verdict.supported
            row[1] += 1
    if not counts:
        raise DataError(
            f"None of {len(answers)} answers states premises and a conclusion that could be checked. Mark them, for "
            "instance 'Major premise: ... Minor premise: ... Conclusion: ...' or 大前提：…小前提：…结论：…."
        )
    right = sum(hits == trials for hits, trials in counts.values())
    report = LogicReport(
        answers=_score(
            Share(value=right / len(counts), interval=wilson_interval(right, len(counts)), n=len(counts)), checker
        ),
        steps=share_of(np.array(list(counts.values())), seed=seed),
        unparsable=sum(not answer for answer in answers),
        undecided=len(undecided),
        checker=accuracy or accuracy_of(checker),
    )
    return MeasuredLogic(report, checked)


def _score(share: Share, checker: Checker) -> Score:
    return Score(
        metric="logic",
        value=share.value,
        interval=share.interval,
        n=share.n,
        signature=f"checker:{checker.name}|version:{checker.version}|unit:conclusion|premises:stated",
    )
