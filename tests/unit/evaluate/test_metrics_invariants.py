"""What must hold for every metric, whatever the texts are."""

import json
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rouge_score.tokenizers import DefaultTokenizer

from tuneloop.evaluate.metrics.metric import Metric
from tuneloop.evaluate.metrics.registry import METRICS, build_metric
from tuneloop.evaluate.metrics.segment import ChineseTokenizer
from tuneloop.evaluate.score import measure
from tuneloop.evaluate.stats import compare, score_set

MAXIMUM = {"bleu": 100, "chrf": 100}
NAMES = [*METRICS, "accuracy:yes|no|maybe"]
LANGUAGES = ["en", "zh"]

TEXTS = st.text(st.sampled_from("abc 原告法院的,。.1😀\n'-&<"), max_size=30)
# Long enough to hold a 4-gram of words, two words of ASCII for rouge2, and a label.
WORDS = st.lists(st.sampled_from(["cat", "mat", "法院", "原告", "no", "yes"]), min_size=4, max_size=9)
FULL_TEXTS = WORDS.map(lambda words: " ".join(["maybe", "so", *words]))

quickly = settings(deadline=None, max_examples=15)


@cache
def metric_of(name: str, language: str) -> Metric:
    return build_metric(name, language=language)


def texts_for(name: str) -> st.SearchStrategy[str]:
    """References that the metric can use, and that are long enough for all of its parts."""
    match name.partition(":")[0]:
        case "gsm8k":
            return FULL_TEXTS.map(lambda text: f"{text} #### 7")
        case "choice":
            return FULL_TEXTS.map(lambda text: f"{text}\n答案是B")
        case "json":
            return WORDS.map(lambda words: json.dumps({"words": words, "number": len(words)}))
        case "citation":
            return FULL_TEXTS.map(lambda text: f"{text}。《刑法》第三条")
        case "codebleu":
            return WORDS.map(lambda words: f"def f(a, b):\n    c = a + b\n    return [c, {len(words)}, b]\n")
        case _:
            return FULL_TEXTS


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("name", NAMES)
@given(data=st.data())
@quickly
def test_the_order_of_samples_does_not_change_the_value(data: st.DataObject, name: str, language: str) -> None:
    metric = metric_of(name, language)
    text = texts_for(name)
    pairs = data.draw(st.lists(st.tuples(TEXTS, text), min_size=1, max_size=6))
    shuffled = data.draw(st.permutations(pairs))

    def value(samples: list[tuple[str, str]]) -> float:
        statistics_NK = measure(metric, [answer for answer, _ in samples], [[reference] for _, reference in samples])
        return score_set(metric, statistics_NK, seed=0, resamples=1).value

    assert value(pairs) == value(shuffled)


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("name", NAMES)
@given(data=st.data())
@quickly
def test_perfect_answers_score_the_maximum(data: st.DataObject, name: str, language: str) -> None:
    metric = metric_of(name, language)
    texts = data.draw(st.lists(texts_for(name), min_size=1, max_size=5))
    statistics_NK = measure(metric, texts, [[text] for text in texts])
    best = pytest.approx(MAXIMUM.get(name, 1))
    assert score_set(metric, statistics_NK, seed=0, resamples=1).value == best
    assert [metric.sample_value(statistics_K) for statistics_K in statistics_NK] == [best] * len(texts)


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("name", NAMES)
@given(data=st.data())
@quickly
def test_values_stay_between_zero_and_the_maximum(data: st.DataObject, name: str, language: str) -> None:
    metric = metric_of(name, language)
    references = data.draw(st.lists(texts_for(name), min_size=1, max_size=3))
    statistics_K = metric.statistics(data.draw(TEXTS), references)
    assert statistics_K.dtype == np.float64
    maximum = MAXIMUM.get(name, 1)
    for value in (metric.combine(statistics_K), metric.sample_value(statistics_K)):
        assert 0 <= value <= maximum * (1 + 1e-12)


@pytest.mark.parametrize("name", NAMES)
@given(data=st.data(), seed=st.integers(0, 2**31))
@settings(deadline=None, max_examples=10)
def test_equal_sides_differ_by_exactly_nothing(data: st.DataObject, seed: int, name: str) -> None:
    metric = metric_of(name, "zh")
    texts = data.draw(st.lists(st.tuples(TEXTS, texts_for(name)), min_size=2, max_size=5))
    answers, references = [answer for answer, _ in texts], [[reference] for _, reference in texts]
    before_NK, after_NK = measure(metric, answers, references), measure(metric, answers, references)
    result = compare(metric, before_NK, after_NK, seed=seed, resamples=50)
    assert result.interval is not None
    assert (result.difference, result.interval.low, result.interval.high) == (0, 0, 0)


@pytest.mark.parametrize("name", ["rouge1", "rougeL", "exact_match", "chrf"])
@given(answer=TEXTS, references=st.lists(TEXTS, min_size=1, max_size=3), another=TEXTS)
@quickly
def test_another_reference_never_lowers_a_sample(answer: str, references: list[str], another: str, name: str) -> None:
    metric = metric_of(name, "zh")
    fewer = metric.sample_value(metric.statistics(answer, references))
    assert metric.sample_value(metric.statistics(answer, [*references, another])) >= fewer


@given(text=st.text(st.characters(max_codepoint=127), max_size=60))
@settings(deadline=None, max_examples=100)
def test_ascii_text_has_the_words_of_rouge_score(text: str) -> None:
    assert CHINESE.tokenize(text) == DEFAULT.tokenize(text)


@given(text=TEXTS)
@quickly
def test_segmenting_loses_no_letter_or_digit(text: str) -> None:
    assert "".join(CHINESE.tokenize(text)) == "".join(filter(str.isalnum, text.lower()))


CHINESE = ChineseTokenizer()
DEFAULT = DefaultTokenizer()
