"""BLEU and chrF: values worked out by hand, and the corners that surprise."""

import importlib.metadata

import numpy as np
import pytest

from tuneloop.evaluate.metrics.bleu import Bleu
from tuneloop.evaluate.metrics.chrf import Chrf
from tuneloop.evaluate.metrics.metric import Metric

VERSION = importlib.metadata.version("sacrebleu")
CAT = "the cat sat on the mat"


def corpus(metric: Metric, *pairs: tuple[str, str]) -> float:
    return metric.combine(np.sum([metric.statistics(answer, [reference]) for answer, reference in pairs], axis=0))


def test_bleu_by_hand() -> None:
    assert corpus(Bleu("en"), (CAT, "the cat sat on a mat")) == pytest.approx(100 * (1 / 12) ** 0.25)


def test_bleu_statistics_are_lengths_matches_and_totals() -> None:
    statistics_K = Bleu("en").statistics(CAT, ["the cat sat on a mat today"])
    assert statistics_K.tolist() == [6, 7, 5, 3, 2, 1, 6, 5, 4, 3]


def test_bleu_pays_for_brevity() -> None:
    # Every n-gram of the four words is right; the six words of the reference cost exp(1 - 6/4).
    assert corpus(Bleu("en"), ("the cat sat on", CAT)) == pytest.approx(100 * np.exp(-0.5))


def test_bleu_sums_counts_and_does_not_average() -> None:
    metric = Bleu("en")
    wrong = ("a b c d e f g h", "q r s t u v w x")
    both = corpus(metric, (CAT, CAT), wrong)
    values = [metric.sample_value(metric.statistics(answer, [reference])) for answer, reference in [(CAT, CAT), wrong]]
    assert both == pytest.approx(100 * (6 / 14 * 5 / 12 * 4 / 10 * 3 / 8) ** 0.25)
    assert values == [pytest.approx(100), 0]
    assert both != pytest.approx(np.mean(values), abs=1)


def test_bleu_reads_each_chinese_character_as_a_word() -> None:
    # 4 of 5, 3 of 4, 2 of 3 and 1 of 2 n-grams are right.
    assert corpus(Bleu("zh"), ("原告胜诉了", "原告胜诉吗")) == pytest.approx(100 * (1 / 5) ** 0.25)
    # Without its tokeniser the whole sentence is one word, and wrong.
    assert corpus(Bleu("en"), ("原告胜诉了", "原告胜诉吗")) == 0


@pytest.mark.parametrize("answer", ["yes", "one two three"])
def test_bleu_of_a_perfect_set_without_four_words_is_zero_and_its_samples_are_not(answer: str) -> None:
    metric = Bleu("en")
    assert corpus(metric, (answer, answer)) == 0
    assert metric.sample_value(metric.statistics(answer, [answer])) == pytest.approx(100)


def test_bleu_takes_each_match_from_any_reference() -> None:
    metric = Bleu("en")
    totals_K = metric.statistics("a b c d e", ["a b c d x", "x b c d e"])
    assert totals_K.tolist() == [5, 5, 5, 4, 3, 2, 5, 4, 3, 2]
    assert metric.combine(totals_K) == pytest.approx(100)


def test_chrf_by_hand() -> None:
    assert corpus(Chrf(), ("abc", "abx")) == pytest.approx(100 * 7 / 18)


def test_chrf_ignores_white_space_and_takes_the_best_reference() -> None:
    metric = Chrf()
    assert metric.combine(metric.statistics("a b c", ["xyz", "abc"])) == 100


def test_chrf_forgives_an_answer_to_an_empty_reference() -> None:
    assert corpus(Chrf(), ("abc", "abc"), ("made up", "")) == 100


@pytest.mark.parametrize("metric", [Bleu("en"), Bleu("zh"), Chrf()], ids=["bleu", "bleu-zh", "chrf"])
@pytest.mark.parametrize(("answer", "reference"), [("", "the cat sat"), ("the cat sat", ""), ("", ""), (" \n", "猫")])
def test_nothing_scores_zero(metric: Metric, answer: str, reference: str) -> None:
    assert corpus(metric, (answer, reference)) == 0


@pytest.mark.parametrize("metric", [Bleu("en"), Bleu("zh"), Chrf()], ids=["bleu", "bleu-zh", "chrf"])
def test_emoji_are_text(metric: Metric) -> None:
    assert corpus(metric, ("😀 👍 🎉 🚀", "😀 👍 🎉 🚀")) == pytest.approx(100)
    assert corpus(metric, ("😀 👍 🎉 🚀", "a b c d")) == 0


def test_signatures_are_sacrebleus() -> None:
    assert Bleu("en").signature() == f"nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp|version:{VERSION}"
    assert Bleu("zh").signature() == f"nrefs:1|case:mixed|eff:no|tok:zh|smooth:exp|version:{VERSION}"
    assert Chrf().signature() == f"nrefs:1|case:mixed|eff:yes|nc:6|nw:0|space:no|version:{VERSION}"


@pytest.mark.parametrize("metric", [Bleu("en"), Chrf()], ids=["bleu", "chrf"])
def test_signature_counts_references(metric: Metric) -> None:
    metric.statistics("a", ["a", "b"])
    assert metric.signature().startswith("nrefs:2|")
    metric.statistics("a", ["a"])
    assert metric.signature().startswith("nrefs:var|")
