"""Stores of token rows to test with: a model whose tokens are single bytes, so that lengths are counted by hand."""

import json
from pathlib import Path
from typing import Any

from chat_tokenizers import make_tokenizer, write_folder_of

from conftest import CHATML
from tuneloop.data.config import FileSpec
from tuneloop.data.contract import load_renderer
from tuneloop.data.prompt import Renderer
from tuneloop.data.rows import Source, open_sources
from tuneloop.data.tokens.build import BuildOptions, open_store
from tuneloop.data.tokens.overlong import LengthPolicy
from tuneloop.data.tokens.shards import TokenStore

DROP = LengthPolicy("drop", 4096)


def byte_renderer(folder: Path) -> Renderer:
    """One token a byte, ChatML: an exchange of q and a bytes has 20 + q + a tokens, 21 + q + a where more follows."""
    return load_renderer(
        write_folder_of(folder, make_tokenizer("a"), eos="<|im_end|>", chat_template=CHATML), template="model"
    )


def write_rows(folder: Path, name: str, *rows: object) -> None:
    """A row a line; texts go in as they are."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text("".join((r if isinstance(r, str) else json.dumps(r)) + "\n" for r in rows))


def row(question: str, answer: str = "a", **others: Any) -> dict[str, Any]:
    """One question and its answer."""
    return {"instruction": question, "output": answer, **others}


def source_of(folder: Path, name: str, **spec: Any) -> Source:
    """A file, ready to be read."""
    (source,) = open_sources((FileSpec.model_validate({"path": name, **spec}),), folder, cache=folder)
    return source


def store_of(
    source: Source, renderer: Renderer, cache: Path, *, policy: LengthPolicy = DROP, build: BuildOptions | None = None
) -> TokenStore:
    """The store of a file."""
    return open_store(source, renderer, policy, cache=cache, build=build or BuildOptions())
