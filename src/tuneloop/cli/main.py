"""`tuneloop`: collects the commands, and turns errors into one paragraph and an exit code."""

import os
import sys
from typing import Annotated

import typer

from tuneloop import __version__
from tuneloop.cli import augment, chat, data, doctor, evaluate, harness, importing, judge, plan, run, score
from tuneloop.cli.options import as_json_asked, print_json
from tuneloop.core.errors import TuneloopError

_EPILOG = (
    "Exit codes: 0 done, 1 a bug of ours, 2 the input, 3 the gate kept the base model, 4 the loss was not finite, "
    "5 stopped by a signal and saved, 6 another process owns the folder, 7 a file is damaged, 8 the disk is full, "
    "9 something is not installed or cannot be fetched, 10 memory ran out."
)

app = typer.Typer(
    name="tuneloop",
    help="From labelled rows to a measured, tuned, deployable language model.",
    epilog=_EPILOG,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
run.register(app)
evaluate.register(app)
harness.register(app)
plan.register(app)
score.register(app)
chat.register(app)
doctor.register(app)
app.add_typer(data.app, name="data")
app.add_typer(judge.app, name="judge")
app.add_typer(augment.app, name="augment")
app.command("import")(importing.import_config)


def _version(wanted: bool) -> None:  # noqa: FBT001 - typer's callback interface
    if wanted:
        typer.echo(f"tuneloop {__version__}")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and end.")
    ] = False,
) -> None:
    """From labelled rows to a measured, tuned, deployable language model."""
    del version


def main() -> None:
    """Run one command; the process ends with a documented exit code."""
    # Threads that wait by spinning bring a shared machine to a crawl: two trainings side by side on two cores
    # were 5 to 20 times slower than with threads that sleep. Has to be said before torch is loaded.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # Rows are encoded on all cores; without a word the library would warn of every fork afterwards.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    try:
        app()
    except TuneloopError as error:
        if as_json_asked(sys.argv):
            print_json({"error": {"kind": type(error).__name__, "message": str(error), "exit_code": error.exit_code}})
        else:
            typer.echo(f"{type(error).__name__}: {error}", err=True)
        sys.exit(int(error.exit_code))
    except SystemExit as end:
        # Whoever read our output has had enough of it: typer ends with 1 there, which is kept for bugs.
        if end.code == 1 and type(sys.stdout).__name__ == "PacifyFlushWrapper":
            sys.exit(0)
        raise
