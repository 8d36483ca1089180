"""`tuneloop plan`: memory and time of a recipe before anything is paid for."""

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tuneloop.cli.options import JsonOption, RecipeArgument, SetOption, print_json

if TYPE_CHECKING:
    from tuneloop.pipeline.planning import Estimate, Planning, Way

_GIB = 2**30


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(plan)


def plan(
    recipe: RecipeArgument,
    overrides: SetOption = None,
    memory: Annotated[str | None, typer.Option("--memory", help="What may be used: 24GiB, 24GB, 24000MB.")] = None,
    device: Annotated[
        str | None,
        typer.Option("--device", help="cpu, cuda, or a card: H200, H100, A100, L40S, A6000, L4, 4090, 3090."),
    ] = None,
    probe: Annotated[
        bool, typer.Option("--probe", help="Load the model and do two steps, to measure instead of estimating.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Estimate memory and time of every way of tuning, and say which change makes the recipe fit."""
    from tuneloop.core.stop import stop_on_signals
    from tuneloop.model.source import cache_folder, environment
    from tuneloop.pipeline.folder import RunFolder
    from tuneloop.pipeline.planning import plan_run
    from tuneloop.pipeline.session import Session
    from tuneloop.plan import load_plan

    loaded = load_plan(recipe, overrides or [])
    with tempfile.TemporaryDirectory(prefix="tuneloop-") as place, stop_on_signals() as stop:
        folder = RunFolder(Path(place))
        with folder.work(loaded, recipe.parent, ()) as log:
            session = Session(loaded, recipe.parent, folder, cache_folder(environment()), log, stop)
            answer = plan_run(session, device=device, memory=memory, probe=probe)
    print_json(answer.as_json()) if as_json else _print(answer)


def _print(answer: "Planning") -> None:
    from tuneloop.pipeline.planning import set_lines

    target = answer.target
    precision = "float32" if target.autocast_dtype is None else "bf16 products"
    typer.echo(f"{target.name}, {target.memory_bytes / _GIB:.1f} GiB, {precision}; speed: {target.basis}\n")
    width = max(len(way.name) for way in answer.ways)
    heads = ("moving", "weights", "grads", "optim", "acts", "rest", "GiB", "time")
    typer.echo(f"{'':<{width}}  " + " ".join(f"{head:>8}" for head in heads))
    for way in answer.ways:
        typer.echo(f"{way.name:<{width}}  " + (_line(way.estimate, way) if way.estimate else f"- {way.problem}"))
    if answer.probe:
        typer.echo(
            f"\nmeasured: peak {answer.probe.peak_bytes / _GIB:.2f} GiB, {answer.probe.step_s:.1f} s for "
            f"{answer.probe.tokens:,} tokens, so {_duration(answer.probe.time_s)} for the run"
        )
    own = answer.ways[0]
    if own.estimate is None:
        return
    if own.fits:
        typer.echo("\nThe recipe fits.")
    elif answer.patched is None:
        typer.echo("\nThe recipe does not fit, and no change of it was found that does. Take a smaller model.")
    else:
        typer.echo(
            f"\nThe recipe does not fit. With this it needs about {answer.patched.memory.total / _GIB:.2f} GiB and "
            f"{_duration(answer.patched.time_s)}:"
        )
        for line in set_lines(answer.patch):
            typer.echo(f"  {line}")


def _line(estimate: "Estimate", way: "Way") -> str:
    memory = estimate.memory
    parts = (memory.weights, memory.gradients, memory.optimizer, memory.activations, memory.rest, memory.total)
    moving = f"{100 * estimate.trainable / estimate.total:.2f}%"
    sizes = " ".join(f"{part / _GIB:>8.2f}" for part in parts)
    return f"{moving:>8} {sizes} {_duration(estimate.time_s):>8}  {'fits' if way.fits else 'does not fit'}"


def _duration(seconds: float) -> str:
    if seconds < 60:  # noqa: PLR2004 - seconds of a minute
        return f"{seconds:.0f} s"
    minutes = seconds / 60
    return f"{minutes:.0f} min" if minutes < 90 else f"{minutes / 60:.1f} h"  # noqa: PLR2004 - as people say it
