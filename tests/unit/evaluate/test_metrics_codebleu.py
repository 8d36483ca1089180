"""CodeBLEU: values worked out by hand, what strict corrects, and texts that are not programs."""

import importlib.metadata
import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from codebleu.utils import AVAILABLE_LANGS

from tuneloop.core.errors import ConfigError, MissingError
from tuneloop.evaluate.metrics.code_syntax import CODE_LANGUAGES, MAX_CHARACTERS, MAX_DEPTH, CodeReader
from tuneloop.evaluate.metrics.codebleu import CodeBleu
from tuneloop.evaluate.metrics.metric import Metric

NONSENSE = "lorem ipsum dolor sit amet"
NO_FLOW = "import os , sys , json"
LOOP = "def total(items):\n    result = 0\n    for item in items:\n        result = result + item\n    return result\n"
PROGRAMS = {
    "python": LOOP,
    "java": "int twice ( int value ) { int result = value + value ; return result ; }",
    "javascript": "function twice ( value ) { let result = value + value ; return result ; }",
    "c": "int twice ( int value ) { int result = value + value ; return result ; }",
    "cpp": "auto twice ( int value ) { int result = value + value ; return result ; }",
    "go": "func twice ( value int ) int { result := value + value ; return result }",
    "rust": "fn twice ( value : i32 ) -> i32 { let result = value + value ; return result ; }",
    "c_sharp": "int Twice ( int value ) { int result = value + value ; return result ; }",
    "php": "<?php function twice ( $value ) { $result = $value + $value ; return $result ; }",
    "ruby": "def twice ( value ) \n result = value + value \n return result \n end",
}


def score(metric: CodeBleu, answer: str, *references: str) -> float:
    return metric.combine(metric.statistics(answer, references))


def parts(metric: CodeBleu, answer: str, *references: str) -> dict[str, float]:
    return metric.parts(metric.statistics(answer, references))


def test_by_hand() -> None:
    metric = CodeBleu("python")
    ngrams = pytest.approx((4 / 5 * 3 / 4 * 2 / 3 * 1 / 2) ** 0.25)
    assert parts(metric, "y = a + b", "x = a + b") == {
        "ngram_match": ngrams,
        "weighted_ngram_match": ngrams,
        "syntax_match": 1,
        "dataflow_match": 1,
    }
    assert score(metric, "y = a + b", "x = a + b") == pytest.approx(0.25 * (2 * (1 / 5) ** 0.25 + 2))


def test_an_example_like_the_papers() -> None:
    # Of its own, in section 3, the paper counts 13 of 21 subtrees by the grammar of 2020.
    reference = "public static int Sign ( double d ) { return ( int ) ( ( d == 0 ) ? 0 : ( d < 0 ) ? - 1 : 1) ; }"
    answer = "public static int Sign ( double d ) { return ( float ) ( ( d == 0 ) ? 0 : ( c < 0 ) ? - 1 : 1) ; }"
    found = parts(CodeBleu("java"), answer, reference)
    assert (found["syntax_match"], found["dataflow_match"]) == (14 / 19, 2 / 3)


def test_a_keyword_counts_five_times_as_much_as_another_word() -> None:
    metric = CodeBleu("python", weights=(0, 1, 0, 0))
    # 1-grams of the reference weigh 1 + 0.2 + 0.2 + 1 + 0.2 = 2.6.
    others = 3 / 4 * 2 / 3 * 1 / 2
    assert score(metric, "if a : return c", "if a : return b") == pytest.approx((2.4 / 2.6 * others) ** 0.25)
    assert score(metric, "is a : return b", "if a : return b") == pytest.approx((1.6 / 2.6 * others) ** 0.25)


@pytest.mark.parametrize("language", CODE_LANGUAGES)
def test_a_program_is_one_against_itself_and_nonsense_is_nothing(language: str) -> None:
    program = PROGRAMS[language]
    metric = CodeBleu(language)
    assert parts(metric, program, program) == pytest.approx(dict.fromkeys(parts(metric, program, program), 1))
    assert len(parts(metric, program, program)) == 4
    assert score(metric, program, program) == 1
    assert score(metric, NONSENSE, program) < 0.05
    assert score(CodeBleu(language, mode="compat"), NONSENSE, program) >= 0.25


