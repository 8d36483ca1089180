"""pass@k: the estimator against counting, programs against their tests, and the gold programs of two benchmarks."""

import gzip
import itertools
import math
import re
import sys
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import orjson
import pytest

from tuneloop.core.errors import ConfigError, DataError, MissingError
from tuneloop.evaluate.metrics.pass_at_k import KINDS, PassAtK, estimate_pass_at_k, extract_code, join_tests
from tuneloop.evaluate.stats import compare, score_set

RIGHT = "def double(x):\n    return 2 * x\n"
WRONG = "def double(x):\n    return x\n"
BROKEN = "def double(x) return 2 * x"
LEAVES = "raise SystemExit(0)"
TESTS = "assert double(2) == 4\nassert double(-1) == -2"


@pytest.fixture(scope="module")
def pass_at_1() -> PassAtK:
    return build(1)


def build(k: int) -> PassAtK:
    try:
        return PassAtK(k, timeout_s=20, workers=2)
    except MissingError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("n", range(1, 8))
def test_the_estimate_is_the_share_of_choices_that_hold_a_pass(n: int) -> None:
    for c, k in itertools.product(range(n + 1), range(1, n + 1)):
        choices = list(itertools.combinations([True] * c + [False] * (n - c), k))
        assert estimate_pass_at_k(n, c, k) == pytest.approx(sum(map(any, choices)) / len(choices), abs=1e-12)


@pytest.mark.parametrize(("n", "c", "k"), [(200, 3, 100), (10_000, 5_000, 10), (100_000, 1, 100), (100_000, 40, 3)])
def test_the_estimate_is_stable(n: int, c: int, k: int) -> None:
    exact = 1 - Fraction(math.comb(n - c, k), math.comb(n, k))
    assert estimate_pass_at_k(n, c, k) == pytest.approx(float(exact), rel=1e-9)


def test_the_estimate_by_hand() -> None:
    assert [estimate_pass_at_k(4, 1, k) for k in (1, 2, 4)] == pytest.approx([1 / 4, 1 / 2, 1])
    assert estimate_pass_at_k(5, 0, 3) == 0
    assert estimate_pass_at_k(5, 5, 1) == 1


def test_the_estimate_is_unbiased() -> None:
    """Its mean over all draws of 6 programs, each of which passes by chance 0.3, is 1 - 0.7 ** k."""
    p, n = 0.3, 6
    for k in range(1, n + 1):
        chances = [math.comb(n, c) * p**c * (1 - p) ** (n - c) for c in range(n + 1)]
        mean = sum(chance * estimate_pass_at_k(n, c, k) for c, chance in enumerate(chances))
        assert mean == pytest.approx(1 - (1 - p) ** k)


def test_one_program(pass_at_1: PassAtK) -> None:
    assert pass_at_1.name == "pass@1"
    assert pass_at_1.higher_is_better
    for program, kind in ((RIGHT, "passed"), (WRONG, "failed"), (BROKEN, "error"), (LEAVES, "exited"), ("", "error")):
        row_K = pass_at_1.statistics(program, [TESTS])
        assert row_K.tolist() == [float(kind == "passed"), 1, *(float(kind == other) for other in KINDS)]
        assert pass_at_1.sample_value(row_K) == float(kind == "passed")


def test_all_references_have_to_hold(pass_at_1: PassAtK) -> None:
    assert pass_at_1.statistics(RIGHT, TESTS.splitlines())[0] == 1
    assert pass_at_1.statistics("def double(x): return 4", TESTS.splitlines())[0] == 0


def test_humaneval_shape(pass_at_1: PassAtK) -> None:
    check = "def check(candidate):\n    assert candidate(3) == 6\n\ncheck(double)"
    assert [pass_at_1.statistics(program, [check])[0] for program in (RIGHT, WRONG)] == [1, 0]


def test_chinese_programs(pass_at_1: PassAtK) -> None:
    program = "def 问候(名字):\n    return f'你好,{名字}!'"
    assert pass_at_1.statistics(program, ["assert 问候('世界') == '你好,世界!'"])[0] == 1


