"""The hallucination rate: worked out by hand, by length, by document, and with what the checker's errors do to it."""

from collections.abc import Sequence

import numpy as np
import pytest

from tuneloop.core.errors import DataError, StoppedError
from tuneloop.core.hooks import Hooks
from tuneloop.core.stop import Stop
from tuneloop.evaluate.claims.checker import Pair, Verdict
from tuneloop.evaluate.claims.clusters import share_of
from tuneloop.evaluate.claims.correction import Errors, correct_rate, faultless_rate
from tuneloop.evaluate.claims.rate import Answer, Measured, measure_hallucination
from tuneloop.evaluate.claims.records import AccuracyEntry, CheckerAccuracy, Share


class Words:
    """Supports what contains "right" or 正确, and cannot decide about "maybe"."""

    name = "words"
    version = "1"

    def check(self, pairs: Sequence[Pair]) -> list[Verdict]:
        return [
            Verdict(
                supported=(good := "right" in claim or "正确" in claim),
                score=float(good),
                why="",
                decided="maybe" not in claim,
            )
            for _, claim in pairs
        ]


def share(right: int, total: int) -> Share:
    return Share(value=right / total, interval=None, n=total)


def entry(language: str, scope: str, found: Share, accepted: Share) -> AccuracyEntry:
    return AccuracyEntry(
        language=language,  # pyrefly: ignore
        scope=scope,  # pyrefly: ignore
        accuracy=share(80, 100),
        found=found,
        accepted=accepted,
        source_tokens=100,
    )


ACCURACY = CheckerAccuracy(
    checker="words",
    version="1",
    set_sha256="0" * 64,
    entries=(
        entry("en", "untouched", share(80, 100), share(90, 100)),
        entry("en", "long", share(60, 100), share(70, 100)),
        entry("zh", "all", share(70, 100), share(80, 100)),
    ),
)
GOOD, BAD = "This claim is right.", "This claim is wrong."


def measure(answers: Sequence[Answer], **options: object) -> Measured:
    return measure_hallucination(answers, Words(), accuracy=ACCURACY, **options)  # type: ignore[arg-type]


def test_rates_by_hand() -> None:
    answers = [
        Answer("Source a.", f"{GOOD} {GOOD} {BAD}"),
        Answer("Source b.", f"{GOOD} {GOOD}"),
        Answer("Source c.", "Hello! Is there more?"),
        Answer("Source d.", f"{BAD} {BAD} {BAD} This is maybe so."),
    ]
    report = measure(answers).report
    assert (report.answers.value, report.answers.n) == (0.5, 4)
    assert report.claims is not None
    assert (report.claims.value, report.claims.n) == (0.5, 8)
    assert (report.documents, report.answers_without_claims, report.undecided_claims) == (4, 1, 1)
    # r = 0.5: (0.5 + 0.9 - 1) / (0.8 + 0.9 - 1).
    assert report.corrected_claims is not None
    assert report.corrected_claims.value == pytest.approx(0.4 / 0.7)
    # Three, two, no and three decided claims.
    assert report.faultless == pytest.approx(1 - np.mean([0.9**3, 0.9**2, 1, 0.9**3]))


def test_each_claim_keeps_its_verdict_and_its_answer() -> None:
    claims = measure([Answer("a", GOOD), Answer("b", f"{BAD} 这个说法是正确的。")]).claims
    assert [(claim.answer, claim.language, claim.verdict.supported) for claim in claims] == [
        (0, "en", True),
        (1, "en", False),
        (1, "zh", True),
    ]


def test_bins_by_the_length_of_both_sides() -> None:
    answers = [
        Answer("a", GOOD, source_tokens=1_999, output_tokens=10),
        Answer("b", BAD, source_tokens=2_000, output_tokens=10),
        Answer("c", BAD, source_tokens=16_000, output_tokens=5_000),
        Answer("d", GOOD, source_tokens=70_000, output_tokens=10),
    ]
    report = measure(answers).report
    bins = {(item.side, item.low): item for item in report.bins}
    assert {key: (item.answers.n, item.answers.value) for key, item in bins.items()} == {
        ("source", 0): (1, 0),
        ("source", 2_000): (1, 1),
        ("source", 16_000): (2, 0.5),
        ("output", 0): (3, pytest.approx(1 / 3)),
        ("output", 4_000): (1, 1),
    }
    assert all(item.is_small for item in report.bins)
    assert bins["source", 16_000].high is None
    assert bins["source", 0].answers.interval is None
    assert sum(item.answers.n for item in report.bins if item.side == "source") == 4


def test_a_bin_with_enough_rows_is_not_small() -> None:
    answers = [Answer(f"Source {number}.", GOOD if number % 2 else BAD, source_tokens=10) for number in range(20)]
    assert not any(item.is_small for item in measure(answers).report.bins)
    same = [Answer("One source.", GOOD, source_tokens=10) for _ in range(40)]
    assert all(item.is_small for item in measure(same).report.bins)


