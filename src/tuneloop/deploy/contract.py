"""The prompt contract in an exported folder: written there, and held against what plain transformers renders."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tuneloop.core.errors import ContractError
from tuneloop.core.store import read_json, write_json, write_text
from tuneloop.data.contract import renderer_of
from tuneloop.data.prompt import PromptContract, Renderer
from tuneloop.data.schema import Message
from tuneloop.model.quiet import quiet_transformers

CONTRACT_FILE = "tuneloop_contract.json"
_TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "tokenizer.model",
    "vocab.json",
    "merges.txt",
    "added_tokens.json",
)


def write_contract(renderer: Renderer, base: Path, folder: Path) -> None:
    """Copy the tokenizer as it is, and put the contract's template beside it, where every tool looks for it."""
    for name in _TOKENIZER_FILES:
        if (base / name).exists():
            shutil.copyfile(base / name, folder / name)
    write_text(folder / "chat_template.jinja", renderer.contract.template)
    config = folder / "tokenizer_config.json"
    if config.exists():
        values = read_json(config)
        values.pop("chat_template", None)
        write_json(config, values)
    write_json(folder / CONTRACT_FILE, renderer.contract.model_dump(mode="json") | {"hash": renderer.contract.hash})


def read_contract(folder: Path) -> Renderer:
    """The renderer of an exported folder.

    Raises:
        ContractError: the contract was changed, or the tokenizer is not the one that it names.
    """
    values = read_json(folder / CONTRACT_FILE)
    saved_hash = values.pop("hash", None)
    contract = PromptContract.model_validate(values)
    if contract.hash != saved_hash:
        raise ContractError(f"{folder / CONTRACT_FILE}: was changed after it was written.")
    return renderer_of(contract, folder)


def check_contract(renderer: Renderer, folder: Path, probes: Sequence[Sequence[Message]]) -> None:
    """Plain transformers must make the same ids from the folder as training did.

    Raises:
        ContractError: it does not.
    """
    from transformers import AutoTokenizer

    with quiet_transformers():
        tokenizer: Any = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    for messages in probes:
        expected = renderer.encode_prompt(messages).tolist()
        found = tokenizer.apply_chat_template(
            [{"role": message.role, "content": message.content} for message in messages],
            add_generation_prompt=True,
            tokenize=True,
            return_dict=False,
        )
        if list(found) != expected:
            raise ContractError(
                f"{folder}: transformers renders a prompt differently from training: {len(found)} tokens against "
                f"{len(expected)}, for {messages[-1].content[:60]!r}. The template may depend on the date, or the text "
                "holds control tokens. Name another data.template."
            )
