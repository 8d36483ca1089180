"""Continuous batching: what must not matter to an answer, and in which order answers come."""

from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tuneloop.core.errors import DataError, StoppedError
from tuneloop.core.hooks import Hooks
from tuneloop.generate.answer import Asked, Generated
from tuneloop.generate.batching import SHORTEST, Slots, common_length
from tuneloop.generate.config import GenerateConfig
from tuneloop.generate.engine import Engine, in_order
from tuneloop.generate.few_rows import few_rows
from tuneloop.generate.picking import Picker
from tuneloop.model.attention import PACKED_ATTENTION
from tuneloop.model.backbone import CausalModel
from tuneloop.tune.build import apply_tune
from tuneloop.tune.config import LoraConfig
from tuneloop.tune.fused_lora import fuse_lora
from unit.train.training_kit import VOCABULARY, Killed, Watch, load

NEVER = VOCABULARY - 1


def prompts(number: int = 9, *, head: int = 0, seed: int = 3) -> list[np.ndarray]:
    """Of different lengths, all with the same first `head` tokens."""
    rng = np.random.default_rng(seed)
    beginning = rng.integers(3, NEVER, size=head)
    lengths = rng.integers(1, 30, size=number)
    return [np.concatenate([beginning, rng.integers(3, NEVER, size=n)]).astype(np.int32) for n in lengths]


def ids_of(answers: Sequence[Generated]) -> list[list[int]]:
    return [answer.ids.tolist() for answer in answers]


def answer(model: CausalModel, asked: list[np.ndarray], *, seed: int = 0, **settings: Any) -> list[list[int]]:
    config = GenerateConfig.model_validate({"max_new_tokens": 12} | settings)
    return ids_of(Engine(model, (NEVER,), config).generate(asked, seed=seed, hooks=Hooks()))


@pytest.fixture
def model(tiny_model: Path) -> CausalModel:
    return load(tiny_model)


@pytest.mark.parametrize("temperature", [0.0, 1.3])
def test_the_number_of_slots_changes_nothing(temperature: float, model: CausalModel) -> None:
    alone = answer(model, prompts(), batch_size=1, temperature=temperature)
    assert len({tuple(ids) for ids in alone}) == len(alone)
    for batch_size in (2, 7, 32):
        assert answer(model, prompts(), batch_size=batch_size, temperature=temperature) == alone


