"""The hallucination rate of answers against their sources: over answers, over claims, and by length."""

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np

from tuneloop.core.errors import DataError
from tuneloop.core.hooks import Hooks
from tuneloop.evaluate.claims.calibration import accuracy_of
from tuneloop.evaluate.claims.checker import Checker, Pair, Verdict
from tuneloop.evaluate.claims.chunks import count_estimated
from tuneloop.evaluate.claims.clusters import share_of
from tuneloop.evaluate.claims.correction import correct_rate, errors_of, faultless_rate
from tuneloop.evaluate.claims.records import CheckerAccuracy, HallucinationReport, LengthBin, Share, Side
from tuneloop.evaluate.claims.split import split_claims
from tuneloop.evaluate.metrics.segment import Language, detect_language
from tuneloop.evaluate.records import Score

BIN_EDGES = (0, 2_000, 4_000, 8_000, 16_000)
"""First number of tokens of each bin; the last one has no end."""
_LONG_TOKENS = 2_000
_MIN_ANSWERS = 20
_MIN_DOCUMENTS = 10
_PAIRS_AT_ONCE = 256


@dataclass(frozen=True)
class Answer:
    """What a model said about a source."""

    source: str
    """A document, or statutes or triples written out."""
    output: str
    document_id: str = ""
    """Answers of one document are resampled together. "" where the source itself is the document."""
    source_tokens: int | None = None
    """None: estimated, see `tuneloop.generate.estimate`."""
    output_tokens: int | None = None


@dataclass(frozen=True)
class CheckedClaim:
    """A claim of an answer, with its verdict."""

    answer: int
    """Index of the answer."""
    text: str
    language: Language
    verdict: Verdict


@dataclass(frozen=True)
class Measured:
    """The report, and every claim behind it."""

    report: HallucinationReport
    claims: tuple[CheckedClaim, ...]


def measure_hallucination(
    answers: Sequence[Answer],
    checker: Checker,
    *,
    accuracy: CheckerAccuracy | None = None,
    seed: int = 0,
    hooks: Hooks | None = None,
) -> Measured:
    """Split each answer into claims, check each against the source, and report the rates.

        rate of answers = answers with an unsupported claim / answers
        rate of claims = unsupported claims / claims

    An answer without claims has none that is unsupported; how many there are is part of the report. Claims that the
    checker could not decide are counted apart and are in no rate. Intervals are 95 %, by bootstrap over documents.

    Args:
        answers: with their sources.
        checker: decides.
        accuracy: of this checker; None looks for the stored one, and else measures it on the calibration set.
        seed: of the bootstrap.
        hooks: asked between groups of claims whether to go on.

    Raises:
        DataError: there is no answer.
        StoppedError: an end was asked for.
    """
    if not answers:
        raise DataError("There is no answer to check. Give one row at least.")
    claims = _check(answers, checker, hooks or Hooks())
    known = accuracy or accuracy_of(checker)
    counted = _Counts(answers, claims, seed)
    is_long = median(_tokens(answer.source_tokens, answer.source) for answer in answers) >= _LONG_TOKENS
    languages = sorted({claim.language for claim in claims})
    shown = [entry for language in languages if (entry := known.shown(language, is_long=is_long))]
    errors = errors_of(shown)
    all_answers = counted.answers(range(len(answers)))
    all_claims = counted.claims(range(len(answers)))
    signature = f"checker:{checker.name}|version:{checker.version}|unit:sentence|bootstrap:document"
    report = HallucinationReport(
        answers=_score("hallucination", all_answers, signature),
        claims=_score("unsupported_claims", all_claims, signature) if all_claims else None,
        corrected_claims=correct_rate(counted.by_language(), errors, seed=seed),
        accuracy=tuple(shown),
        faultless=faultless_rate(counted.claim_numbers(), errors),
        documents=len(set(counted.documents)),
        answers_without_claims=sum(not numbers for numbers in counted.claim_numbers()),
        undecided_claims=sum(not claim.verdict.decided for claim in claims),
        bins=tuple(_bins(answers, counted)),
        checker=known,
    )
    return Measured(report, claims)


