"""The engine's manners: order, ends, chance, and leaving the model as it was. Parity is in tests/parity."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from tuneloop.core.errors import StoppedError
from tuneloop.core.events import Event
from tuneloop.core.hooks import Hooks
from tuneloop.data.batches import build_batch
from tuneloop.generate.answer import Asked
from tuneloop.generate.config import GenerateConfig
from tuneloop.generate.engine import Engine, Generated
from tuneloop.model.attention import PACKED_ATTENTION
from tuneloop.model.backbone import CausalModel
from tuneloop.tune.build import apply_tune
from tuneloop.tune.config import LoraConfig
from unit.train.training_kit import VOCABULARY, Watch, load, random_rows

NEVER = VOCABULARY - 1


def prompts(number: int = 5) -> list[np.ndarray]:
    return [row.ids for row in random_rows(number, seed=7)]


def ids_of(answers: list[Generated]) -> list[list[int]]:
    return [answer.ids.tolist() for answer in answers]


@pytest.fixture
def model(tiny_model: Path) -> CausalModel:
    return load(tiny_model)


def test_answers_come_in_the_order_of_the_prompts(model: CausalModel) -> None:
    engine = Engine(model, (NEVER,), GenerateConfig(max_new_tokens=6, batch_size=2))
    answers = ids_of(engine.generate(prompts(), seed=0, hooks=Hooks()))
    assert len({tuple(answer) for answer in answers}) > 1
    backwards = ids_of(engine.generate(prompts()[::-1], seed=0, hooks=Hooks()))
    assert backwards[::-1] == answers


def test_an_answer_ends_before_the_first_stop_id(model: CausalModel) -> None:
    free = Engine(model, (NEVER,), GenerateConfig(max_new_tokens=8)).generate(prompts(1), seed=0, hooks=Hooks())[0]
    assert not free.finished
    assert len(free.ids) == 8
    for place in (0, 3):
        stop_id = int(free.ids[place])
        first = free.ids.tolist().index(stop_id)
        config = GenerateConfig(max_new_tokens=8)
        cut = Engine(model, (NEVER, stop_id), config).generate(prompts(1), seed=0, hooks=Hooks())[0]
        assert cut.finished
        assert cut.ids.tolist() == free.ids[:first].tolist()
        assert cut.ids.dtype == np.int32


@pytest.mark.parametrize(
    ("ids", "expected"),
    [([5, 6, 7], ([5, 6, 7], False)), ([5, 2, 7], ([5], True)), ([9, 5], ([], True)), ([], ([], False))],
)
def test_taking_tokens_by_hand(ids: list[int], expected: tuple[list[int], bool]) -> None:
    asked = Asked(0, np.array([1, 4], dtype=np.int32), 0, 3)
    for token_id in ids:
        if not asked.is_done:
            asked.take(token_id, {2, 9})
    found = asked.answer()
    assert (found.ids.tolist(), found.finished) == expected
    assert asked.is_done is (len(ids) > 0)


def test_no_prompts_no_answers(model: CausalModel) -> None:
    assert Engine(model, (NEVER,), GenerateConfig()).generate([], seed=0, hooks=Hooks()) == []


def test_sampling_repeats_with_its_seed(model: CausalModel) -> None:
    config = GenerateConfig(max_new_tokens=8, temperature=1.5, top_p=0.95)
    engine = Engine(model, (NEVER,), config)
    first = ids_of(engine.generate(prompts(), seed=1, hooks=Hooks()))
    torch.rand(5)
    assert ids_of(engine.generate(prompts(), seed=1, hooks=Hooks())) == first
    assert ids_of(engine.generate(prompts(), seed=2, hooks=Hooks())) != first
    greedy = Engine(model, (NEVER,), GenerateConfig(max_new_tokens=8))
    assert ids_of(greedy.generate(prompts(), seed=1, hooks=Hooks())) != first


def test_a_tiny_nucleus_is_greedy(model: CausalModel) -> None:
    config = GenerateConfig(max_new_tokens=8, temperature=1.0, top_p=1e-6)
    greedy = Engine(model, (NEVER,), GenerateConfig(max_new_tokens=8)).generate(prompts(), seed=0, hooks=Hooks())
    assert ids_of(Engine(model, (NEVER,), config).generate(prompts(), seed=5, hooks=Hooks())) == ids_of(greedy)


def test_progress_is_told_batch_by_batch(model: CausalModel) -> None:
    watch = Watch()
    Engine(model, (NEVER,), GenerateConfig(max_new_tokens=1, batch_size=2)).generate(
        prompts(), seed=0, hooks=watch.hooks
    )
    assert [(event["done"], event["total"]) for event in watch.of_kind("generated")] == [(2, 5), (4, 5), (5, 5)]


def test_a_stop_is_obeyed_between_batches(model: CausalModel) -> None:
    def stop(watch: Watch, event: Event) -> None:
        del event
        watch.stop.requested = True

    watch = Watch(stop)
    engine = Engine(model, (NEVER,), GenerateConfig(max_new_tokens=1, batch_size=2))
    with pytest.raises(StoppedError):
        engine.generate(prompts(), seed=0, hooks=watch.hooks)
    assert len(watch.events) == 1
    assert model.base.config._attn_implementation == PACKED_ATTENTION


Answering = Callable[[Engine], object]
WAYS: list[Answering] = [
    lambda engine: engine.generate(prompts(), seed=0, hooks=Hooks()),
    lambda engine: engine.stream(prompts()[0], show=lambda _: None),
]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("training", [False, True])
def test_the_model_is_left_as_it_was(
    way: Answering,
    training: bool,  # noqa: FBT001 - a parameter of pytest
    model: CausalModel,
) -> None:
    """Packed training goes on after an evaluation, bit for bit as without it."""
    tuned = apply_tune(model, LoraConfig(rank=2, dropout=0.5), seed=0)
    batch = build_batch(random_rows(3))
    with torch.no_grad():
        for parameter in tuned.trainable.values():
            parameter.fill_(0.05)
    with torch.no_grad():
        model.network.eval()
        before_ND = model.states(batch)
    model.network.train(training)
    way(Engine(model, (NEVER,), GenerateConfig(max_new_tokens=3)))
    assert model.network.training is training
    assert {name: parameter.requires_grad for name, parameter in tuned.trainable.items()} == dict.fromkeys(
        tuned.trainable, True
    )
    model.network.eval()
    with torch.no_grad():
        assert torch.equal(model.states(batch), before_ND)


def test_answers_have_no_dropout(model: CausalModel) -> None:
    tuned = apply_tune(model, LoraConfig(rank=2, dropout=0.5), seed=0)
    with torch.no_grad():
        for parameter in tuned.trainable.values():
            parameter.fill_(0.2)
    engine = Engine(model, (NEVER,), GenerateConfig(max_new_tokens=8))
    model.network.train()
    first = ids_of(engine.generate(prompts(), seed=0, hooks=Hooks()))
    assert ids_of(engine.generate(prompts(), seed=1, hooks=Hooks())) == first


def test_the_bases_own_generation_settings_do_not_sample(tiny_model: Path, tmp_path: Path) -> None:
    """Many models ship with do_sample, temperature, top_k: greedy is greedy all the same."""
    import json
    import shutil

    folder = Path(shutil.copytree(tiny_model, tmp_path / "model"))
    settings = json.loads((folder / "generation_config.json").read_text())
    settings |= {"do_sample": True, "temperature": 5.0, "top_k": 3, "top_p": 0.5}
    (folder / "generation_config.json").write_text(json.dumps(settings))
    config = GenerateConfig(max_new_tokens=8)
    expected = Engine(load(tiny_model), (NEVER,), config).generate(prompts(), seed=0, hooks=Hooks())
    found = Engine(load(folder), (NEVER,), config).generate(prompts(), seed=3, hooks=Hooks())
    assert ids_of(found) == ids_of(expected)
