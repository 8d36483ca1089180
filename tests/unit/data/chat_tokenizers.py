"""Tokenizer folders of the families whose templates we know, small and made here."""

import json
from pathlib import Path
from typing import Any, NamedTuple

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from conftest import SPECIAL

WORDS = "the cat sat on the mat and the dog ran to the house. Answer: the Question: cat"


class Family(NamedTuple):
    """What a family's tokenizer has, and how its template writes a conversation."""

    tokens: tuple[str, ...]
    bos: str
    eos: str
    end_of_turn: str
    before_answer: str = ""
    """What of the template belongs to the answer."""


FAMILIES = {
    "chatml": Family((), "", "<|im_end|>", "<|im_end|>"),
    "llama3": Family(
        ("<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"),
        "<|begin_of_text|>",
        "<|end_of_text|>",
        "<|eot_id|>",
    ),
    "gemma": Family(("<bos>", "<eos>", "<start_of_turn>", "<end_of_turn>"), "<bos>", "<eos>", "<end_of_turn>"),
    "mistral": Family(("<s>", "</s>", "[INST]", "[/INST]"), "<s>", "</s>", "</s>", " "),
    "plain": Family(("<s>", "</s>"), "<s>", "</s>", "</s>"),
}


def make_tokenizer(text: str = WORDS, *, special: tuple[str | AddedToken, ...] = ()) -> Tokenizer:
    """A byte-level tokenizer that splits as GPT-2 does."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=340,
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([text] * 4, trainer)
    tokenizer.add_special_tokens(
        [AddedToken(token, special=True, normalized=False) if isinstance(token, str) else token for token in special]
    )
    return tokenizer


def make_sentencepiece_like(special: tuple[str, ...]) -> Tokenizer:
    """As Llama 2 and Mistral: words begin with a mark of their own, and one is put before the text."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    trainer = trainers.BpeTrainer(
        vocab_size=380,
        special_tokens=["<unk>", *(f"<0x{byte:02X}>" for byte in range(256))],
        initial_alphabet=[*"abcdefghijklmnopqrstuvwxyz<>/[]INST."],
        show_progress=False,
    )
    tokenizer.train_from_iterator(WORDS.split() * 4, trainer)
    # Bytes are ordinary entries of the vocabulary there, not control tokens.
    values = json.loads(tokenizer.to_str())
    values["added_tokens"] = [token for token in values["added_tokens"] if not token["content"].startswith("<0x")]
    tokenizer = Tokenizer.from_str(json.dumps(values))
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in special])
    return tokenizer


def write_folder_of(
    folder: Path, tokenizer: Tokenizer, *, bos: str = "", eos: str = "", chat_template: str = "", **settings: Any
) -> Path:
    """What a model folder has of its tokenizer."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": bos or None, "eos_token": eos or None}
    (folder / "tokenizer_config.json").write_text(json.dumps(config | settings))
    if chat_template:
        (folder / "chat_template.jinja").write_text(chat_template)
    return folder


def write_family(folder: Path, name: str, *, chat_template: str = "") -> Path:
    """The folder of a family, without a template of its own unless one is given."""
    family = FAMILIES[name]
    tokenizer = make_tokenizer(special=family.tokens)
    return write_folder_of(folder, tokenizer, bos=family.bos, eos=family.eos, chat_template=chat_template)
