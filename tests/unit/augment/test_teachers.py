"""The three kinds of teacher: nothing is asked twice, whatever cut the last run off."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from endpoint_kit import OK, Body, FakeEndpoint, Fault, serving, too_many
from tuneloop.augment.endpoint_teacher import EndpointTeacher
from tuneloop.augment.local_teacher import LocalTeacher
from tuneloop.augment.program import ProgramTeacher
from tuneloop.augment.teacher import Assignment, Teacher
from tuneloop.core.errors import BudgetError, DataError
from tuneloop.core.hooks import Hooks
from tuneloop.data.contract import load_renderer
from tuneloop.data.prompt import Renderer
from tuneloop.data.schema import Message, RowError
from tuneloop.generate.chat import CallFailure, Completion
from tuneloop.generate.config import GenerateConfig
from tuneloop.generate.endpoint_config import EndpointConfig
from unit.train.training_kit import Killed, Watch, load


def assignments(number: int) -> list[Assignment]:
    return [Assignment((Message("user", f"the cat {'sat ' * place}"),), {"place": place}) for place in range(number)]


def texts(teacher: Teacher, asked: list[Assignment], hooks: Hooks | None = None) -> list[str]:
    found = dict(teacher.write(asked, hooks=hooks or Hooks()))
    answers = [found[place] for place in range(len(asked))]
    return [answer.text if isinstance(answer, Completion) else answer.kind for answer in answers]


@pytest.fixture
def fake() -> Iterator[FakeEndpoint]:
    with serving() as found:
        yield found


def at(fake: FakeEndpoint, log: Path, **settings: object) -> EndpointTeacher:
    values = {"base_url": fake.url, "model": "teacher-1", "retry": {"base_s": 0.01}} | settings
    return EndpointTeacher.open(EndpointConfig.model_validate(values), log, {})


def test_an_endpoint_is_asked_once_through_storms_and_a_kill(fake: FakeEndpoint, tmp_path: Path) -> None:
    def fault(number: int, body: Body) -> Fault:
        del body
        return too_many("0.01") if number % 3 == 0 else OK

    fake.fault = fault
    teacher = at(fake, tmp_path / "calls.jsonl")
    reader = teacher.write(assignments(20), hooks=Hooks())
    for _ in range(7):
        next(reader)
    reader.close()
    teacher.close()
    again = at(fake, tmp_path / "calls.jsonl")
    assert again.plan(assignments(20)).in_log >= 7
    assert texts(again, assignments(20)) == [f"echo: {each.messages[0].content}" for each in assignments(20)]
    assert set(fake.answered.values()) == {1}
    assert again.spent.calls == 20
    again.close()


def test_a_budget_ends_the_run_and_keeps_what_was_paid(fake: FakeEndpoint, tmp_path: Path) -> None:
    settings = {"budget_tokens": 150, "concurrency": 1, "parameters": {"max_tokens": 50}}
    teacher = at(fake, tmp_path / "calls.jsonl", **settings)
    with pytest.raises(BudgetError):
        texts(teacher, assignments(30))
    paid = teacher.spent.calls
    teacher.close()
    assert 0 < paid < 30
    richer = at(fake, tmp_path / "calls.jsonl", **settings | {"budget_tokens": 100_000})
    assert len(texts(richer, assignments(30))) == 30
    assert set(fake.answered.values()) == {1}
    richer.close()


@pytest.fixture
def local(tiny_model: Path, tmp_path: Path) -> Iterator[LocalTeacher]:
    teacher = open_local(tiny_model, tmp_path / "calls.jsonl")
    yield teacher
    teacher.close()


def open_local(folder: Path, log: Path, *, seed: int = 1) -> LocalTeacher:
    config = GenerateConfig(max_new_tokens=6, batch_size=2, temperature=1.1)
    return LocalTeacher(load(folder), load_renderer(folder), config, log, name="tiny", sha256="0" * 64, seed=seed)


def test_a_model_in_a_folder_goes_on_after_a_kill(tiny_model: Path, tmp_path: Path) -> None:
    asked = [*assignments(9), *assignments(2)]
    teacher = open_local(tiny_model, tmp_path / "whole.jsonl")
    whole = texts(teacher, asked)
    assert whole[9:] == whole[:2]
    assert teacher.spent.calls == 9
    teacher.close()

    def kill(watch: Watch, _: object) -> None:
        if len(watch.of_kind("generated")) == 2:
            raise Killed

    teacher = open_local(tiny_model, tmp_path / "cut.jsonl")
    with pytest.raises(Killed):
        texts(teacher, asked, Watch(kill).hooks)
    kept = teacher.spent.calls
    teacher.close()
    assert 0 < kept < 9
    again = open_local(tiny_model, tmp_path / "cut.jsonl")
    plan = again.plan(asked)
    assert (plan.requests, plan.calls, plan.in_log) == (11, 9, kept)
    assert texts(again, asked) == whole
    assert again.spent.calls == 9
    again.close()


def test_samples_differ_and_seeds_do(local: LocalTeacher, tiny_model: Path, tmp_path: Path) -> None:
    [one] = assignments(1)
    asked = [Assignment(one.messages, sample=sample) for sample in range(6)]
    found = texts(local, asked)
    assert len(set(found)) > 1
    other = open_local(tiny_model, tmp_path / "other.jsonl", seed=2)
    assert texts(other, asked) != found
    other.close()


def test_a_prompt_that_the_template_refuses_is_a_failure_of_its_own(
    local: LocalTeacher, monkeypatch: pytest.MonkeyPatch
) -> None:
    encode = Renderer.encode_prompt

    def refuse(renderer: Renderer, messages: Sequence[Message], *, tools: str = "") -> np.ndarray:
        if messages[0].content.count("sat") == 1:
            raise RowError("bad_roles", "the template refuses it")
        return encode(renderer, messages, tools=tools)

    monkeypatch.setattr(Renderer, "encode_prompt", refuse)
    found = dict(local.write(assignments(3), hooks=Hooks()))
    assert [type(found[place]) for place in range(3)] == [Completion, CallFailure, Completion]
    assert found[1].message == "the template refuses it"  # type: ignore[union-attr] - a failure
    assert local.spent.calls == 2


def test_a_program_computes_and_says_what_it_cannot_judge() -> None:
    def double(facts: object) -> str:
        place = facts["place"]  # type: ignore[index] - a mapping
        if place == 2:
            raise DataError("two is too much")
        return str(2 * place)

    teacher = ProgramTeacher("double", double)
    found = dict(teacher.write(assignments(4), hooks=Hooks()))
    assert [found[place].text for place in (0, 1, 3)] == ["0", "2", "6"]  # type: ignore[union-attr] - answers
    assert isinstance(found[2], CallFailure)
    assert "two is too much" in found[2].message
    assert teacher.plan(assignments(4)).cost == 0.0
    assert teacher.spent.calls == 0
    assert teacher.name == "programmatic:double"
