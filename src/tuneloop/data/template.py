"""Chat templates: Jinja in an immutable sandbox, the same settings as transformers uses."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files
from typing import Any

import jinja2
import jinja2.ext
import jinja2.sandbox
from jinja2 import nodes
from jinja2.parser import Parser

from tuneloop.core.errors import ConfigError
from tuneloop.data.schema import Message, RowError, ToolCall

NAMED_TEMPLATES = ("chatml", "llama3", "gemma", "mistral", "plain")


class _GenerationTag(jinja2.ext.Extension):
    """Reads `{% generation %}` as if it were not there: targets are found by position, not by marks."""

    tags = {"generation"}  # noqa: RUF012 - jinja's own interface

    def parse(self, parser: Parser) -> list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def _raise_exception(message: str) -> None:
    raise jinja2.TemplateError(message)


def _tojson(value: Any, **options: Any) -> str:
    return json.dumps(value, ensure_ascii=False, **options)


def load_named_template(name: str) -> str:
    """The Jinja source of one of our own templates.

    Raises:
        ConfigError: there is none of that name.
    """
    if name not in NAMED_TEMPLATES:
        raise ConfigError(f"data.template: no template '{name}'. Choose auto, model, {', '.join(NAMED_TEMPLATES)}.")
    return (files("tuneloop.data") / "templates" / f"{name}.jinja").read_text(encoding="utf-8").strip("\n")


def _as_template_sees(message: Message) -> dict[str, Any]:
    """The keys that chat templates look for."""
    seen: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.tool_calls:
        seen["tool_calls"] = [
            {"type": "function", "id": call.id, "function": {"name": call.name, "arguments": _object_or_text(call)}}
            for call in message.tool_calls
        ]
    if message.name:
        seen["name"] = message.name
    if message.tool_call_id:
        seen["tool_call_id"] = message.tool_call_id
    return seen


def _object_or_text(call: ToolCall) -> Any:
    try:
        value = json.loads(call.arguments)
    except ValueError:
        return call.arguments
    return value if isinstance(value, dict) else call.arguments


@dataclass(frozen=True)
class Template:
    """A chat template with the special tokens that it may name."""

    source: str
    bos_token: str
    eos_token: str

    @cached_property
    def _compiled(self) -> jinja2.Template:
        environment = jinja2.sandbox.ImmutableSandboxedEnvironment(
            trim_blocks=True, lstrip_blocks=True, extensions=[_GenerationTag, jinja2.ext.loopcontrols]
        )
        environment.filters["tojson"] = _tojson
        try:
            return environment.from_string(self.source)
        except jinja2.TemplateSyntaxError as error:
            raise ConfigError(f"the chat template is not valid Jinja: line {error.lineno}: {error.message}.") from error

    def render(
        self, messages: Sequence[Message], *, add_generation_prompt: bool = False, tools: list[Any] | None = None
    ) -> str:
        """The text of a conversation, up to where the assistant would go on if asked so.

        Raises:
            RowError: the template refuses the conversation (some know no system turn, for example).
        """
        try:
            return self._compiled.render(
                messages=[_as_template_sees(message) for message in messages],
                add_generation_prompt=add_generation_prompt,
                bos_token=self.bos_token,
                eos_token=self.eos_token,
                raise_exception=_raise_exception,
                tools=tools,
                documents=None,
            )
        except (jinja2.TemplateError, TypeError, ValueError, LookupError, ArithmeticError) as error:
            raise RowError("template_refused", f"the chat template refuses it: {error}") from error
        except (RecursionError, MemoryError) as error:
            raise RowError("template_refused", "the chat template does not come to an end") from error