@pytest.mark.parametrize("language", CODE_LANGUAGES)
def test_other_names_of_variables_change_words_alone(language: str) -> None:
    program = PROGRAMS[language]
    renamed = program.replace("result", "zz").replace("value", "aa").replace("items", "bb")
    found = parts(CodeBleu(language), renamed, program)
    assert (found["syntax_match"], found["dataflow_match"]) == (1, 1)
    assert found["ngram_match"] < 1


def test_a_data_flow_that_matches_nothing_is_zero_and_keeps_its_weight() -> None:
    strict, compat = CodeBleu("python"), CodeBleu("python", mode="compat")
    found = parts(strict, NO_FLOW, "x = a + b")
    assert found["dataflow_match"] == 0
    assert score(strict, NO_FLOW, "x = a + b") == pytest.approx(sum(found.values()) / 4)
    assert score(compat, NO_FLOW, "x = a + b") == pytest.approx(score(strict, NO_FLOW, "x = a + b") + 0.25)


def test_where_references_have_no_data_flow_the_other_weights_are_scaled_up() -> None:
    metric = CodeBleu("python", weights=(0.1, 0.2, 0.3, 0.4))
    found = parts(metric, "import os , sys , re", NO_FLOW)
    assert list(found) == ["ngram_match", "weighted_ngram_match", "syntax_match"]
    expected = 0.1 * found["ngram_match"] + 0.2 * found["weighted_ngram_match"] + 0.3 * found["syntax_match"]
    assert score(metric, "import os , sys , re", NO_FLOW) == pytest.approx(expected / 0.6)
    assert score(metric, NO_FLOW, NO_FLOW) == 1
    assert score(CodeBleu("python", weights=(0, 0, 0, 1)), NO_FLOW, NO_FLOW) == 0


def test_sets_sum_counts_and_do_not_average() -> None:
    metric = CodeBleu("python", weights=(0, 0, 1, 0))
    short, long = metric.statistics("x = 1", ["x = 1"]), metric.statistics(NONSENSE, [LOOP])
    # 3 subtrees of 3, and 0 of 12: not the mean of 1 and 0.
    assert short[-4:-2].tolist() == [3, 3]
    assert long[-4:-2].tolist() == [0, 12]
    assert metric.combine(short + long) == pytest.approx(3 / 15)


def test_several_references() -> None:
    metric = CodeBleu("python")
    once = metric.statistics("x = a + b", ["x = a + b"])
    assert score(metric, "x = a + b", "x = a + b", "x = a + b") == 1
    both = metric.statistics("x = a + b", ["x = a + b", LOOP])
    # N-grams of the answer may come from any reference; subtrees of all of them are asked for.
    assert metric.parts(both)["ngram_match"] == 1
    assert both[-3] == once[-3] + 12
    assert metric.combine(both) < 1


@pytest.mark.parametrize(
    ("language", "bare", "commented"),
    [
        ("python", "def f(a):\n    return a", 'def f(a):\n    """说明。"""\n    # 返回\n    return a'),
        ("java", "int f(int a) { return a; }", "/* 说明 */ int f(int a) { // why\n return a; }"),
    ],
)
def test_comments_are_no_part_of_syntax_and_flow(language: str, bare: str, commented: str) -> None:
    found = parts(CodeBleu(language), commented, bare)
    assert (found["syntax_match"], found["dataflow_match"]) == (1, 1)
    assert found["ngram_match"] < 1


def test_flow_is_read_behind_letters_outside_ascii() -> None:
    """Bytes are not characters: cut by the wrong one, the names behind 中文 would be parts of other names."""
    strict, published = (CodeReader("python", as_published=flag) for flag in (False, True))
    chinese, ascii_only = "x = '中文' + a ; y = x + b", "x = '??????' + a ; y = x + b"
    assert strict.read(chinese) == strict.read(ascii_only)
    assert strict.read(chinese).flow["var_2", "comesFrom", ("var_2",)] == 1
    assert published.read(chinese).flow != published.read(ascii_only).flow
    assert strict.read("数 = 甲 + 乙").flow == strict.read("x = a + b").flow


