"""pass@k: the chance that one of k generated programs passes its tests. Generated code runs in a sandbox alone."""

import ast
import platform
import re
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import get_args

import numpy as np

import tuneloop
from tuneloop.core.errors import ConfigError, DataError
from tuneloop.evaluate.metrics.metric import mean
from tuneloop.evaluate.sandbox import Limits, Outcome, OutcomeKind, build_sandbox

# Shapes: N items, K statistics of the metric.

KINDS: tuple[OutcomeKind, ...] = get_args(OutcomeKind)

_LANGUAGE_NAMES = {"python": ("python", "py", "python3")}
_FENCE = re.compile(r"([ \t]*)(`{3,}|~{3,})")
_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Import, ast.ImportFrom, ast.Pass)
_VALUES = (ast.Assign, ast.AnnAssign, ast.Expr)
_SHOWN_CHARACTERS = 60


class PassAtK:
    """Mean over items of the chance that at least one of k of its programs passes, 0 to 1. Python only.

        pass@k = mean over items of 1 - C(n - c, k) / C(n, k)

    n programs of an item, c of which pass. A reference is test code, run after the program in the same module:
    MBPP's `assert` lines, HumanEval's `check` with a call of it. With several references a program has to pass
    them all (a text's references are alternatives; tests are not). A program that its sandbox ends (time, memory,
    output) has not passed.

    Statistics (K = 2 + 8): the estimate, 1, and the share of the item's programs that ended in each way of `KINDS`.

    Source: Chen et al. 2021, "Evaluating Large Language Models Trained on Code", section 2.1 (arXiv:2107.03374).
    By hand: of 4 programs 1 passes: pass@1 = 1/4, pass@2 = 1 - (3 * 2) / (4 * 3) = 1/2, pass@4 = 1.
    """

    higher_is_better = True

    def __init__(self, k: int, *, timeout_s: float = 3.0, memory_bytes: int = 1 << 30, workers: int = 4) -> None:
        """Find out whether programs can be run here, before hours of generating them.

        Raises:
            ConfigError: k, a limit or the number of workers cannot be used.
            MissingError: this machine gives no sandbox.
        """
        if k < 1 or workers < 1:
            raise ConfigError(f"pass@{k} with {workers} workers: both must be 1 at least.")
        self.name = f"pass@{k}"
        self.is_proportion = k == 1
        """Of one program an item. Several give shares between 0 and 1, and then it turns False."""
        self._k = k
        self._workers = workers
        self._sandbox = build_sandbox(Limits(timeout_s=timeout_s, memory_bytes=memory_bytes))
        self._programs_met: set[int] = set()

    def signature(self) -> str:
        """Programs an item, limits, what ran them, version."""
        limits = self._sandbox.limits
        programs = ",".join(map(str, sorted(self._programs_met))) or "0"
        return (
            f"n:{programs}|timeout_s:{limits.timeout_s:g}|memory_bytes:{limits.memory_bytes}|refs:all"
            f"|python:{platform.python_version()}|sandbox:{self._sandbox.walls}|version:tuneloop-{tuneloop.__version__}"
        )

    def statistics(self, prediction: str, references: Sequence[str]) -> np.ndarray:
        """Of an item with one program, shape [K]; for k = 1 alone.

        Raises:
            DataError: k is more than 1, or the references are no tests.
            MissingError: the sandbox is not to be had any more.
        """
        return self.statistics_of_many([prediction], references)

    def statistics_of_many(self, predictions: Sequence[str], references: Sequence[str]) -> np.ndarray:
        """Of an item with n >= k programs, which run side by side, shape [K].

        Raises:
            DataError: fewer than k programs, or the references are no tests.
            MissingError: the sandbox is not to be had any more.
        """
        return self.statistics_of_items([predictions], [references])[0]

    def statistics_of_items(
        self, predictions: Sequence[Sequence[str]], references: Sequence[Sequence[str]]
    ) -> np.ndarray:
        """Of many items, whose programs run side by side, shape [N, K].

        Raises:
            DataError: an item has fewer than k programs, or references that are no tests; said before any runs.
            MissingError: the sandbox is not to be had any more.
        """
        jobs: list[tuple[str, str]] = []
        for programs, tests in zip(predictions, references, strict=True):
            self._check_programs(programs)
            text = join_tests(tests)
            jobs += [(program, text) for program in programs]
        outcomes = iter(self.run(jobs))
        rows = [self._row([next(outcomes) for _ in programs]) for programs in predictions]
        return np.array(rows).reshape(len(rows), 2 + len(KINDS))

    def run(self, jobs: Sequence[tuple[str, str]]) -> list[Outcome]:
        """How each (program, tests) ended, in order: what stands behind the numbers.

        Raises:
            MissingError: the sandbox is not to be had any more.
        """
        with ThreadPoolExecutor(self._workers, thread_name_prefix="sandbox") as pool:
            futures = [pool.submit(self._sandbox.run, program, tests) for program, tests in jobs]
            try:
                return [future.result() for future in futures]
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise

    def combine(self, totals_K: np.ndarray) -> float:
        """The mean of the items' estimates."""
        return mean(totals_K)

    def sample_value(self, statistics_K: np.ndarray) -> float:
        """The estimate of one item."""
        return mean(statistics_K)

    def parts(self, totals_K: np.ndarray) -> dict[str, float]:
        """The share of programs that ended in each way, every item with the same weight; `passed` is pass@1."""
        return {kind: float(total / totals_K[1]) for kind, total in zip(KINDS, totals_K[2:], strict=True)}

    def _check_programs(self, programs: Sequence[str]) -> None:
        if len(programs) < self._k:
            raise DataError(
                f"{self.name} needs {self._k} programs of every item, and here are {len(programs)}. "
                f"Generate more answers a prompt, or choose a smaller k."
            )
        self._programs_met.add(len(programs))
        self.is_proportion = self.is_proportion and len(programs) == 1

    def _row(self, outcomes: Sequence[Outcome]) -> np.ndarray:
        counts = [sum(outcome.kind == kind for outcome in outcomes) for kind in KINDS]
        estimate = estimate_pass_at_k(len(outcomes), counts[KINDS.index("passed")], self._k)
        return np.array([estimate, 1.0, *(count / len(outcomes) for count in counts)])


