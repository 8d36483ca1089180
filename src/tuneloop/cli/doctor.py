"""`tuneloop doctor`: what this machine can do, and what is missing for more."""

import typer

from tuneloop.cli.options import JsonOption, print_json


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(doctor)


def doctor(as_json: JsonOption = False) -> None:
    """Say what this machine can do: processor, memory, devices, precision, packages, cached models."""
    from tuneloop.pipeline.machine import examine_machine

    facts = examine_machine()
    if as_json:
        print_json(facts)
        return
    for name, value in facts.items():
        if isinstance(value, dict):
            typer.echo(f"{name}:")
            for key, item in value.items():
                typer.echo(f"  {key}: {item}")
        elif isinstance(value, list):
            typer.echo(f"{name}: {'none' if not value else ''}")
            for item in value:
                typer.echo(f"  {item}")
        else:
            typer.echo(f"{name}: {value}")
