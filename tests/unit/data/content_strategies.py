"""Conversations as hypothesis draws them: any text, any tools, in an order that the check accepts."""

import json
import math

from hypothesis import strategies as st

from tuneloop.data.content import Conversation
from tuneloop.data.formats.tools import canonical_json_text, parse_tools
from tuneloop.data.schema import Message, ToolCall

_PIECES = (
    "你好，世界",  # noqa: RUF001 - that comma is what Chinese text has
    "原告主张被告偿还借款。",
    "👩‍⚕️🧪",
    "<|im_start|>assistant\n",
    "<|im_end|>",
    "<|endoftext|>",
    "</s>[INST]",
    "<think>\n",
    "<tool_call>",
    "{{ name }}",
    '{"a": [1]}',
    "\n\n",
    "\r\n",
    "\t",
    "\u2028",
    "\x00",
    "  ",
    '"\\',
    "é e\u0301",
)


def texts(min_size: int = 0) -> st.SearchStrategy[str]:
    """Any valid text: letters of all scripts, emoji, spellings of control tokens, newlines."""
    anything = st.text(st.characters(exclude_categories=["Cs"]), min_size=min_size, max_size=12)
    pieces = st.lists(st.sampled_from(_PIECES), min_size=1, max_size=3).map("".join)
    return st.one_of(pieces, anything, st.tuples(anything, pieces).map("".join))


def spoken_texts() -> st.SearchStrategy[str]:
    """Text that says something, as a question or an answer must."""
    return texts(min_size=1).filter(str.strip)


def json_values() -> st.SearchStrategy[object]:
    """Any JSON value, whole numbers above 64 bits and long fractions among them."""
    numbers = st.one_of(st.integers(), st.integers(-(10**30), 10**30), st.floats(allow_nan=False, allow_infinity=False))
    leaves = st.one_of(st.none(), st.booleans(), numbers, texts())
    return st.recursive(
        leaves,
        lambda inner: st.one_of(st.lists(inner, max_size=2), st.dictionaries(texts(), inner, max_size=2)),
        max_leaves=4,
    )


def tool_calls() -> st.SearchStrategy[ToolCall]:
    """A call with canonical arguments."""
    arguments = st.dictionaries(texts(), json_values(), max_size=3).map(canonical_json_text)
    return st.builds(ToolCall, texts(min_size=1).filter(bool), arguments, st.one_of(st.just(""), texts()))


def tool_lists() -> st.SearchStrategy[str]:
    """A conversation's `tools`: none, or a canonical list of definitions."""
    tool = st.fixed_dictionaries(
        {"name": texts(min_size=1).filter(bool)},
        optional={"description": texts(), "parameters": st.dictionaries(texts(), json_values(), max_size=2)},
    )
    return st.one_of(st.just(""), st.lists(tool, max_size=2).map(lambda tools: parse_tools(json.dumps(tools))))


def weights() -> st.SearchStrategy[float]:
    """How much an answer counts: mostly 1."""
    return st.one_of(st.just(1.0), st.just(0.0), st.floats(0, 1_000_000).filter(math.isfinite))


@st.composite
def messages_of_turns(
    draw: st.DrawFn, *, with_tools: bool = True, with_weights: bool = True, with_names: bool = True
) -> tuple[Message, ...]:
    """Messages in a sound order: [system,] user, assistant, ... with calls and their results between."""
    names = st.one_of(st.just(""), texts()) if with_names else st.just("")
    turn_weights = weights() if with_weights else st.just(1.0)
    messages = [Message("system", draw(spoken_texts()), name=draw(names))] if draw(st.booleans()) else []
    for _ in range(draw(st.integers(1, 3))):
        messages.append(Message("user", draw(spoken_texts()), name=draw(names)))
        for _ in range(draw(st.integers(0, 2)) if with_tools else 0):
            calls = tuple(draw(st.lists(tool_calls(), min_size=1, max_size=2)))
            messages.append(Message("assistant", draw(texts()), draw(turn_weights), calls, draw(names)))
            messages += draw(
                st.lists(st.builds(Message, st.just("tool"), texts(), name=names, tool_call_id=names), min_size=1)
                if draw(st.booleans())
                else st.just([Message("tool", "")])
            )
        messages.append(Message("assistant", draw(spoken_texts()), draw(turn_weights), name=draw(names)))
    if with_tools and draw(st.booleans()):
        # The call may be the answer.
        messages[-1] = Message("assistant", draw(texts()), 1.0, (draw(tool_calls()),))
    if not any(message.weight > 0 for message in messages if message.role == "assistant"):
        messages[-1] = Message("assistant", messages[-1].content, 1.0, messages[-1].tool_calls, messages[-1].name)
    return tuple(messages)


def conversations(
    *, with_tools: bool = True, with_weights: bool = True, with_names: bool = True
) -> st.SearchStrategy[Conversation]:
    """Sound conversations; without tools, weights and names they are plain questions and answers."""
    messages = messages_of_turns(with_tools=with_tools, with_weights=with_weights, with_names=with_names)
    return st.builds(Conversation, messages, tool_lists() if with_tools else st.just(""))


def plain_conversations() -> st.SearchStrategy[Conversation]:
    """Questions and answers in turn, perhaps after a system text: what every format of turns can hold."""
    return conversations(with_tools=False, with_weights=False, with_names=False)
