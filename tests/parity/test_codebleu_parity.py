"""CodeBLEU from summed counts against the package's own function, over corpora and one program at a time."""

import logging
import random

import numpy as np
import pytest
from codebleu import calc_codebleu

from tuneloop.evaluate.metrics.code_syntax import CODE_LANGUAGES
from tuneloop.evaluate.metrics.codebleu import CodeBleu
from tuneloop.evaluate.score import measure
from tuneloop.evaluate.stats import score_set

PARTS = ["ngram_match", "weighted_ngram_match", "syntax_match", "dataflow_match"]
BRACES = """{head} {{
    {let}total = 0 ; // 总和
    {each} {{
        if ( {price} > 0 ) {{
            total = total + {price} * rate ;
        }} else {{
            /* skip "it" */
            total = total - rate ;
        }}
    }}
    return total ;
}}
"""
PROGRAMS = {
    "python": (
        'def total(prices, rate):\n    """Sum of prices."""\n    result = 0  # 总和\n    for price in prices:\n'
        "        if price > 0:\n            result = result + price * rate\n        else:\n"
        "            count, result = result, rate\n    while result > rate and count:\n        result -= rate\n"
        "    return [result, count]\n"
    ),
    "ruby": (
        "def total(prices, rate)\n  result = 0 # 总和\n  for price in prices\n    if price > 0\n"
        "      result = result + price * rate\n    else\n      result = result - rate\n    end\n  end\n"
        "  return result\nend\n"
    ),
    "java": BRACES.format(
        head="double total ( double[] prices , double rate )",
        let="double ",
        each="for ( double price : prices )",
        price="price",
    ),
    "javascript": BRACES.format(
        head="function total ( prices , rate )", let="let ", each="for ( const price of prices )", price="price"
    ),
    "c": BRACES.format(
        head="double total ( double *prices , int n , double rate )",
        let="double ",
        each="for ( int i = 0 ; i < n ; i++ )",
        price="prices[i]",
    ),
    "cpp": BRACES.format(
        head="double total ( const std::vector<double>& prices , double rate )",
        let="auto ",
        each="for ( double price : prices )",
        price="price",
    ),
    "go": BRACES.format(
        head="func total ( prices []float64 , rate float64 ) float64",
        let="var ",
        each="for _ , price := range prices",
        price="price",
    ),
    "rust": BRACES.format(
        head="fn total ( prices : &[f64] , rate : f64 ) -> f64",
        let="let mut ",
        each="for price in prices",
        price="price",
    ),
    "c_sharp": BRACES.format(
        head="double Total ( double[] prices , double rate )",
        let="double ",
        each="foreach ( double price in prices )",
        price="price",
    ),
    "php": "<?php\n"
    + BRACES.format(head="function total ( $prices , $rate )", let="", each="foreach ( $prices as $price )", price="p")
    .replace("total =", "$total =")
    .replace("= total", "= $total"),
}


def vary(program: str, rng: random.Random) -> str:
    """The program with some lines lost and some words replaced: mostly still code, sometimes broken."""
    lines = [line for line in program.split("\n") if rng.random() > 0.15]
    words = "\n".join(lines).split(" ")
    return " ".join(
        rng.choice(["total", "rate", "other", "+", "变量"]) if rng.random() < 0.1 else word for word in words
    )


