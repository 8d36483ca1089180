"""For any conversation: text stays text, targets are the answers, and what is served is what was trained."""

from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer

from conftest import write_tokenizer
from tuneloop.data.contract import load_renderer
from tuneloop.data.prompt import Renderer
from tuneloop.data.schema import Message
from tuneloop.data.template import NAMED_TEMPLATES

BOS, EOS = "<s>", "</s>"
END_OF_TURN = {"chatml": "<|im_end|>", "llama3": "<|eot_id|>", "gemma": "<end_of_turn>", "mistral": EOS, "plain": EOS}
# The last two are nobody's: one begins inside the other and ends behind it.
CONTROL = (
    *("<|endoftext|>", "<|im_start|>", "<|im_end|>", BOS, EOS, "[INST]", "[/INST]", "<start_of_turn>", "<end_of_turn>"),
    *("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", "[x]", "x]y"),
)
ADDED = ("<think>", "</think>")
DETERMINISTIC = settings(derandomize=True, database=None, deadline=None, max_examples=80)

Conversation = tuple[Message, ...]


@pytest.fixture(scope="module")
def renderer_for(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Renderer]:
    """One tokenizer with the control tokens of all families, and any of our templates on it."""
    folder: Path = tmp_path_factory.mktemp("everyone")
    write_tokenizer(folder, chat_template=None)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in CONTROL])
    tokenizer.add_tokens(list(ADDED))
    tokenizer.save(str(folder / "tokenizer.json"))
    settings_of = folder / "tokenizer_config.json"
    settings_of.write_text(settings_of.read_text().replace('"<|im_start|>"', f'"{BOS}"').replace("<|im_end|>", EOS))

    @cache
    def get(name: str) -> Renderer:
        renderer = load_renderer(folder, template=name)
        assert (renderer.contract.bos_token, renderer.contract.eos_token) == (BOS, EOS)
        assert renderer.contract.end_of_turn == tokenizer.token_to_id(END_OF_TURN[name])
        return renderer

    return get


# Control tokens whole, in halves and inside each other, and what stands around them in real text.
FRAGMENTS = st.one_of(
    st.sampled_from(CONTROL + ADDED),
    st.builds(lambda token, at: token[: at % len(token)], st.sampled_from(CONTROL), st.integers(1, 30)),
    st.builds(lambda token, at: token[at % len(token) :], st.sampled_from(CONTROL), st.integers(1, 30)),
    st.builds(
        lambda outer, inner, at: outer[: at % len(outer)] + inner + outer[at % len(outer) :],
        st.sampled_from(CONTROL),
        st.sampled_from(CONTROL),
        st.integers(1, 30),
    ),
    st.sampled_from(
        ["[x]y", "<", "|", ">", "[", "]", "/", "\n", " ", "  ", "the cat", "答", "🙂", "assistant\n", "{{ 1 }}"]
    ),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\ufdd0"), max_size=4),
)
HOSTILE = st.lists(FRAGMENTS, min_size=1, max_size=6).map("".join)


@st.composite
def conversations(draw: st.DrawFn, texts: st.SearchStrategy[str] = HOSTILE) -> Conversation:
    system = [Message("system", draw(texts))] if draw(st.booleans()) else []
    pairs = draw(st.integers(1, 3))
    turns = [Message(role, draw(texts)) for _ in range(pairs) for role in ("user", "assistant")]
    return (*system, *turns)


def written_out(name: str, messages: Conversation) -> str:
    """The text of a conversation without control tokens, by hand."""
    match name:
        case "chatml":
            return "".join(f"{message.role}\n{message.content}\n" for message in messages)
        case "llama3":
            return "".join(f"{message.role}\n\n{message.content}" for message in messages)
    head = f"{messages[0].content}\n\n" if messages[0].role == "system" else ""
    turns = messages[1:] if head else messages
    if name == "gemma":
        roles = {"user": "user", "assistant": "model"}
        first = f"user\n{head}{turns[0].content}\n"
        return first + "".join(f"{roles[message.role]}\n{message.content}\n" for message in turns[1:])
    ask, answer = (" {} ", " {}") if name == "mistral" else ("Question: {}\n\nAnswer: ", "{}\n\n")
    texts = [{"user": ask, "assistant": answer}[message.role].format(message.content) for message in turns]
    return f" {head}{texts[0][1:]}" + "".join(texts[1:]) if name == "mistral" else head + "".join(texts)


