"""Names become metrics, wrong names are told, and a name alone loads nothing heavy. And: which language."""

import subprocess
import sys
from pathlib import Path

import pytest

from tuneloop.core.errors import ConfigError
from tuneloop.evaluate.metrics.options import MetricOptions
from tuneloop.evaluate.metrics.registry import METRICS, build_metric, expand_metrics
from tuneloop.evaluate.metrics.segment import detect_language, resolve_language


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("name", [*METRICS, "accuracy:yes|no|maybe", "choice:ABCDE", "pass@1"])
def test_every_name_builds_a_metric_of_that_name(name: str, language: str) -> None:
    metric = build_metric(name, language=language)
    assert metric.name == name
    assert metric.higher_is_better
    assert metric.is_proportion == name.startswith(("accuracy", "exact_match", "gsm8k", "choice", "pass@1"))


def test_language_reaches_the_tokeniser() -> None:
    assert "|tok:zh|" in build_metric("bleu", language="zh").signature()
    assert "|tok:13a|" in build_metric("bleu", language="en").signature()
    assert "|tok:rjieba-" in build_metric("rougeL", language="zh").signature()


def test_labels_are_trimmed_in_the_name() -> None:
    assert build_metric("accuracy: yes | no", language="en").name == "accuracy:yes|no"


def test_rouge_stands_for_four() -> None:
    assert expand_metrics(["bleu", "rouge", "rouge1", "bleu"]) == ["bleu", "rouge1", "rouge2", "rougeL", "rougeLsum"]


def test_parameters_reach_the_metric(tmp_path: Path) -> None:
    (tmp_path / "schema.json").write_text('{"type": "object", "required": ["a"]}')
    options = MetricOptions(
        code_weights=(1.0, 0.0, 0.0, 0.0), code_mode="compat", json_schema=Path("schema.json")
    ).inside(tmp_path)
    fields = build_metric("json", language="en", options=options)
    assert fields.parts(fields.statistics('{"b": 1}', ['{"a": 1}']))["schema"] == 0.0
    code = build_metric("codebleu:java", language="en", options=options)
    assert "java" in code.signature()
    assert "compat" in code.signature()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("blue", "there is no metric 'blue'. Did you mean 'bleu'?"),
        ("BLEU", "Did you mean 'bleu'?"),
        ("rougel", "Did you mean 'rougeL'?"),
        ("exact-match", "Did you mean 'exact_match'?"),
        ("accuracyy:yes|no", "Did you mean 'accuracy:yes|no|maybe'?"),
        ("zzz", "Choose from: bleu, chrf, rouge1, rouge2, rougeL, rougeLsum, codebleu, exact_match, f1, gsm8k,"),
        ("accuracy", "metric 'accuracy' needs its labels. Write, for instance, accuracy:yes|no|maybe."),
        ("accuracy:", "has an empty label"),
        ("accuracy:yes||no", "has an empty label"),
        ("accuracy:yes", "needs two or more labels that differ"),
        ("accuracy:yes|Yes", "needs two or more labels that differ"),
        ("choice:", "needs two to ten letters of A to J"),
        ("choice:AA", "each once"),
        ("codebleu:", "names no language"),
        ("pass@0", "Did you mean 'pass@1'?"),
    ],
)
def test_a_wrong_name_is_told(name: str, message: str) -> None:
    for use in (lambda: build_metric(name, language="en"), lambda: expand_metrics(["bleu", name])):
        with pytest.raises(ConfigError) as error:
            use()
        assert message in str(error.value)


@pytest.mark.parametrize("language", ["auto", "chinese", ""])
def test_a_wrong_language_is_told(language: str) -> None:
    with pytest.raises(ConfigError, match="Choose auto, en or zh"):
        build_metric("bleu", language=language)


def test_names_load_nothing_heavy() -> None:
    program = (
        "import sys; from tuneloop.evaluate.metrics.registry import expand_metrics; expand_metrics(['rouge']); "
        "print([m for m in ('sacrebleu', 'rouge_score', 'nltk', 'rjieba', 'pydantic', 'torch') if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("texts", "language"),
    [
        (["法院判决如下"], "zh"),
        (["The court decides."], "en"),
        (["abcdefghi法"], "en"),
        (["abcdefgh法"], "zh"),
        (["The plaintiff, 王五, appeals against this decision."], "en"),
        (["a", "b", "法"], "zh"),
        (["Привет мир", "안녕하세요"], "en"),
        (["3.14", "😀"], "en"),
        (["\u3007"], "zh"),
        (["\U00020000"], "zh"),
        ([""], "en"),
        ([], "en"),
    ],
)
def test_language_of_a_set(texts: list[str], language: str) -> None:
    assert detect_language(texts) == language
    assert resolve_language("auto", texts) == language


def test_a_named_language_is_kept() -> None:
    assert resolve_language("en", ["法院"]) == "en"
    with pytest.raises(ConfigError, match="'jp' is not known"):
        resolve_language("jp", [])
