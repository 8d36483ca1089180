"""From every format to every other: what can be held is the same afterwards, and the rest is refused by name."""

import gzip
import itertools
import json
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tuneloop.core.errors import ConfigError, DataError
from tuneloop.data.config import FileSpec, Render
from tuneloop.data.content import Content, Conversation, Critique, Example, Feedback, Preference, Text
from tuneloop.data.convert import ConvertLedger, convert, convert_file
from tuneloop.data.formats.registry import FORMATS, detect_format, parse_example
from tuneloop.data.formats.shape import Shape
from tuneloop.data.legal.record import LegalRecord
from tuneloop.data.render import to_conversation
from tuneloop.data.schema import Message, RowError
from unit.data.content_strategies import conversations, plain_conversations
from unit.data.rich_strategies import completions, critiques, feedbacks, plain_texts, preferences, records

TURNS = ("messages", "sharegpt", "prompt_completion")
PAIRS = ("alpaca", "pairs", "segments")
LEGAL = ("legal", "cail", "disc_law")
SAMPLES = {
    "conversation": st.one_of(conversations(with_tools=False), plain_conversations(), completions(with_tools=False)),
    "text": plain_texts(),
    "preference": preferences(with_tools=False),
    "feedback": feedbacks(with_tools=False),
    "critique": critiques(),
    "record": st.sampled_from(records()),
}
RENDERS: list[Render] = [*["auto"] * 6, *get_args(Render)]
Q, A, B = Message("user", "q"), Message("assistant", "a"), Message("assistant", "b")
QUESTION, CASE = records()


def again(format_name: str, row: dict[str, Any]) -> Example:
    return parse_example(format_name, json.loads(json.dumps(row)), Shape())


def attempt(example: Example, to: str, render: Render = "auto") -> tuple[dict[str, Any] | None, str]:
    """The row, or the code of the refusal; any other exception is a mistake of ours."""
    try:
        return convert(example, to, render=render), ""
    except RowError as error:
        return None, error.code


def refused(content: Content, to: str, render: Render = "auto") -> RowError:
    with pytest.raises(RowError) as caught:
        convert(Example(content), to, render=render)
    return caught.value


@pytest.mark.parametrize("kind", SAMPLES)
@settings(max_examples=25)
@given(data=st.data())
def test_every_pair_converts_or_says_why_not(kind: str, data: st.DataObject) -> None:
    content = data.draw(SAMPLES[kind])
    to, render = data.draw(st.sampled_from(list(FORMATS))), data.draw(st.sampled_from(RENDERS))
    row, code = attempt(Example(content), to, render)
    if row is None:
        is_unwanted = isinstance(content, Feedback) and not content.is_desirable
        assert code in {"not_expressible", "cannot_render"} or (is_unwanted and code == "not_desirable")
        return
    found = again(to, row).content
    # The same content, or the conversation that it is rendered as.
    assert found == content or convert(Example(found), "messages") == convert(
        Example(content), "messages", render=render
    )


def test_the_matrix_of_what_goes_where() -> None:
    samples: dict[str, Content] = {
        "conversation": Conversation((Q, A)),
        "text": Text("t"),
        "preference": Preference((Q,), (A,), (B,)),
        "feedback": Feedback((Q,), (A,), is_desirable=True),
        "critique": Critique("q", "a", "c"),
        "question": QUESTION,
        "case": CASE,
    }
    of_turns = {*TURNS, *PAIRS}
    expected = {
        "conversation": of_turns,
        "text": {"text"},
        "preference": of_turns | {"preference"},
        "feedback": of_turns | {"kto"},
        "critique": of_turns | {"critique"},
        "question": of_turns | {"legal", "disc_law"},
        "case": of_turns | {"legal", "cail"},
    }
    found: dict[str, set[str]] = {name: set() for name in samples}
    for (name, content), to in itertools.product(samples.items(), FORMATS):
        row, code = attempt(Example(content), to)
        assert code in {"", "not_expressible"}
        if row is not None:
            found[name].add(to)
    assert found == expected


@pytest.mark.parametrize("through", [*TURNS, *PAIRS])
@settings(max_examples=20)
@given(conversation=plain_conversations(), to=st.sampled_from([*TURNS, *PAIRS]))
def test_questions_and_answers_go_through_any_two_formats(through: str, conversation: Conversation, to: str) -> None:
    start = Example(Conversation(conversation.messages[conversation.messages[0].role == "system" :]), 0.5, "7", 2.0)
    middle = again(through, convert(start, through))
    assert middle == start
    assert again(to, convert(middle, to)) == start


@pytest.mark.slow
@settings(max_examples=15, suppress_health_check=[HealthCheck.too_slow])
@given(conversation=completions(), pair=st.permutations(TURNS))
def test_any_conversation_goes_through_lists_of_turns(conversation: Conversation, pair: list[str]) -> None:
    start = Example(conversation, 0.5, "7", 2.0)
    middle = again(pair[0], convert(start, pair[0]))
    assert again(pair[1], convert(middle, pair[1])) == start


