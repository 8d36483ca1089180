"""The prompt contract: how a conversation becomes token ids, one value with a hash, from training to serving."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from tokenizers import Tokenizer

from tuneloop.core.config import Config
from tuneloop.core.errors import ContractError, ModelError
from tuneloop.core.store import hash_file, hash_json, read_json
from tuneloop.data.schema import Message, RowError
from tuneloop.data.template import NAMED_TEMPLATES, Template, load_named_template

# A code point that Unicode reserves as "never a character": it marks where text is cut before encoding.
_CUT = "\ufdd0"
_TOKENIZER = "tokenizer.json"
_ASKED = (Message("user", "a"),)
_TOLD = (Message("system", "s"), *_ASKED)
_PROBE = (*_ASKED, Message("assistant", "bcd"))


class PromptContract(Config):
    """Everything that decides the token ids of a conversation. Two equal hashes give equal ids."""

    template_name: str
    """`model` for the model's own template, else the name of one of ours."""
    template: str
    """The Jinja source."""
    bos_token: str
    eos_token: str
    tokenizer_sha256: str
    end_of_turn: int
    """The id that closes an assistant's turn; it is trained on."""
    stop_ids: tuple[int, ...]
    """Generation ends at any of these."""
    train_on: Literal["all", "last"]
    hidden_text: str = ""
    """Text that the template adds by itself where a conversation has no system turn."""

    @property
    def hash(self) -> str:
        """SHA-256 of all fields."""
        return hash_json(self.model_dump(mode="json"))


@dataclass(frozen=True, slots=True)
class TokenRow:
    """One conversation as the model sees it; a weight above 0 marks a target."""

    ids: np.ndarray
    """int32 [T]"""
    weights: np.ndarray
    """float32 [T]: how much token t counts as a target; 0 is context."""
    origin: str

    @property
    def num_targets(self) -> int:
        """Tokens that are trained on."""
        return int(np.count_nonzero(self.weights))


