"""What becomes of a conversation that has more tokens than fit; an answer is never cut."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal

from tuneloop.data.prompt import Renderer
from tuneloop.data.schema import Message, Row, RowError

_TRIES = 4


@dataclass(frozen=True)
class LengthPolicy:
    """The longest row, and what happens to a longer one."""

    kind: Literal["drop", "truncate_prompt", "split_turns", "error"]
    longest: int
    """Tokens."""

    @property
    def rewrites(self) -> bool:
        """Whether rows are changed to fit, so that what is kept on disk depends on the length."""
        return self.kind in {"truncate_prompt", "split_turns"}


def make_fit(row: Row, renderer: Renderer, policy: LengthPolicy) -> list[Row]:
    """A row that is too long as rows that fit.

    Raises:
        RowError: it cannot be done without cutting an answer.
    """
    if policy.kind == "split_turns":
        return (
            _split_text(row, renderer, policy.longest) if row.is_text else _split_turns(row, renderer, policy.longest)
        )
    return [_truncate_prompt(row, renderer, policy.longest)]


def count_tokens(row: Row, renderer: Renderer) -> int:
    """Tokens of one row, whatever of it is learned."""
    messages = row.messages
    if not any(message.role == "assistant" and message.weight > 0 for message in messages):
        messages = tuple(replace(message, weight=1.0) for message in messages)
    return len(renderer.encode_row(messages, weight=row.weight, tools=row.tools, is_text=row.is_text).ids)


def _split_turns(row: Row, renderer: Renderer, longest: int) -> list[Row]:
    """Whole exchanges in a row up to the limit; each part begins with the system turn and a question."""
    system = row.messages[:1] if row.messages[0].role == "system" else ()
    exchanges = list(_exchanges(row.messages[len(system) :]))
    parts: list[Row] = []
    begin = 0
    while begin < len(exchanges):
        end, part = begin, None
        while end < len(exchanges):
            longer = replace(row, messages=(*system, *(turn for each in exchanges[begin : end + 1] for turn in each)))
            if count_tokens(longer, renderer) > longest:
                break
            end, part = end + 1, longer
        if part is None:
            raise RowError("overlong", f"exchange {begin + 1} alone has more than {longest} tokens")
        if any(message.role == "assistant" and message.weight > 0 for message in part.messages):
            parts.append(part)
        begin = end
    return parts


def _exchanges(turns: tuple[Message, ...]) -> Iterator[list[Message]]:
    """A question with everything up to the next one."""
    exchange: list[Message] = []
    for turn in turns:
        if turn.role == "user" and exchange:
            yield exchange
            exchange = []
        exchange.append(turn)
    yield exchange


def _split_text(row: Row, renderer: Renderer, longest: int) -> list[Row]:
    """A long text as consecutive stretches."""
    text = row.messages[0].content
    extra = count_tokens(replace(row, messages=(Message("assistant", "a"),)), renderer)
    room = longest - extra
    if room < 1:
        raise RowError("overlong", f"no text fits into {longest} tokens")
    offsets = renderer.tokenizer.encode(text, add_special_tokens=False).offsets
    cuts = [offsets[at][0] for at in range(room, len(offsets), room)]
    borders = [0, *dict.fromkeys(cut for cut in cuts if cut > 0), len(text)]
    parts = [text[begin:end] for begin, end in pairwise(borders)]
    rows = [replace(row, messages=(Message("assistant", part),)) for part in parts if part.strip()]
    if any(count_tokens(each, renderer) > longest for each in rows):
        raise RowError("overlong", f"the text does not divide into stretches of {longest} tokens")
    return rows


def _truncate_prompt(row: Row, renderer: Renderer, longest: int) -> Row:
    """Leave out the middle of the longest question until the row fits: instructions stand at its two ends.

    Source: Bai et al. 2023, LongBench (arXiv:2308.14508), which cuts prompts so.
    """
    places = [index for index, message in enumerate(row.messages) if message.role in {"user", "tool"}]
    if row.is_text or not places:
        raise RowError("overlong", f"more than {longest} tokens, and no prompt to shorten")
    place = max(places, key=lambda index: len(row.messages[index].content))
    content = row.messages[place].content
    offsets = renderer.tokenizer.encode(content, add_special_tokens=False).offsets
    keep = len(offsets)
    length = count_tokens(row, renderer)
    for _ in range(_TRIES):
        keep -= length - longest
        if keep <= 0:
            raise RowError("overlong", f"more than {longest} tokens even without its longest question")
        head = offsets[(keep + 1) // 2 - 1][1]
        tail = offsets[len(offsets) - keep // 2][0] if keep > 1 else len(content)
        shorter = replace(row.messages[place], content=content[:head] + content[max(head, tail) :])
        cut = replace(row, messages=(*row.messages[:place], shorter, *row.messages[place + 1 :]))
        length = count_tokens(cut, renderer)
        if length <= longest:
            return cut
    raise RowError("overlong", f"its longest question cannot be shortened to {longest} tokens")
