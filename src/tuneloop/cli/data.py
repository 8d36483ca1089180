"""`tuneloop data check` and `tuneloop data show`: what is in the files, and what the model will see of it."""

import itertools
from pathlib import Path
from typing import Annotated, Any

import typer

from tuneloop.cli.options import JsonOption, ModelOption, SetOption, print_json
from tuneloop.core.errors import DataError

app = typer.Typer(help="Look at labelled rows before training on them.", no_args_is_help=True, rich_markup_mode=None)

_FilesArgument = Annotated[list[str], typer.Argument(metavar="FILE...", help="Files of rows, or one recipe (.yaml).")]
_SHOWN_PROBLEMS = 20


@app.command()
def check(  # noqa: PLR0913 - each is an option of the command
    files: _FilesArgument,
    model: ModelOption = None,
    format_name: Annotated[str, typer.Option("--format", help="auto, alpaca, sharegpt or messages.")] = "auto",
    cutoff_len: Annotated[int, typer.Option("--cutoff-len", help="Longest row in tokens, with --model.")] = 1024,
    template: Annotated[str, typer.Option("--template", help="The chat template, with --model.")] = "auto",
    strict: Annotated[bool, typer.Option("--strict", help="Stop at the first bad row, with exit code 2.")] = False,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Read every row and say what is kept, what is left out, and why. With --model, lengths and targets too."""
    from tuneloop.pipeline.inspection import check_files, check_recipe

    if _is_recipe(files):
        result = check_recipe(Path(files[0]), overrides or [])
    else:
        section = {
            "train": [{"path": name, "format": format_name} for name in files],
            "strict": strict,
            "cutoff_len": cutoff_len,
            "template": template,
        }
        result = check_files(section, model)
    if as_json:
        print_json(result.as_json())
        return
    for file in result.files:
        reasons = "".join(f" + {code} {number}" for code, number in file.problems.items())
        typer.echo(f"{file.path} ({file.format}): read {file.read} = kept {file.kept}{reasons}")
    for problem in result.problems[:_SHOWN_PROBLEMS]:
        typer.echo(f"  {problem}")
    if len(result.problems) > _SHOWN_PROBLEMS:
        typer.echo(f"  ... and {len(result.problems) - _SHOWN_PROBLEMS} more: --json lists them all.")
    for name, split in (("train", result.train), ("held out", result.eval)):
        if split is not None and split.lengths is not None:
            typer.echo(
                f"{name}: {split.rows} rows, {split.tokens:,} tokens, {split.target_tokens:,} of them targets "
                f"({100 * split.target_tokens / split.tokens:.0f} %); a row has {split.lengths.mean:g} tokens on "
                f"average, {split.lengths.longest} at most"
            )
    for note in result.notes:
        typer.echo(f"note: {note}")


@app.command()
def show(
    files: _FilesArgument,
    model: ModelOption = None,
    rows: Annotated[int, typer.Option("--rows", min=1, help="How many rows.")] = 3,
    template: Annotated[str, typer.Option("--template", help="The chat template.")] = "auto",
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show rows token by token: what the model sees, what it is trained on, and with which weight."""
    from tuneloop.pipeline.inspection import show_files, show_recipe

    if _is_recipe(files):
        shown = show_recipe(Path(files[0]), overrides or [], rows)
    else:
        shown = show_files({"train": list(files), "template": template}, model, rows)
    if as_json:
        print_json({"template": shown.template, "contract_hash": shown.contract_hash, "rows": shown.rows})
        return
    _print_rows(shown.rows)
    typer.echo(f"template: {shown.template}; contract {shown.contract_hash[:12]}")
    for note in shown.notes:
        typer.echo(f"note: {note}")


def _is_recipe(files: list[str]) -> bool:
    recipes = [name for name in files if name.endswith((".yaml", ".yml"))]
    if recipes and len(files) > 1:
        raise DataError(f"{recipes[0]}: give one recipe, or files of rows, not both.")
    return bool(recipes)


def _print_rows(rows: list[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.text import Text

    console = Console(soft_wrap=True, highlight=False)
    # Where there are no colours (a pipe, a file) brackets say the same.
    opening, closing = ("", "") if console.is_terminal else ("⟦", "⟧")
    for row in rows:
        console.print(Text(f"{row['row']}: {len(row['tokens'])} tokens, {row['num_targets']} targets", style="bold"))
        text = Text()
        for weight, run in itertools.groupby(row["tokens"], key=lambda token: token["weight"]):
            styles = ("black on green", "black on bright_green") if weight > 0 else ("dim", "")
            text.append(opening if weight > 0 else "")
            for index, token in enumerate(run):
                # Neighbours differ in shade, so that the borders of tokens show.
                text.append(token["text"].replace("\n", "⏎\n"), style=styles[index % 2])
            text.append(closing if weight > 0 else "")
            # A weight other than 1 is written out.
            text.append(f"*{weight:g}" if weight not in {0.0, 1.0} else "", style="red")
        console.print(text)
        console.print()
    legend = Text.assemble((f"{opening}trained on{closing}", "black on green"), "  ", ("seen only", "dim"))
    console.print(legend)