@dataclass(frozen=True)
class Renderer:
    """A contract with its tokenizer: conversations to ids and back."""

    contract: PromptContract
    tokenizer: Tokenizer = field(repr=False)
    max_positions: int | None = None
    """The longest text that the model was built for, in tokens; None where its config does not say."""

    @cached_property
    def template(self) -> Template:
        """The compiled chat template."""
        return Template(self.contract.template, self.contract.bos_token, self.contract.eos_token)

    @cached_property
    def _special(self) -> re.Pattern[str]:
        return _literals(self.tokenizer, special_only=True)

    @cached_property
    def _added(self) -> re.Pattern[str]:
        return _literals(self.tokenizer, special_only=False)

    def _neutral(self, message: Message) -> Message:
        """The message with a cut inside everything that would become a control token.

        No text becomes a special token; text that is not the assistant's becomes no added token at all (an
        assistant may well write `<think>` where the tokenizer has such a token).
        """
        content = message.content
        if _CUT in content:
            raise RowError("reserved_character", "the text holds U+FDD0, which Unicode reserves as no character")
        pattern = self._special if message.role == "assistant" else self._added
        normalizer = self.tokenizer.normalizer
        if normalizer is not None and len(_found(pattern, normalizer.normalize_str(content))) > len(
            _found(pattern, content)
        ):
            raise RowError("control_token", "the text becomes a control token once the tokenizer has normalised it")
        cuts = sorted({match.start() + 1 for match in pattern.finditer(content)}, reverse=True)
        for at in cuts:
            content = content[:at] + _CUT + content[at:]
        return Message(message.role, content, message.weight) if cuts else message

    def encode_prompt(self, messages: Sequence[Message]) -> np.ndarray:
        """The ids, int32 [T], after which the assistant goes on: what serving and evaluation feed.

        Raises:
            RowError: the template refuses the conversation.
        """
        neutral = [self._neutral(message) for message in messages]
        text = self.template.render(neutral, add_generation_prompt=True)
        return self._encode(text, [start for _, start in self._answer_starts(neutral, text)]).ids

    def encode_row(self, messages: Sequence[Message], *, origin: str = "", weight: float = 1.0) -> TokenRow:
        """A conversation with its targets: the answers, each with the token that ends its turn.

        Raises:
            RowError: the template refuses it, or its text does not hold the answers where serving would put them.
        """
        neutral = [self._neutral(message) for message in messages]
        text = self.template.render(neutral)
        answers = self._answer_starts(neutral, text)
        encoded = self._encode(text, [start for _, start in answers])
        weights = np.zeros(len(encoded.ids), dtype=np.float32)
        for index, start in answers if self.contract.train_on == "all" else answers[-1:]:
            first = int(np.searchsorted(encoded.starts, start))
            ends = np.flatnonzero(encoded.ids[first:] == self.contract.end_of_turn)
            if not len(ends):
                raise RowError("no_end_of_turn", f"turn {index + 1}: the template closes it with no end-of-turn token")
            weights[first : first + int(ends[0]) + 1] = weight * messages[index].weight
        targets = np.flatnonzero(weights)
        if not len(targets):
            raise RowError("no_target", "nothing in it is trained on")
        length = int(targets[-1]) + 1
        return TokenRow(encoded.ids[:length], weights[:length], origin)

    def _answer_starts(self, neutral: Sequence[Message], text: str) -> list[tuple[int, int]]:
        """(turn, character of the cut-free text) where each answer begins: where its generation prompt ends."""
        starts = []
        for index, message in enumerate(neutral):
            if message.role == "assistant":
                prompt = self.template.render(neutral[:index], add_generation_prompt=True)
                if not text.startswith(prompt):
                    raise RowError(
                        "template_prefix",
                        f"turn {index + 1}: the template writes another text before it when it is served",
                    )
                starts.append((index, len(prompt) - prompt.count(_CUT)))
        return starts

    def decode(self, ids: Sequence[int] | np.ndarray) -> str:
        """Text of generated ids, without special tokens."""
        return self.tokenizer.decode([int(i) for i in ids], skip_special_tokens=True)

    def pieces(self, ids: np.ndarray) -> list[str]:
        """The text of each id alone, for showing; bytes that are no character by themselves show as �."""
        return [self.tokenizer.decode([int(i)], skip_special_tokens=False) for i in ids]

    def _encode(self, text: str, bounds: Sequence[int]) -> "_Encoded":
        """Encode text that may hold cut marks; the ids before one of `bounds` are those of that text alone."""
        cuts: list[int] = []
        for piece in text.split(_CUT)[:-1]:
            cuts.append((cuts[-1] if cuts else 0) + len(piece))
        plain = text.replace(_CUT, "")
        encoded = self._encode_pieces(plain, cuts)
        needed = {at for at in bounds if encoded.straddles(at) or self._looks_ahead(plain, at, encoded)}
        return self._encode_pieces(plain, sorted({*cuts, *needed})) if needed else encoded

    def _looks_ahead(self, text: str, at: int, encoded: "_Encoded") -> bool:
        """Whether the white space before a border became other tokens because of what follows it.

        Splitters such as GPT-2's take white space differently at the end of a text.
        """
        if self._adds_space or not text[:at].endswith((" ", "\n", "\t", "\r")):
            return False
        begin = at - 1
        while begin > 0 and text[begin - 1].isspace():
            begin -= 1
        place = int(np.searchsorted(encoded.starts, begin))
        if place >= len(encoded.starts) or encoded.starts[place] != begin:
            return True
        alone = self.tokenizer.encode(text[begin:at], add_special_tokens=False).ids
        return encoded.ids[place : int(np.searchsorted(encoded.starts, at))].tolist() != alone

    @cached_property
    def _adds_space(self) -> bool:
        """Whether the tokenizer puts a space before every text, as SentencePiece's do."""
        return any(token.startswith("\u2581") for token in self.tokenizer.encode("a", add_special_tokens=False).tokens)

    def _encode_piece(self, piece: str, *, is_first: bool) -> tuple[list[int], list[tuple[int, int]]]:
        if is_first or not self._adds_space:
            encoding = self.tokenizer.encode(piece, add_special_tokens=False)
            return encoding.ids, encoding.offsets
        # The space that is put before every text goes to a newline, which is then left off.
        encoding = self.tokenizer.encode("\n" + piece, add_special_tokens=False)
        kept = [(i, (max(a, 1) - 1, b - 1)) for i, (a, b) in zip(encoding.ids, encoding.offsets, strict=True) if b > 1]
        return [i for i, _ in kept], [span for _, span in kept]

    def _encode_pieces(self, text: str, cuts: list[int]) -> "_Encoded":
        ids: list[int] = []
        spans: list[tuple[int, int]] = []
        for begin, end in zip([0, *cuts], [*cuts, len(text)], strict=True):
            piece_ids, offsets = self._encode_piece(text[begin:end], is_first=begin == 0)
            ids += piece_ids
            spans += [(begin + first, begin + last) for first, last in offsets]
        array = np.array(spans, dtype=np.int64).reshape(-1, 2)
        return _Encoded(np.array(ids, dtype=np.int32), array[:, 0], array[:, 1])


def _found(pattern: re.Pattern[str], text: str) -> list[str]:
    return pattern.findall(text)


@dataclass(frozen=True, slots=True)
class _Encoded:
    ids: np.ndarray
    starts: np.ndarray
    ends: np.ndarray

    def straddles(self, at: int) -> bool:
        return bool(np.any((self.starts < at) & (self.ends > at)))


def _literals(tokenizer: Tokenizer, *, special_only: bool) -> re.Pattern[str]:
    """Finds every place where text spells an added token; places may overlap."""
    tokens = tokenizer.get_added_tokens_decoder().values()
    texts = [
        token.content
        for token in tokens
        # Gemma has tokens of white space among the added ones: they control nothing.
        if len(token.content) > 1 and token.content.strip() and (token.special or not special_only)
    ]
    texts.sort(key=len, reverse=True)
    return re.compile("(?=" + "|".join(map(re.escape, texts)) + ")" if texts else "(?!)")


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
