"""A checker that is a classifier of pairs: natural language inference, or a model of support such as MiniCheck's."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tuneloop.core.errors import ConfigError, MissingError, ModelError
from tuneloop.evaluate.claims.checker import Pair, Verdict
from tuneloop.evaluate.claims.chunks import MAX_TOKENS, split_chunks

_SUPPORT = re.compile(r"entail(?:s|ment|ed)?|support(?:s|ed)?|consistent|faithful|蕴含|支持", re.IGNORECASE)
_DENIAL = re.compile(r"(?<![a-z])not?(?![a-z])|non|un(?=support|faithful)|in(?=consistent)|不", re.IGNORECASE)
_BINARY = 2
_SPECIAL_TOKENS = 4


@dataclass(frozen=True)
class NliSettings:
    """How a classifier of pairs is used."""

    threshold: float = 0.5
    """The least probability of support."""
    label: str | None = None
    """The name of the label that means support; None: found by its name, or label 1 of two unnamed ones."""
    chunk_tokens: int = MAX_TOKENS
    """The source is read in pieces of this many tokens of the model's own; the best piece counts."""
    batch_size: int = 16


class NliChecker:
    """Supported is a claim to whose best piece of the source the model gives at least `threshold`.

        score = max over pieces of P(support | piece, claim)

    Source: Zha et al. 2023 (AlignScore, arXiv:2305.16739) for pieces and maximum; Tang et al. 2024 (MiniCheck,
    arXiv:2404.10774) for models of two labels.
    """

    def __init__(self, model: Any, tokenizer: Any, settings: NliSettings, *, name: str, weights_hash: str) -> None:
        self._model = model
        self._tokenizer = tokenizer
        self._settings = settings
        self._label = find_support(model.config.id2label, settings.label)
        self.name = name
        self.version = (
            f"{weights_hash[:12]}|label-{self._label}|threshold-{settings.threshold:g}|chunk-{settings.chunk_tokens}"
        )

    def check(self, pairs: Sequence[Pair]) -> list[Verdict]:
        """One verdict a pair; pieces of all pairs are batched together, the longest first."""
        pieces = [
            (place, piece, claim)
            for place, (source, claim) in enumerate(pairs)
            for piece in split_chunks(source, self._room(claim), self._count)
            if piece
        ]
        order = sorted(range(len(pieces)), key=lambda number: -len(pieces[number][1]))
        best = [0.0] * len(pairs)
        for start in range(0, len(order), self._settings.batch_size):
            batch = [pieces[number] for number in order[start : start + self._settings.batch_size]]
            for (place, _, _), score in zip(batch, self._scores(batch), strict=True):
                best[place] = max(best[place], score)
        limit = self._settings.threshold
        return [
            Verdict(supported=score >= limit, score=score, why=f"support {score:.2f}, threshold {limit:.2f}")
            for score in best
        ]

    def _count(self, text: str) -> int:
        return len(self._tokenizer(text, add_special_tokens=False)["input_ids"])

    def _room(self, claim: str) -> int:
        """Tokens of a piece, so that piece and claim fit into the model together."""
        most = min(
            self._tokenizer.model_max_length, getattr(self._model.config, "max_position_embeddings", MAX_TOKENS * 4)
        )
        return max(1, min(self._settings.chunk_tokens, most - self._count(claim) - _SPECIAL_TOKENS))

    def _scores(self, batch: Sequence[tuple[int, str, str]]) -> list[float]:
        import torch

        encoded = self._tokenizer(
            [piece for _, piece, _ in batch],
            [claim for _, _, claim in batch],
            padding=True,
            truncation="longest_first",
            max_length=self._longest(),
            return_tensors="pt",
        ).to(self._model.device)
        with torch.inference_mode():
            logits_BL: torch.Tensor = self._model(**encoded).logits
        return logits_BL.float().softmax(dim=-1)[:, self._label].tolist()

    def _longest(self) -> int:
        return min(
            self._tokenizer.model_max_length, getattr(self._model.config, "max_position_embeddings", MAX_TOKENS * 4)
        )


def find_support(labels: dict[int, str], wanted: str | None) -> int:
    """The index of the label that means support.

    By its name (entailment, supported, consistent ..., and no "not" in it); of two labels without such names the
    second, as MiniCheck's models have it.

    Raises:
        ConfigError: the label is not there, or cannot be told.
    """
    names = {int(index): str(name) for index, name in labels.items()}
    if wanted is not None:
        chosen = [index for index, name in names.items() if name.casefold() == wanted.casefold()]
    else:
        chosen = [index for index, name in names.items() if _SUPPORT.search(name) and not _DENIAL.search(name)]
        has_names = any(_SUPPORT.search(name) for name in names.values())
        if len(names) == _BINARY and not has_names:
            chosen = [1]
    if len(chosen) != 1:
        known = ", ".join(names.values())
        raise ConfigError(
            f"checker: which of the model's labels means that the source supports the claim? It has: {known}. "
            "Name one as NliSettings(label=...)."
        )
    return chosen[0]


def load_nli(source: str, settings: NliSettings | None = None, *, cache: Path | None = None) -> NliChecker:
    """A classifier of pairs from a folder, hf:ORG/NAME or modelscope:ORG/NAME: safetensors only, no code of its own.

    Raises:
        ConfigError: its labels do not say which one means support.
        MissingError: it has to be fetched and cannot be.
        ModelError: the folder holds no such classifier.
    """
    from safetensors import SafetensorError
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    from tuneloop.model.config import HardwareConfig
    from tuneloop.model.hardware import choose_hardware
    from tuneloop.model.quiet import quiet_transformers
    from tuneloop.model.source import cache_folder, environment, fetch_model, hash_model

    try:
        folder = fetch_model(source, cache=cache or cache_folder(environment()))
    except (ModelError, MissingError) as error:
        raise type(error)(str(error).replace("model.source", "checker", 1)) from error
    safe = {"trust_remote_code": False, "local_files_only": True}
    try:
        with quiet_transformers():
            model, report = AutoModelForSequenceClassification.from_pretrained(
                folder, use_safetensors=True, output_loading_info=True, **safe
            )
            tokenizer = AutoTokenizer.from_pretrained(folder, **safe)
    except (ValueError, OSError, KeyError, RuntimeError, SafetensorError) as error:
        raise ModelError(f"checker: {source} does not load: {str(error).splitlines()[0]}") from error
    if report["missing_keys"]:
        # transformers would draw a head at random, and every verdict would be noise.
        missing = ", ".join(sorted(report["missing_keys"])[:3])
        raise ModelError(f"checker: {source} is no classifier of pairs: it lacks {missing}.")
    model.eval().to(choose_hardware(HardwareConfig()).device)
    return NliChecker(
        model, tokenizer, settings or NliSettings(), name=f"nli:{source}", weights_hash=hash_model(folder)
    )
