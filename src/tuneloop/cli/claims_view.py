"""Reports of claims in the terminal: the rate, and beside it how often the checker itself is right."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tuneloop.evaluate.claims.records import AccuracyEntry, HallucinationReport, LengthBin, LogicReport, Share

_LANGUAGES = {"en": "English", "zh": "Chinese"}
_SCOPES = {
    "untouched": "claims that nobody looked at while its rules were written",
    "all": "labelled claims",
    "long": "claims about long sources",
    "logic": "conclusions of syllogisms",
}


def hallucination_lines(report: "HallucinationReport") -> list[str]:
    """The rates, the checker's accuracy, and the bins of length."""
    score = report.answers
    between = f" [{score.interval.low:.3f}, {score.interval.high:.3f}]" if score.interval else ""
    lines = [f"hallucination {score.value:.3f}{between}  n = {score.n} answers about {report.documents} documents"]
    if report.claims is not None:
        ends = report.claims.interval
        between = f" [{ends.low:.3f}, {ends.high:.3f}]" if ends else ""
        lines.append(f"unsupported claims {report.claims.value:.3f}{between}  n = {report.claims.n}")
    if report.corrected_claims is not None:
        lines.append(f"corrected for the checker's errors {_share(report.corrected_claims)}")
    lines.append(f"false alarms alone would give {report.faultless:.3f} of answers")
    lines += [_accuracy(report.checker.checker, entry) for entry in report.accuracy]
    if report.answers_without_claims:
        lines.append(f"{report.answers_without_claims} answers claim nothing")
    if report.undecided_claims:
        lines.append(f"{report.undecided_claims} claims could not be decided and count nowhere")
    return lines + [_bin(each) for each in report.bins]


def logic_lines(report: "LogicReport") -> list[str]:
    """The rates, what could not be read, and the checker's accuracy on syllogisms."""
    score = report.answers
    between = f" [{score.interval.low:.3f}, {score.interval.high:.3f}]" if score.interval else ""
    entries = [entry for entry in report.checker.entries if entry.scope == "logic"]
    return [
        f"logic {score.value:.3f}{between}  n = {score.n} answers",
        f"conclusions entailed {_share(report.steps)}",
        f"{report.unparsable} answers state no complete syllogism, {report.undecided} could not be decided",
        *(_accuracy(report.checker.checker, entry) for entry in entries),
    ]


def _share(share: "Share") -> str:
    between = f" [{share.interval.low:.3f}, {share.interval.high:.3f}]" if share.interval else ""
    return f"{share.value:.3f}{between}  n = {share.n}"


def _accuracy(checker: str, entry: "AccuracyEntry") -> str:
    return (
        f"checker {checker}, {_LANGUAGES[entry.language]}: right on {_share(entry.accuracy)} {_SCOPES[entry.scope]}; "
        f"finds {entry.found.value:.3f} of the unsupported, accepts {entry.accepted.value:.3f} of the supported"
    )


def _bin(each: "LengthBin") -> str:
    tokens = f"{each.low:,} tokens and more" if each.high is None else f"{each.low:,} to {each.high - 1:,} tokens"
    few = "  (few: no conclusion should hang on it)" if each.is_small else ""
    return f"  {each.side} of {tokens}: {_share(each.answers)}{few}"