def test_the_accuracy_for_long_sources_stands_beside_long_answers() -> None:
    short = measure([Answer("a", GOOD, source_tokens=100)]).report
    long = measure([Answer("a", GOOD, source_tokens=9_000)]).report
    assert [item.scope for item in short.accuracy] == ["untouched"]
    assert [item.scope for item in long.accuracy] == ["long"]
    assert [
        item.scope for item in measure([Answer("a", "这个说法是正确的。", source_tokens=9_000)]).report.accuracy
    ] == ["all"]


def test_answers_of_one_document_are_drawn_together() -> None:
    # Ten documents, each wholly right or wholly wrong: a hundred rows hold no more than ten.
    rows = [
        Answer(f"s{number % 10}", BAD if number % 10 < 4 else GOOD, document_id=f"d{number % 10}")
        for number in range(100)
    ]
    alone = [Answer(row.source, row.output, document_id=str(number)) for number, row in enumerate(rows)]
    together, apart = (measure(answers).report.answers for answers in (rows, alone))
    assert together.value == apart.value == 0.4
    assert together.interval is not None
    assert apart.interval is not None
    assert together.interval.high - together.interval.low > 2 * (apart.interval.high - apart.interval.low)


def test_the_order_of_the_rows_does_not_matter() -> None:
    rows = [Answer(f"s{number % 7}", BAD if number % 3 else GOOD) for number in range(40)]
    forward, backward = measure(rows).report, measure(rows[::-1]).report
    assert forward == backward
    assert measure(rows, seed=1).report != forward


def test_one_document_has_no_interval_and_no_error_has_wilsons() -> None:
    assert share_of(np.array([[2, 5]]), seed=0).interval is None
    interval = share_of(np.array([[0, 5]] * 10), seed=0).interval
    assert interval is not None
    assert (interval.low, interval.high) == (pytest.approx(0, abs=1e-9), pytest.approx(0.2775, abs=1e-4))
    interval = share_of(np.array([[5, 5]] * 10), seed=0).interval
    assert interval is not None
    assert (interval.low, interval.high) == (pytest.approx(0.7225, abs=1e-4), 1)


def test_the_corrected_rate_finds_the_truth_that_a_known_checker_hides() -> None:
    rng = np.random.default_rng(0)
    truth = rng.random((400, 10)) < 0.2
    seen = np.where(truth, rng.random(truth.shape) < 0.8, rng.random(truth.shape) < 0.1)
    counts_D2 = np.stack([seen.sum(axis=1), np.full(400, 10)], axis=1)
    found = correct_rate({"en": counts_D2}, {"en": Errors(share(800, 1000), share(900, 1000))}, seed=0)
    assert found is not None
    assert found.value == pytest.approx(0.2, abs=0.02)
    assert found.interval is not None
    assert found.interval.low < truth.mean() < found.interval.high
    loose = correct_rate({"en": counts_D2}, {"en": Errors(share(16, 20), share(18, 20))}, seed=0)
    assert loose is not None
    assert loose.interval is not None
    assert loose.interval.high - loose.interval.low > found.interval.high - found.interval.low


def test_the_corrected_rate_stays_between_0_and_1_and_is_left_out_where_nothing_is_known() -> None:
    errors = {"en": Errors(share(8, 10), share(8, 10))}
    none, every = np.array([[0, 5]] * 5), np.array([[5, 5]] * 5)
    low, high = correct_rate({"en": none}, errors, seed=0), correct_rate({"en": every}, errors, seed=0)
    assert low is not None
    assert high is not None
    assert (low.value, high.value) == (0, 1)
    assert correct_rate({"en": none}, {"en": Errors(share(5, 10), share(5, 10))}, seed=0) is None
    assert correct_rate({"en": none, "zh": none}, errors, seed=0) is None
    assert correct_rate({}, errors, seed=0) is None


def test_false_alarms_add_up_over_long_answers() -> None:
    errors = {"en": Errors(share(8, 10), share(9, 10))}
    assert faultless_rate([{"en": 10}], errors) == pytest.approx(1 - 0.9**10)
    assert faultless_rate([{}, {"zh": 4}], errors) == 0


def test_a_report_as_json() -> None:
    value = measure([Answer("a", GOOD), Answer("b", BAD)]).report.as_json()
    assert set(value) == {"metric", "value", "interval", "n", "signature", "parts"}
    assert (value["metric"], value["value"], value["n"]) == ("hallucination", 0.5, 2)
    assert value["signature"] == "checker:words|version:1|unit:sentence|bootstrap:document"
    assert value["parts"]["checker"]["entries"][0]["accuracy"]["value"] == 0.8
    assert value["parts"]["claims"]["metric"] == "unsupported_claims"


def test_answers_that_claim_nothing_have_no_rate_of_claims() -> None:
    report = measure([Answer("a", "Hello!"), Answer("b", "")]).report
    assert (report.claims, report.corrected_claims, report.answers.value, report.faultless) == (None, None, 0, 0)


def test_no_answers_and_a_stop() -> None:
    with pytest.raises(DataError, match="no answer"):
        measure([])
    stop = Stop()
    stop.requested = True
    with pytest.raises(StoppedError):
        measure([Answer("a", GOOD)], hooks=Hooks(stop=stop))
