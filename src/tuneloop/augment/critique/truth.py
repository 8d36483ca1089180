"""Whether an answer is right, by the measure of its kind."""

from collections.abc import Callable

from tuneloop.core.errors import DataError
from tuneloop.evaluate.metrics.metric import Metric
from tuneloop.evaluate.metrics.number import final_number
from tuneloop.evaluate.metrics.registry import build_metric
from tuneloop.evaluate.metrics.segment import detect_language

Truth = Callable[[str, str | None], bool | None]
"""From an answer and the right one to whether it is right; None where that is not known."""


def build_truth(match: str = "auto") -> Truth:
    """Make the comparison.

    Args:
        match: a metric whose value for one answer is 0 or 1 (gsm8k, exact_match, choice ...). auto: the final number
            where the right answer has one, else exact_match.
    """
    metrics: dict[tuple[str, str], Metric] = {}

    def truth(answer: str, gold: str | None) -> bool | None:
        if not gold:
            return None
        name = match if match != "auto" else "gsm8k" if final_number(gold) is not None else "exact_match"
        language = detect_language([gold])
        if (name, language) not in metrics:
            metrics[name, language] = build_metric(name, language=language)
        metric = metrics[name, language]
        try:
            return metric.sample_value(metric.statistics(answer, [gold])) == 1.0
        except DataError:
            return None

    return truth
