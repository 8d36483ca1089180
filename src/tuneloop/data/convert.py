"""Rows of one format to rows of another: what can be said there is written, the rest is counted with its reason."""

import gzip
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import orjson

from tuneloop.core.errors import ConfigError, DataError
from tuneloop.core.store import write_file
from tuneloop.data.config import FileSpec, Render
from tuneloop.data.content import Content, Conversation, Critique, Example, Feedback, Preference, Text
from tuneloop.data.formats.critique import parse_layout, write_layout
from tuneloop.data.formats.pairs import require_exchange
from tuneloop.data.formats.registry import FORMATS, write_example
from tuneloop.data.legal.record import LegalRecord
from tuneloop.data.legal.render import parse_conversation
from tuneloop.data.quality.personal import mask_row
from tuneloop.data.render import to_conversation
from tuneloop.data.rows import Source, iter_examples, open_sources, refuse_personal
from tuneloop.data.schema import Origin, Problem, RowError

_PROBLEMS_SHOWN = 20
_ALPACA = "alpaca"

_HELD: dict[str, type[Content]] = {
    "preference": Preference,
    "kto": Feedback,
    "critique": Critique,
    "legal": LegalRecord,
    "cail": LegalRecord,
    "disc_law": LegalRecord,
    "messages": Conversation,
    "sharegpt": Conversation,
    "segments": Conversation,
    _ALPACA: Conversation,
    "prompt_completion": Conversation,
    "pairs": Conversation,
    "text": Text,
}
"""What each format holds."""


@dataclass
class ConvertLedger:
    """What became of every row: read = written + each reason."""

    read: int = 0
    written: int = 0
    problems: Counter[str] = field(default_factory=Counter)
    """Code of a reason -> number of rows that were left out for it."""
    first_problems: list[Problem] = field(default_factory=list)
    """The first twenty of them, with their places."""

    def leave_out(self, problem: Problem) -> None:
        """Count a row that is not written."""
        self.problems[problem.code] += 1
        if len(self.first_problems) < _PROBLEMS_SHOWN:
            self.first_problems.append(problem)


def convert(example: Example, to: str, *, render: Render = "auto") -> dict[str, Any]:
    """An example in the spelling of the format `to`, with the row's id, weight and score.

    With a `render` other than auto the conversation of that rendering is written. With auto the content goes as it
    is where the format holds it, else by the rule of `_RULES`.

    Raises:
        RowError: `not_expressible`: there is no rule, or no place for something; `cannot_render`, `not_desirable`:
            as `to_conversation`.
        ConfigError: there is no such format.
    """
    require_format_name(to)
    content = example.content if render == "auto" else to_conversation(example.content, render)
    if to == _ALPACA and isinstance(content, Critique):
        around = write_example("critique", example)
        return {key: around[key] for key in ("id", "weight", "score") if key in around} | write_layout(content)
    if not isinstance(content, _HELD[to]):
        rule = _RULES.get((type(content), _HELD[to]))
        if rule is None:
            raise _refusal(content, to)
        content = rule(content)
    return write_example(to, replace(example, content=content))


def require_format_name(name: str) -> None:
    """Refuse a name that no format has.

    Raises:
        ConfigError: it is none.
    """
    if name not in FORMATS:
        raise ConfigError(f"there is no format '{name}' to convert to. There are: {', '.join(FORMATS)}.")


def _rendered(content: Content) -> Conversation:
    return to_conversation(content, "auto")


def _to_critique(content: Content) -> Critique:
    exchange = require_exchange(content, "critique")
    instruction, _, text = exchange.question.partition("\n")
    found = parse_layout(instruction, text, exchange.answer)
    if found is None or exchange.system or exchange.history or exchange.tools:
        raise RowError("not_expressible", "the conversation is no critique: it is not in the layout of one")
    return found


def _to_record(content: Content) -> LegalRecord:
    exchange = require_exchange(content, "legal")
    try:
        return parse_conversation(exchange.conversation().messages)
    except RowError as error:
        raise RowError("not_expressible", error.reason) from error


_RULES: dict[tuple[type[Content], type[Content]], Callable[[Content], Content]] = {
    (Preference, Conversation): _rendered,
    (Feedback, Conversation): _rendered,
    (Critique, Conversation): _rendered,
    (LegalRecord, Conversation): _rendered,
    (Conversation, Critique): _to_critique,
    (Conversation, LegalRecord): _to_record,
}
_NAMES: dict[type[Content], str] = {
    Conversation: "a conversation",
    Text: "a text",
    Preference: "a preference pair",
    Feedback: "an answer with a label",
    Critique: "a critique",
    LegalRecord: "a legal record",
}


