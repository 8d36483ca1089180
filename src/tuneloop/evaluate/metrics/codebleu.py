"""CodeBLEU: how much of a right program's words, keywords, syntax and data flow stands in the answer."""

import importlib.metadata
import math
import sys
from collections.abc import Callable, Sequence
from typing import Any, Literal, get_args

import numpy as np

from tuneloop.core.errors import ConfigError
from tuneloop.core.optional import load_optional
from tuneloop.evaluate.metrics.code_syntax import CODE_LANGUAGES, CodeReader, Program

Mode = Literal["strict", "compat"]

_ORDERS = 4
_PARTS = ("ngram_match", "weighted_ngram_match", "syntax_match", "dataflow_match")
_OTHER_WEIGHT = 0.2
"""What a word counts that is no keyword; a keyword counts 1 (section 3.1 of the paper)."""


class CodeBleu:
    """Corpus CodeBLEU of programs in one language, 0 to 1, by the package `codebleu`.

        CodeBLEU = w1 * ngram_match + w2 * weighted_ngram_match + w3 * syntax_match + w4 * dataflow_match

        ngram_match           BLEU of up to 4-grams of words between white space; an order without a match has 0.1
        weighted_ngram_match  the same of n-grams of the reference found in the answer; a 1-gram that is a keyword
                              counts 1, another 0.2
        syntax_match          subtrees of the reference that stand in the answer / subtrees of the reference
        dataflow_match        flows of the reference that stand in the answer / flows of the reference

    Statistics (K = 24): 2 lengths, 4 matches and 4 totals of n-grams, twice; matches and total of subtrees and of
    flows. Comments (in Python also docstrings) are no part of syntax and flow. Of several references, n-grams of
    the answer may match any; the other three parts sum over all, as in the package, so that an answer equal to
    one of two references that differ scores below 1.

    `strict` differs from the package where that rewards nothing or depends on chance: a data flow that matches
    nothing counts 0 (the package puts 1 in its place); a part of which the references hold nothing is left out and
    the other weights are scaled up to sum to 1 (0 where no weight is left); see `CodeReader` for two corrections of
    data flow. `compat` is the package's value to the last digit; it depends on PYTHONHASHSEED.

    A text above `MAX_CHARACTERS` or nested deeper than `MAX_DEPTH` has n-grams only: as an answer it matches no
    subtree and no flow, as a reference it adds none. Programs are never run.

    Source: Ren et al. 2020 (arXiv:2009.10297).
    By hand: "y = a + b" against "x = a + b" holds 4/5, 3/4, 2/3, 1/2 of its n-grams, all its syntax and all its
    flow: 0.25 * (2 * (1/5) ** (1/4) + 2) = 0.834. Code of five words or more is 1 against itself; four words are
    needed for a 4-gram, and five weigh 1 (5 * 0.2), the least that the package divides by.

    Raises:
        ConfigError: the language, the mode or the weights cannot be used.
        MissingError: the packages of the extra `code` are not there, or in versions that do not fit.
    """

    higher_is_better = True
    is_proportion = False

    def __init__(
        self,
        language: str,
        *,
        weights: tuple[float, float, float, float] = (0.25, 0.25, 0.25, 0.25),
        mode: Mode = "strict",
    ) -> None:
        if language not in CODE_LANGUAGES:
            raise ConfigError(f"codebleu knows no language {language!r}. Choose from: {', '.join(CODE_LANGUAGES)}.")
        if mode not in get_args(Mode):
            raise ConfigError(f"codebleu has no mode {mode!r}. Choose strict or compat.")
        _check_weights(weights)
        purpose = f"the metric codebleu ({language})"
        self.name = f"codebleu:{language}" if mode == "strict" else f"codebleu:{language}:compat"
        self._language = language
        self._weights = tuple(weights)
        self._mode: Mode = mode
        self._reader = CodeReader(language, as_published=mode == "compat")
        self._bleu = load_optional("codebleu.bleu", purpose=purpose, extra="code")
        self._weighted = load_optional("codebleu.weighted_ngram_match", purpose=purpose, extra="code")
        folder = load_optional("codebleu.codebleu", purpose=purpose, extra="code").PACKAGE_DIR / "keywords"
        lines = (folder / f"{language}.txt").read_text(encoding="utf-8").splitlines()
        self._keywords = frozenset(line.strip() for line in lines)

    def signature(self) -> str:
        """Language, weights, mode, words, treatment of references, versions of package, parser and grammar."""
        version = importlib.metadata.version
        absent = "left-out" if self._mode == "strict" else "1"
        # Comments are found by Python's own tokenizer, which was rewritten in 3.12.
        comments = (
            f"python-{sys.version_info.major}.{sys.version_info.minor}" if self._language == "python" else "regex"
        )
        return (
            f"lang:{self._language}|weights:{','.join(f'{weight:g}' for weight in self._weights)}|mode:{self._mode}"
            f"|no-flow:{absent}|refs:sum|tok:split|comments:{comments}|version:codebleu-{version('codebleu')}"
            f"|parser:tree-sitter-{version('tree-sitter')}|grammar:{version(_grammar(self._language))}"
        )

    def statistics(self, prediction: str, references: Sequence[str]) -> np.ndarray:
        """Counts of one sample, shape [24]."""
        answer, accepted = prediction.strip(), [reference.strip() for reference in references]
        words, accepted_words = answer.split(), [reference.split() for reference in accepted]
        weighted = [[tokens, self._weigh(tokens)] for tokens in accepted_words]
        return np.array(
            [
                *_ngram_counts(self._bleu, self._bleu.modified_precision, accepted_words, words),
                *_ngram_counts(self._weighted, self._weighted.modified_recall, weighted, words),
                *self._match_programs(answer, accepted),
            ],
            dtype=np.float64,
        )

    def combine(self, totals_K: np.ndarray) -> float:
        """In `compat` equal to the package's `calc_codebleu` over the same samples, summed in their order."""
        parts = self.parts(totals_K)
        if self._mode == "compat":
            # Not sum(): since Python 3.12 it rounds differently from a chain of additions.
            ngram, weighted, syntax, flow = (parts[name] for name in _PARTS)
            w1, w2, w3, w4 = self._weights
            return w1 * ngram + w2 * weighted + w3 * syntax + w4 * (flow or 1)
        weights = {name: weight for name, weight in zip(_PARTS, self._weights, strict=True) if name in parts}
        total = math.fsum(weights.values())
        return math.fsum(weight * parts[name] for name, weight in weights.items()) / total if total else 0.0

    def sample_value(self, statistics_K: np.ndarray) -> float:
        """CodeBLEU of the sample as a set of its own."""
        return self.combine(statistics_K)

    def parts(self, totals_K: np.ndarray) -> dict[str, float]:
        """The four parts, each 0 to 1; in `strict` without those of which the references hold nothing."""
        totals = totals_K.tolist()
        half = 2 + 2 * _ORDERS
        parts = {
            "ngram_match": _bleu_value(self._bleu, totals[:half]),
            "weighted_ngram_match": _bleu_value(self._weighted, totals[half : 2 * half]),
        }
        subtrees_matched, subtrees, flows_matched, flows = totals[2 * half :]
        for name, matched, total in (
            ("syntax_match", subtrees_matched, subtrees),
            ("dataflow_match", flows_matched, flows),
        ):
            if total:
                parts[name] = matched / total
            elif self._mode == "compat":
                parts[name] = 0.0
        return parts

    def _weigh(self, words: Sequence[str]) -> dict[str, float]:
        return {word: 1 if word in self._keywords else _OTHER_WEIGHT for word in words}

    def _match_programs(self, answer: str, references: Sequence[str]) -> np.ndarray:
        """Subtrees matched, subtrees, flows matched, flows: sums over the references."""
        reader, counts = self._reader, np.zeros(4)
        text = reader.strip_comments(answer)
        program = reader.read(text)
        for position, reference in enumerate(references):
            if position and self._mode == "compat":
                # The package strips the answer once more for each reference, and that can take more away.
                text = reader.strip_comments(text)
                program = reader.read(text)
            counts += _match(program, reader.read(reader.strip_comments(reference)))
        return counts


