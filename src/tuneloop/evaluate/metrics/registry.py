"""The names of the metrics, and how a name becomes a metric. Heavy libraries load only with the metric."""

import difflib
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from tuneloop.core.errors import ConfigError
from tuneloop.evaluate.metrics.metric import Metric
from tuneloop.evaluate.metrics.segment import Language, parse_language

if TYPE_CHECKING:
    from tuneloop.evaluate.metrics.options import MetricOptions

METRICS = (
    "bleu", "chrf", "rouge1", "rouge2", "rougeL", "rougeLsum", "codebleu", "exact_match", "f1",
    "gsm8k", "choice", "json", "citation",
)  # fmt: skip
"""The metrics that need no parameter. Beside them: `accuracy:LABEL|LABEL`, `choice:LETTERS`, `codebleu:LANGUAGE`,
and `pass@K`, which runs programs."""

_GROUPS = {"rouge": ("rouge1", "rouge2", "rougeL", "rougeLsum")}
_ACCURACY = "accuracy"
_ACCURACY_EXAMPLE = "accuracy:yes|no|maybe"
_PASS = re.compile(r"pass@([1-9][0-9]{0,3})")
_LETTERS = re.compile(r"[A-J]{2,10}")


def expand_metrics(names: Iterable[str]) -> list[str]:
    """The names that `build_metric` takes: `rouge` becomes its four; each name once, in order.

    Raises:
        ConfigError: a name is not known, or its parameter cannot be used.
    """
    expanded = [single for name in names for single in _GROUPS.get(name, (name,))]
    for name in expanded:
        _check(name)
    return list(dict.fromkeys(expanded))


def build_metric(name: str, *, language: str, options: "MetricOptions | None" = None) -> Metric:
    """Make the metric of that name. `language` is `en` or `zh` (see `segment.resolve_language` for `auto`).

    Raises:
        ConfigError: the name or the language is not known, or a setting cannot be used.
        DataError: a file of the options cannot be read.
        MissingError: the metric needs a package, or a sandbox, that is not there.
    """
    from tuneloop.evaluate.metrics.options import MetricOptions

    _check(name)
    known_language = parse_language(language)
    chosen = options or MetricOptions()
    if name.startswith(f"{_ACCURACY}:"):
        from tuneloop.evaluate.metrics.accuracy import Accuracy

        return Accuracy(_parse_labels(name))
    if matched := _PASS.fullmatch(name):
        from tuneloop.evaluate.metrics.pass_at_k import PassAtK

        return PassAtK(
            int(matched[1]),
            timeout_s=chosen.timeout_s,
            memory_bytes=chosen.memory_mib << 20,
            workers=chosen.workers,
        )
    kind, _, parameter = name.partition(":")
    if kind in {"choice", "codebleu", "json", "citation"}:
        return _build_with_options(kind, parameter, chosen)
    return _build_plain(name, known_language)


def _build_with_options(kind: str, parameter: str, options: "MetricOptions") -> Metric:
    match kind:
        case "choice":
            from tuneloop.evaluate.metrics.choice import Choice

            return Choice(parameter) if parameter else Choice()
        case "codebleu":
            from tuneloop.evaluate.metrics.codebleu import CodeBleu

            code = CodeBleu(parameter or options.code_language, weights=options.code_weights, mode=options.code_mode)
            # Called as it was asked for; the signature has the language.
            code.name = f"codebleu:{parameter}" if parameter else "codebleu"
            return code
        case "json":
            from tuneloop.evaluate.metrics.json_fields import JsonFields
            from tuneloop.evaluate.metrics.json_schema import load_schema

            return JsonFields(None if options.json_schema is None else load_schema(options.json_schema))
        case "citation":
            from tuneloop.evaluate.metrics.citation import Citations
            from tuneloop.evaluate.metrics.statute_book import StatuteBook

            return Citations(None if options.statutes is None else StatuteBook.load(options.statutes))
        case _:
            raise AssertionError(f"{kind} has options and no branch here")


def _build_plain(name: str, language: Language) -> Metric:
    match name:
        case "bleu":
            from tuneloop.evaluate.metrics.bleu import Bleu

            return Bleu(language)
        case "chrf":
            from tuneloop.evaluate.metrics.chrf import Chrf

            return Chrf()
        case "rouge1" | "rouge2" | "rougeL" | "rougeLsum":
            from tuneloop.evaluate.metrics.rouge import Rouge

            return Rouge(name, language)
        case "exact_match":
            from tuneloop.evaluate.metrics.exact import ExactMatch

            return ExactMatch()
        case "f1":
            from tuneloop.evaluate.metrics.f1 import TokenF1

            return TokenF1(language)
        case "gsm8k":
            from tuneloop.evaluate.metrics.number import FinalNumber

            return FinalNumber()
        case _:
            raise AssertionError(f"{name} is in METRICS and has no branch here")


def _check(name: str) -> None:
    kind, colon, parameter = name.partition(":")
    if kind == _ACCURACY and colon:
        _parse_labels(name)
    elif kind == _ACCURACY:
        raise ConfigError(f"metric '{name}' needs its labels. Write, for instance, {_ACCURACY_EXAMPLE}.")
    elif kind == "choice" and colon:
        if not _LETTERS.fullmatch(parameter) or len(set(parameter)) < len(parameter):
            raise ConfigError(f"metric '{name}' needs two to ten letters of A to J, each once. Write choice:ABCDE.")
    elif kind == "codebleu" and colon:
        if not parameter:
            raise ConfigError(f"metric '{name}' names no language. Write codebleu:python.")
    elif name not in METRICS and not _PASS.fullmatch(name):
        raise ConfigError(f"there is no metric '{name}'. {_hint(name)}")


def _hint(name: str) -> str:
    examples = (_ACCURACY_EXAMPLE, "choice:ABCDE", "codebleu:java", "pass@1")
    known = {item.lower(): item for item in (*METRICS, *_GROUPS, *examples)}
    near = difflib.get_close_matches(name.lower(), known, n=1, cutoff=0.5)
    return f"Did you mean '{known[near[0]]}'?" if near else f"Choose from: {', '.join(known.values())}."


def _parse_labels(name: str) -> list[str]:
    labels = [label.strip() for label in name.partition(":")[2].split("|")]
    if not all(labels):
        raise ConfigError(f"metric '{name}' has an empty label. Write, for instance, {_ACCURACY_EXAMPLE}.")
    if len(labels) < 2 or len({label.casefold() for label in labels}) < len(labels):  # noqa: PLR2004
        raise ConfigError(f"metric '{name}' needs two or more labels that differ, as in {_ACCURACY_EXAMPLE}.")
    return labels