def test_preference_becomes_its_chosen_answer() -> None:
    content = Preference((Q,), (A,), (B,))
    for render in ("auto", "chosen"):
        row = convert(Example(content, id="7"), "messages", render=render)
        assert row == {
            "id": "7",
            "messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}],
        }
    # A rendering is a conversation, also where the format could hold the pair.
    assert refused(content, "preference", "chosen").code == "not_expressible"


def test_only_wanted_answers_become_conversations() -> None:
    wanted = Feedback((Q,), (A,), is_desirable=True)
    assert convert(Example(wanted), "pairs") == {"query": "q", "response": "a"}
    assert refused(replace(wanted, is_desirable=False), "pairs").code == "not_desirable"
    assert convert(Example(replace(wanted, is_desirable=False)), "kto")["label"] is False


@settings(max_examples=40)
@given(critiques())
def test_a_critique_goes_to_the_authors_layout_and_back(critique: Critique) -> None:
    start = Example(critique, 0.5, "7", 2.0)
    row, code = attempt(start, "alpaca")
    if row is None:
        assert code == "not_expressible"
        assert "\n\nSolution:\n" in critique.question
        return
    assert set(row) == {"id", "weight", "score", "instruction", "input", "output"}
    found = again("critique", row)
    # A verdict that only a field says has no place there.
    assert isinstance(found.content, Critique)
    assert replace(found, content=replace(found.content, is_right=critique.is_right)) == start
    # Read as plain Alpaca and in other formats of turns it is the same text, and still a critique.
    for to in ("alpaca", "messages", "pairs"):
        rendered = again(to, convert(again("alpaca", row), to))
        assert again("critique", convert(rendered, "critique")) == found


def test_a_legal_record_goes_to_conversations_and_back() -> None:
    row = convert(Example(CASE), "messages", render="charge")
    assert row == convert(Example(CASE), "messages")
    back = again("legal", convert(again("messages", row), "legal")).content
    assert isinstance(back, LegalRecord)
    assert to_conversation(back, "charge") == to_conversation(CASE, "charge")
    assert refused(CASE, "messages", "answer").code == "cannot_render"
    assert refused(Conversation((Q, A)), "legal").code == "not_expressible"


def test_a_case_goes_between_the_legal_formats() -> None:
    cail = convert(Example(CASE), "cail")
    assert cail["meta"]["accusation"] == ["盗窃"]
    found = again("cail", cail)
    assert again("legal", convert(found, "legal")).content == CASE


def test_only_the_layout_itself_is_a_critique() -> None:
    critique = to_conversation(Critique("q", "a", "c"), "auto").messages
    assert again("critique", convert(Example(Conversation(critique)), "critique")).content == Critique("q", "a", "c")
    for more in (Conversation((Message("system", "s"), *critique)), Conversation((Q, A, *critique))):
        assert refused(more, "critique").code == "not_expressible"


@pytest.mark.parametrize(
    ("content", "to", "part"),
    [
        (Text("t"), "messages", "a text does not go into messages: it has no turns"),
        (Conversation((Q, A)), "text", "a conversation does not go into text: where turns begin and end"),
        (Preference((Q,), (A,), (B,)), "kto", "one row would become two"),
        (Conversation((Q, A)), "preference", "it has no second answer"),
        (Conversation((Q, A)), "critique", "it is not in the layout of one"),
        (Text("t"), "kto", "a text does not go into kto: that holds an answer with a label"),
    ],
)
def test_a_refusal_says_why(content: Content, to: str, part: str) -> None:
    error = refused(content, to)
    assert error.code == "not_expressible"
    assert part in error.reason


def test_an_unknown_format_is_named() -> None:
    with pytest.raises(ConfigError, match=r"no format 'chatml' to convert to\. There are: preference, kto, "):
        convert(Example(Text("t")), "chatml")


def lines(*rows: object) -> str:
    return "".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows)


def converted(folder: Path, text: str, to: str, out: str, **spec: Any) -> ConvertLedger:
    (folder / "rows.jsonl").write_text(text)
    source = FileSpec.model_validate({"path": "rows.jsonl", **spec})
    return convert_file(source, folder, to, folder / out, cache=folder / "cache")


GOOD = {"prompt": "q", "chosen": "a", "rejected": "b", "id": "7", "weight": 2}
MESSAGES = {
    "id": "7",
    "messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}],
    "weight": 2.0,
}


def test_a_file_with_every_row_accounted_for(tmp_path: Path) -> None:
    text = lines(GOOD, {**GOOD, "rejected": "a"}, "{", {**GOOD, "chosen": 3}, GOOD)
    ledger = converted(tmp_path, text, "messages", "out.jsonl")
    assert (ledger.read, ledger.written) == (5, 2)
    assert ledger.problems == {"same_answers": 1, "not_json": 1, "wrong_type": 1}
    assert [str(problem.origin) for problem in ledger.first_problems] == [f"rows.jsonl:{line}" for line in (2, 3, 4)]
    assert [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()] == [MESSAGES, MESSAGES]