def corpus(language: str, num_samples: int, max_references: int) -> tuple[list[str], list[list[str]]]:
    rng = random.Random(f"{language} {max_references}")
    program = PROGRAMS[language]
    oddities = ["", "lorem ipsum", "return return (", program[: len(program) // 2], program]
    answers = [vary(program, rng) if rng.random() < 0.8 else rng.choice(oddities) for _ in range(num_samples)]
    references = [
        [program, *(vary(program, rng) for _ in range(rng.randrange(max_references)))] for _ in range(num_samples)
    ]
    return answers, references


def published(answers: list[str], references: list[list[str]], language: str, **settings: object) -> list[float]:
    found = calc_codebleu(references, answers, lang=language, **settings)
    return [found["codebleu"], *(found[f"{name}_score"] for name in PARTS)]


def value_and_parts(metric: CodeBleu, totals_K: np.ndarray) -> list[float]:
    parts = metric.parts(totals_K)
    return [metric.combine(totals_K), *(parts[name] for name in PARTS)]


@pytest.mark.parametrize("max_references", [1, 4])
@pytest.mark.parametrize("language", CODE_LANGUAGES)
def test_compat_is_the_package_to_the_last_digit(language: str, max_references: int) -> None:
    answers, references = corpus(language, 8, max_references)
    metric = CodeBleu(language, mode="compat")
    statistics_NK = measure(metric, answers, references)
    expected = published(answers, references, language)
    assert 0.2 < expected[0] < 0.9
    assert min(expected) > 0.05
    # Added row after row, as the package adds; another order may change the last digit of the weighted part.
    assert value_and_parts(metric, statistics_NK.cumsum(axis=0)[-1]) == expected
    score = score_set(metric, statistics_NK, seed=0, resamples=1)
    assert score.value == pytest.approx(expected[0], rel=1e-12)


@pytest.mark.parametrize("language", CODE_LANGUAGES)
def test_each_sample_is_the_package_of_that_sample(language: str) -> None:
    metric = CodeBleu(language, mode="compat")
    for answer, accepted in zip(*corpus(language, 4, 3), strict=True):
        statistics_K = metric.statistics(answer, accepted)
        expected = published([answer], [accepted], language)
        assert value_and_parts(metric, statistics_K) == expected
        assert metric.sample_value(statistics_K) == expected[0]


@pytest.mark.parametrize("weights", [(0.1, 0.2, 0.3, 0.4), (0.0, 0.0, 0.0, 1.0), (1.0, 0.0, 0.0, 0.0)])
def test_weights(weights: tuple[float, float, float, float]) -> None:
    answers, references = corpus("python", 8, 2)
    metric = CodeBleu("python", weights=weights, mode="compat")
    totals_K = measure(metric, answers, references).cumsum(axis=0)[-1]
    assert value_and_parts(metric, totals_K) == published(answers, references, "python", weights=weights)


@pytest.mark.parametrize("language", ["python", "javascript"])
def test_strict_is_the_package_where_it_corrects_nothing(language: str) -> None:
    """ASCII alone, no loop and one source a flow: then the package's order of sources is not left to chance."""
    keep = ";" if language == "javascript" else ""
    pieces = [f"a = b{keep}", f"c = a{keep}", f"b = c{keep}", f"print(a){keep}", f"if (a) {{ b = a{keep} }}"]
    if language == "python":
        pieces[-1] = "if a: b = a"
    rng = random.Random(language)
    programs = ["\n".join(rng.choices(pieces, k=rng.randrange(3, 9))) for _ in range(24)]
    answers, references = programs[:12], [[program] for program in programs[12:]]
    strict = CodeBleu(language)
    expected = published(answers, references, language)
    found = value_and_parts(strict, measure(strict, answers, references).cumsum(axis=0)[-1])
    assert 0 < expected[-1] < 1
    assert found[1:] == expected[1:]
    assert found[0] == pytest.approx(expected[0], rel=1e-12)


def test_strict_differs_from_the_package_in_data_flow_alone() -> None:
    answers, references = corpus("python", 12, 3)
    strict = CodeBleu("python")
    found = value_and_parts(strict, measure(strict, answers, references).cumsum(axis=0)[-1])
    assert found[1:4] == published(answers, references, "python")[1:4]


def test_what_the_package_gives_to_nonsense(caplog: pytest.LogCaptureFixture) -> None:
    nonsense, no_flow = "lorem ipsum dolor sit amet", "import os , sys , json"
    compat, strict = CodeBleu("python", mode="compat"), CodeBleu("python")
    for reference in (PROGRAMS["python"], no_flow):
        with caplog.at_level(logging.ERROR):
            expected = published([nonsense], [[reference]], "python")
        assert expected == [0.25, 0, 0, 0, 0]
        assert value_and_parts(compat, compat.statistics(nonsense, [reference])) == expected
        assert strict.sample_value(strict.statistics(nonsense, [reference])) == 0
