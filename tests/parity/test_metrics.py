"""Our sums of statistics against the libraries' own functions for whole sets and for single sentences."""

import random

import numpy as np
import pytest
import rjieba
import sacrebleu
from rouge_score.rouge_scorer import RougeScorer
from sacrebleu.metrics import BLEU, CHRF

from tuneloop.core.seeds import derive_seed
from tuneloop.evaluate import stats
from tuneloop.evaluate.metrics.metric import Metric
from tuneloop.evaluate.metrics.registry import build_metric
from tuneloop.evaluate.score import measure
from tuneloop.evaluate.stats import compare, score_set

ENGLISH = "the a cat sat on mat. court, rules (that) it's 3.14 e-mail U.S. don't & &amp; 50% naïve 😀".split()  # noqa: SIM905
CHINESE = "原告 被告 法院 认为 判决 如下 ， 。 “合同” 第3条 应当 赔偿 100元 Hello T恤 （甲方） 一、 😀 𠀀".split()  # noqa: RUF001, SIM905
SIZE = 60


def random_set(language: str, num_references: int) -> tuple[list[str], list[list[str]]]:
    """Answers that share some of their references' words; some of both are empty."""
    rng = random.Random(f"{language} {num_references}")
    words, glue = (CHINESE, "") if language == "zh" else (ENGLISH, " ")
    predictions, references = [], []
    for row in range(SIZE):
        base = rng.choices(words, k=rng.randrange(0, 25))
        variants = [[rng.choice(words) if rng.random() < 0.3 else word for word in base] for _ in range(num_references)]
        cut = base[: rng.randrange(len(base) + 1)] if row % 5 == 0 else base
        predictions.append(glue.join(cut) + rng.choice(["", "\n", "."]))
        references.append([glue.join(variant) for variant in variants])
    assert "" in [text.strip() for text in predictions]
    return predictions, references


def streams(references: list[list[str]]) -> list[tuple[str, ...]]:
    return list(zip(*references, strict=True))


def value(metric: Metric, statistics_NK: np.ndarray) -> float:
    return score_set(metric, statistics_NK, seed=0, resamples=1).value


@pytest.mark.parametrize("num_references", [1, 3])
@pytest.mark.parametrize(("language", "tokenizer"), [("en", "13a"), ("zh", "zh")])
def test_bleu(language: str, tokenizer: str, num_references: int) -> None:
    predictions, references = random_set(language, num_references)
    metric = build_metric("bleu", language=language)
    statistics_NK = measure(metric, predictions, references)
    library = BLEU(tokenize=tokenizer)
    expected = library.corpus_score(predictions, streams(references)).score
    assert expected > 5
    assert value(metric, statistics_NK) == expected
    assert expected == sacrebleu.corpus_bleu(predictions, streams(references), tokenize=tokenizer).score
    assert metric.signature() == str(library.get_signature())
    for statistics_K, prediction, accepted in zip(statistics_NK, predictions, references, strict=True):
        sentence = sacrebleu.sentence_bleu(prediction, accepted, tokenize=tokenizer).score
        assert metric.sample_value(statistics_K) == sentence


@pytest.mark.parametrize("num_references", [1, 3])
@pytest.mark.parametrize("language", ["en", "zh"])
def test_chrf(language: str, num_references: int) -> None:
    predictions, references = random_set(language, num_references)
    metric = build_metric("chrf", language=language)
    statistics_NK = measure(metric, predictions, references)
    library = CHRF()
    expected = library.corpus_score(predictions, streams(references)).score
    assert expected > 5
    assert value(metric, statistics_NK) == expected
    assert metric.signature() == str(library.get_signature())
    for statistics_K, prediction, accepted in zip(statistics_NK, predictions, references, strict=True):
        assert metric.sample_value(statistics_K) == sacrebleu.sentence_chrf(prediction, accepted).score


@pytest.mark.parametrize(("name", "library"), [("bleu", BLEU), ("chrf", CHRF)])
def test_samples_with_different_numbers_of_references(name: str, library: type) -> None:
    predictions = ["the cat sat on the mat", "a b c d e", "x"]
    first, second = ["the cat sat on a mat", "a b c x e", "x y"], ["a cat sat on the mat", None, "x"]
    accepted = [[text for text in pair if text is not None] for pair in zip(first, second, strict=True)]
    metric, scorer = build_metric(name, language="en"), library()
    assert (
        value(metric, measure(metric, predictions, accepted)) == scorer.corpus_score(predictions, [first, second]).score
    )
    assert metric.signature() == str(scorer.get_signature())
    assert "nrefs:var" in metric.signature()


class JiebaWords:
    """An independent way to the same words: rjieba over the whole text, then all but letters and digits dropped."""

    def tokenize(self, text: str) -> list[str]:
        pieces = ["".join(filter(str.isalnum, piece)) for piece in rjieba.cut(text)]
        return [piece.lower() for piece in pieces if piece]


