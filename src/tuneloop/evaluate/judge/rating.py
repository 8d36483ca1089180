"""Answers by a rubric: what is asked, what all runs say together, and the numbers over all answers."""

import math
import statistics
from collections.abc import Sequence

from tuneloop.data.schema import Message
from tuneloop.evaluate.judge.config import Criterion, JudgeConfig
from tuneloop.evaluate.judge.measure import VerdictMean, score_verdicts
from tuneloop.evaluate.judge.prompts import rubric_prompt
from tuneloop.evaluate.judge.records import RubricResult, RubricVerdict, RunVerdict
from tuneloop.evaluate.judge.rows import Answered
from tuneloop.evaluate.judge.verdicts import parse_scores
from tuneloop.evaluate.metrics.segment import Language
from tuneloop.generate.chat import CallFailure, ChatRequest, Completion


def rubric_requests(
    rows: Sequence[Answered], criteria: Sequence[Criterion], language: Language, runs: int
) -> list[ChatRequest]:
    """`runs` requests an answer, one after the other."""
    return [
        ChatRequest((Message("user", rubric_prompt(row, criteria, language)),), sample=run)
        for row in rows
        for run in range(runs)
    ]


def read_ratings_of(
    row: Answered, replies: Sequence[Completion | CallFailure], criteria: Sequence[Criterion]
) -> RubricVerdict:
    """All runs over one answer to one rating a criterion: the mean of the runs that have a verdict."""
    names = [criterion.name for criterion in criteria]
    runs = []
    for reply in replies:
        parsed = parse_scores(reply, names)
        text = reply.text if isinstance(reply, Completion) else reply.message
        runs.append(RunVerdict(scores=parsed.scores, reason=parsed.reason, text=text))
    given = [run.scores for run in runs if run.scores]
    scores = {name: math.fsum(found[name] for found in given) / len(given) for name in names} if given else {}
    return RubricVerdict(
        id=row.id, prompt=row.prompt, answer=row.answer, reference=row.reference, runs=tuple(runs), scores=scores
    )


def summarise_ratings(
    verdicts: Sequence[RubricVerdict], criteria: Sequence[Criterion], config: JudgeConfig, details: str
) -> RubricResult:
    """The numbers over the answers that have a verdict (one at least)."""
    judged = [verdict for verdict in verdicts if verdict.scores]
    details = f"{details}|scale:1-5|runs:{config.runs}"
    chance = {"seed": config.seed, "resamples": config.resamples}
    scores = [
        score_verdicts(
            VerdictMean(criterion.name, details, is_proportion=False),
            [verdict.scores[criterion.name] for verdict in judged],
            **chance,
        )
        for criterion in criteria
    ]
    means = [math.fsum(verdict.scores.values()) / len(criteria) for verdict in judged]
    return RubricResult(
        criteria=tuple(scores),
        overall=score_verdicts(VerdictMean("overall", details, is_proportion=False), means, **chance),
        spread=_spread(judged),
    )


def _spread(verdicts: Sequence[RubricVerdict]) -> float | None:
    """Standard deviation between runs, averaged over answers and criteria; of those with two runs or more."""
    found = []
    for verdict in verdicts:
        given = [run.scores for run in verdict.runs if run.scores]
        if len(given) > 1:
            found += [statistics.stdev(scores[name] for scores in given) for name in verdict.scores]
    return math.fsum(found) / len(found) if found else None