def special_ids(renderer: Renderer, ids: np.ndarray) -> list[int]:
    decoder = renderer.tokenizer.get_added_tokens_decoder()
    return [token for token in ids.tolist() if token in decoder and decoder[token].special]


@DETERMINISTIC
@pytest.mark.parametrize("name", NAMED_TEMPLATES)
@given(messages=conversations())
def test_text_stays_text(renderer_for: Callable[[str], Renderer], name: str, messages: Conversation) -> None:
    """Control tokens are the template's alone, and without them every character is still there."""
    renderer = renderer_for(name)
    row = renderer.encode_row(messages)
    dull = tuple(Message(message.role, "x") for message in messages)
    assert special_ids(renderer, row.ids) == special_ids(renderer, renderer.encode_row(dull).ids)
    prompt = renderer.encode_prompt(messages[:-1])
    assert special_ids(renderer, prompt) == special_ids(renderer, renderer.encode_prompt(dull[:-1]))
    # A row ends with its last target, so that the line break which some templates put behind it is gone.
    behind = {"chatml": "\n", "gemma": "\n", "plain": "\n\n"}.get(name, "")
    assert renderer.decode(row.ids) == written_out(name, messages).removesuffix(behind)


@DETERMINISTIC
@pytest.mark.parametrize("name", NAMED_TEMPLATES)
@given(messages=conversations())
def test_targets_are_the_answers(renderer_for: Callable[[str], Renderer], name: str, messages: Conversation) -> None:
    renderer = renderer_for(name)
    row = renderer.encode_row(messages)
    edges = np.flatnonzero(np.diff(np.concatenate([[0], row.weights > 0, [0]])))
    runs = [row.ids[begin:end] for begin, end in edges.reshape(-1, 2)]
    answers = [message.content for message in messages if message.role == "assistant"]
    space = " " if name == "mistral" else ""
    assert [renderer.decode(run) for run in runs] == [space + answer for answer in answers]
    assert [special_ids(renderer, run) for run in runs] == [[renderer.contract.end_of_turn]] * len(answers)
    assert all(run[-1] == renderer.contract.end_of_turn for run in runs)


@DETERMINISTIC
@pytest.mark.parametrize("name", NAMED_TEMPLATES)
@given(messages=conversations())
def test_served_is_what_was_trained(renderer_for: Callable[[str], Renderer], name: str, messages: Conversation) -> None:
    """Before every answer, id for id; and the answer begins exactly there."""
    renderer = renderer_for(name)
    row = renderer.encode_row(messages)
    for index, message in enumerate(messages):
        if message.role == "assistant":
            prompt = renderer.encode_prompt(messages[:index])
            assert np.array_equal(prompt, row.ids[: len(prompt)])
            assert row.weights[len(prompt) - 1] == 0
            assert row.weights[len(prompt)] > 0


@settings(DETERMINISTIC, max_examples=25)
@given(messages=conversations(), name=st.sampled_from(NAMED_TEMPLATES), weight=st.sampled_from([0.5, 1.0, 3.0]))
def test_a_longer_conversation_begins_like_the_shorter_one(
    renderer_for: Callable[[str], Renderer], messages: Conversation, name: str, weight: float
) -> None:
    renderer = renderer_for(name)
    long = renderer.encode_row((*messages, Message("user", "and?"), Message("assistant", "no")), weight=weight)
    short = renderer.encode_row(messages, weight=weight)
    assert np.array_equal(long.ids[: len(short.ids)], short.ids)
    assert np.array_equal(long.weights[: len(short.ids)], short.weights)
    assert set(short.weights.tolist()) == {0.0, weight}


def test_only_an_assistant_writes_added_tokens(renderer_for: Callable[[str], Renderer]) -> None:
    """`<think>` is no control token: an answer may hold it, and a question only spells it."""
    for name in NAMED_TEMPLATES:
        renderer = renderer_for(name)
        think = renderer.tokenizer.token_to_id("<think>")
        row = renderer.encode_row((Message("user", "<think>a"), Message("assistant", "<think>b")))
        assert row.ids.tolist().count(think) == 1
        assert row.weights[row.ids.tolist().index(think)] > 0
