"""`tuneloop chat`: talk with a run's model, through the prompt that it was trained with."""

import sys
from typing import Annotated

import typer

from tuneloop.cli.options import JsonOption, print_json

_HELP = "A run folder, an exported folder, or a model source."


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(chat)


def chat(  # noqa: PLR0913 - each is an option of the command
    source: Annotated[str, typer.Argument(metavar="RUN|MODEL", help=_HELP)],
    prompt: Annotated[str | None, typer.Option("--prompt", help="Ask once, print the answer, end.")] = None,
    system: Annotated[str | None, typer.Option("--system", help="A system turn.")] = None,
    max_new_tokens: Annotated[int, typer.Option("--max-new-tokens", min=1)] = 256,
    temperature: Annotated[float, typer.Option("--temperature", min=0.0, help="0 is greedy.")] = 0.0,
    seed: Annotated[int, typer.Option("--seed", min=0)] = 0,
    as_json: JsonOption = False,
) -> None:
    """Talk with a model. An empty line or Ctrl-D ends; /new begins another conversation."""
    from tuneloop.pipeline.talk import open_talk

    talk = open_talk(source, max_new_tokens=max_new_tokens, temperature=temperature, seed=seed, system=system)
    if prompt is not None:
        if as_json:
            answer = talk.ask(prompt)
            print_json({"prompt": prompt, "answer": answer.text, "tokens": answer.tokens, "finished": answer.finished})
        else:
            talk.ask(prompt, show=_write)
            typer.echo()
        return
    typer.echo(f"{talk.description}. An empty line ends, /new begins again.", err=True)
    while (question := _read()) is not None:
        if question == "/new":
            talk.begin_again()
            continue
        talk.ask(question, show=_write)
        typer.echo()


def _read() -> str | None:
    try:
        text = input("> " if sys.stdin.isatty() else "").strip()
    except (EOFError, KeyboardInterrupt):
        return None
    return text or None


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()
