"""`tuneloop augment`: new rows that a teacher writes, checked before they are learned."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tuneloop.cli.options import JsonOption, print_json
from tuneloop.core.errors import ConfigError

if TYPE_CHECKING:
    from tuneloop.augment.critique.records import CritiqueRecord

app = typer.Typer(
    help="Write new rows: a teacher is asked once for each, whatever happens in between.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

_TEACHER_HELP = (
    "programmatic (arithmetic), a model's folder or name, an endpoint's URL (with --model), or a YAML file that "
    "describes an endpoint. Several: each criticises every answer."
)


@app.command()
def critique(  # noqa: PLR0913 - each is an option of the command
    rows: Annotated[Path, typer.Argument(help="Rows of question, answer and, if known, gold.")],
    teacher: Annotated[list[str], typer.Option("--teacher", help=_TEACHER_HELP)],
    out: Annotated[Path, typer.Option("--out", help="The new rows, JSONL; calls and record lie beside it.")],
    model: Annotated[str | None, typer.Option("--model", help="Of a URL: the name that it is asked for.")] = None,
    api_key_env: Annotated[
        str | None, typer.Option("--api-key-env", help="Of a URL: the environment variable that holds the key.")
    ] = None,
    column: Annotated[
        list[str] | None, typer.Option("--column", metavar="gold=answer", help="The file's own name of a column.")
    ] = None,
    match: Annotated[
        str, typer.Option("--match", help="When an answer is right: auto, gsm8k, exact_match, choice ...")
    ] = "auto",
    drop_wrong: Annotated[
        bool, typer.Option("--drop-wrong", help="Leave out critiques whose verdict the gold answer refutes.")
    ] = False,
    answers_from: Annotated[
        str | None, typer.Option("--answers-from", help="A model that answers the questions first, named as a teacher.")
    ] = None,
    num_answers: Annotated[int, typer.Option("--num-answers", min=1, help="With --answers-from: a question.")] = 1,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="So many questions, drawn by the seed.")] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of what is drawn by chance.")] = 0,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Count calls, tokens and cost; ask nothing.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Turn answers into critiques that end in a verdict, for critique fine-tuning (CFT, arXiv:2501.17703).

    The same command again goes on where it was cut off; nothing is paid twice.
    """
    from tuneloop.cli.progress import console_hooks
    from tuneloop.pipeline.critiques import CritiqueRun, plan_critiques, run_critiques

    run = CritiqueRun(
        rows=rows,
        out=out,
        teachers=tuple(teacher),
        model=model,
        api_key_env=api_key_env,
        columns=_columns(column or []),
        match=match,
        drop_wrong=drop_wrong,
        limit=limit,
        answers_from=answers_from,
        num_answers=num_answers,
        seed=seed,
    )
    if dry_run:
        _show_plans(teacher, plan_critiques(run), as_json=as_json)
        return
    with console_hooks() as hooks:
        record = run_critiques(run, hooks)
    if as_json:
        names = ("read", "asked", "kept", "problems", "verdicts", "teacher_error", "calls", "tokens", "cost")
        print_json(record.model_dump(mode="json", include=set(names)) | {"out": str(out), "record": str(run.record)})
        return
    for line in _lines(record):
        typer.echo(line)
    typer.echo(f"\nRows: {out}\nRecord: {run.record}")


def _columns(given: list[str]) -> dict[str, str]:
    columns = {}
    for pair in given:
        name, equals, own = pair.partition("=")
        if not equals or name not in {"question", "answer", "gold"}:
            raise ConfigError(f"--column {pair}: write question=, answer= or gold= and the file's own name.")
        columns[name] = own
    return columns


def _show_plans(teachers: list[str], plans: list[Any], *, as_json: bool) -> None:
    from dataclasses import asdict

    if as_json:
        print_json({"plans": [{"teacher": name} | asdict(plan) for name, plan in zip(teachers, plans, strict=True)]})
        return
    for name, plan in zip(teachers, plans, strict=True):
        cost = "" if plan.cost is None else f", at most {plan.cost:.4f}"
        typer.echo(
            f"{name}: {plan.calls} calls, {plan.in_log} of them in the log; {plan.input_tokens:,} tokens in, "
            f"at most {plan.output_tokens:,} out{cost}"
        )


def _lines(record: "CritiqueRecord") -> list[str]:
    for_each = " + ".join([f"kept {record.kept}", *(f"{code} {number}" for code, number in record.problems.items())])
    lines = [f"read {record.read} rows; asked {record.asked} = {for_each}"]
    lines.append(f"verdicts: right {record.verdicts['right']}, wrong {record.verdicts['wrong']}")
    if record.teacher_error is None:
        lines.append("no gold answers, so the teacher's verdicts could not be checked")
    else:
        error = record.teacher_error
        between = f"[{error.interval.low:.3f}, {error.interval.high:.3f}]"
        lines.append(f"verdicts that are not true: {error.value:.3f} {between}  n = {error.n}")
    lines.append(f"{record.calls} calls, {record.tokens:,} tokens, cost {record.cost:.4f}")
    return lines