def _refusal(content: Content, to: str) -> RowError:
    reasons: dict[tuple[type[Content], type[Content]], str] = {
        (Text, Conversation): "it has no turns",
        (Conversation, Text): "where turns begin and end would be lost: the chat template of a model writes that text",
        (Preference, Feedback): "one row would become two",
        (Conversation, Preference): "it has no second answer",
        (Conversation, Feedback): "nobody said whether its answer was wanted",
    }
    why = reasons.get((type(content), _HELD[to]), f"that holds {_NAMES[_HELD[to]]}")
    return RowError("not_expressible", f"{_NAMES[type(content)]} does not go into {to}: {why}")


def convert_file(
    spec: FileSpec, folder: Path, to: str, out: Path, *, cache: Path, personal: Literal["keep", "mask", "drop"] = "keep"
) -> ConvertLedger:
    """Every row of a source into one file, one at a time: `out` is JSONL, or an array if it is called `.json`.

    With `.gz` at the end it is compressed. It is there whole or not at all. Hub data sets are fetched into `cache`
    first. Of `spec` count the path, format, columns, roles and render; how often and how much its rows count belongs
    to a recipe. Rows with personal data or secrets are kept, masked in every text, or left out.

    Raises:
        ConfigError: no such format, or another ending of `out`.
        DataError: the source cannot be read, or `out` is one of its files.
    """
    require_format_name(to)
    is_array = _is_array(out)
    sources = open_sources((spec,), folder, cache=cache, personal=personal)
    if any(source.file.path.resolve() == out.resolve() for source in sources):
        raise DataError(f"{out}: is the file that is read. Write to another one.")
    ledger = ConvertLedger()
    lines = (line for source in sources for line in _iter_lines(source, to, ledger))
    write_file(out, lambda part: _write_lines(part, lines, is_array=is_array, is_packed=out.suffix == ".gz"))
    assert ledger.read == ledger.written + ledger.problems.total(), f"the ledger of {spec.path} does not add up"
    return ledger


def _is_array(out: Path) -> bool:
    name = out.name.removesuffix(".gz")
    if name.endswith((".jsonl", ".json")):
        return name.endswith(".json")
    raise ConfigError(f"{out}: name it .jsonl, .json (an array), .jsonl.gz or .json.gz.")


def _iter_lines(source: Source, to: str, ledger: ConvertLedger) -> Iterator[bytes]:
    for found in iter_examples(source):
        ledger.read += 1
        if isinstance(found, Problem):
            ledger.leave_out(found)
            continue
        origin, example = found
        line = _convert_line(example, to, source, origin)
        if isinstance(line, Problem):
            ledger.leave_out(line)
            continue
        ledger.written += 1
        yield line


def _convert_line(example: Example, to: str, source: Source, origin: Origin) -> bytes | Problem:
    try:
        return orjson.dumps(_treat_personal(convert(example, to, render=source.spec.render), source.personal))
    except RowError as error:
        return Problem(origin, error.code, error.reason)
    except TypeError as error:
        # Half a surrogate pair, or a whole number above 64 bits inside a tool: JSON files of ours hold neither.
        return Problem(origin, "not_expressible", f"cannot be written as JSON: {error}")


def _treat_personal(value: dict[str, Any], policy: Literal["keep", "mask", "drop"]) -> dict[str, Any]:
    if policy == "keep":
        return value
    texts = list(_texts_in(value))
    if policy == "drop":
        refuse_personal(texts)
        return value
    return _with_texts(value, iter(mask_row(texts)[0]))


def _texts_in(value: Any) -> Iterator[str]:
    match value:
        case str():
            yield value
        case list():
            for item in value:
                yield from _texts_in(item)
        case dict():
            for item in value.values():
                yield from _texts_in(item)


def _with_texts(value: Any, texts: Iterator[str]) -> Any:
    """The same value with other texts, taken in the order of `_texts_in`."""
    match value:
        case str():
            return next(texts)
        case list():
            return [_with_texts(item, texts) for item in value]
        case dict():
            return {key: _with_texts(item, texts) for key, item in value.items()}
        case _:
            return value


def _write_lines(part: Path, lines: Iterator[bytes], *, is_array: bool, is_packed: bool) -> None:
    before, between, after = (b"[\n", b",\n", b"\n]\n") if is_array else (b"", b"\n", b"")
    with part.open("wb") as raw:
        # Neither name nor time goes into the file: the same rows give the same bytes.
        file = gzip.GzipFile("", "wb", fileobj=raw, mtime=0) if is_packed else raw
        file.write(before)
        is_first = True
        for line in lines:
            file.write(line if is_first else between + line)
            is_first = False
        file.write(after if is_array or is_first else b"\n")
        if is_packed:
            file.close()
