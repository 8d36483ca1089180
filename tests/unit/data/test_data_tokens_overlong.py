"""Rows that are too long, by examples that can be counted by hand: one token a byte, 20 tokens around an exchange."""

import pytest
from token_stores import byte_renderer

from tuneloop.data.prompt import Renderer
from tuneloop.data.schema import Message, Origin, Row, RowError, ToolCall
from tuneloop.data.tokens.overlong import LengthPolicy, count_tokens, make_fit


@pytest.fixture(scope="module")
def renderer(tmp_path_factory: pytest.TempPathFactory) -> Renderer:
    return byte_renderer(tmp_path_factory.mktemp("bytes"))


def conversation(*turns: str, system: str = "", weight: float = 1.0) -> Row:
    head = (Message("system", system),) if system else ()
    messages = (Message(("user", "assistant")[at % 2], text) for at, text in enumerate(turns))  # type: ignore[arg-type]
    return Row((*head, *messages), Origin("a", 1), weight)


def text(content: str) -> Row:
    return Row((Message("assistant", content),), Origin("a", 1), is_text=True)


def contents(rows: list[Row]) -> list[list[str]]:
    return [[message.content for message in row.messages] for row in rows]


def cut(row: Row, renderer: Renderer, longest: int) -> list[str]:
    return contents(make_fit(row, renderer, LengthPolicy("truncate_prompt", longest)))[0]


def split(row: Row, renderer: Renderer, longest: int) -> list[list[str]]:
    return contents(make_fit(row, renderer, LengthPolicy("split_turns", longest)))


def test_lengths_are_what_is_counted_by_hand(renderer: Renderer) -> None:
    assert count_tokens(conversation("0123456789", "yes"), renderer) == 20 + 10 + 3
    assert count_tokens(conversation("q", "a", "q", "a", "q", "a"), renderer) == 23 + 23 + 22
    assert count_tokens(conversation("q", "a", system="s"), renderer) == 11 + 22
    assert count_tokens(text("abc"), renderer) == 4


@pytest.mark.parametrize(
    ("longest", "question"), [(32, "012346789"), (30, "0123789"), (29, "012789"), (25, "09"), (24, "0")]
)
def test_the_middle_of_a_question_goes(renderer: Renderer, longest: int, question: str) -> None:
    assert cut(conversation("0123456789", "yes"), renderer, longest) == [question, "yes"]


def test_letters_of_several_tokens_stay_whole(renderer: Renderer) -> None:
    """Seven tokens are left for letters of three: two of them fit."""
    assert cut(conversation("一二三四五", "a"), renderer, 28) == ["一五", "a"]


def test_the_longest_question_is_cut_and_nothing_else(renderer: Renderer) -> None:
    row = conversation("short", "first", "0123456789", "second" * 5, "last?", "third", system="be brief" * 4)
    longest = count_tokens(row, renderer) - 4
    assert cut(row, renderer, longest) == ["be brief" * 4, "short", "first", "012789", "second" * 5, "last?", "third"]


def test_the_answer_of_a_tool_counts_as_a_question(renderer: Renderer) -> None:
    messages = (
        Message("user", "q"),
        Message("assistant", "so", tool_calls=(ToolCall("so", "{}"),)),
        Message("tool", "0123456789"),
        Message("assistant", "a"),
    )
    row = Row(messages, Origin("a", 1))
    assert cut(row, renderer, count_tokens(row, renderer) - 3) == ["q", "so", "0123789", "a"]


@pytest.mark.parametrize("longest", [23, 8])
def test_an_answer_is_not_cut(renderer: Renderer, longest: int) -> None:
    with pytest.raises(RowError, match=f"more than {longest} tokens even without its longest question") as caught:
        cut(conversation("0123456789", "yes"), renderer, longest)
    assert caught.value.code == "overlong"


def test_a_text_has_no_prompt_to_shorten(renderer: Renderer) -> None:
    with pytest.raises(RowError, match="no prompt to shorten"):
        cut(text("abcdef"), renderer, 4)


