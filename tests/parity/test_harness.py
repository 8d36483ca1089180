"""What lm-evaluation-harness asks of a model, against plain transformers, one text at a time."""

import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from tuneloop.core.errors import DataError, MissingError
from tuneloop.core.hooks import Hooks
from tuneloop.data.contract import load_renderer
from tuneloop.pipeline.harness import HarnessAnswers, HarnessRun, run_harness
from unit.train.training_kit import load

PAIRS = (
    ("the cat sat on", " the mat"),
    ("the dog ran to the ", "house"),
    ("", "the house"),
    ("the cat and the dog and the cat and the dog", " ran"),
    ("a dog", " sat on the mat and the dog ran to the house"),
)


@pytest.fixture(scope="module")
def folder(family_model: Callable[[str], Path]) -> Path:
    return family_model("llama")


@pytest.fixture(scope="module")
def answers(folder: Path) -> HarnessAnswers:
    return HarnessAnswers(load(folder), load_renderer(folder), Hooks(), seed=0)


def asked(*arguments: object) -> Any:
    """A request of the harness: it has its arguments in `args`."""
    return SimpleNamespace(args=arguments)


def plain(folder: Path) -> Any:
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float64).eval()


def measured(network: Any, ids: list[int], begin: int) -> tuple[float, bool]:
    """The log-probability of the ids from `begin` on, and whether each is the likeliest."""
    with torch.no_grad():
        logits_TV = network(torch.tensor([ids])).logits[0].double()
    logp = torch.log_softmax(logits_TV, dim=-1)
    rows = range(begin, len(ids))
    return sum(float(logp[t - 1, ids[t]]) for t in rows), all(int(logp[t - 1].argmax()) == ids[t] for t in rows)


def test_log_probabilities_are_those_of_transformers(folder: Path, answers: HarnessAnswers) -> None:
    network, tokenizer = plain(folder), answers.renderer.tokenizer
    begin_id = tokenizer.token_to_id(answers.renderer.contract.bos_token)
    found = answers.loglikelihood([asked(*pair) for pair in PAIRS])
    for (context, continuation), (value, is_greedy) in zip(PAIRS, found, strict=True):
        # White space between the two belongs to the word that follows it.
        ids = tokenizer.encode(context + continuation).ids
        begin = len(tokenizer.encode(context.rstrip()).ids)
        ids, begin = (ids, begin) if begin else ([begin_id, *ids], 1)
        expected, expected_greedy = measured(network, ids, begin)
        assert value == pytest.approx(expected, rel=1e-5)
        assert is_greedy == expected_greedy


def test_whole_texts_begin_behind_the_first_token(folder: Path, answers: HarnessAnswers) -> None:
    network, tokenizer = plain(folder), answers.renderer.tokenizer
    begin_id = tokenizer.token_to_id(answers.renderer.contract.bos_token)
    texts = ["the cat sat on the mat", "the dog"]
    found = answers.loglikelihood_rolling([asked(text) for text in texts])
    expected = [measured(network, [begin_id, *tokenizer.encode(text).ids], 1)[0] for text in texts]
    assert found == pytest.approx(expected, rel=1e-5)


def test_greedy_answers_are_the_likeliest_tokens(folder: Path, answers: HarnessAnswers) -> None:
    network, tokenizer = plain(folder), answers.renderer.tokenizer
    ids = tokenizer.encode("the cat sat on").ids
    begin = len(ids)
    with torch.no_grad():
        for _ in range(5):
            ids.append(int(network(torch.tensor([ids])).logits[0, -1].argmax()))
    assert not set(ids[begin:]) & set(answers.renderer.contract.stop_ids)
    [text] = answers.generate_until([asked("the cat sat on", {"until": [], "max_gen_toks": 5})])
    assert text == answers.renderer.decode(ids[begin:])


def test_answers_end_before_the_first_stop_text(answers: HarnessAnswers) -> None:
    context = "the dog ran to"
    [whole] = answers.generate_until([asked(context, {"until": [], "max_gen_toks": 12})])
    assert len(whole) > 4
    stop = whole[3:5]
    settings = {"until": [stop, "never there"], "max_gen_toks": 12}
    found = answers.generate_until([asked(context, settings), asked(context, {"max_gen_toks": 12})])
    assert found == [whole[: whole.index(stop)], whole]


def test_chats_are_rendered_by_the_contract(answers: HarnessAnswers) -> None:
    turns = [{"role": "user", "content": "the cat?"}]
    text = answers.apply_chat_template(turns)
    renderer = answers.renderer
    assert answers._encode(text).tolist() == renderer.tokenizer.encode(text, add_special_tokens=False).ids
    assert text.endswith("<|im_start|>assistant\n")
    assert not answers.apply_chat_template(turns, add_generation_prompt=False).endswith("assistant\n")
    assert answers.chat_template(chat_template=True) == renderer.contract.template


def test_a_text_of_one_token_has_no_probability(answers: HarnessAnswers) -> None:
    with pytest.raises(DataError, match="fewer than two tokens"):
        answers.loglikelihood([asked("", "")])


def test_without_the_harness_the_extra_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lm_eval", None)
    with pytest.raises(MissingError, match=r"tuneloop\[harness\]"):
        run_harness(HarnessRun(str(folder), ("gsm8k",)), Hooks())
