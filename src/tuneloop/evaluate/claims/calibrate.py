"""Chooses the thresholds of the embedded checker on the calibration set, and measures it with others than those."""

from collections.abc import Sequence

from tuneloop.evaluate.claims.calibration import (
    Judged,
    LabelledDocument,
    choose_threshold,
    hash_calibration,
    judge,
    judge_out_of_fold,
    load_calibration,
    summarise,
)
from tuneloop.evaluate.claims.embedded import EmbeddedChecker
from tuneloop.evaluate.claims.embedding import Embedder
from tuneloop.evaluate.claims.records import AccuracyEntry, CheckerAccuracy
from tuneloop.evaluate.metrics.segment import Language


def calibrate_embedded(embedder: Embedder | None) -> CheckerAccuracy:
    """Thresholds and accuracy of the embedded checker, with or without embeddings.

    The threshold that is used is chosen on every claim but the syllogisms, each twice: with its own source, and with
    that source buried in a long text, so that it serves both. Each verdict that is counted comes from a threshold
    that was chosen without the fold of the claim's document.
    """
    thresholds: dict[Language, float] = {}
    entries: list[AccuracyEntry] = []
    # Every claim passes, so that the scores are seen: thresholds come after.
    scorer = EmbeddedChecker({"en": 0.0, "zh": 0.0}, embedder)
    for language in ("en", "zh"):
        documents = [document for document in load_calibration() if document.language == language]
        short, long = judge(scorer, documents), judge(scorer, bury(documents))
        chosen_on = [*(item for item in short if item.document.domain != "logic"), *long]
        thresholds[language] = choose_threshold(
            [item.verdict.score for item in chosen_on], [item.claim.supported for item in chosen_on]
        )
        entries += _measure(short, long, chosen_on)
    checker = EmbeddedChecker(thresholds, embedder)
    return CheckerAccuracy(
        checker=checker.name,
        version=checker.version,
        set_sha256=hash_calibration(),
        thresholds=thresholds,
        entries=tuple(entries),
    )


def _measure(short: Sequence[Judged], long: Sequence[Judged], chosen_on: Sequence[Judged]) -> list[AccuracyEntry]:
    seen_short, seen_long = judge_out_of_fold(short, chosen_on), judge_out_of_fold(long, chosen_on)
    found = (
        summarise(seen_short, "untouched"),
        summarise(seen_short, "all"),
        summarise(seen_long, "long"),
        summarise(seen_short, "logic"),
    )
    return [entry for entry in found if entry is not None]


def bury(documents: Sequence[LabelledDocument]) -> list[LabelledDocument]:
    """The documents of one language but the syllogisms, each source between all the others: a long text to search."""
    plain = [document for document in documents if document.domain != "logic"]
    whole = "\n\n".join(document.source for document in plain)
    return [document.replace(source=whole) for document in plain]
