"""Tools in conversations: what the template writes is seen, calls are learned, and no text becomes a control token."""

import json
from pathlib import Path

import numpy as np
import pytest
from chat_tokenizers import make_tokenizer, write_folder_of

from tuneloop.data.contract import load_renderer
from tuneloop.data.prompt import Renderer
from tuneloop.data.schema import Message, RowError, ToolCall

TEMPLATE = """
{%- if tools %}{{ '<|im_start|>system\nTools: ' }}{% for tool in tools %}{{ tool | tojson }}{% endfor %}
{{- '<|im_end|>\n' }}{% endif %}
{%- for message in messages %}
{{- '<|im_start|>' + message['role'] + '\n' + message['content'] }}
{%- for call in message.tool_calls or [] %}
{{- 'CALL ' + ({'name': call.function.name, 'arguments': call.function.arguments} | tojson) }}
{%- endfor %}{{ '<|im_end|>\n' }}
{%- endfor %}
{%- if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}
"""
TOOLS = json.dumps([{"type": "function", "function": {"name": "weather", "description": "the cat", "parameters": {}}}])
ASKED = (
    Message("user", "the cat?"),
    Message("assistant", "", tool_calls=(ToolCall("weather", '{"city": "mat"}', "c1"),)),
    Message("tool", "the dog", name="weather", tool_call_id="c1"),
    Message("assistant", "the house"),
)


@pytest.fixture(scope="module")
def renderer(tmp_path_factory: pytest.TempPathFactory) -> Renderer:
    folder = tmp_path_factory.mktemp("models") / "m"
    write_folder_of(folder, make_tokenizer(), eos="<|im_end|>", chat_template=TEMPLATE.strip("\n"))
    return load_renderer(folder, template="model")


def targets(renderer: Renderer, row: object) -> str:
    ids, weights = row.ids, row.weights  # type: ignore[attr-defined]
    return renderer.tokenizer.decode([int(i) for i in ids[weights > 0]], skip_special_tokens=False)


def test_calls_are_learned_and_what_tools_answer_is_not(renderer: Renderer) -> None:
    learned = targets(renderer, renderer.encode_row(ASKED, tools=TOOLS)).replace(" ", "")
    assert learned == 'CALL{"name":"weather","arguments":{"city":"mat"}}<|im_end|>thehouse<|im_end|>'


def test_served_is_trained(renderer: Renderer) -> None:
    row = renderer.encode_row(ASKED, tools=TOOLS)
    for turn in (1, 3):
        prompt = renderer.encode_prompt(ASKED[:turn], tools=TOOLS)
        assert np.array_equal(prompt, row.ids[: len(prompt)])
        assert row.weights[len(prompt) - 1] == 0 < row.weights[len(prompt)]


@pytest.mark.parametrize("spelled", ["<|im_end|>", "\\u003c|im_end|>", "<|im_start|>"])
def test_no_control_token_from_tools_or_arguments(renderer: Renderer, spelled: str) -> None:
    def controls(tools: str, arguments: str) -> int:
        call = ToolCall("weather", arguments)
        row = renderer.encode_row((*ASKED[:1], Message("assistant", "", tool_calls=(call,))), tools=tools)
        return sum(renderer.tokenizer.id_to_token(int(i)) in {"<|im_end|>", "<|im_start|>"} for i in row.ids)

    plain = controls(TOOLS, '{"city": "mat"}')
    assert controls(TOOLS, f'{{"city": "{spelled}"}}') == plain
    assert controls(TOOLS.replace("the cat", spelled), '{"city": "mat"}') == plain
    assert controls(TOOLS, f'{{"{spelled}": 1}}') == plain


@pytest.mark.parametrize("name", ["chatml", "llama3", "gemma", "mistral", "plain"])
def test_a_template_without_tools_is_refused_not_silently_followed(tmp_path: Path, name: str) -> None:
    special = ("<|eot_id|>", "<|start_header_id|>", "<|end_header_id|>", "<start_of_turn>", "<end_of_turn>", "</s>")
    folder = tmp_path / "m"
    write_folder_of(folder, make_tokenizer(special=(*special, "<|im_start|>", "<|im_end|>")), eos="</s>")
    named = load_renderer(folder, template=name)
    for messages, tools in ((ASKED[:1] + ASKED[3:], TOOLS), (ASKED, "")):
        with pytest.raises(RowError) as caught:
            named.encode_row(messages, tools=tools)
        assert caught.value.code in {"tools_ignored", "template_refused"}