@pytest.mark.slow
def test_the_value_does_not_depend_on_the_process() -> None:
    """The package numbers the sources of a flow in a loop in the order of a set of strings."""
    program = (
        "def {f}({a}, {b}):\n    for {i} in range({a}):\n        for {j} in range({b}):\n"
        "            {s} = {s} + {i} * {j} + {a}\n            {b} = {s} + {j} - {i}\n    return {s}\n"
    )
    one, other = (program.format_map(dict(zip("fabijs", names, strict=True))) for names in ("fabijt", "gxykms"))
    script = (
        "from tuneloop.evaluate.metrics.codebleu import CodeBleu\n"
        "for mode in ('strict', 'compat'):\n"
        f"    print(CodeBleu('python', mode=mode).statistics({other!r}, [{one!r}])[-2:].tolist())\n"
    )
    for seed in ("0", "4"):
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        run = subprocess.run(
            [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True
        )
        strict, compat = map(json.loads, run.stdout.splitlines())
        assert strict == [18, 18]
        assert compat[0] < compat[1]


@pytest.mark.parametrize("mode", ["strict", "compat"])
@pytest.mark.parametrize(
    ("answer", "reference", "strict", "compat"),
    [
        ("", LOOP, 0, 0.25),
        (" \n\t", LOOP, 0, 0.25),
        (LOOP, "", 0, 0.25),
        # Two empty trees are equal; there are no words.
        ("", "", 1 / 3, 0.5),
    ],
)
def test_empty_texts(mode: str, answer: str, reference: str, strict: float, compat: float) -> None:
    metric = CodeBleu("python", mode=mode)
    assert score(metric, answer, reference) == pytest.approx(strict if mode == "strict" else compat)


@pytest.mark.parametrize("mode", ["strict", "compat"])
@pytest.mark.parametrize("language", ["python", "c"])
@pytest.mark.parametrize(
    "text",
    [
        "x = 1 + \0 y",
        "x = '\ud800' + y",
        "x = 1\r\ny = x\r\n",
        "x = 😀 + y",
        "def f(:\n  return )",
        "'\"" * 200,
        "/*" * 200,
        "```python\nx = a + b\n```",
        "#" * 3 * MAX_CHARACTERS,
    ],
)
def test_texts_that_are_no_programs_have_a_value(mode: str, language: str, text: str) -> None:
    metric = CodeBleu(language, mode=mode)
    program = PROGRAMS[language]
    for answer, reference in [(text, program), (program, text), (text, text)]:
        assert 0 <= score(metric, answer, reference) <= 1


@pytest.mark.parametrize("mode", ["strict", "compat"])
@pytest.mark.parametrize("language", ["python", "java"])
def test_deep_nests_have_ngrams_alone(mode: str, language: str) -> None:
    # tree-sitter's own way to print a tree of 20,000 levels ends the process.
    deep = "x = " + "(" * 9_000 + "1" + ")" * 9_000
    metric = CodeBleu(language, mode=mode)
    program = PROGRAMS[language]
    assert metric.statistics(deep, [program])[-4::2].tolist() == [0, 0]
    assert metric.statistics(deep, [program])[-3] == metric.statistics(program, [program])[-3]
    assert metric.statistics(program, [deep])[-4:].tolist() == [0, 0, 0, 0]


def test_depth_up_to_the_limit_is_read() -> None:
    reader = CodeReader("python", as_published=False)

    def nest(levels: int) -> str:
        return f"x = {'-' * levels}y"

    # Above the minus signs stand the module, the statement and the assignment; below, a leaf that does not count.
    assert reader.read(nest(MAX_DEPTH - 3)).flow.total() == 2
    assert not reader.read(nest(MAX_DEPTH - 2)).subtrees


def test_nested_loops_end() -> None:
    def nest(levels: int) -> str:
        return "".join(f"{' ' * level}for i{level} in x:\n" for level in range(levels)) + " " * levels + "a = b"

    reader = CodeReader("python", as_published=False)
    assert reader.read(nest(6)).flow
    # 2 ** 30 visits would take days.
    deep = reader.read(nest(30))
    assert deep.subtrees
    assert not deep.flow


@pytest.mark.slow
def test_long_texts_have_ngrams_alone() -> None:
    metric = CodeBleu("python")
    line = "x = a + b\n"
    fits, long = (line * (MAX_CHARACTERS // len(line) + extra) for extra in (0, 1))
    assert len(fits) == MAX_CHARACTERS
    assert metric.statistics(LOOP, [long])[-4:].tolist() == [0, 0, 0, 0]
    assert CodeReader("python", as_published=False).read(fits).flow
    assert metric.parts(metric.statistics(long, [long])) == {"ngram_match": 1, "weighted_ngram_match": 1}


def test_programs_are_not_run(tmp_path: Path) -> None:
    target = tmp_path / "written"
    program = f"open({str(target)!r}, 'w').write('x')"
    assert score(CodeBleu("python"), program, program) > 0
    assert not target.exists()


def test_missing_data_flow_is_told_to_nobody(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        score(CodeBleu("python", mode="compat"), NO_FLOW, NO_FLOW)
    assert not caplog.records


def test_languages_are_the_packages() -> None:
    assert sorted(CODE_LANGUAGES) == sorted(AVAILABLE_LANGS)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"language": "c++"}, "no language 'c\\+\\+'. Choose from: python, java, javascript, c, cpp"),
        ({"language": "python", "mode": "lenient"}, "no mode 'lenient'"),
        ({"language": "python", "weights": (0.5, 0.5)}, "takes 4 weights"),
        ({"language": "python", "weights": (0.5, 0.5, 0.5, 0.5)}, "sum to 2"),
        ({"language": "python", "weights": (1.5, -0.5, 0, 0)}, "below 0"),
        ({"language": "python", "weights": (float("nan"), 1, 0, 0)}, "not finite"),
    ],
)
def test_settings_that_cannot_be_used(arguments: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        CodeBleu(**arguments)


@pytest.mark.parametrize(
    ("module", "named"), [("codebleu.parser", "codebleu"), ("tree_sitter", "tree_sitter"), ("tree_sitter_go", "go")]
)
def test_missing_packages(module: str, named: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingError, match=rf"{named}.*pip install 'tuneloop\[code\]'"):
        CodeBleu("go")


def test_a_grammar_of_another_generation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tree_sitter_go.language", object)
    with pytest.raises(MissingError, match=r"versions that fit.*pip install 'tuneloop\[code\]'"):
        CodeBleu("go")


def test_signature_and_names() -> None:
    version = importlib.metadata.version
    metric: Metric = CodeBleu("c_sharp", weights=(0.1, 0.2, 0.3, 0.4))
    assert metric.signature() == (
        "lang:c_sharp|weights:0.1,0.2,0.3,0.4|mode:strict|no-flow:left-out|refs:sum|tok:split|comments:regex"
        f"|version:codebleu-{version('codebleu')}|parser:tree-sitter-{version('tree-sitter')}"
        f"|grammar:{version('tree-sitter-c-sharp')}"
    )
    compat = CodeBleu("python", mode="compat")
    assert "mode:compat|no-flow:1|" in compat.signature()
    assert f"comments:python-3.{sys.version_info.minor}|" in compat.signature()
    assert (metric.name, compat.name) == ("codebleu:c_sharp", "codebleu:python:compat")
    assert metric.higher_is_better
    assert not metric.is_proportion


def test_statistics_are_lengths_and_counts() -> None:
    statistics_K = CodeBleu("python").statistics("y = a + b", ["x = a + b"])
    assert statistics_K.dtype == np.float64
    assert statistics_K.tolist() == pytest.approx(
        [5, 5, 4, 3, 2, 1, 5, 4, 3, 2, 5, 2, 0.8, 3, 2, 1, 1.0, 4, 3, 2, 4, 4, 3, 3]
    )
