"""Makes the prompt contract of a model folder: chooses the template, finds its end-of-turn token and hidden text."""

import re
from pathlib import Path
from typing import Any, Literal

from tokenizers import Tokenizer

from tuneloop.core.errors import ContractError, ModelError
from tuneloop.core.store import hash_file, read_json
from tuneloop.data.prompt import PromptContract, Renderer
from tuneloop.data.schema import Message, RowError
from tuneloop.data.template import NAMED_TEMPLATES, Template, load_named_template

_TOKENIZER = "tokenizer.json"
_ASKED = (Message("user", "a"),)
_TOLD = (Message("system", "s"), *_ASKED)
_PROBE = (*_ASKED, Message("assistant", "bcd"))


def load_renderer(folder: Path, *, template: str = "auto", train_on: Literal["all", "last"] = "all") -> Renderer:
    """Make the contract of a model folder.

    Raises:
        ModelError: the folder has no tokenizer.json.
        ContractError: no template fits: none in the folder, or one whose answers have no end-of-turn token.
    """
    tokenizer = _load_tokenizer(folder)
    settings = _read_settings(folder)
    own = settings["chat_template"]
    name = _choose_template(template, Template(own, settings["bos"], settings["eos"]) if own else None)
    source = own if name == "model" else load_named_template(name)
    chosen = Template(source, settings["bos"], settings["eos"])
    end_of_turn = _find_end_of_turn(chosen, tokenizer, name)
    contract = PromptContract(
        template_name=name,
        template=source,
        bos_token=settings["bos"],
        eos_token=settings["eos"],
        tokenizer_sha256=hash_file(folder / _TOKENIZER),
        end_of_turn=end_of_turn,
        stop_ids=tuple(sorted({end_of_turn, *settings["eos_ids"]})),
        train_on=train_on,
        hidden_text=_hidden_text(chosen),
    )
    return Renderer(contract, tokenizer, settings["max_positions"])


def renderer_of(contract: PromptContract, folder: Path) -> Renderer:
    """The renderer of a contract that was made before, with the tokenizer of a folder.

    Raises:
        ContractError: the folder has another tokenizer.
    """
    tokenizer = _load_tokenizer(folder)
    if hash_file(folder / _TOKENIZER) != contract.tokenizer_sha256:
        raise ContractError(f"{folder}: its tokenizer is not the one that the prompt contract was made with.")
    return Renderer(contract, tokenizer, _read_settings(folder)["max_positions"])


def _load_tokenizer(folder: Path) -> Tokenizer:
    path = folder / _TOKENIZER
    if not path.is_file():
        raise ModelError(f"{folder}: no {_TOKENIZER}. Save the tokenizer as a fast tokenizer first.")
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:
        # The library raises nothing more particular.
        raise ModelError(f"{path}: not a tokenizer: {error}.") from error
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def _read_settings(folder: Path) -> dict[str, Any]:
    config = read_json(folder / "tokenizer_config.json") if (folder / "tokenizer_config.json").exists() else {}
    jinja = folder / "chat_template.jinja"
    template = jinja.read_text(encoding="utf-8") if jinja.exists() else config.get("chat_template") or ""
    if isinstance(template, list):
        template = next((item["template"] for item in template if item["name"] == "default"), "")
    eos_ids: set[int] = set()
    max_positions: int | None = None
    for name in ("generation_config.json", "config.json"):
        if (folder / name).exists():
            values = read_json(folder / name)
            max_positions = values.get("max_position_embeddings") or values.get("n_positions") or max_positions
            found = values.get("eos_token_id")
            eos_ids |= set(found) if isinstance(found, list) else {found} if isinstance(found, int) else set()
    return {
        "bos": _token_text(config.get("bos_token")),
        "eos": _token_text(config.get("eos_token")),
        "eos_ids": eos_ids,
        "chat_template": template,
        "max_positions": max_positions,
    }


def _token_text(token: object) -> str:
    if isinstance(token, dict):
        return str(token.get("content", ""))
    return token if isinstance(token, str) else ""


def _choose_template(wanted: str, own: Template | None) -> str:
    if wanted not in {"auto", "model"}:
        load_named_template(wanted)
        return wanted
    if own is None:
        if wanted == "model":
            raise ContractError(
                "data.template: the model has no chat template. Name one of: " + ", ".join(NAMED_TEMPLATES)
            )
        return "plain"
    if wanted == "auto" and _hidden_text(own):
        return next((name for name in NAMED_TEMPLATES if _same_but_for_hidden_text(own, name)), "model")
    return "model"


def _same_but_for_hidden_text(own: Template, name: str) -> bool:
    ours = Template(load_named_template(name), own.bos_token, own.eos_token)
    try:
        return all(
            own.render(messages, add_generation_prompt=asks) == ours.render(messages, add_generation_prompt=asks)
            for messages, asks in (
                (_TOLD, True),
                ((Message("system", "s"), *_PROBE), False),
                ((Message("system", "s"), *_PROBE, *_PROBE), False),
            )
        )
    except RowError:
        return False


def _hidden_text(template: Template) -> str:
    """What the template says in the system's name where nobody said anything, or ""."""
    try:
        bare = template.render(_ASKED, add_generation_prompt=True)
        told = template.render(_TOLD, add_generation_prompt=True)
    except RowError:
        return ""
    # Where no system turn is given the text is shorter by the whole system turn, unless the template makes one up.
    tail = 0
    while tail < min(len(bare), len(told)) and bare[-1 - tail] == told[-1 - tail]:
        tail += 1
    head = 0
    while head < min(len(bare), len(told)) - tail and bare[head] == told[head]:
        head += 1
    return re.sub(r"<[^<>]*>", "", bare[head : len(bare) - tail]).strip()


def _find_end_of_turn(template: Template, tokenizer: Tokenizer, name: str) -> int:
    """The special token that follows an answer."""
    try:
        text = template.render(_PROBE)
        prompt = template.render(_ASKED, add_generation_prompt=True)
    except RowError as error:
        raise ContractError(f"data.template: '{name}' cannot render a plain question and answer: {error}.") from error
    answer = _PROBE[-1].content
    if not text.startswith(prompt) or answer not in text[len(prompt) :]:
        raise ContractError(
            f"data.template: with '{name}' the text before an answer differs between training and serving. "
            f"Name one of: {', '.join(NAMED_TEMPLATES)}."
        )
    special = {i for i, token in tokenizer.get_added_tokens_decoder().items() if token.special}
    after = text.rindex(answer) + len(answer)
    lead = text[len(prompt) : text.rindex(answer)]
    for token in tokenizer.get_added_tokens_decoder().values():
        # What a model is meant to write itself, such as an empty <think></think>, consists of such tokens.
        lead = lead.replace(token.content, "") if token.content else lead
    if lead.strip():
        raise ContractError(
            f"data.template: '{name}' does not write the beginning of an answer when it is served, so the model would "
            f"have to: {lead!r}. Name one of: {', '.join(NAMED_TEMPLATES)}."
        )
    found = [i for i in tokenizer.encode(text[after:], add_special_tokens=False).ids if i in special]
    if not found:
        raise ContractError(
            f"data.template: '{name}' closes an answer with no special token of this tokenizer, so generation "
            f"would never end. Name one of: {', '.join(NAMED_TEMPLATES)}."
        )
    return found[0]
