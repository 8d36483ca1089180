"""`tuneloop data`: what is in the files, what the model will see of it, and the same rows in another format."""

import itertools
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tuneloop.cli.options import JsonOption, ModelOption, SetOption, print_json
from tuneloop.core.errors import DataError

if TYPE_CHECKING:
    from rich.console import Console

app = typer.Typer(help="Look at labelled rows before training on them.", no_args_is_help=True, rich_markup_mode=None)

_FilesArgument = Annotated[
    list[str], typer.Argument(metavar="FILE...", help="Files, folders or patterns of rows, or one recipe (.yaml).")
]
_FormatOption = Annotated[str, typer.Option("--format", help="The format of the rows; auto looks at their keys.")]
_ColumnsOption = Annotated[
    list[str] | None,
    typer.Option("--columns", help="What the file calls a field: --columns instruction=ask,output=answer."),
]
_PersonalOption = Annotated[
    str, typer.Option("--personal", help="Rows with personal data or secrets: keep, mask or drop.")
]
_SHOWN_PROBLEMS = 20


@app.command()
def check(  # noqa: PLR0913 - each is an option of the command
    files: _FilesArgument,
    eval_files: Annotated[
        list[str] | None, typer.Option("--eval", help="Held-out rows, to look for leaks; may be given more than once.")
    ] = None,
    model: ModelOption = None,
    format_name: _FormatOption = "auto",
    columns: _ColumnsOption = None,
    cutoff_len: Annotated[int, typer.Option("--cutoff-len", help="Longest row in tokens, with --model.")] = 1024,
    template: Annotated[str, typer.Option("--template", help="The chat template, with --model.")] = "auto",
    personal: _PersonalOption = "keep",
    html: Annotated[Path | None, typer.Option("--html", help="Write a page with plots to this file.")] = None,
    language: Annotated[str, typer.Option("--lang", help="Language of the page: en or zh.")] = "en",
    strict: Annotated[bool, typer.Option("--strict", help="Stop at the first bad row, with exit code 2.")] = False,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Read every row and say what is kept, what is left out and why, and what looks wrong with the rest.

    With --model, lengths and targets too; with --eval, rows that leak.
    """
    from rich.console import Console

    from tuneloop.cli.check_view import print_report
    from tuneloop.pipeline.inspection import check_files, check_recipe
    from tuneloop.report.data_page import parse_language, write_data_page

    parse_language(language)
    if _is_recipe(files):
        result = check_recipe(Path(files[0]), overrides or [])
    else:
        section = {
            "train": _specs(files, format_name, columns),
            "eval": _specs(eval_files or [], format_name, columns),
            "strict": strict,
            "cutoff_len": cutoff_len,
            "template": template,
            "personal": personal,
        }
        result = check_files(section, model)
    if html is not None:
        write_data_page(html, result.report, language=language, problems=result.problems)
    if as_json:
        print_json(result.as_json())
        return
    print_report(result.report, result.problems, Console(highlight=False))
    if html is not None:
        typer.echo(f"page: {html}")


@app.command()
def show(  # noqa: PLR0913 - each is an option of the command
    files: _FilesArgument,
    model: ModelOption = None,
    rows: Annotated[int, typer.Option("--rows", min=1, help="How many rows.")] = 3,
    format_name: _FormatOption = "auto",
    columns: _ColumnsOption = None,
    template: Annotated[str, typer.Option("--template", help="The chat template.")] = "auto",
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show rows token by token: what the model sees, what it is trained on, and with which weight."""
    from rich.console import Console

    from tuneloop.pipeline.inspection import show_files, show_recipe

    if _is_recipe(files):
        shown = show_recipe(Path(files[0]), overrides or [], rows)
    else:
        section = {"train": _specs(files, format_name, columns), "template": template}
        shown = show_files(section, model, rows)
    if as_json:
        print_json(
            {"template": shown.template, "contract_hash": shown.contract_hash, "rows": shown.rows, "notes": shown.notes}
        )
        return
    print_rows(shown.rows, Console(soft_wrap=True, highlight=False))
    typer.echo(f"template: {shown.template}; contract {shown.contract_hash[:12]}")
    for note in shown.notes:
        typer.echo(f"note: {note}")


@app.command()
def prepare(
    recipe: Annotated[Path, typer.Argument(metavar="RECIPE", help="The recipe (.yaml).")],
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Encode the rows of a recipe ahead of its run; the run then starts at once."""
    from tuneloop.pipeline.inspection import prepare_recipe

    result = prepare_recipe(recipe, overrides or [])
    if as_json:
        print_json(result)
        return
    typer.echo(
        f"{result['rows']:,} rows, {result['tokens']:,} tokens in {result['seconds']:.1f} s "
        f"({result['rows'] / max(result['seconds'], 1e-9):,.0f} rows/s); encoded rows are kept in {result['cache']}"
    )


@app.command()
def convert(  # noqa: PLR0913 - each is an option of the command
    file: Annotated[str, typer.Argument(metavar="FILE", help="A file, a folder or a pattern of rows.")],
    to: Annotated[str, typer.Option("--to", help="The format to write.")],
    out: Annotated[Path, typer.Option("--out", help="Where to: .jsonl or .json, also with .gz.")],
    format_name: _FormatOption = "auto",
    columns: _ColumnsOption = None,
    render: Annotated[str, typer.Option("--render", help="Which conversation is made of a richer row.")] = "auto",
    personal: _PersonalOption = "keep",
    force: Annotated[bool, typer.Option("--force", help="Write over a file that is there.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Write rows in another format; a row that it cannot hold is named, never bent."""
    from tuneloop.pipeline.inspection import convert_rows

    result = convert_rows(
        _specs([file], format_name, columns)[0] | {"render": render}, to, out, personal=personal, force=force
    )
    if as_json:
        print_json(result)
        return
    reasons = "".join(f" + {code} {number}" for code, number in result["problem_counts"].items())
    typer.echo(f"read {result['read']} = written {result['written']}{reasons}; {to} in {out}")
    for problem in result["problems"][:_SHOWN_PROBLEMS]:
        typer.echo(f"  {problem['file']}:{problem['line']}: {problem['reason']} [{problem['code']}]")


def _specs(files: list[str], format_name: str, columns: list[str] | None) -> list[dict[str, Any]]:
    """Files as a recipe would name them."""
    pairs = [pair.partition("=") for given in columns or () for pair in given.split(",")]
    for field, equals, column in pairs:
        if not (field and equals and column):
            raise DataError(f"--columns {field}{equals}{column}: write FIELD=COLUMN, for example instruction=ask.")
    mapping = {field.strip(): column.strip() for field, _, column in pairs}
    return [{"path": name, "format": format_name, "columns": mapping} for name in files]


def _is_recipe(files: list[str]) -> bool:
    recipes = [name for name in files if name.endswith((".yaml", ".yml"))]
    if recipes and len(files) > 1:
        raise DataError(f"{recipes[0]}: give one recipe, or files of rows, not both.")
    return bool(recipes)


def print_rows(rows: list[dict[str, Any]], console: "Console") -> None:
    """Rows token by token: a colour, or brackets where there are none, for what is trained on."""
    from rich.text import Text

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
