"""`tuneloop run`, and its stages alone: `train`, `export`, `report`, `schema`."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from tuneloop.cli.options import JsonOption, OutOption, RecipeArgument, SetOption, print_json
from tuneloop.cli.scores import print_scores, score_json
from tuneloop.core.errors import ConfigError, ExitCode

if TYPE_CHECKING:
    from tuneloop.core.events import Listener
    from tuneloop.pipeline.preview import Preview
    from tuneloop.pipeline.session import Session
    from tuneloop.plan import Plan

_AcceptOption = Annotated[
    bool,
    typer.Option(
        "--accept-changes", help="Go on although versions, threads or device differ from those of the checkpoint."
    ),
]
_DryRunOption = Annotated[
    bool, typer.Option("--dry-run", help="Show plan, rows, steps, weights that move and memory; train nothing.")
]
_ProfileOption = Annotated[
    int | None,
    typer.Option("--profile", metavar="N", min=1, help="Show where the time of N steps after the first goes."),
]
_RunArgument = Annotated[Path, typer.Argument(metavar="RUN", help="A run folder.")]
RoundOption = Annotated[int | None, typer.Option("--round", min=1, help="Which round; by default the accepted one.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(run)
    app.command()(train)
    app.command()(export)
    app.command()(report)
    app.command()(schema)


def run(  # noqa: PLR0913 - each is an option of the command
    recipe: RecipeArgument,
    overrides: SetOption = None,
    out: OutOption = None,
    dry_run: _DryRunOption = False,
    accept_changes: _AcceptOption = False,
    profile: _ProfileOption = None,
    as_json: JsonOption = False,
) -> None:
    """The whole loop: measure the base, train, measure again, accept or reject, export, report.

    The same command again goes on where it was cut off. Exit code 3: the gate kept the base model.
    """
    with open_recipe(
        recipe, overrides, out, accept_changes=accept_changes, dry_run=dry_run, profile=profile
    ) as session:
        if dry_run:
            _show_preview(session, as_json=as_json)
            return
        from tuneloop.pipeline.run import run_loop

        result = run_loop(session)
        folder = session.folder
        exports = sorted(str(folder.export(name)) for name in ("adapter", "merged") if folder.export(name).exists())
        if as_json:
            print_json(
                {
                    "accepted_round": result.accepted_round,
                    "reason": result.decisions[-1].reason,
                    "target_met": result.decisions[-1].target_met,
                    "rounds": len(result.decisions),
                    "before": [score_json(score) for score in result.before.scores],
                    "after": [score_json(score) for score in result.after.scores],
                    "report": str(folder.path / "report.html"),
                    "exports": exports,
                    "folder": str(folder.path),
                }
            )
        else:
            print_scores(result.after.scores, result.after.comparisons)
            for decision in result.decisions:
                verdict = "accepted" if decision.accepted else "rejected"
                typer.echo(f"Round {decision.round} {verdict}. {decision.reason}")
                typer.echo(f"  {decision.prescription.text if decision.prescription else decision.stop_reason}")
            typer.echo(f"\nReport:  {folder.path / 'report.html'}")
            for path in exports:
                typer.echo(f"Model:   {path}")
            if result.accepted_round:
                typer.echo(f"Chat:    tuneloop chat {folder.path}")
    if result.accepted_round is None:
        raise typer.Exit(ExitCode.REJECTED)


def train(  # noqa: PLR0913 - each is an option of the command
    recipe: RecipeArgument,
    overrides: SetOption = None,
    out: OutOption = None,
    resume: Annotated[bool, typer.Option("--resume", help="Insist on going on from a checkpoint.")] = False,
    dry_run: _DryRunOption = False,
    accept_changes: _AcceptOption = False,
    profile: _ProfileOption = None,
    as_json: JsonOption = False,
) -> None:
    """Train one round and stop: no evaluation by generation, no gate. The same command again goes on."""
    with open_recipe(
        recipe, overrides, out, accept_changes=accept_changes, dry_run=dry_run, profile=profile
    ) as session:
        if dry_run:
            _show_preview(session, as_json=as_json)
            return
        from tuneloop.pipeline.rounds import train_round
        from tuneloop.report.page import write_report
        from tuneloop.train.checkpoint import Checkpoints

        if resume and Checkpoints(session.folder.checkpoints(1)).newest()[0] is None:
            raise ConfigError(f"--resume: {session.folder.path} has no checkpoint to go on from. Leave --resume out.")
        record = train_round(session, session.plan, 1)
        write_report(session.folder.path)
        path = session.folder.path
        if as_json:
            print_json(
                record.model_dump(mode="json", exclude={"plan", "versions"})
                | {"folder": str(path), "hash": record.hash}
            )
            return
        typer.echo(
            f"{record.cost.steps} steps, {record.cost.tokens:,} tokens at {record.cost.tokens_per_s:,.0f} a second, "
            f"peak memory {record.cost.peak_memory_bytes / 2**30:.1f} GiB"
        )
        validation = "" if record.validation_loss is None else f", validation loss {record.validation_loss:.4f}"
        learned = "" if record.train_loss is None else f", train loss {record.train_loss:.4f}"
        typer.echo(f"kept: step {record.step}{learned}{validation}")
        typer.echo(f"\nMeasure: tuneloop eval {path}\nExport:  tuneloop export {path}\nChat:    tuneloop chat {path}")


def export(
    folder: _RunArgument,
    kind: Annotated[
        Literal["adapter", "merged"] | None, typer.Option("--format", help="By default what the recipe names.")
    ] = None,
    number: RoundOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write a run's model for others: an adapter, a merged folder; each checked against the trained model."""
    from tuneloop.pipeline.export import export_round
    from tuneloop.tune.config import export_formats

    with open_folder(folder) as session:
        number = number or newest_round(session)
        if number is None:
            raise ConfigError(f"{folder}: nothing was trained yet. First: tuneloop train RECIPE --out {folder}")
        plan = _plan_of_round(session, number)
        if kind and (reason := export_formats(plan.tune)[kind]):
            raise ConfigError(f"--format {kind}: {reason}")
        formats = (kind,) if kind else plan.deploy.export
        for name in formats:
            if reason := export_formats(plan.tune)[name]:
                typer.echo(f"{name} left out: {reason}", err=True)
        records = export_round(session, plan, number, formats)
    if as_json:
        print_json(
            {"round": number, "exports": [record.model_dump(mode="json", exclude={"plan"}) for record in records]}
        )
        return
    for record in records:
        typer.echo(
            f"{record.format}: {session.folder.path / record.folder} (logits differ by at most "
            f"{record.max_logit_difference:.1e} on {record.probes} prompts)"
        )