def test_what_the_target_cannot_hold_is_counted(tmp_path: Path) -> None:
    # Tools as text inside the row may hold what no JSON file of ours does.
    big, half = ({**MESSAGES, "tools": f'[{{"name": "f", "x": {x}}}]'} for x in (2**70, '"\\ud83d"'))
    ledger = converted(tmp_path, lines(MESSAGES, big, half), "messages", "out.jsonl")
    assert (ledger.read, ledger.written, ledger.problems) == (3, 1, {"not_expressible": 2})
    assert ledger.first_problems[0].reason.startswith("cannot be written as JSON: ")
    again_ledger = converted(tmp_path, lines(MESSAGES), "text", "empty.jsonl")
    assert (again_ledger.written, again_ledger.problems) == (0, {"not_expressible": 1})
    assert (tmp_path / "empty.jsonl").read_bytes() == b""


@pytest.mark.parametrize("out", ["out.json", "out.jsonl.gz", "out.json.gz"])
@pytest.mark.parametrize("number", [0, 1, 3])
def test_the_name_says_how_it_is_written(tmp_path: Path, out: str, number: int) -> None:
    text = lines(*[GOOD] * number, {**GOOD, "rejected": "a"})
    assert converted(tmp_path, text, "messages", out).written == number
    raw = (tmp_path / out).read_bytes()
    content = (gzip.decompress(raw) if out.endswith(".gz") else raw).decode()
    found = [json.loads(line) for line in content.splitlines()] if "jsonl" in out else json.loads(content)
    assert found == [MESSAGES] * number
    assert content.endswith("\n") or not number
    if out.endswith(".gz"):
        # No time and no name (RFC 1952): the same rows give the same bytes.
        assert (raw[3], raw[4:8]) == (0, bytes(4))


def test_what_was_written_is_read_as_its_format(tmp_path: Path) -> None:
    converted(tmp_path, lines(GOOD, GOOD), "preference", "pairs.json.gz")
    back = convert_file(
        FileSpec(path="pairs.json.gz"), tmp_path, "messages", tmp_path / "back.jsonl", cache=tmp_path / "cache"
    )
    assert back.written == 2
    assert json.loads((tmp_path / "back.jsonl").read_text().splitlines()[0]) == MESSAGES


def test_the_spelling_of_the_source_is_heeded(tmp_path: Path) -> None:
    text = lines({"ask": "q", "say": "a", "prompt": "x"})
    columns = {"prompt": "ask", "completion": "say"}
    ledger = converted(
        tmp_path, text, "pairs", "out.jsonl", format="prompt_completion", columns=columns, only_columns=True
    )
    assert ledger.written == 1
    assert json.loads((tmp_path / "out.jsonl").read_text()) == {"query": "q", "response": "a"}
    # A rendering that no row of the file has.
    assert converted(tmp_path, lines(GOOD), "messages", "x.jsonl", render="charge").problems == {"cannot_render": 1}


def test_the_source_is_never_written_over(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is the file that is read"):
        converted(tmp_path, lines(GOOD), "messages", "rows.jsonl")
    assert (tmp_path / "rows.jsonl").read_text() == lines(GOOD)


def test_a_wrong_name_writes_nothing(tmp_path: Path) -> None:
    for out in ("out.csv", "out.gz", "out"):
        with pytest.raises(ConfigError, match=r"name it \.jsonl"):
            converted(tmp_path, lines(GOOD), "messages", out)
    with pytest.raises(ConfigError, match="there is no format 'no'"):
        converted(tmp_path, lines(GOOD), "no", "out.jsonl")
    with pytest.raises(DataError):
        convert_file(FileSpec(path="none.jsonl"), tmp_path, "messages", tmp_path / "out.jsonl", cache=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["rows.jsonl"]


@pytest.mark.parametrize("name", ["prompt_completion", "text", "preference", "kto", "critique"])
def test_the_examples_of_a_page_are_rows_of_its_format(name: str) -> None:
    page = (Path(__file__).parents[3] / "docs" / "formats" / f"{name}.md").read_text()
    examples = [json.loads(block.partition("```")[0]) for block in page.split("```json\n")[1:]]
    assert examples
    for example in examples:
        assert detect_format([example]) == name
        content = again(name, example).content
        assert again(name, convert(Example(content), name)).content == content


@pytest.mark.shared
@pytest.mark.parametrize(("name", "to"), [("dpo_zh_demo.json", "preference"), ("kto_en_demo.json", "kto")])
def test_published_files_convert_whole(shared: Path, tmp_path: Path, name: str, to: str) -> None:
    folder = shared / "llamafactory_demo"
    ledger = convert_file(FileSpec(path=name), folder, to, tmp_path / "out.jsonl", cache=tmp_path)
    assert (ledger.read, ledger.written) == (300, 300)
    back = convert_file(FileSpec(path="out.jsonl"), tmp_path, to, tmp_path / "again.jsonl", cache=tmp_path)
    assert back.written == 300
    assert (tmp_path / "out.jsonl").read_bytes() == (tmp_path / "again.jsonl").read_bytes()
