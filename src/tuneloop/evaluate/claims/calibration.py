"""The labelled claims that checkers are measured on, and how: never with a threshold that saw the claim's document."""

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Literal

import numpy as np
import orjson
from pydantic import ValidationError

from tuneloop.core.config import Config
from tuneloop.core.errors import IntegrityError
from tuneloop.core.seeds import keyed_permutation
from tuneloop.evaluate.claims.checker import Checker, Pair, Verdict
from tuneloop.evaluate.claims.chunks import count_estimated
from tuneloop.evaluate.claims.clusters import share_of
from tuneloop.evaluate.claims.records import AccuracyEntry, CheckerAccuracy, KindCount, Scope, Share
from tuneloop.evaluate.metrics.segment import Language

_LANGUAGES: tuple[Language, ...] = ("en", "zh")
_FOLDS = 10
_SEED = 0


class LabelledClaim(Config):
    """A claim, whether its source supports it, and how it was made."""

    text: str
    supported: bool
    kind: str
    """Supported: quote, paraphrase, combined (two sentences), derived (a step of reckoning), voice. Unsupported:
    number, date, entity, swap, negation, comparison, general, modality, cause, invented, scope, unmentioned."""


class LabelledDocument(Config):
    """A source of our own invention, and claims about it."""

    document: str
    language: Language
    domain: Literal["law", "medicine", "service", "news", "table", "logic"]
    part: Literal["develop", "held_out"]
    """develop: its errors were looked at while the rules of the embedded checker were written."""
    source: str
    claims: tuple[LabelledClaim, ...]


@dataclass(frozen=True)
class Judged:
    """A labelled claim, and what a checker made of it."""

    document: LabelledDocument
    claim: LabelledClaim
    verdict: Verdict

    @property
    def correct(self) -> bool:
        """Whether checker and label agree."""
        return self.verdict.supported == self.claim.supported


def _content(name: str) -> bytes:
    return files("tuneloop.evaluate.claims").joinpath(name).read_bytes()


def hash_calibration() -> str:
    """SHA-256 of the calibration set."""
    return hashlib.sha256(_content("calibration.jsonl")).hexdigest()


@cache
def load_calibration() -> tuple[LabelledDocument, ...]:
    """The calibration set, in the order of its file."""
    return tuple(map(LabelledDocument.model_validate_json, _content("calibration.jsonl").splitlines()))


@cache
def load_accuracies() -> tuple[CheckerAccuracy, ...]:
    """The stored measures of the embedded checker; benchmarks/claim_checkers.py makes them.

    Raises:
        IntegrityError: the installed file is damaged.
    """
    try:
        return tuple(map(CheckerAccuracy.model_validate, orjson.loads(_content("accuracy.json"))))
    except (orjson.JSONDecodeError, ValidationError) as error:
        raise IntegrityError("accuracy.json of the claim checkers is damaged. Install tuneloop again.") from error


def accuracy_of(checker: Checker) -> CheckerAccuracy:
    """The stored measure of this very checker, else a fresh one over the whole calibration set."""
    identity = (checker.name, checker.version, hash_calibration())
    for stored in load_accuracies():
        if (stored.checker, stored.version, stored.set_sha256) == identity:
            return stored
    return measure_accuracy(checker)


def measure_accuracy(checker: Checker) -> CheckerAccuracy:
    """A checker with settings of its own, over every claim of the calibration set."""
    judged = judge(checker, load_calibration())
    return CheckerAccuracy(
        checker=checker.name,
        version=checker.version,
        set_sha256=hash_calibration(),
        entries=tuple(
            entry
            for language in _LANGUAGES
            for scope in ("all", "logic")
            if (entry := summarise([item for item in judged if item.document.language == language], scope))
        ),
    )


def judge(checker: Checker, documents: Sequence[LabelledDocument]) -> list[Judged]:
    """Every claim of the documents, with the checker's verdict."""
    pairs = [(document, claim) for document in documents for claim in document.claims]
    verdicts = checker.check([Pair(document.source, claim.text) for document, claim in pairs])
    return [Judged(document, claim, verdict) for (document, claim), verdict in zip(pairs, verdicts, strict=True)]