@pytest.mark.parametrize(
    ("longest", "parts"),
    [
        (68, [["q", "a", "r", "b", "s", "c"]]),
        (67, [["q", "a", "r", "b"], ["s", "c"]]),
        (45, [["q", "a", "r", "b"], ["s", "c"]]),
        (44, [["q", "a"], ["r", "b"], ["s", "c"]]),
        (22, [["q", "a"], ["r", "b"], ["s", "c"]]),
    ],
)
def test_exchanges_stay_whole(renderer: Renderer, longest: int, parts: list[list[str]]) -> None:
    assert split(conversation("q", "a", "r", "b", "s", "c"), renderer, longest) == parts


@pytest.mark.parametrize(
    ("longest", "parts"),
    [(56, [["S", "q", "a", "r", "b"], ["S", "s", "c"]]), (55, [["S", "q", "a"], ["S", "r", "b"], ["S", "s", "c"]])],
)
def test_each_part_has_the_system_turn(renderer: Renderer, longest: int, parts: list[list[str]]) -> None:
    assert split(conversation("q", "a", "r", "b", "s", "c", system="S"), renderer, longest) == parts


def test_an_exchange_that_does_not_fit_alone_costs_the_row(renderer: Renderer) -> None:
    with pytest.raises(RowError, match="exchange 2 alone has more than 30 tokens") as caught:
        split(conversation("q", "a", "r" * 20, "b", "s", "c"), renderer, 30)
    assert caught.value.code == "overlong"


def with_weights(*weights: float) -> Row:
    """Exchanges q0 a0, q1 a1 ... whose answers have these weights."""
    pairs = [(Message("user", f"q{at}"), Message("assistant", f"a{at}", weight)) for at, weight in enumerate(weights)]
    return Row(tuple(message for pair in pairs for message in pair), Origin("a", 1))


def test_an_exchange_at_the_end_that_is_not_learned_takes_no_room(renderer: Renderer) -> None:
    """A row ends with its last target: what would stand behind it is not encoded."""
    assert count_tokens(with_weights(1, 0), renderer) == count_tokens(with_weights(1), renderer) == 24
    assert split(with_weights(1, 0, 1), renderer, 24) == [["q0", "a0", "q1", "a1"], ["q2", "a2"]]


def test_a_first_exchange_that_is_not_learned_is_left_off(renderer: Renderer) -> None:
    assert split(with_weights(0, 1, 1), renderer, 24) == [["q1", "a1"], ["q2", "a2"]]


def test_a_call_and_its_result_stay_with_their_question(renderer: Renderer) -> None:
    call = Message("assistant", "so", tool_calls=(ToolCall("so", "{}"),))
    messages = (Message("user", "q"), call, Message("tool", "t"), Message("assistant", "a"))
    row = Row((*messages, *conversation("r", "b").messages), Origin("a", 1), weight=0.5, tools="", score=3.0)
    parts = make_fit(row, renderer, LengthPolicy("split_turns", count_tokens(row, renderer) - 1))
    assert contents(parts) == [["q", "so", "t", "a"], ["r", "b"]]
    assert [(part.weight, part.score) for part in parts] == [(0.5, 3.0)] * 2


@pytest.mark.parametrize(("longest", "parts"), [(6, ["abcd", "efgh", "ij"]), (3, list("abcdefghij"))])
def test_a_text_is_cut_into_stretches(renderer: Renderer, longest: int, parts: list[str]) -> None:
    rows = make_fit(text("abcdefghij"), renderer, LengthPolicy("split_turns", longest))
    assert contents(rows) == [[part] for part in parts]
    assert all(row.is_text and count_tokens(row, renderer) <= longest for row in rows)


def test_stretches_of_letters_of_several_tokens(renderer: Renderer) -> None:
    rows = make_fit(text("一二三四五"), renderer, LengthPolicy("split_turns", 9))
    assert "".join(row.messages[0].content for row in rows) == "一二三四五"
    assert all(count_tokens(row, renderer) <= 9 for row in rows)


def test_a_text_that_does_not_fit_in_any_stretch(renderer: Renderer) -> None:
    with pytest.raises(RowError, match="does not divide"):
        make_fit(text("一二三"), renderer, LengthPolicy("split_turns", 3))