def estimate_pass_at_k(n: int, c: int, k: int) -> float:
    """1 - C(n - c, k) / C(n, k): unbiased for the chance that one of k programs passes, where c of n did.

    Computed as 1 - product over i = n - c + 1 ... n of (1 - k / i): no large number occurs. With n - c < k every
    choice of k holds one that passes: 1.

    Source: Chen et al. 2021, section 2.1 and figure 3.
    """
    assert 0 <= c <= n
    assert 1 <= k <= n
    if n - c < k:
        return 1.0
    return 1.0 - float(np.prod(1.0 - k / np.arange(n - c + 1, n + 1)))


def join_tests(references: Sequence[str]) -> str:
    """One text of all tests.

    Raises:
        DataError: it is not Python, or runs nothing but definitions, so that every program would pass.
    """
    text = "\n".join(references)
    try:
        with warnings.catch_warnings():
            # Python warns of odd escapes in the tests' strings.
            warnings.simplefilter("ignore")
            statements = ast.parse(text).body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise DataError(f"the tests {_shorten(text)} are not Python ({error}). Correct the row.") from error
    if all(map(_runs_nothing, statements)):
        raise DataError(
            f"the tests {_shorten(text)} run nothing. Write assert lines, or end with a call of the check: "
            f"check(name_of_the_function)."
        )
    return text


def extract_code(text: str, language: str = "python") -> str:
    r"""The program in a model's answer: its first fenced block, else the whole text.

    Blocks that name `language` come before those that name none, and those before others. A fence is a line of
    three or more backticks or tildes, closed by at least as many; an answer that was cut off leaves it open. The
    fence's own indentation is taken from the lines.

    By hand: "First:\n```sh\nls\n```\nThen:\n```python\nx = 1\n```" gives "x = 1\n".
    """
    blocks = _fenced_blocks(text)
    for names in (_LANGUAGE_NAMES.get(language.lower(), (language.lower(),)), ("",)):
        for name, code in blocks:
            if name in names:
                return code
    return blocks[0][1] if blocks else text


def _fenced_blocks(text: str) -> list[tuple[str, str]]:
    """(language in lower case, content) of each block, in order."""
    blocks: list[tuple[str, list[str]]] = []
    fence, indent = "", 0
    for line in text.splitlines(keepends=True):
        bare = line.strip()
        if fence and bare.startswith(fence) and not bare.strip(fence[0]):
            fence = ""
        elif fence:
            blocks[-1][1].append(line[min(indent, len(line) - len(line.lstrip(" \t"))) :])
        elif (opening := _FENCE.match(line)) and "`" not in line[opening.end() :]:
            fence, indent = opening[2], len(opening[1])
            words = line[opening.end() :].split(maxsplit=1)
            blocks.append((words[0].strip("{.}").lower() if words else "", []))
    return [(name, "".join(lines)) for name, lines in blocks]


def _runs_nothing(statement: ast.stmt) -> bool:
    """A definition, or a value that nothing is called for."""
    if isinstance(statement, _VALUES):
        return not any(isinstance(node, ast.Call) for node in ast.walk(statement))
    return isinstance(statement, _DEFINITIONS)


def _shorten(text: str) -> str:
    return repr(text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "...")