def report(
    folder: _RunArgument,
    language: Annotated[Literal["en", "zh"], typer.Option("--language", help="Of headings and sentences.")] = "en",
) -> None:
    """Write report.html of a run again, perhaps in another language."""
    from tuneloop.pipeline.folder import RunFolder
    from tuneloop.report.page import write_report

    RunFolder(folder).load_plan()
    typer.echo(str(write_report(folder, language=language)))


def schema() -> None:
    """Print the JSON schema of recipes, for editors."""
    from tuneloop.plan import Plan

    print_json({"$schema": "https://json-schema.org/draft/2020-12/schema"} | Plan.model_json_schema())


@contextmanager
def open_recipe(
    recipe: Path,
    overrides: list[str] | None,
    out: Path | None,
    *,
    accept_changes: bool,
    dry_run: bool,
    profile: int | None = None,
) -> "Iterator[Session]":
    """A session over a recipe's run folder; a dry run leaves nothing behind."""
    from tuneloop.plan import load_plan

    plan = load_plan(recipe, overrides or [])
    for line in plan.advice():
        typer.echo(f"advice: {line}", err=True)
    if dry_run:
        import tempfile

        with (
            tempfile.TemporaryDirectory(prefix="tuneloop-") as folder,
            _session(plan, recipe.parent, Path(folder), accept_changes=False, quiet=True) as session,
        ):
            yield session
        return
    path = out or Path("runs") / plan.name
    with _session(plan, recipe.parent, path, accept_changes=accept_changes, profile=profile) as session:
        yield session


