"""`tuneloop judge`: a model behind an endpoint compares or rates answers; every call is kept and paid once."""

import os
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from tuneloop.cli.options import JsonOption, print_json

if TYPE_CHECKING:
    from tuneloop.evaluate.judge.config import JudgeConfig
    from tuneloop.evaluate.judge.records import JudgeRecord
    from tuneloop.generate.endpoint import CallPlan

app = typer.Typer(
    help="Let a model behind an endpoint judge answers, with both orders, intervals, cost and agreement with people.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

_ConfigOption = Annotated[
    Path | None, typer.Option("--config", help="A YAML file of the judge: endpoint, criteria, runs ...")
]
_SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="A.B=C", help="Change one field of the judge, as endpoint.concurrency=16."),
]
_JudgeOption = Annotated[str | None, typer.Option("--judge", metavar="URL", help="The part before /chat/completions.")]
_NameOption = Annotated[str | None, typer.Option("--model", metavar="NAME", help="The judge's name at its endpoint.")]
_KeyOption = Annotated[
    str | None, typer.Option("--api-key-env", metavar="VARIABLE", help="The environment variable with the key.")
]
_PromptsOption = Annotated[
    Path | None, typer.Option("--prompts", help="One prompt a line, where the answers' file does not hold them.")
]
_ReferencesOption = Annotated[Path | None, typer.Option("--references", help="One right answer a line, for the judge.")]
_OutOption = Annotated[Path, typer.Option("--out", help="The folder of calls, verdicts and record.")]
_DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Count calls, tokens and cost; ask nothing.")]

RowT = TypeVar("RowT")


@app.command()
def pairs(  # noqa: PLR0913 - each is an option of the command
    a: Annotated[Path, typer.Option("--a", help="Answers A: text, one a line, or JSONL, as samples.jsonl of a run.")],
    b: Annotated[Path, typer.Option("--b", help="Answers B to the same prompts.")],
    prompts: _PromptsOption = None,
    references: _ReferencesOption = None,
    human: Annotated[
        Path | None, typer.Option("--human", help="Verdicts of people: JSONL or CSV of id, verdict (a, b, tie).")
    ] = None,
    judge: _JudgeOption = None,
    model: _NameOption = None,
    api_key_env: _KeyOption = None,
    config: _ConfigOption = None,
    overrides: _SetOption = None,
    out: _OutOption = Path("runs/judge-pairs"),
    dry_run: _DryRunOption = False,
    as_json: JsonOption = False,
) -> None:
    """Say which of two answers is better, for every prompt and in both orders.

    The same command again goes on where it was cut off.
    """
    from tuneloop.evaluate.judge.human import read_human_verdicts
    from tuneloop.evaluate.judge.rows import read_pairs
    from tuneloop.evaluate.judge.run import judge_pairs, plan_pairs

    chosen = _read_config(config, overrides, judge, model, api_key_env)
    rows = read_pairs(a, b, prompts, references)
    humans = read_human_verdicts(human) if human is not None else []
    if dry_run:
        _show_plan(plan_pairs(chosen, rows, out), chosen, as_json=as_json)
        return
    _show(_run(judge_pairs, chosen, rows, out, humans), out, as_json=as_json)


@app.command()
def rubric(  # noqa: PLR0913 - each is an option of the command
    answers: Annotated[
        Path, typer.Option("--answers", help="Text, one answer a line, or JSONL, as samples.jsonl of a run.")
    ],
    prompts: _PromptsOption = None,
    references: _ReferencesOption = None,
    human: Annotated[
        Path | None, typer.Option("--human", help="Ratings of people: JSONL or CSV of id, criterion, score.")
    ] = None,
    judge: _JudgeOption = None,
    model: _NameOption = None,
    api_key_env: _KeyOption = None,
    config: _ConfigOption = None,
    overrides: _SetOption = None,
    out: _OutOption = Path("runs/judge-rubric"),
    dry_run: _DryRunOption = False,
    as_json: JsonOption = False,
) -> None:
    """Rate answers from 1 to 5 by criteria: those of --config, or three that fit most answers.

    The same command again goes on where it was cut off.
    """
    from tuneloop.evaluate.judge.human import read_human_scores
    from tuneloop.evaluate.judge.rows import read_answers
    from tuneloop.evaluate.judge.run import judge_rubric, plan_rubric

    chosen = _read_config(config, overrides, judge, model, api_key_env)
    rows = read_answers(answers, prompts, references)
    humans = read_human_scores(human) if human is not None else []
    if dry_run:
        _show_plan(plan_rubric(chosen, rows, out), chosen, as_json=as_json)
        return
    _show(_run(judge_rubric, chosen, rows, out, humans), out, as_json=as_json)


def _read_config(
    path: Path | None, overrides: list[str] | None, judge: str | None, model: str | None, api_key_env: str | None
) -> "JudgeConfig":
    """The file, then the options, then `--set`."""
    from tuneloop.core.config import Source, load_source, parse_config, set_value
    from tuneloop.core.errors import ConfigError
    from tuneloop.evaluate.judge.config import JudgeConfig

    source = load_source(path) if path is not None else Source("the judge", {})
    given = {"base_url": ("--judge", judge), "model": ("--model", model), "api_key_env": ("--api-key-env", api_key_env)}
    for field, (option, value) in given.items():
        if value is not None:
            endpoint = source.values.setdefault("endpoint", {})
            if not isinstance(endpoint, dict):
                raise ConfigError(f"{source.where(('endpoint',))}: endpoint is a mapping of base_url, model ...")
            endpoint[field] = value
            source.lines["endpoint", field] = option
    for override in overrides or []:
        set_value(source, override)
    endpoint = source.values.get("endpoint")
    if not isinstance(endpoint, dict) or not {"base_url", "model"} <= endpoint.keys():
        raise ConfigError("no judge is named. Give --judge URL and --model NAME, or --config with endpoint.")
    return parse_config(JudgeConfig, source)


def _run(
    judge: Callable[..., "JudgeRecord"],
    config: "JudgeConfig",
    rows: Sequence[RowT],
    out: Path,
    humans: Sequence[Any],
) -> "JudgeRecord":
    from tuneloop.cli.progress import console_hooks

    key = config.endpoint.read_key(os.environ)
    with console_hooks() as hooks:
        return judge(config, rows, out, key=key, hooks=hooks, humans=humans)


def _show(record: "JudgeRecord", out: Path, *, as_json: bool) -> None:
    from tuneloop.evaluate.judge.report import render_judgement

    if as_json:
        print_json(record.as_json() | {"folder": str(out)})
        return
    for line in render_judgement(record):
        typer.echo(line)
    typer.echo(f"verdicts: {out / record.verdicts}")


def _show_plan(plan: "CallPlan", config: "JudgeConfig", *, as_json: bool) -> None:
    from tuneloop.evaluate.judge.report import render_plan

    if as_json:
        print_json(asdict(plan))
        return
    for line in render_plan(plan, config.endpoint):
        typer.echo(line)
