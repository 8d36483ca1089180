"""Tokenizers that look ahead, or put a space before every text: white space and borders stay what they are."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from chat_tokenizers import FAMILIES, make_sentencepiece_like, make_tokenizer, write_folder_of
from hypothesis import given, settings
from hypothesis import strategies as st

from tuneloop.data.contract import load_renderer
from tuneloop.data.prompt import Renderer
from tuneloop.data.schema import Message

CONTROL = tuple(dict.fromkeys(token for family in FAMILIES.values() for token in family.tokens))
# Runs of white space are tokens here, as in every large vocabulary.
WHITE = "a\n\n b\n\n\n  c    d\t\te \n f \n\n " * 20
KINDS = ("white space", "sentencepiece")
FRAGMENTS = [
    "\n",
    "\n\n",
    " ",
    "  ",
    "\t",
    "a",
    "b",
    "the cat",
    "</s>",
    "[INST]",
    "<|eot_id|>",
    "<",
    ">",
    "答",
    "🙂",
    ".",
]
TEXTS = st.lists(st.sampled_from(FRAGMENTS), min_size=1, max_size=6).map("".join).filter(str.strip)

Renderers = Callable[[str, str], Renderer]


@pytest.fixture(scope="module")
def renderers(tmp_path_factory: pytest.TempPathFactory) -> Renderers:
    root: Path = tmp_path_factory.mktemp("splitters")
    tokenizers = {
        "white space": make_tokenizer(WHITE, special=CONTROL),
        "sentencepiece": make_sentencepiece_like((*CONTROL, "<|im_start|>", "<|im_end|>")),
    }
    folders = {kind: write_folder_of(root / kind, each, bos="<s>", eos="</s>") for kind, each in tokenizers.items()}
    made = {(kind, name): load_renderer(folder, template=name) for kind, folder in folders.items() for name in FAMILIES}
    return lambda kind, name: made[kind, name]


@st.composite
def conversations(draw: st.DrawFn) -> tuple[Message, ...]:
    return tuple(Message(role, draw(TEXTS)) for _ in range(draw(st.integers(1, 2))) for role in ("user", "assistant"))


def test_runs_of_white_space_are_tokens(renderers: Renderers) -> None:
    """Else the tests below could not fail."""
    tokenizer = renderers("white space", "llama3").tokenizer
    assert [len(tokenizer.encode(text).ids) for text in ("\n\n", "  ", " \n")] == [1, 1, 1]
    assert len(tokenizer.encode("\n\nb").ids) == 3
    assert "".join(renderers("sentencepiece", "mistral").tokenizer.encode("a").tokens) == "▁a"


@settings(derandomize=True, database=None, deadline=None, max_examples=60)
@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("kind", KINDS)
@given(messages=conversations())
def test_served_is_trained_and_text_is_kept(
    renderers: Renderers, kind: str, name: str, messages: tuple[Message, ...]
) -> None:
    renderer = renderers(kind, name)
    row = renderer.encode_row(messages)
    for index, message in enumerate(messages):
        if message.role == "assistant":
            prompt = renderer.encode_prompt(messages[:index])
            assert np.array_equal(prompt, row.ids[: len(prompt)])
            assert row.weights[len(prompt) - 1] == 0
            assert row.weights[len(prompt)] > 0
    text, at = renderer.decode(row.ids), 0
    for message in messages:
        assert message.content in text[at:]
        at = text.index(message.content, at) + len(message.content)
    control = {renderer.tokenizer.token_to_id(token) for token in CONTROL}
    dull = renderer.encode_row(tuple(Message(message.role, "b") for message in messages))
    assert [i for i in row.ids.tolist() if i in control] == [i for i in dull.ids.tolist() if i in control]
