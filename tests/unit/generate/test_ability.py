"""Which architectures go through the cache, and that what does not is found out."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tuneloop.core.hooks import Hooks
from tuneloop.generate.ability import can_cache, plain_attention, set_attention
from tuneloop.generate.config import GenerateConfig
from tuneloop.generate.engine import Engine
from tuneloop.model import cached_attention
from tuneloop.model.backbone import CausalModel
from tuneloop.model.config import ModelConfig
from tuneloop.model.load import load_model
from tuneloop.tune.build import apply_tune
from tuneloop.tune.config import AdapterConfig, LoraConfig
from unit.train.training_kit import FAMILIES, HARDWARE, VOCABULARY, load, write_model

NEVER = VOCABULARY - 1


@pytest.mark.parametrize("family", FAMILIES)
def test_families_that_use_the_cache(family: str, family_model: Callable[[str], Path]) -> None:
    assert can_cache(load(family_model(family)))


def test_autocast_uses_the_cache(tiny_model: Path) -> None:
    model = load(tiny_model)
    model.autocast_dtype = torch.bfloat16
    engine = Engine(model, (NEVER,), GenerateConfig(max_new_tokens=4))
    prompt = np.arange(3, 20, dtype=np.int32)
    assert len(engine.generate([prompt], seed=0, hooks=Hooks())[0].ids) == 4
    assert engine._abilities == {"cache": True}


def test_a_state_space_model_falls_back_and_answers_like_transformers(tmp_path: Path) -> None:
    model = load(write_model(tmp_path / "mamba", "mamba"))
    config = GenerateConfig(max_new_tokens=6, batch_size=1)
    engine = Engine(model, (NEVER,), config)
    prompts = [np.arange(3, length, dtype=np.int32) for length in (20, 9)]
    found = [one.ids.tolist() for one in engine.generate(prompts, seed=0, hooks=Hooks())]
    assert engine._abilities == {"cache": False}
    for prompt, ids in zip(prompts, found, strict=True):
        ids_BT = torch.from_numpy(prompt.astype(np.int64))[None]
        settings = {"max_new_tokens": 6, "do_sample": False, "eos_token_id": NEVER, "pad_token_id": 0}
        output = model.base.generate(input_ids=ids_BT, attention_mask=torch.ones_like(ids_BT), **settings)
        assert output[0, len(prompt) :].tolist() == ids


@pytest.mark.slow
@pytest.mark.parametrize("way", ["lora", "adapter", "int8"])
def test_what_is_beside_or_inside_the_base_goes_through_the_cache(
    way: str, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = load_model(tiny_model, HARDWARE, ModelConfig(quantization="int8" if way == "int8" else None))
    if way != "int8":
        tuned = apply_tune(model, LoraConfig(rank=2) if way == "lora" else AdapterConfig(), seed=0)
        torch.manual_seed(0)
        with torch.no_grad():
            for parameter in tuned.trainable.values():
                parameter.normal_(std=0.2)
    prompts = [np.arange(3, length, dtype=np.int32) for length in (30, 9, 14)]

    def answers() -> list[list[int]]:
        engine = Engine(model, (NEVER,), GenerateConfig(max_new_tokens=10, batch_size=2))
        return [one.ids.tolist() for one in engine.generate(prompts, seed=0, hooks=Hooks())]

    assert can_cache(model)
    found = answers()
    monkeypatch.setattr("tuneloop.generate.engine.can_cache", lambda _: False)
    assert found == answers()
    if way != "int8":
        model = load(tiny_model)
        assert found != answers()


@pytest.mark.parametrize("broken", ["scale", "window", "error"])
def test_a_disagreement_is_found_out(broken: str, tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = load(tiny_model)
    right = cached_attention.Rule
    wrongs: dict[str, Callable[..., Any]] = {
        "scale": lambda scale, *rest: right(scale * 1.1, *rest),
        "window": lambda scale, _, softcap: right(scale, 12, softcap),
        "error": lambda *_: (_ for _ in ()).throw(AttributeError),
    }
    assert can_cache(model)
    monkeypatch.setattr(cached_attention, "Rule", wrongs[broken])
    assert not can_cache(model)


@pytest.mark.parametrize("kind", ["dynamic", "longrope"])
def test_angles_that_depend_on_the_longest_sequence_fall_back(kind: str, tiny_model: Path) -> None:
    model: CausalModel = load(tiny_model)
    model.base.config.rope_parameters["rope_type"] = kind
    assert not can_cache(model)


def test_a_name_of_an_attention_is_what_layers_call(tiny_model: Path) -> None:
    model = load(tiny_model)
    set_attention(model, plain_attention(model))
    assert model.base.config._attn_implementation == "sdpa"