def _check_weights(weights: Sequence[float]) -> None:
    if len(weights) != len(_PARTS):
        raise ConfigError(f"codebleu takes {len(_PARTS)} weights ({', '.join(_PARTS)}), not {len(weights)}.")
    if not all(math.isfinite(weight) and weight >= 0 for weight in weights):
        raise ConfigError(f"codebleu: weights {list(weights)} hold a number below 0 or not finite. Give 0 or more.")
    if not math.isclose(math.fsum(weights), 1, abs_tol=1e-6):
        raise ConfigError(f"codebleu: weights {list(weights)} sum to {math.fsum(weights):g}. Make them sum to 1.")


def _ngram_counts(library: Any, count: Callable[..., tuple], references: Sequence, words: Sequence[str]) -> list[float]:
    """Length of the answer, of the nearest reference; matches of each order, n-grams of each order.

    The package measures a weighted reference as a pair, so that its length is always 2.
    """
    counts = [count(references, words, order) for order in range(1, _ORDERS + 1)]
    matched, total = zip(*counts, strict=True)
    return [len(words), library.closest_ref_length(references, len(words)), *matched, *total]


def _bleu_value(library: Any, totals: Sequence[float]) -> float:
    """The package's `corpus_bleu`, from counts."""
    answer_length, reference_length, *counts = totals
    matched, total = counts[:_ORDERS], counts[_ORDERS:]
    if not matched[0]:
        return 0.0
    precisions = library.SmoothingFunction().method1(list(zip(matched, total, strict=True)))
    mean_log = math.fsum(math.log(found / among) / _ORDERS for found, among in precisions)
    return library.brevity_penalty(reference_length, answer_length) * math.exp(mean_log)


def _match(answer: Program, reference: Program) -> list[int]:
    subtrees_matched = sum(count for subtree, count in reference.subtrees.items() if subtree in answer.subtrees)
    flows_matched = (reference.flow & answer.flow).total()
    return [subtrees_matched, reference.subtrees.total(), flows_matched, reference.flow.total()]


def _grammar(language: str) -> str:
    return f"tree-sitter-{language.replace('_', '-')}"