def _check(answers: Sequence[Answer], checker: Checker, hooks: Hooks) -> tuple[CheckedClaim, ...]:
    texts = [(place, claim) for place, answer in enumerate(answers) for claim in split_claims(answer.output)]
    verdicts: list[Verdict] = []
    for start in range(0, len(texts), _PAIRS_AT_ONCE):
        hooks.stop.check()
        group = texts[start : start + _PAIRS_AT_ONCE]
        verdicts += checker.check([Pair(answers[place].source, claim) for place, claim in group])
    return tuple(
        CheckedClaim(place, claim, detect_language([claim]), verdict)
        for (place, claim), verdict in zip(texts, verdicts, strict=True)
    )


class _Counts:
    """Decided claims, by answer and by document."""

    def __init__(self, answers: Sequence[Answer], claims: Sequence[CheckedClaim], seed: int) -> None:
        self.documents = [
            answer.document_id or hashlib.sha256(answer.source.encode(errors="replace")).hexdigest()
            for answer in answers
        ]
        self._seed = seed
        self._numbers: list[Counter[Language]] = [Counter() for _ in answers]
        self._unsupported: list[Counter[Language]] = [Counter() for _ in answers]
        for claim in claims:
            if claim.verdict.decided:
                self._numbers[claim.answer][claim.language] += 1
                self._unsupported[claim.answer][claim.language] += not claim.verdict.supported

    def claim_numbers(self) -> list[dict[Language, int]]:
        """How many claims each answer makes, by language."""
        return [dict(numbers) for numbers in self._numbers]

    def answers(self, places: Sequence[int]) -> Share:
        """The rate of some answers, one at least."""
        rows = [(self.documents[place], int(self._unsupported[place].total() > 0), 1) for place in places]
        return share_of(_sum(rows), seed=self._seed)

    def claims(self, places: Sequence[int]) -> Share | None:
        """The rate of the claims of some answers; None where they make none."""
        rows = [
            (self.documents[place], self._unsupported[place].total(), self._numbers[place].total()) for place in places
        ]
        return share_of(_sum(rows), seed=self._seed) if any(number for _, _, number in rows) else None

    def by_language(self) -> dict[Language, np.ndarray]:
        """Unsupported claims and claims of each document that makes claims, [D, 2] for each language."""
        making = [place for place, numbers in enumerate(self._numbers) if numbers.total()]
        languages = {language for place in making for language in self._numbers[place]}
        return {
            language: _sum(
                [
                    (self.documents[place], self._unsupported[place][language], self._numbers[place][language])
                    for place in making
                ]
            )
            for language in sorted(languages)
        }


def _sum(rows: Sequence[tuple[str, int, int]]) -> np.ndarray:
    """Hits and trials of each document, [D, 2], documents in the order of their names."""
    hits: Counter[str] = Counter()
    trials: Counter[str] = Counter()
    for document, hit, trial in rows:
        hits[document] += hit
        trials[document] += trial
    return np.array([(hits[document], trials[document]) for document in sorted(trials)])


def _score(metric: str, share: Share, signature: str) -> Score:
    return Score(
        metric=metric,
        value=share.value,
        interval=share.interval,
        n=share.n,
        signature=signature,
        higher_is_better=False,
    )


def _bins(answers: Sequence[Answer], counted: _Counts) -> Iterator[LengthBin]:
    """The bins of both sides that hold an answer."""
    lengths: dict[Side, list[int]] = {
        "source": [_tokens(answer.source_tokens, answer.source) for answer in answers],
        "output": [_tokens(answer.output_tokens, answer.output) for answer in answers],
    }
    for side, tokens in lengths.items():
        for low, high in zip(BIN_EDGES, (*BIN_EDGES[1:], None), strict=True):
            places = [place for place, number in enumerate(tokens) if low <= number < (high or number + 1)]
            if not places:
                continue
            num_documents = len({counted.documents[place] for place in places})
            yield LengthBin(
                side=side,
                low=low,
                high=high,
                answers=counted.answers(places),
                claims=counted.claims(places),
                documents=num_documents,
                is_small=len(places) < _MIN_ANSWERS or num_documents < _MIN_DOCUMENTS,
            )


def _tokens(given: int | None, text: str) -> int:
    return count_estimated(text) if given is None else given