@contextmanager
def open_folder(path: Path) -> "Iterator[Session]":
    """A session over a run folder that is there."""
    from tuneloop.pipeline.folder import RunFolder

    folder = RunFolder(path)
    with _session(folder.load_plan(), folder.recipe_folder(), path, accept_changes=False) as session:
        yield session


@contextmanager
def _session(
    plan: "Plan",
    recipe_folder: Path,
    path: Path,
    *,
    accept_changes: bool,
    quiet: bool = False,
    profile: int | None = None,
) -> "Iterator[Session]":
    from tuneloop.cli.progress import ConsoleProgress
    from tuneloop.core.stop import stop_on_signals
    from tuneloop.model.source import cache_folder, environment
    from tuneloop.pipeline.folder import RunFolder
    from tuneloop.pipeline.profile import Profiler
    from tuneloop.pipeline.session import Session
    from tuneloop.pipeline.tensorboard import TensorBoard

    folder = RunFolder(path)
    console = ConsoleProgress()
    with ExitStack() as stack:
        board = stack.enter_context(TensorBoard(path / "tensorboard"))
        listeners: tuple[Listener, ...] = () if quiet else (console, board)
        if profile is not None:
            # Told last, so that it does not watch what the others do with an event.
            listeners += (stack.enter_context(Profiler(path / "profile", profile, console.say)),)
        stop = stack.enter_context(stop_on_signals())
        with folder.work(plan, recipe_folder, listeners) as log:
            yield Session(plan, recipe_folder, folder, cache_folder(environment()), log, stop, accept_changes)


def newest_round(session: "Session") -> int | None:
    """The accepted round, else the last one that was trained."""
    accepted = session.folder.accepted_round()
    return accepted or max(session.folder.rounds("checkpoint"), default=None)


def _plan_of_round(session: "Session", number: int) -> "Plan":
    from tuneloop.pipeline.run import plan_of_round

    return plan_of_round(session, number)


def _show_preview(session: "Session", *, as_json: bool) -> None:
    from tuneloop.pipeline.preview import preview_run

    preview = preview_run(session)
    print_json(preview.as_json()) if as_json else _print_preview(preview)


def _print_preview(preview: "Preview") -> None:
    import yaml

    typer.echo(yaml.safe_dump(preview.plan.model_dump(mode="json"), sort_keys=False, allow_unicode=True))
    for file in preview.files:
        reasons = "".join(f" + {code} {number}" for code, number in file.problems.items())
        typer.echo(f"{file.path} ({file.format}): read {file.read} = kept {file.kept}{reasons}")
    for name, split in (("train", preview.train), ("held out", preview.eval)):
        typer.echo(f"{name}: {split.rows} rows, {split.tokens:,} tokens, {split.target_tokens:,} targets")
    typer.echo(f"template: {preview.template}; contract {preview.contract_hash[:12]}")
    share = 100 * preview.trainable_parameters / preview.total_parameters
    typer.echo(
        f"tune: {preview.tune}: {preview.trainable_parameters:,} of {preview.total_parameters:,} weights "
        f"({share:.2f} %)"
    )
    for number, (steps, rate) in enumerate(zip(preview.steps, preview.learning_rates, strict=True), start=1):
        typer.echo(f"stage {number}: {steps} steps, learning rate {rate:g}")
    memory = preview.memory
    gib = 2**30
    typer.echo(
        f"memory on {preview.device} in {preview.precision}: about {memory.total / gib:.1f} GiB (weights "
        f"{memory.weights / gib:.2f}, gradients {memory.gradients / gib:.2f}, optimiser {memory.optimizer / gib:.2f}, "
        f"activations {memory.activations / gib:.2f}, rest {memory.rest / gib:.2f})"
    )
