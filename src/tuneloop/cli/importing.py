"""`tuneloop import`: another tool's config to a recipe, and line by line what will behave differently."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tuneloop.cli.options import JsonOption, print_json
from tuneloop.core.errors import ConfigError, ExitCode

if TYPE_CHECKING:
    from tuneloop.importers.ledger import Imported, Note

_TITLES = {
    "differs": "Behaves differently",
    "not_carried": "Not carried over",
    "ignored": "Without effect on what is learned",
    "carried": "Means the same",
}
_ALWAYS = ("differs", "not_carried")


def import_config(  # noqa: PLR0913 - each is an option of the command
    tool: Annotated[str, typer.Argument(metavar="TOOL", help="llamafactory, axolotl, trl or ms-swift.")],
    config: Annotated[Path, typer.Argument(metavar="CONFIG", help="Its YAML or JSON; or a script with its command.")],
    out: Annotated[Path | None, typer.Option("--out", help="The recipe to write; else it is printed.")] = None,
    dataset_dir: Annotated[
        Path | None, typer.Option("--dataset-dir", help="Where LLaMA-Factory's dataset_info.json lies.")
    ] = None,
    data_only: Annotated[bool, typer.Option("--data-only", help="Write the model and the data alone.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file of --out.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", help="Say what is carried and ignored too.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Make a recipe of another tool's config, and say what becomes of each of its keys."""
    from tuneloop.core.store import write_text
    from tuneloop.importers.recipe import recipe_text
    from tuneloop.importers.registry import import_recipe

    if out is not None and out.exists() and not force:
        raise ConfigError(f"{out}: is there already. Choose another --out, or give --force.")
    folder = out.parent if out is not None else Path()
    imported = import_recipe(tool, config, folder, data_folder=dataset_dir, data_only=data_only)
    text = recipe_text(imported)
    if out is not None:
        write_text(out, text)
    if as_json:
        print_json(
            {
                "tool": imported.tool,
                "recipe": imported.recipe,
                "notes": [asdict(note) for note in imported.notes],
                "defaults": [asdict(note) for note in imported.defaults],
                "counts": imported.counts(),
                "untrainable": imported.untrainable or None,
            }
        )
    else:
        if out is None:
            typer.echo(text, nl=False)
        for line in _report(imported, verbose=verbose):
            typer.echo(line, err=True)
        if out is not None:
            typer.echo(f"wrote {out}", err=True)
    if imported.untrainable and not data_only:
        raise typer.Exit(int(ExitCode.USER_INPUT))


def _report(imported: "Imported", *, verbose: bool) -> list[str]:
    lines = []
    for kind, title in _TITLES.items():
        if kind in _ALWAYS or verbose:
            notes = [note for note in (*imported.notes, *imported.defaults) if note.kind == kind]
            lines += [f"{title}:", *(f"  {_line(note)}" for note in notes)] if notes else []
    counts = imported.counts()
    parts = " + ".join(f"{number} {kind.replace('_', ' ')}" for kind, number in counts.items())
    lines.append(f"{imported.source}: {sum(counts.values())} keys = {parts}")
    if not verbose and counts["carried"] + counts["ignored"]:
        lines.append("--verbose says what is carried and ignored too.")
    if imported.untrainable:
        lines.append(f"Only the data is written: {imported.untrainable}")
    return lines


def _line(note: "Note") -> str:
    if note.says:
        return f"{note.where}: {note.key} ({note.says}): {note.text}"
    return f"{note.where}: {note.key} by itself: {note.text}"
