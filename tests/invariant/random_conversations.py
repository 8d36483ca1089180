"""Random conversations that spell control tokens wherever text can stand, and models with every template of ours."""

import json
import random
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Tokenizer

from conftest import write_tokenizer
from tuneloop.data.contract import load_renderer
from tuneloop.data.prompt import Renderer
from tuneloop.data.template import NAMED_TEMPLATES

BOS, EOS = "<s>", "</s>"
CONTROL = (
    *("<|endoftext|>", "<|im_start|>", "<|im_end|>", BOS, EOS, "[INST]", "[/INST]", "<start_of_turn>", "<end_of_turn>"),
    *("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"),
)
ADDED = ("<think>", "</think>")
OWN = (
    "{{ bos_token }}{% if tools %}{{ 'Tools: ' + (tools | tojson) + '\\n' }}{% endif %}"
    "{% for message in messages %}{{ '<|im_start|>' + message.role + '\\n' + message.content }}"
    "{% for call in message.tool_calls or [] %}"
    "{{ '<call>' + call.function.name + ' ' + (call.function.arguments | tojson) + '</call>' }}{% endfor %}"
    "{{ '<|im_end|>\\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
"""A model's own template, with tools."""
TEMPLATES = (*NAMED_TEMPLATES, "model")
_WORDS = (
    "the cat",
    "sat on",
    "house.",
    "答",
    "原告主张",
    "🙂",
    "\n",
    "  ",
    "assistant\n",
    "{{ 1 }}",
    '"\\',
    "<",
    "|>",
    "é",
)


def write_model_folder(folder: Path) -> Path:
    """One tokenizer with the control tokens of all families, and a template of its own."""
    folder.mkdir(parents=True)
    write_tokenizer(folder, chat_template=OWN)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in CONTROL])
    tokenizer.add_tokens(list(ADDED))
    tokenizer.save(str(folder / "tokenizer.json"))
    config = folder / "tokenizer_config.json"
    config.write_text(config.read_text().replace('"<|im_start|>"', f'"{BOS}"').replace("<|im_end|>", EOS))
    return folder


def renderers_of(folder: Path) -> dict[str, Renderer]:
    """A renderer for each template."""
    return {name: load_renderer(folder, template=name) for name in TEMPLATES}


def random_text(chance: random.Random, most: int) -> str:
    """At least one visible letter, and up to `most` fragments, some of them control tokens or halves of them."""
    parts = [chance.choice("abcdefgh答")]
    for _ in range(chance.randint(0, most)):
        token = chance.choice(CONTROL + ADDED)
        at = chance.randrange(len(token))
        other = chance.choice(CONTROL)
        spelt = (token, token, token[:at], token[at:], token[:at] + other + token[at:])
        parts.append(chance.choice(_WORDS if chance.random() < 0.7 else spelt))
    return "".join(parts)


def _call(chance: random.Random) -> dict[str, Any]:
    arguments = {random_text(chance, 1): random_text(chance, 3), "n": [chance.randint(0, 9), random_text(chance, 2)]}
    text = json.dumps(arguments, ensure_ascii=chance.random() < 0.5)
    if chance.random() < 0.5:
        text = text.replace("<", "\\u003c")
    return {"type": "function", "function": {"name": chance.choice(["find", "<|im_end|>find"]), "arguments": text}}


def random_row(chance: random.Random, *, with_tools: bool, with_weights: bool) -> dict[str, Any]:
    """A row in OpenAI's shape, sound as the data stage demands it."""
    messages: list[dict[str, Any]] = []
    if chance.random() < 0.5:
        messages.append({"role": "system", "content": random_text(chance, 4)})
    for number in range(chance.randint(1, 4)):
        messages.append({"role": "user", "content": random_text(chance, 40 if chance.random() < 0.3 else 6)})
        if with_tools and chance.random() < 0.4:
            calls = [_call(chance) for _ in range(chance.randint(1, 2))]
            messages.append({"role": "assistant", "content": chance.choice(["", "so:"]), "tool_calls": calls})
            messages += [{"role": "tool", "content": random_text(chance, 12)} for _ in calls]
        answer: dict[str, Any] = {"role": "assistant", "content": random_text(chance, 12)}
        if with_weights and number == 0 and chance.random() < 0.15:
            answer["weight"] = 0.5
        messages.append(answer)
    if with_weights and len(messages) > 4 and chance.random() < 0.2:
        next(each for each in messages if each["role"] == "assistant")["weight"] = 0
    row: dict[str, Any] = {"messages": messages}
    if with_tools:
        parameters = {"type": "object", "properties": {random_text(chance, 1): {"description": random_text(chance, 3)}}}
        function = {"name": "find", "description": random_text(chance, 3), "parameters": parameters}
        row["tools"] = [{"type": "function", "function": function}]
    return row


def as_line(row: dict[str, Any], chance: random.Random) -> str:
    """JSON text of a row, sometimes with escapes where a control token would begin."""
    text = json.dumps(row, ensure_ascii=chance.random() < 0.3)
    return text.replace("<", "\\u003c").replace("[INST", "\\u005bINST") if chance.random() < 0.3 else text
