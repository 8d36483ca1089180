"""Greedy answers against transformers' own `generate`, one prompt at a time without padding."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tuneloop.core.hooks import Hooks
from tuneloop.deploy.adapter import merge
from tuneloop.generate.config import GenerateConfig
from tuneloop.generate.engine import Engine
from tuneloop.model.quiet import quiet_transformers
from tuneloop.tune.build import apply_tune
from tuneloop.tune.config import LoraConfig
from unit.train.training_kit import FAMILIES, VOCABULARY, load

FamilyModel = Callable[[str], Path]

NEVER = VOCABULARY - 1
NEW_TOKENS = 24


def prompts() -> list[np.ndarray]:
    """Different lengths, on both sides of Mistral's window of 16; not sorted."""
    rng = np.random.default_rng(4)
    return [rng.integers(3, VOCABULARY - 1, size=length).astype(np.int32) for length in (5, 41, 17, 1, 30, 12, 9)]


@functools.cache
def plain_answers(folder: Path, stop_ids: tuple[int, ...], *, beginning: int = 0) -> list[list[int]]:
    """transformers alone: one prompt, no padding, eager attention, cut before the stop id.

    Each prompt behind the first `beginning` tokens of the second one.
    """
    from transformers import AutoModelForCausalLM

    with quiet_transformers():
        network: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager")
    network.eval()
    answers = []
    for own in prompts():
        prompt = np.concatenate([prompts()[1][:beginning], own])
        ids = torch.from_numpy(prompt.astype(np.int64))[None]
        found = network.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=NEW_TOKENS,
            do_sample=False,
            eos_token_id=list(stop_ids),
            pad_token_id=stop_ids[0],
        )[0, len(prompt) :].tolist()
        end = next((place for place, token in enumerate(found) if token in stop_ids), len(found))
        answers.append(found[:end])
    return answers


@pytest.mark.parametrize(
    "batch_size", [pytest.param(1, marks=pytest.mark.slow), 3, pytest.param(32, marks=pytest.mark.slow)]
)
@pytest.mark.parametrize("family", FAMILIES)
def test_greedy_answers_are_those_of_transformers(family: str, batch_size: int, family_model: FamilyModel) -> None:
    folder = family_model(family)
    free = plain_answers(folder, (NEVER,))
    # Stop at tokens that do come, early for one prompt and never for others.
    stop_ids = tuple(sorted({free[1][5], free[4][2]}))
    expected = plain_answers(folder, stop_ids)
    assert len({len(answer) for answer in expected}) > 1
    config = GenerateConfig(max_new_tokens=NEW_TOKENS, batch_size=batch_size)
    found = Engine(load(folder), stop_ids, config).generate(prompts(), seed=0, hooks=Hooks())
    assert [answer.ids.tolist() for answer in found] == expected
    assert [answer.finished for answer in found] == [len(answer) < NEW_TOKENS for answer in expected]


@pytest.mark.parametrize("family", FAMILIES)
def test_streamed_answers_are_the_same_and_come_one_by_one(family: str, family_model: FamilyModel) -> None:
    folder = family_model(family)
    free = plain_answers(folder, (NEVER,))
    stop_ids = tuple(sorted({free[1][5], free[4][2]}))
    expected = plain_answers(folder, stop_ids)
    engine = Engine(load(folder), stop_ids, GenerateConfig(max_new_tokens=NEW_TOKENS))
    for prompt, answer in list(zip(prompts(), expected, strict=True))[:3]:
        shown: list[int] = []
        generated = engine.stream(prompt, show=shown.append)
        assert generated.ids.tolist() == shown == answer
        assert generated.finished == (len(answer) < NEW_TOKENS)


OTHER_FAMILIES = ("gpt_neox", "phi3", "olmo2", "cohere", "gemma3_text", "mixtral", "opt")


@pytest.mark.slow
@pytest.mark.parametrize("family", OTHER_FAMILIES)
def test_other_families_go_through_the_cache_too(family: str, family_model: FamilyModel) -> None:
    """Partial and no rotation, experts, norms of queries, biases; three slots for seven prompts."""
    folder = family_model(family)
    config = GenerateConfig(max_new_tokens=NEW_TOKENS, batch_size=3)
    engine = Engine(load(folder), (NEVER,), config)
    found = engine.generate(prompts(), seed=0, hooks=Hooks())
    assert [answer.ids.tolist() for answer in found] == plain_answers(folder, (NEVER,))
    assert engine._abilities == {"cache": True}


@pytest.mark.slow
@pytest.mark.parametrize("family", ["llama", "mistral", "gemma2", "gpt2"])
def test_prompts_with_a_common_beginning_are_those_of_transformers(family: str, family_model: FamilyModel) -> None:
    folder = family_model(family)
    beginning = prompts()[1]
    asked = [np.concatenate([beginning, prompt]) for prompt in prompts()]
    config = GenerateConfig(max_new_tokens=NEW_TOKENS, batch_size=3)
    found = Engine(load(folder), (NEVER,), config).generate(asked, seed=0, hooks=Hooks())
    assert [answer.ids.tolist() for answer in found] == plain_answers(folder, (NEVER,), beginning=len(beginning))


def test_a_model_with_a_correction_answers_like_its_merged_weights(family_model: FamilyModel) -> None:
    model = load(family_model("llama"))
    tuned = apply_tune(model, LoraConfig(rank=4, alpha=8), seed=0)
    torch.manual_seed(0)
    with torch.no_grad():
        for name, parameter in tuned.trainable.items():
            if "lora_B" in name:
                parameter.normal_(std=0.3)
    config = GenerateConfig(max_new_tokens=NEW_TOKENS)
    beside = Engine(model, (NEVER,), config).generate(prompts(), seed=0, hooks=Hooks())
    merge(model)
    merged = Engine(model, (NEVER,), config).generate(prompts(), seed=0, hooks=Hooks())
    plain = Engine(load(family_model("llama")), (NEVER,), config).generate(prompts(), seed=0, hooks=Hooks())
    assert [answer.ids.tolist() for answer in beside] == [answer.ids.tolist() for answer in merged]
    assert [answer.ids.tolist() for answer in beside] != [answer.ids.tolist() for answer in plain]