@pytest.mark.parametrize("num_references", [1, 3])
@pytest.mark.parametrize("name", ["rouge1", "rouge2", "rougeL"])
def test_rouge_english(name: str, num_references: int) -> None:
    predictions, references = random_set("en", num_references)
    check_rouge(name, "en", predictions, references, RougeScorer([name], use_stemmer=False))


@pytest.mark.parametrize("num_references", [1, 3])
@pytest.mark.parametrize("name", ["rouge1", "rouge2", "rougeL"])
def test_rouge_chinese(name: str, num_references: int) -> None:
    predictions, references = random_set("zh", num_references)
    check_rouge(name, "zh", predictions, references, RougeScorer([name], tokenizer=JiebaWords()))


def check_rouge(
    name: str, language: str, predictions: list[str], references: list[list[str]], library: RougeScorer
) -> None:
    metric = build_metric(name, language=language)
    statistics_NK = measure(metric, predictions, references)
    expected = [
        library.score_multi(accepted, prediction)[name].fmeasure
        for prediction, accepted in zip(predictions, references, strict=True)
    ]
    assert np.mean(expected) > 0.1
    assert [metric.sample_value(statistics_K) for statistics_K in statistics_NK] == expected
    assert value(metric, statistics_NK) == pytest.approx(np.mean(expected), rel=1e-12)


@pytest.mark.parametrize("name", ["bleu", "chrf", "rougeL", "exact_match"])
def test_a_resample_of_statistics_is_a_resample_of_texts(name: str) -> None:
    predictions, references = random_set("en", 1)
    metric = build_metric(name, language="en")
    statistics_NK = measure(metric, predictions, references)
    (counts_BN,) = stats._draw_counts(SIZE, seed=11, resamples=3)
    for counts_N in counts_BN:
        drawn = np.repeat(np.arange(SIZE), counts_N.astype(int))
        of_texts = measure(metric, [predictions[i] for i in drawn], [references[i] for i in drawn])
        # Sums of floats in another order: the last digits may differ.
        assert metric.combine(counts_N @ statistics_NK) == pytest.approx(value(metric, of_texts), rel=1e-12)


@pytest.mark.parametrize("level", [0.95, 0.8])
def test_the_bootstrap_is_scipys(level: float) -> None:
    """The same generator gives scipy the same draws; its distributions of mean and of t give the same interval."""
    scipy_stats = pytest.importorskip("scipy.stats")
    rng = np.random.default_rng(0)
    before, after = rng.exponential(size=(2, 45))
    if after.mean() < before.mean():
        before, after = after, before
    ones = np.ones(45)
    metric = build_metric("rougeL", language="en")

    def ends(sample: np.ndarray) -> list:
        def t(drawn: np.ndarray, axis: int) -> np.ndarray:
            error = np.std(drawn, axis=axis, ddof=1) / np.sqrt(45)
            return np.abs(np.mean(drawn, axis=axis) - sample.mean()) / error

        def distribution(statistic: object) -> np.ndarray:
            draws = np.random.default_rng(derive_seed(9, "bootstrap"))
            return scipy_stats.bootstrap(
                (sample,), statistic, n_resamples=1000, method="percentile", rng=draws
            ).bootstrap_distribution

        critical = np.quantile(distribution(t), level, method="inverted_cdf")
        tail = scipy_stats.norm.cdf(-critical * np.sqrt(45 / 44))
        return [pytest.approx(end, rel=1e-12) for end in np.quantile(distribution(np.mean), [tail, 1 - tail])]

    before_NK, after_NK = np.stack([before, ones], axis=1), np.stack([after, ones], axis=1)
    score = score_set(metric, before_NK, seed=9, resamples=1000, level=level)
    assert score.interval is not None
    # Samples are drawn from their sorted list.
    assert [score.interval.low, score.interval.high] == ends(np.sort(before))
    comparison = compare(metric, before_NK, after_NK, seed=9, resamples=1000, level=level)
    assert comparison.interval is not None
    order = np.lexsort([before, after])
    assert [comparison.interval.low, comparison.interval.high] == ends((after - before)[order])


def test_the_p_value_is_scipys_permutation_test() -> None:
    """The same test with other draws: both are within three standard errors of the chance they estimate."""
    scipy_stats = pytest.importorskip("scipy.stats")
    rng = np.random.default_rng(3)
    before = rng.exponential(size=40)
    after = before + rng.normal(0.12, 0.4, size=40)
    ones = np.ones(40)
    metric = build_metric("rougeL", language="en")
    expected = scipy_stats.permutation_test(
        (before, after),
        lambda x, y, axis: np.mean(y, axis=axis) - np.mean(x, axis=axis),
        permutation_type="samples",
        n_resamples=9999,
        rng=np.random.default_rng(0),
    ).pvalue
    sides = (np.stack([before, ones], axis=1), np.stack([after, ones], axis=1))
    found = compare(metric, *sides, seed=1, resamples=9999).p_value
    assert 0.01 < expected < 0.5
    assert found == pytest.approx(expected, abs=3 * np.sqrt(2 * expected * (1 - expected) / 9999))