def test_many_programs() -> None:
    metric = build(2)
    row_K = metric.statistics_of_many([WRONG, RIGHT, BROKEN, WRONG], [TESTS])
    assert row_K[:2] == pytest.approx([1 / 2, 1])
    parts = metric.parts(row_K)
    assert {kind: share for kind, share in parts.items() if share} == {"passed": 1 / 4, "failed": 1 / 2, "error": 1 / 4}
    assert sum(parts.values()) == pytest.approx(1)
    assert not metric.is_proportion
    assert metric.signature().startswith("n:4|timeout_s:20|memory_bytes:1073741824|refs:all|python:3.")


def test_a_set() -> None:
    """Two items of different numbers of programs weigh the same."""
    metric = build(1)
    assert metric.is_proportion
    rows_NK = metric.statistics_of_items([[RIGHT], [WRONG, WRONG]], [[TESTS], [TESTS]])
    score = score_set(metric, rows_NK, seed=0)
    assert (score.value, score.n, score.metric) == (0.5, 2, "pass@1")
    assert metric.parts(rows_NK.sum(axis=0))["passed"] == score.value
    assert not metric.is_proportion
    assert metric.signature().startswith("n:1,2|")
    comparison = compare(metric, rows_NK, rows_NK, seed=0)
    assert (comparison.difference, comparison.interval.low, comparison.interval.high) == (0, 0, 0)


def test_no_items(pass_at_1: PassAtK) -> None:
    assert pass_at_1.statistics_of_items([], []).shape == (0, 2 + len(KINDS))


@pytest.mark.slow
def test_order_is_kept(pass_at_1: PassAtK) -> None:
    programs = [RIGHT, WRONG, BROKEN, RIGHT]
    kinds = [outcome.kind for outcome in pass_at_1.run([(program, TESTS) for program in programs])]
    assert kinds == ["passed", "failed", "error", "passed"]


@pytest.mark.parametrize(("k", "programs"), [(2, [RIGHT]), (1, []), (10, [RIGHT] * 9)])
def test_too_few_programs(k: int, programs: list[str]) -> None:
    with pytest.raises(DataError, match=rf"pass@{k} needs {k} programs of every item, and here are {len(programs)}"):
        build(k).statistics_of_many(programs, [TESTS])


@pytest.mark.parametrize(
    ("tests", "message"),
    [
        ("", "the tests '' run nothing"),
        ("# assert f() == 1", "run nothing"),
        ("'text'", "run nothing"),
        ("import math\nx = 1\ny: int = 2", "run nothing"),
        ("def check(candidate):\n    assert candidate(1) == 2", r"run nothing. .*check\(name_of_the_function\)"),
        ("assert f( == 1", "are not Python"),
        ("答案是四", "run nothing"),
        ("The answer is 4.", "are not Python"),
        ("assert x\0", "are not Python"),
        ("assert '\ud800'", "are not Python"),
        ("(" * 100_000, "are not Python"),
    ],
)
def test_tests_that_test_nothing(tests: str, message: str) -> None:
    with pytest.raises(DataError, match=message) as error:
        join_tests([tests])
    assert len(str(error.value)) < 400


def test_setup_is_no_test_and_no_harm() -> None:
    assert join_tests(["done = check(double)"]) == "done = check(double)"
    assert join_tests(["import math", r"assert re.match('\d', '1')"]) == "import math\nassert re.match('\\d', '1')"


@pytest.mark.parametrize(("k", "options"), [(0, {}), (-1, {}), (1, {"workers": 0}), (1, {"timeout_s": 0})])
def test_settings_that_cannot_be(k: int, options: dict[str, float]) -> None:
    with pytest.raises(ConfigError):
        PassAtK(k, **options)


