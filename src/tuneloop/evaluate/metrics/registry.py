"""The names of the metrics, and how a name becomes a metric. Heavy libraries load only with the metric."""

import difflib
from collections.abc import Iterable

from tuneloop.core.errors import ConfigError
from tuneloop.evaluate.metrics.metric import Metric
from tuneloop.evaluate.metrics.segment import Language, parse_language

METRICS = ("bleu", "chrf", "rouge1", "rouge2", "rougeL", "exact_match")
"""The metrics without a parameter; `accuracy:LABEL|LABEL` comes beside them."""

_GROUPS = {"rouge": ("rouge1", "rouge2", "rougeL")}
_ACCURACY = "accuracy"
_ACCURACY_EXAMPLE = "accuracy:yes|no|maybe"


def expand_metrics(names: Iterable[str]) -> list[str]:
    """The names that `build_metric` takes: `rouge` becomes rouge1, rouge2, rougeL; each name once, in order.

    Raises:
        ConfigError: a name is not known, or the labels of an accuracy cannot be used.
    """
    expanded = [single for name in names for single in _GROUPS.get(name, (name,))]
    for name in expanded:
        _check(name)
    return list(dict.fromkeys(expanded))


def build_metric(name: str, *, language: str) -> Metric:
    """Make the metric of that name. `language` is `en` or `zh` (see `segment.resolve_language` for `auto`).

    Raises:
        ConfigError: the name or the language is not known, or the labels of an accuracy cannot be used.
    """
    _check(name)
    known_language = parse_language(language)
    if name.startswith(f"{_ACCURACY}:"):
        from tuneloop.evaluate.metrics.accuracy import Accuracy

        return Accuracy(_parse_labels(name))
    return _build_plain(name, known_language)


def _build_plain(name: str, language: Language) -> Metric:
    match name:
        case "bleu":
            from tuneloop.evaluate.metrics.bleu import Bleu

            return Bleu(language)
        case "chrf":
            from tuneloop.evaluate.metrics.chrf import Chrf

            return Chrf()
        case "rouge1" | "rouge2" | "rougeL":
            from tuneloop.evaluate.metrics.rouge import Rouge

            return Rouge(name, language)
        case "exact_match":
            from tuneloop.evaluate.metrics.exact import ExactMatch

            return ExactMatch()
        case _:
            raise AssertionError(f"{name} is in METRICS and has no branch here")


def _check(name: str) -> None:
    kind, colon, _ = name.partition(":")
    if kind == _ACCURACY and colon:
        _parse_labels(name)
    elif kind == _ACCURACY:
        raise ConfigError(f"metric '{name}' needs its labels. Write, for instance, {_ACCURACY_EXAMPLE}.")
    elif name not in METRICS:
        raise ConfigError(f"there is no metric '{name}'. {_hint(name)}")


def _hint(name: str) -> str:
    known = {item.lower(): item for item in (*METRICS, *_GROUPS, _ACCURACY_EXAMPLE)}
    near = difflib.get_close_matches(name.lower(), known, n=1, cutoff=0.5)
    return f"Did you mean '{known[near[0]]}'?" if near else f"Choose from: {', '.join(known.values())}."


def _parse_labels(name: str) -> list[str]:
    labels = [label.strip() for label in name.partition(":")[2].split("|")]
    if not all(labels):
        raise ConfigError(f"metric '{name}' has an empty label. Write, for instance, {_ACCURACY_EXAMPLE}.")
    if len(labels) < 2 or len({label.casefold() for label in labels}) < len(labels):  # noqa: PLR2004
        raise ConfigError(f"metric '{name}' needs two or more labels that differ, as in {_ACCURACY_EXAMPLE}.")
    return labels
