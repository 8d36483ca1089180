"""Scores in the terminal and for scripts."""

from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from tuneloop.evaluate.records import Comparison, Score


def score_json(score: "Score") -> dict[str, Any]:
    """What scripts are answered of a score."""
    return score.model_dump(mode="json", include={"metric", "value", "interval", "n", "signature", "parts"})


def print_scores(scores: "tuple[Score, ...]", comparisons: "tuple[Comparison, ...]") -> None:
    """A table of a run's scores, beside those of its base where they are compared."""
    before = {comparison.metric: comparison for comparison in comparisons}
    typer.echo(f"\n{'metric':<22}{'base':>9}{'tuned':>9}   95 % interval of the difference" if before else "")
    for score in scores:
        name = f"{score.metric:<22}"
        if (comparison := before.get(score.metric)) is None:
            interval = f"   [{score.interval.low:.3f}, {score.interval.high:.3f}]" if score.interval else ""
            typer.echo(f"{name}{score.value:>9.3f}{interval}   n={score.n}")
            continue
        ends = comparison.interval
        word = "better" if comparison.is_better else "worse" if comparison.is_worse else "no clear difference"
        between = f"[{ends.low:+.3f}, {ends.high:+.3f}]" if ends else "one row"
        typer.echo(f"{name}{comparison.before:>9.3f}{score.value:>9.3f}   {between}  {word}")
    if scores:
        typer.echo(f"on {scores[0].n} held-out rows")