@pytest.mark.parametrize("head", [SHORTEST + 5, 100])
def test_a_common_beginning_changes_no_answer(head: int, model: CausalModel, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = prompts(head=head)
    computed = count_computed(monkeypatch)
    together = answer(model, asked, batch_size=4)
    assert sum(computed) == sum(map(len, asked)) - (len(asked) - 1) * head
    assert together == [answer(model, [prompt])[0] for prompt in asked]


def test_samples_of_a_prompt_compute_it_once(model: CausalModel, monkeypatch: pytest.MonkeyPatch) -> None:
    prompt = prompts(1, head=40)[0]
    computed = count_computed(monkeypatch)
    samples = answer(model, [prompt] * 5, batch_size=2, temperature=1.5)
    assert sum(computed) == len(prompt) + 4
    assert len({tuple(ids) for ids in samples}) == 5


def count_computed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Tokens of each prefill that this test sees, but for those of the probe at first use."""
    computed: list[int] = []
    admit = Slots.admit

    def watched(slots: Slots, waiting: deque[Asked]) -> torch.Tensor:
        before = len(slots.running)
        places: list[int] = []
        place = Slots._place
        monkeypatch.setattr(Slots, "_place", lambda self, ids: places.append((p := place(self, ids)).length) or p)
        states = admit(slots, waiting)
        monkeypatch.setattr(Slots, "_place", place)
        computed.append(sum(places[: len(slots.running) - before]))
        return states

    monkeypatch.setattr("tuneloop.generate.engine.can_cache", lambda _: True)
    monkeypatch.setattr(Slots, "admit", watched)
    return computed


def test_the_chance_of_a_sample_is_its_keys_alone(model: CausalModel) -> None:
    """A run that goes on after a stop asks the rest of the prompts only, with the keys that they had."""
    config = GenerateConfig(max_new_tokens=12, temperature=1.5, top_p=0.9, top_k=50, batch_size=3)
    engine = Engine(model, (NEVER,), config)
    asked = prompts()
    keys = [f"row {index}" for index in range(len(asked))]
    whole = ids_of(engine.generate(asked, seed=4, hooks=Hooks(), keys=keys))
    rest = ids_of(engine.generate(asked[:3:-1], seed=4, hooks=Hooks(), keys=keys[:3:-1]))
    assert rest == whole[:3:-1]
    assert ids_of(engine.generate(asked, seed=5, hooks=Hooks(), keys=keys)) != whole
    other = ids_of(engine.generate(asked, seed=4, hooks=Hooks(), keys=keys[::-1]))
    assert all(ids != before for ids, before in zip(other[:4], whole[:4], strict=True))


def test_answers_come_as_they_finish_and_are_told_after_they_were_given(model: CausalModel) -> None:
    free = answer(model, prompts(6), batch_size=2)
    stop_id = free[0][2]
    given: list[int] = []
    watch = Watch(lambda _, event: given.append(-event["done"]))
    config = GenerateConfig(max_new_tokens=12, batch_size=2)
    engine = Engine(model, (NEVER, stop_id), config)
    answers: dict[int, Generated] = {}

    def keep(index: int, found: Generated) -> None:
        given.append(index)
        answers[index] = found

    result = engine.generate(prompts(6), seed=0, hooks=watch.hooks, on_answer=keep)
    assert ids_of([answers[index] for index in range(6)]) == ids_of(result)
    told = 0
    for place, number in enumerate(given):
        if number < 0:
            told = -number
            assert told == sum(other >= 0 for other in given[:place])
    assert told == 6
    assert any(found.finished for found in result)


def test_what_was_given_before_a_kill_is_the_same_after_it(model: CausalModel) -> None:
    config = GenerateConfig(max_new_tokens=6, temperature=1.2, batch_size=2)
    engine = Engine(model, (NEVER,), config)
    asked = prompts(6)
    whole = ids_of(engine.generate(asked, seed=0, hooks=Hooks()))
    saved: dict[int, list[int]] = {}

    def save(index: int, found: Generated) -> None:
        if len(saved) == 3:
            raise Killed
        saved[index] = found.ids.tolist()

    with pytest.raises(Killed):
        engine.generate(asked, seed=0, hooks=Hooks(), on_answer=save)
    assert model.base.config._attn_implementation == PACKED_ATTENTION
    rest = [index for index in range(6) if index not in saved]
    found = engine.generate([asked[index] for index in rest], seed=0, hooks=Hooks(), keys=rest)
    assert saved | dict(zip(rest, ids_of(found), strict=True)) == dict(enumerate(whole))


def test_a_stop_is_obeyed_within_an_answer(model: CausalModel, monkeypatch: pytest.MonkeyPatch) -> None:
    watch = Watch()
    steps = 0

    def pick(picker: Picker, sequences: Sequence[Asked], logits_SV: torch.Tensor) -> torch.Tensor:
        nonlocal steps
        steps += 1
        watch.stop.requested = steps == 3
        return choose_next(picker, sequences, logits_SV)

    choose_next = Picker.pick
    monkeypatch.setattr(Picker, "pick", pick)
    engine = Engine(model, (NEVER,), GenerateConfig(max_new_tokens=100))
    with pytest.raises(StoppedError):
        engine.generate(prompts(1), seed=0, hooks=watch.hooks)
    assert steps == 3


def test_the_context_of_the_model_ends_an_answer(model: CausalModel) -> None:
    context = model.base.config.max_position_embeddings
    rng = np.random.default_rng(0)
    asked = [rng.integers(3, NEVER, size=n).astype(np.int32) for n in (context - 3, context, context + 40, 5)]
    config = GenerateConfig(max_new_tokens=8)
    found = Engine(model, (NEVER,), config).generate(asked, seed=0, hooks=Hooks())
    assert [len(one.ids) for one in found] == [3, 0, 0, 8]
    assert not any(one.finished for one in found)


def test_an_empty_prompt_is_refused(model: CausalModel) -> None:
    with pytest.raises(DataError, match="prompt 1 has no tokens"):
        answer(model, [prompts(1)[0], np.array([], dtype=np.int32)])


def test_a_cache_that_grows_keeps_what_it_holds(model: CausalModel) -> None:
    """Two answers pass the 256 tokens that the cache has room for at first, one behind the other."""
    asked = [np.resize(prompt, length).astype(np.int32) for prompt, length in zip(prompts(2), (250, 246), strict=True)]
    together = answer(model, asked, max_new_tokens=20)
    assert [len(ids) for ids in together] == [20, 20]
    assert together == [answer(model, [prompt], max_new_tokens=20)[0] for prompt in asked]
    grown = [np.concatenate([prompt, ids[:12]]).astype(np.int32) for prompt, ids in zip(asked, together, strict=True)]
    assert [ids[12:] for ids in together] == answer(model, grown, max_new_tokens=8)


def test_streaming_says_what_generating_says(model: CausalModel) -> None:
    config = GenerateConfig(max_new_tokens=12, temperature=1.4)
    engine = Engine(model, (NEVER,), config)
    prompt = prompts(1)[0]
    shown: list[int] = []
    streamed = engine.stream(prompt, show=shown.append, seed=9)
    assert shown == streamed.ids.tolist()
    assert [shown] == ids_of(engine.generate([prompt], seed=9, hooks=Hooks()))
    torch.manual_seed(9)
    assert engine.stream(prompt, show=lambda _: None).ids.tolist() == shown


def test_training_functions_of_lora_rest_meanwhile(model: CausalModel) -> None:
    tuned = apply_tune(model, LoraConfig(rank=2), seed=0)
    with torch.no_grad():
        for parameter in tuned.trainable.values():
            parameter.add_(0.1)
    before = answer(model, prompts())
    assert fuse_lora(model) > 0
    forwards = [vars(module).get("forward") for module in model.network.modules()]
    assert answer(model, prompts()) == before
    assert [vars(module).get("forward") for module in model.network.modules()] == forwards


@pytest.mark.parametrize("outputs", [40, 1152, 1100])
@pytest.mark.parametrize("rows", [1, 3, 16, 40, 100])
def test_few_rows_compute_the_plain_product(rows: int, outputs: int, model: CausalModel) -> None:
    torch.manual_seed(0)
    layer = torch.nn.Linear(24, outputs)
    model.network.add_module("extra", layer)
    x = torch.randn(rows, 1, 24)
    with torch.no_grad():
        expected = layer(x)
        with few_rows(model):
            found = layer(x)
    assert found.shape == expected.shape
    torch.testing.assert_close(found, expected)
    assert "forward" not in vars(layer)


@pytest.mark.parametrize("rows", [1, 16, 40])
def test_a_packed_copy_computes_the_same(rows: int, model: CausalModel, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    layer = torch.nn.Linear(24, 1152)
    model.network.add_module("extra", layer)
    x = torch.randn(rows, 24)
    with torch.no_grad():
        with few_rows(model):
            packed = layer(x)
            layer.weight.mul_(2)
        with few_rows(model):
            doubled = layer(x)
            layer.weight.div_(2)
        monkeypatch.setattr("tuneloop.generate.few_rows._ROOM", 0)
        with few_rows(model):
            assert type(layer.forward).__name__ == "_FewRows"
            torch.testing.assert_close(layer(x), packed, rtol=1e-6, atol=1e-6)
    assert not torch.equal(doubled, packed), "a copy is made anew each time"


@pytest.mark.parametrize(
    ("a", "b", "length"), [([1, 2, 3], [1, 2, 4], 2), ([1, 2], [1, 2, 4], 2), ([], [1], 0), ([5], [1], 0)]
)
def test_common_beginnings_by_hand(a: list[int], b: list[int], length: int) -> None:
    assert common_length(np.array(a), np.array(b)) == length


def test_prompts_that_begin_alike_follow_each_other() -> None:
    def asked(index: int, beginning: int, length: int) -> Asked:
        return Asked(index, np.full(length, beginning, dtype=np.int32), index, 1)

    order = in_order([asked(0, 1, 20), asked(1, 2, 40), asked(2, 1, 50), asked(3, 2, 30), asked(4, 1, 20)])
    assert [one.index for one in order] == [2, 0, 4, 1, 3]


@pytest.mark.parametrize("temperature", [0.0, 1.3])
def test_what_cannot_use_the_cache_answers_the_same_way(
    temperature: float, model: CausalModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {"batch_size": 4, "temperature": temperature}
    cached = answer(model, prompts(), **settings)
    monkeypatch.setattr("tuneloop.generate.engine.can_cache", lambda _: False)
    assert answer(model, prompts(), **settings) == cached
