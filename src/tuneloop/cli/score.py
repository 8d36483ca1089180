"""`tuneloop score`: a measure over files of texts; a model is needed for none but perplexity."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from tuneloop.cli.options import JsonOption, ModelOption, print_json
from tuneloop.cli.scores import score_json
from tuneloop.core.errors import ConfigError

if TYPE_CHECKING:
    from tuneloop.core.hooks import Hooks
    from tuneloop.evaluate.claims.checker import Checker
    from tuneloop.evaluate.metrics.options import MetricOptions
    from tuneloop.evaluate.score import ScoreReport

_METRIC_HELP = (
    "bleu, chrf, rouge (1, 2, L, Lsum), codebleu, exact_match, f1, accuracy:yes|no|maybe, gsm8k, choice, json, "
    "citation, pass@K, perplexity, agreement, hallucination, logic"
)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(score)


def score(  # noqa: PLR0913 - each is an option of the command
    metric: Annotated[str, typer.Argument(help=_METRIC_HELP)],
    predictions: Annotated[
        Path | None, typer.Option("--predictions", help="Answers, one a line; or JSONL. pass@K: lists of programs.")
    ] = None,
    references: Annotated[
        Path | None, typer.Option("--references", help="As many lines; JSONL may hold lists. pass@K: tests.")
    ] = None,
    against: Annotated[
        Path | None, typer.Option("--against", help="Other answers: the difference, paired, with a p-value.")
    ] = None,
    language: Annotated[
        str, typer.Option("--lang", help="en, zh or auto; for codebleu python, java, javascript, c, cpp, go, rust ...")
    ] = "auto",
    mode: Annotated[
        Literal["strict", "compat"], typer.Option("--mode", help="codebleu: compat is the published package's number.")
    ] = "strict",
    weights: Annotated[
        str | None, typer.Option("--weights", help="codebleu: of its four parts, as 0.25,0.25,0.25,0.25.")
    ] = None,
    schema: Annotated[Path | None, typer.Option("--schema", help="json: a JSON schema that answers must fit.")] = None,
    statutes: Annotated[
        Path | None, typer.Option("--statutes", help="citation: the statute book, JSONL, an article a row.")
    ] = None,
    timeout_s: Annotated[float, typer.Option("--timeout", min=0.1, help="pass@K: seconds of a program.")] = 3.0,
    ratings: Annotated[
        Path | None,
        typer.Option("--ratings", help="agreement: CSV, a row a rater, a column an item, empty for missing."),
    ] = None,
    scale: Annotated[
        Literal["nominal", "ordinal", "interval"], typer.Option("--scale", help="agreement: what the ratings are.")
    ] = "nominal",
    model: ModelOption = None,
    checker: Annotated[
        str,
        typer.Option(
            "--checker",
            help="hallucination, logic: auto, embedded, embeddings, nli:CLASSIFIER, or judge:FILE.yaml of an endpoint.",
        ),
    ] = "auto",
    calls: Annotated[
        Path | None, typer.Option("--calls", help="judge: where its calls are kept, so that none is paid twice.")
    ] = None,
    items: Annotated[bool, typer.Option("--items", help="The value of each line too.")] = False,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of the resamples of intervals.")] = 0,
    as_json: JsonOption = False,
) -> None:
    """Score answers, with a 95 % interval and the signature of what was computed."""
    from tuneloop.evaluate.metrics.options import MetricOptions

    options = MetricOptions(
        code_language="python" if language == "auto" else language,
        code_weights=_parse_weights(weights),
        code_mode=mode,
        json_schema=schema,
        statutes=statutes,
        timeout_s=timeout_s,
    )
    match metric:
        case "agreement":
            _show(_agreement(_need(ratings, "--ratings", metric), scale, seed), as_json=as_json)
        case "perplexity":
            _show(_perplexity(_need(predictions, "--predictions", metric), model, seed, items=items), as_json=as_json)
        case "hallucination":
            answers, shown = _need(predictions, "--predictions", metric), _Shown(seed, items=items, as_json=as_json)
            _hallucination(answers, references, _Asked(checker, calls), shown)
        case "logic":
            answers, shown = _need(predictions, "--predictions", metric), _Shown(seed, items=items, as_json=as_json)
            _logic(answers, _Asked(checker, calls), shown)
        case _:
            files = _Files(
                _need(predictions, "--predictions", metric), _need(references, "--references", metric), against
            )
            _score_texts(metric, files, language, options, _Shown(seed, items=items, as_json=as_json))


@dataclass(frozen=True)
class _Files:
    predictions: Path
    references: Path
    against: Path | None


@dataclass(frozen=True)
class _Shown:
    seed: int
    items: bool
    as_json: bool


@dataclass(frozen=True)
class _Asked:
    """The checker of claims that was asked for."""

    name: str
    calls: Path | None

    def build(self, hooks: "Hooks") -> "Checker":
        from tuneloop.evaluate.claims.build import JUDGE_CALLS, build_checker

        return build_checker(self.name, calls=self.calls or JUDGE_CALLS, hooks=hooks)


def _need(path: Path | None, option: str, metric: str) -> Path:
    if path is None:
        raise ConfigError(f"score {metric} needs {option}.")
    return path


def _parse_weights(text: str | None) -> tuple[float, float, float, float]:
    if text is None:
        return (0.25, 0.25, 0.25, 0.25)
    try:
        first, second, third, fourth = (float(part) for part in text.split(","))
    except ValueError as error:
        raise ConfigError(f"--weights {text}: four numbers that add up to 1, as in 0.25,0.25,0.25,0.25.") from error
    return first, second, third, fourth


def _score_texts(metric: str, files: _Files, language: str, options: "MetricOptions", shown: _Shown) -> None:
    from tuneloop.evaluate.score import score_files

    # For codebleu --lang is a language of programs, and references are not looked at for theirs.
    texts_language = "en" if metric.partition(":")[0] == "codebleu" else language
    reports = score_files(
        metric,
        files.predictions,
        files.references,
        language=texts_language,
        seed=shown.seed,
        options=options,
        against=files.against,
    )
    if shown.as_json:
        values = [_report_json(report, items=shown.items) for report in reports]
        print_json(values[0] if len(values) == 1 else {"metric": metric, "scores": values})
        return
    for report in reports:
        _print_report(report, items=shown.items)


def _report_json(report: "ScoreReport", *, items: bool) -> dict[str, Any]:
    value = score_json(report.score)
    if report.comparison is not None:
        value["comparison"] = report.comparison.model_dump(mode="json", exclude={"metric"})
    return value | ({"items": list(report.items)} if items else {})


def _print_report(report: "ScoreReport", *, items: bool) -> None:
    found = report.score
    interval = f" [{found.interval.low:.4g}, {found.interval.high:.4g}]" if found.interval else ""
    typer.echo(f"{found.metric} {found.value:.4f}{interval} n={found.n} {found.signature}")
    for name, value in found.parts.items():
        typer.echo(f"  {name} {value:.4f}")
    if report.comparison is not None:
        ends = report.comparison.interval
        between = f" [{ends.low:+.4g}, {ends.high:+.4g}]" if ends else ""
        chance = "" if report.comparison.p_value is None else f" p={report.comparison.p_value:.3g}"
        typer.echo(f"  against the others {report.comparison.difference:+.4f}{between}{chance}")
    if items:
        for number, value in enumerate(report.items, start=1):
            typer.echo(f"  {number}: {value:.4f}")


def _agreement(path: Path, scale: Literal["nominal", "ordinal", "interval"], seed: int) -> dict[str, Any]:
    from tuneloop.evaluate.agreement import agreement
    from tuneloop.evaluate.ratings import read_ratings

    return agreement(read_ratings(path), scale, seed).model_dump(mode="json")


def _perplexity(path: Path, model: str | None, seed: int, *, items: bool) -> dict[str, Any]:
    from tuneloop.pipeline.perplexity import measure_perplexity

    if model is None:
        raise ConfigError("score perplexity needs --model: whose perplexity it is.")
    report = measure_perplexity(model, path, seed=seed)
    return _report_json(report, items=items)


def _hallucination(answers: Path, sources: Path | None, asked: _Asked, shown: _Shown) -> None:
    from tuneloop.cli.claims_view import hallucination_lines
    from tuneloop.cli.progress import console_hooks
    from tuneloop.evaluate.claims.score import score_hallucination

    with console_hooks() as hooks:
        measured = score_hallucination(answers, sources, asked.build(hooks), seed=shown.seed, hooks=hooks)
    claims = [
        {"answer": each.answer + 1, "claim": each.text, "supported": each.verdict.supported, "why": each.verdict.why}
        for each in measured.claims
    ]
    _show_claims(measured.report.as_json(), hallucination_lines(measured.report), claims, shown)


def _logic(answers: Path, asked: _Asked, shown: _Shown) -> None:
    from tuneloop.cli.claims_view import logic_lines
    from tuneloop.cli.progress import console_hooks
    from tuneloop.evaluate.claims.score import score_logic

    with console_hooks() as hooks:
        measured = score_logic(answers, asked.build(hooks), seed=shown.seed, hooks=hooks)
    steps = [
        {
            "answer": each.answer + 1,
            "conclusion": each.step.conclusion,
            "entailed": each.verdict.supported,
            "why": each.verdict.why,
        }
        for each in measured.steps
    ]
    _show_claims(measured.report.as_json(), logic_lines(measured.report), steps, shown)


def _show_claims(values: dict[str, Any], lines: list[str], items: list[dict[str, Any]], shown: _Shown) -> None:
    if shown.as_json:
        print_json(values | ({"items": items} if shown.items else {}))
        return
    for line in lines:
        typer.echo(line)
    for item in items if shown.items else ():
        typer.echo("  " + "  ".join(str(value) for value in item.values()))


def _show(values: dict[str, Any], *, as_json: bool) -> None:
    """A report of nested values: as JSON, or a line a value."""
    if as_json:
        print_json(values)
        return
    for line in _lines(values):
        typer.echo(line)


def _lines(values: dict[str, Any], indent: str = "") -> list[str]:
    lines = []
    for name, value in values.items():
        match value:
            case {"low": float() as low, "high": float() as high}:
                lines.append(f"{indent}{name} [{low:.4g}, {high:.4g}]")
            case {"value": None, "reason": str() as reason}:
                lines.append(f"{indent}{name} -  {reason}")
            case {"value": float() as number, "reason": ""}:
                lines.append(f"{indent}{name} {number:.4f}")
            case dict():
                lines += [f"{indent}{name}", *_lines(value, indent + "  ")]
            case [{**first}, *_] if first:
                for each in value:
                    lines += [f"{indent}{name}", *_lines(each, indent + "  ")]
            case float():
                lines.append(f"{indent}{name} {value:.4f}")
            case None | "":
                continue
            case _:
                lines.append(f"{indent}{name} {value}")
    return lines
