"""What vLLM is given, and what becomes of what it says; a stand-in with its interface answers by a rule."""

import sys
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tuneloop.core.errors import MissingError
from tuneloop.core.hooks import Hooks
from tuneloop.data.contract import load_renderer
from tuneloop.data.prompt import Renderer
from tuneloop.data.schema import Message
from tuneloop.evaluate.tasks.questions import Question
from tuneloop.evaluate.tasks.responder import Ask
from tuneloop.evaluate.tasks.samples import Output
from tuneloop.evaluate.tasks.vllm import VllmResponder
from tuneloop.generate.config import GenerateConfig


class StandIn:
    """Answers a prompt with its own first three ids; prompts of odd length end with the stop id, others are cut."""

    def __init__(self, stop_id: int, **settings: object) -> None:
        self.stop_id, self.settings = stop_id, settings
        self.prompts: list[list[int]] = []
        self.parameters: list[dict[str, Any]] = []

    def generate(self, prompts: Sequence[dict[str, list[int]]], parameters: Sequence[Any], *, use_tqdm: bool) -> Any:
        assert not use_tqdm
        self.prompts += [prompt["prompt_token_ids"] for prompt in prompts]
        self.parameters += [vars(each) for each in parameters]
        return [self._answer(prompt["prompt_token_ids"]) for prompt in prompts]

    def _answer(self, ids: list[int]) -> Any:
        ends = len(ids) % 2 == 1
        answer = SimpleNamespace(
            token_ids=(*ids[:3], *([self.stop_id] if ends else ())), finish_reason="stop" if ends else "length"
        )
        return SimpleNamespace(outputs=[answer])


@pytest.fixture
def renderer(tiny_model: Path) -> Renderer:
    return load_renderer(tiny_model)


@pytest.fixture
def responder(renderer: Renderer, tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> VllmResponder:
    def start(**settings: object) -> StandIn:
        return StandIn(renderer.contract.stop_ids[0], **settings)

    monkeypatch.setitem(sys.modules, "vllm", SimpleNamespace(LLM=start, SamplingParams=SimpleNamespace))
    return VllmResponder.load(tiny_model, renderer, sha256="0" * 64)


def asks(number: int) -> list[Ask]:
    texts = [f"the cat {'sat ' * index}" for index in range(number)]
    return [
        Ask(index, 0, Question(row=f"rows:{index}", messages=(Message("user", text),), references=(), document=""))
        for index, text in enumerate(texts)
    ]


def answer(responder: VllmResponder, number: int, **settings: object) -> list[Output]:
    taken: list[Output] = []
    config = GenerateConfig.model_validate({"max_new_tokens": 5} | settings)
    responder.answer(asks(number), config, seed=7, hooks=Hooks(), take=taken.append)
    return taken


def test_ids_go_over_and_the_stop_id_is_cut_off(responder: VllmResponder, renderer: Renderer) -> None:
    outputs = answer(responder, 6)
    prompts = [renderer.encode_prompt(ask.asked.messages).tolist() for ask in asks(6)]
    assert responder.engine.prompts == prompts
    assert [output.text for output in outputs] == [renderer.decode(prompt[:3]) for prompt in prompts]
    assert [output.finished for output in outputs] == [len(prompt) % 2 == 1 for prompt in prompts]
    assert {output.finished for output in outputs} == {True, False}
    assert {output.output_tokens for output in outputs} == {3}
    assert [output.question for output in outputs] == list(range(6))
    assert responder.engine.settings["skip_tokenizer_init"]


def test_answers_are_chosen_as_the_config_says(responder: VllmResponder, renderer: Renderer) -> None:
    answer(responder, 300, temperature=0.7, top_p=0.9, top_k=40)
    parameters = responder.engine.parameters
    shared = [{name: value for name, value in each.items() if name != "seed"} for each in parameters]
    stops = list(renderer.contract.stop_ids)
    expected = {"temperature": 0.7, "top_p": 0.9, "top_k": 40, "max_tokens": 5, "stop_token_ids": stops}
    assert shared == [expected | {"detokenize": False}] * 300
    assert len({each["seed"] for each in parameters}) == 300
    answer(responder, 1)
    assert responder.engine.parameters[-1]["top_k"] == -1


def test_without_vllm_the_extra_is_named(renderer: Renderer, tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "vllm", None)
    with pytest.raises(MissingError, match=r"tuneloop\[vllm\]"):
        VllmResponder.load(tiny_model, renderer, sha256="0" * 64)
