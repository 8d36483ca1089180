"""What is asked of an endpoint, and what comes back: an answer, or a call that failed."""

from dataclasses import dataclass
from typing import Any, Literal

import orjson
from pydantic import Field, JsonValue, field_validator

from tuneloop.core.config import Config
from tuneloop.core.errors import DataError
from tuneloop.data.schema import Message, ToolCall

_OURS = frozenset(
    {"model", "messages", "tools", "temperature", "top_p", "max_tokens", "max_completion_tokens", "seed", "stream", "n"}
)


class ChatParameters(Config):
    """How an endpoint chooses its words. What is None is not sent: the server's own default holds."""

    temperature: float | None = Field(default=0.0, ge=0, le=2)
    """0 is greedy; models that refuse a temperature want null."""
    top_p: float | None = Field(default=None, gt=0, le=1)
    max_tokens: int = Field(default=1024, gt=0)
    """Longest answer; also what a budget sets aside for a call before it is made."""
    max_tokens_field: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    """What the server calls it; OpenAI's reasoning models take the second name alone."""
    seed: int | None = Field(default=None, ge=0)
    """Sample number s is asked with seed + s, so that samples differ on servers that obey it."""
    extra: dict[str, JsonValue] = Field(default_factory=dict)
    """Further fields of the request, as the server documents them: response_format, top_k, reasoning_effort ..."""

    @field_validator("extra")
    @classmethod
    def _not_ours(cls, extra: dict[str, JsonValue]) -> dict[str, JsonValue]:
        taken = sorted(_OURS & extra.keys())
        if taken:
            raise ValueError(f"'{taken[0]}' is set by tuneloop itself (one answer a call, not streamed)")
        return extra


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """One question to a model; equal requests are one call, and are paid once."""

    messages: tuple[Message, ...]
    parameters: ChatParameters | None = None
    """None: those of the endpoint's config."""
    sample: int = 0
    """Which of several answers to the same question."""
    tools: str = ""
    """JSON text of the list of tools that the model may call; "" where there are none."""

    def body(self, model: str, defaults: ChatParameters) -> dict[str, Any]:
        """The JSON that is posted.

        Raises:
            DataError: there is no message, a text is not Unicode, or `tools` is not JSON.
        """
        parameters = self.parameters or defaults
        if not self.messages:
            raise DataError("a request to an endpoint has no message. Give at least the question.")
        body: dict[str, Any] = dict(parameters.extra)
        body |= {"model": model, "messages": [_message_json(message) for message in self.messages]}
        body[parameters.max_tokens_field] = parameters.max_tokens
        optional = {"temperature": parameters.temperature, "top_p": parameters.top_p}
        if parameters.seed is not None:
            optional["seed"] = parameters.seed + self.sample
        body |= {name: value for name, value in optional.items() if value is not None}
        if self.tools:
            try:
                body["tools"] = orjson.loads(self.tools)
            except orjson.JSONDecodeError as error:
                raise DataError(f"the tools of a request are not JSON: {error}.") from error
        return body


def _message_json(message: Message) -> dict[str, Any]:
    try:
        message.content.encode()
    except UnicodeEncodeError as error:
        raise DataError(
            f"a {message.role}'s message holds half a surrogate pair at character {error.start + 1}, which is no text. "
            f"Repair or leave out the row."
        ) from error
    values: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.tool_calls:
        values["tool_calls"] = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for call in message.tool_calls
        ]
    if message.tool_call_id:
        values["tool_call_id"] = message.tool_call_id
    if message.name:
        values["name"] = message.name
    return values


@dataclass(frozen=True, slots=True)
class Usage:
    """What a call consumed."""

    prompt_tokens: int
    completion_tokens: int
    is_estimated: bool = False
    """The server did not say, so it was estimated from characters."""

    @property
    def tokens(self) -> int:
        """Both together."""
        return self.prompt_tokens + self.completion_tokens


@dataclass(frozen=True, slots=True)
class Completion:
    """An answer that was paid for."""

    key: str
    """Hash of the request: what the log knows it by."""
    text: str
    finish_reason: str
    """`stop`, `length`, `content_filter`, `tool_calls`; "" where the server does not say."""
    usage: Usage
    cost: float | None
    """In the currency of the prices; None without prices."""
    model: str
    """Who answered, by the server's own account."""
    latency_s: float
    """Of the attempt that succeeded."""
    attempts: int
    reasoning: str = ""
    """What a reasoning model wrote before its answer, where the server keeps it apart."""
    tool_calls: tuple[ToolCall, ...] = ()
    from_log: bool = False
    """Read from the log and not paid again."""

    @property
    def is_cut(self) -> bool:
        """Whether the answer ended at the limit of tokens and not by itself."""
        return self.finish_reason == "length"


FailureKind = Literal[
    "unreachable", "timeout", "cut", "status", "rejected", "too_large", "html", "not_json", "no_choices", "error_body"
]
"""unreachable: no connection. cut: the connection broke. status: 408, 409, 429 or 5xx to the end. rejected: the server
refuses this request (400, 413, 422). too_large: the reply passes the limit. html, not_json, no_choices: a reply that
is no answer. error_body: status 200 and an error inside."""


@dataclass(frozen=True, slots=True)
class CallFailure:
    """A question that has no answer, after all retries. It is not in the log as answered: the next run asks again."""

    key: str
    kind: FailureKind
    message: str
    attempts: int
    status: int | None = None


class CallError(Exception):
    """Raised inside the client for one attempt; always retried or turned into a `CallFailure`."""

    def __init__(
        self,
        kind: FailureKind,
        message: str,
        *,
        status: int | None = None,
        retry_after_s: float | None = None,
        usage: Usage | None = None,
        is_final: bool = False,
    ) -> None:
        super().__init__(message)
        self.kind: FailureKind = kind
        self.message = message
        self.status = status
        self.retry_after_s = retry_after_s
        """How long the server asks to be left alone."""
        self.usage = usage
        """What the useless reply has cost."""
        self.is_final = is_final
        """A retry would end the same way."""
