"""`tuneloop score`: a metric over two files; no model is needed."""

from pathlib import Path
from typing import Annotated

import typer

from tuneloop.cli.options import JsonOption, print_json


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(score)


def score(
    metric: Annotated[
        str, typer.Argument(help="bleu, chrf, rouge, rouge1, rouge2, rougeL, exact_match, accuracy:yes|no|maybe")
    ],
    predictions: Annotated[Path, typer.Option("--predictions", help="Text, one answer a line; or JSONL.")],
    references: Annotated[Path, typer.Option("--references", help="The same number of lines; JSONL may hold lists.")],
    language: Annotated[str, typer.Option("--lang", help="en, zh or auto.")] = "auto",
    items: Annotated[bool, typer.Option("--items", help="The value of each line too.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Score answers against references, with a 95 % interval and the signature of what was computed."""
    from tuneloop.evaluate.score import score_files

    reports = score_files(metric, predictions, references, language=language)
    values = []
    for report in reports:
        value = report.score.model_dump(mode="json", include={"metric", "value", "interval", "n", "signature"})
        values.append(value | ({"items": list(report.items)} if items else {}))
    if as_json:
        print_json(values[0] if len(values) == 1 else {"metric": metric, "scores": values})
        return
    for report in reports:
        found = report.score
        interval = f" [{found.interval.low:.4g}, {found.interval.high:.4g}]" if found.interval else ""
        typer.echo(f"{found.metric} {found.value:.4f}{interval} n={found.n} {found.signature}")
        if items:
            for number, value in enumerate(report.items, start=1):
                typer.echo(f"  {number}: {value:.4f}")