def test_no_sandbox_no_metric(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    with pytest.raises(MissingError, match="Generated code is run in a sandbox alone"):
        PassAtK(1)


def test_the_known_limit(pass_at_1: PassAtK) -> None:
    """An object that equals everything passes tests that compare with ==: tests in one process cannot tell."""
    program = "class Any:\n    def __eq__(self, other): return True\ndef double(x): return Any()"
    assert pass_at_1.statistics(program, [TESTS])[0] == 1


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("```python\nx = 1\n```", "x = 1\n"),
        ("Sure!\n```python\nx = 1\n```\nDone.\n```python\ny = 2\n```", "x = 1\n"),
        ("First:\n```sh\nls\n```\nThen:\n```python\nx = 1\n```", "x = 1\n"),
        ("```text\n1\n```\n```\nx = 1\n```", "x = 1\n"),
        ("```text\nx = 1\n```", "x = 1\n"),
        ("```Python title=a.py\nx = 1\n```", "x = 1\n"),
        ("```{.py}\nx = 1\n```", "x = 1\n"),
        ("```py\nx = 1\n\ny = 2", "x = 1\n\ny = 2"),
        ("~~~python\nx = '```'\n~~~", "x = '```'\n"),
        ("````python\nx = '''\n```\n'''\n````", "x = '''\n```\n'''\n"),
        ("1. So:\n   ```python\n   def f():\n       return 1\n   ```", "def f():\n    return 1\n"),
        ("   ```python\n\nx = 1\n   ```", "\nx = 1\n"),
        ("```python\r\nx = 1\r\n```\r\n", "x = 1\r\n"),
        ("好的,代码如下:\n```python\nprint('你好')\n```\n以上。", "print('你好')\n"),
        ("def f():\n    return 1", "def f():\n    return 1"),
        ("Use `x` and ```y``` here.", "Use `x` and ```y``` here."),
        ("```x = 1```", "```x = 1```"),
        ("```python\n```", ""),
        ("```", ""),
        ("", ""),
    ],
)
def test_code_in_an_answer(text: str, code: str) -> None:
    assert extract_code(text) == code


def test_code_of_another_language() -> None:
    text = "```python\nx = 1\n```\n```sql\nselect 1\n```"
    assert extract_code(text, "SQL") == "select 1\n"
    assert extract_code(text, "rust") == "x = 1\n"


@pytest.mark.parametrize("text", ["`" * 300_000, "```a" * 100_000, "```\n" * 100_001, " " * 300_000 + "```"])
def test_long_answers_take_no_long_time(text: str) -> None:
    assert isinstance(extract_code(text), str)


def mbpp(shared: Path) -> Iterator[tuple[str, str, str]]:
    """(name, gold program, tests) of each task."""
    for line in (shared / "mbpp" / "mbpp.jsonl").read_bytes().splitlines():
        row = orjson.loads(line)
        yield f"mbpp/{row['task_id']}", row["code"], "\n".join([row["test_setup_code"], *row["test_list"]])


def humaneval(shared: Path) -> Iterator[tuple[str, str, str]]:
    with gzip.open(shared / "humaneval" / "HumanEval.jsonl.gz") as file:
        for line in file:
            row = orjson.loads(line)
            tests = f"{row['test']}\ncheck({row['entry_point']})"
            yield row["task_id"], row["prompt"] + row["canonical_solution"], tests


def spoil(program: str) -> str:
    """The same functions, each of which gives back what no test expects."""
    names = re.findall(r"^def (\w+)", program, re.MULTILINE)
    return program + "".join(f"\ndef {name}(*args, **options): return [object()]" for name in names)


def check_gold(tasks: list[tuple[str, str, str]], *, spoil_each: int = 1) -> None:
    metric = build(1)
    gold = metric.run([(program, join_tests([tests])) for _, program, tests in tasks])
    assert {name: end for (name, _, _), end in zip(tasks, gold, strict=True) if end.kind != "passed"} == {}
    spoiled = tasks[::spoil_each]
    ends = metric.run([(spoil(program), tests) for _, program, tests in spoiled])
    assert [name for (name, _, _), end in zip(spoiled, ends, strict=True) if end.kind == "passed"] == []


@pytest.mark.slow
@pytest.mark.shared
def test_some_gold_programs_pass_and_spoiled_ones_do_not(shared: Path) -> None:
    check_gold([*list(mbpp(shared))[:10], *list(humaneval(shared))[:10]], spoil_each=4)


@pytest.mark.shared
@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("benchmark", [mbpp, humaneval])
def test_every_gold_program_passes_and_spoiled_ones_do_not(shared: Path, benchmark) -> None:
    check_gold(list(benchmark(shared)))