def summarise(judged: Sequence[Judged], scope: Scope) -> AccuracyEntry | None:
    """The accuracy over one scope of claims in one language; None where there are none."""
    chosen = [item for item in judged if _is_in(item.document, scope)]
    decided = [item for item in chosen if item.verdict.decided]
    labels = {item.claim.supported for item in decided}
    if len(labels) < 2:  # noqa: PLR2004 - both labels are needed for sensitivity and specificity
        return None
    kinds: dict[tuple[bool, str], list[bool]] = defaultdict(list)
    for item in decided:
        kinds[item.claim.supported, item.claim.kind].append(item.correct)
    sources = {item.document.document: count_estimated(item.document.source) for item in chosen}
    return AccuracyEntry(
        language=chosen[0].document.language,
        scope=scope,
        accuracy=_share(decided),
        found=_share([item for item in decided if not item.claim.supported]),
        accepted=_share([item for item in decided if item.claim.supported]),
        source_tokens=round(sum(sources.values()) / len(sources)),
        undecided=len(chosen) - len(decided),
        kinds=tuple(
            KindCount(kind=kind, supported=supported, n=len(hits), correct=sum(hits))
            for (supported, kind), hits in sorted(kinds.items())
        ),
    )


def _is_in(document: LabelledDocument, scope: Scope) -> bool:
    is_logic = document.domain == "logic"
    match scope:
        case "logic":
            return is_logic
        case "all":
            return not is_logic
        case "untouched" | "long":
            return not is_logic and document.part == "held_out"


def _share(judged: Sequence[Judged]) -> Share:
    counts: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for item in judged:
        counts[item.document.document][0] += item.correct
        counts[item.document.document][1] += 1
    return share_of(np.array(list(counts.values())), seed=_SEED)


def choose_threshold(scores: Sequence[float], labels: Sequence[bool]) -> float:
    """The score from which on a claim is best called supported: the one with the fewest errors.

    Between two neighbouring scores their middle is tried; of several best ones the lowest is taken. A score of 0
    never passes. By hand: scores 0.1 0.4 0.6 with labels no, yes, yes give 0.25.
    """
    distinct = sorted({0.0, *scores})
    candidates = [(low + high) / 2 for low, high in zip(distinct, [*distinct[1:], 1.0], strict=True)]
    score_N, label_N = np.array(scores), np.array(labels)
    errors = [int(((score_N >= candidate) != label_N).sum()) for candidate in candidates]
    return candidates[int(np.argmin(errors))]


def fold_of(documents: Sequence[str]) -> dict[str, int]:
    """Document -> one of ten folds: the claims of one document are never on both sides."""
    names = sorted(set(documents))
    order_D = keyed_permutation(len(names), _SEED, "calibration folds")
    return {names[place]: rank % _FOLDS for rank, place in enumerate(order_D)}


def judge_out_of_fold(judged: Sequence[Judged], chosen_on: Sequence[Judged]) -> list[Judged]:
    """The verdicts that a threshold gives which was chosen on the other folds.

    Args:
        judged: of one language, with scores.
        chosen_on: the claims that thresholds are chosen on; those of the judged claim's fold are left out.
    """
    folds = fold_of([item.document.document for item in (*judged, *chosen_on)])
    thresholds = {}
    for fold in set(folds.values()):
        others = [item for item in chosen_on if folds[item.document.document] != fold]
        thresholds[fold] = choose_threshold(
            [item.verdict.score for item in others], [item.claim.supported for item in others]
        )
    return [
        Judged(
            item.document,
            item.claim,
            Verdict(
                supported=item.verdict.score >= thresholds[folds[item.document.document]],
                score=item.verdict.score,
                why=item.verdict.why,
            ),
        )
        for item in judged
    ]
