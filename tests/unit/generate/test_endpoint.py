"""The client of endpoints against a real server: retries, refusals, broken replies, budgets, stops and secrets."""

# ruff: noqa: RUF001 - Chinese is written with its own punctuation

import json
import logging
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr, ValidationError

from endpoint_kit import (
    CUT_BEFORE,
    CUT_WITHIN,
    DRIP,
    HELD,
    HTML,
    MALFORMED,
    NO_CHOICES,
    OK,
    FakeEndpoint,
    Fault,
    completion,
    question,
    refused,
    serving,
    too_many,
)
from tuneloop.core.config import Source, parse_config
from tuneloop.core.errors import BudgetError, ConfigError, DataError, EndpointError, LockedError, StoppedError
from tuneloop.core.hooks import Hooks
from tuneloop.core.stop import Stop
from tuneloop.data.schema import Message, ToolCall
from tuneloop.generate.chat import CallFailure, ChatParameters, ChatRequest, Completion
from tuneloop.generate.endpoint import Endpoint, plan_calls, request_key
from tuneloop.generate.endpoint_config import EndpointConfig

CANARY = "sk-canary-0123456789abcdef"


def ask(text: str, sample: int = 0, **parameters: Any) -> ChatRequest:
    chosen = ChatParameters(**parameters) if parameters else None
    return ChatRequest((Message("user", text),), chosen, sample)


def questions(number: int) -> list[ChatRequest]:
    return [ask(f"question {i}") for i in range(number)]


def config_of(fake: FakeEndpoint, **changes: Any) -> EndpointConfig:
    values = {"concurrency": 4, "timeout_s": 5.0, "retry": {"max_retries": 4, "base_s": 0.005, "cap_s": 0.3}}
    return EndpointConfig(base_url=fake.url, model="m", **(values | changes))


def run(
    fake: FakeEndpoint, folder: Path, requests: list[ChatRequest], hooks: Hooks | None = None, **changes: Any
) -> list[Completion | CallFailure]:
    with Endpoint(config_of(fake, **changes), folder / "calls.jsonl") as endpoint:
        return endpoint.complete_all(requests, hooks=hooks or Hooks())


def texts(results: list[Completion | CallFailure]) -> list[str]:
    return [result.text if isinstance(result, Completion) else f"({result.kind})" for result in results]


def first(*faults: Fault) -> Callable[[int, dict], Fault]:
    """These faults for the first requests, then none."""
    return lambda number, body: faults[number] if number < len(faults) else OK  # noqa: ARG005 - the kit's shape


def always(fault: Fault) -> Callable[[int, dict], Fault]:
    return lambda number, body: fault  # noqa: ARG005 - the kit's shape


@pytest.fixture
def fake() -> Iterator[FakeEndpoint]:
    with serving() as found:
        yield found


def test_answers_come_in_the_order_of_the_requests_over_few_connections(fake: FakeEndpoint, tmp_path: Path) -> None:
    fake.fault = lambda number, body: Fault(wait_s=0.02 * (number % 3))  # noqa: ARG005 - the kit's shape
    results = run(fake, tmp_path, [*questions(12), ask("你好，世界")])
    assert texts(results) == [*(f"echo: question {i}" for i in range(12)), "echo: 你好，世界"]
    assert fake.most_at_once == 4
    assert fake.connections <= 4
    answer = results[0]
    assert isinstance(answer, Completion)
    assert (answer.finish_reason, answer.model, answer.attempts) == ("stop", "m-0101", 1)
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens, answer.usage.is_estimated) == (10, 2, False)
    assert answer.latency_s > 0
    assert answer.cost is None


def test_what_is_sent(fake: FakeEndpoint, tmp_path: Path) -> None:
    call = ToolCall("look", '{"q": 1}', "t1")
    messages = (
        Message("system", "Be brief."),
        Message("user", "?"),
        Message("assistant", "", tool_calls=(call,)),
        Message("tool", "42", name="look", tool_call_id="t1"),
    )
    parameters = {"temperature": 0.7, "top_p": 0.9, "max_tokens": 5, "seed": 7, "extra": {"top_k": 3}}
    request = ChatRequest(messages, sample=2, tools='[{"type": "function"}]')
    run(fake, tmp_path, [request], parameters=parameters)
    assert fake.bodies == [
        {
            "model": "m",
            "messages": [
                {"role": "system", "content": "Be brief."},
                {"role": "user", "content": "?"},
                {
                    "role": "assistant",
                    "content": "",
                    "tool_calls": [
                        {"id": "t1", "type": "function", "function": {"name": "look", "arguments": '{"q": 1}'}}
                    ],
                },
                {"role": "tool", "content": "42", "tool_call_id": "t1", "name": "look"},
            ],
            "temperature": 0.7,
            "top_p": 0.9,
            "max_tokens": 5,
            "seed": 9,
            "top_k": 3,
            "tools": [{"type": "function"}],
        }
    ]
    assert "authorization" not in fake.headers[0]


def test_what_is_none_is_not_sent(fake: FakeEndpoint, tmp_path: Path) -> None:
    run(fake, tmp_path, [ask("?", temperature=None, max_tokens=9, max_tokens_field="max_completion_tokens")])
    assert fake.bodies[0].keys() == {"model", "messages", "max_completion_tokens"}


def test_equal_requests_are_one_call_and_samples_are_not(fake: FakeEndpoint, tmp_path: Path) -> None:
    results = run(fake, tmp_path, [ask("a"), ask("a"), ask("a", sample=1)])
    assert len(results) == 3
    assert len(fake.bodies) == 2


def test_the_key_of_a_request_is_what_decides_its_answer() -> None:
    config = EndpointConfig(base_url="http://h/v1", model="m")
    one = request_key(config, ask("a"))
    assert one == request_key(config.replace(concurrency=1, timeout_s=1, base_url="http://h/v1/"), ask("a"))
    others = [
        request_key(config, ask("b")),
        request_key(config, ask("a", sample=1)),
        request_key(config, ask("a", temperature=1.0)),
        request_key(config.replace(model="n"), ask("a")),
        request_key(config.replace(base_url="http://g/v1"), ask("a")),
    ]
    assert len({one, *others}) == 6


def test_a_second_run_pays_nothing(fake: FakeEndpoint, tmp_path: Path) -> None:
    call = {"id": "t", "function": {"name": "look", "arguments": '{"q": "中"}'}}
    message = {"content": "文", "reasoning_content": "because", "tool_calls": [call]}
    fake.answer = lambda body: completion(  # noqa: ARG005 - the kit's shape
        "", choices=[{"message": message, "finish_reason": "tool_calls"}]
    )
    before = run(fake, tmp_path, questions(5), price_input=1.0, price_output=2.0)
    asked = len(fake.bodies)
    after = run(fake, tmp_path, questions(5))
    assert len(fake.bodies) == asked == 5
    answer, logged = before[0], after[0]
    assert isinstance(answer, Completion)
    assert isinstance(logged, Completion)
    assert logged.from_log
    assert not answer.from_log
    assert (logged.text, logged.reasoning, logged.tool_calls) == (
        "文",
        "because",
        (ToolCall("look", '{"q": "中"}', "t"),),
    )
    assert logged.usage == answer.usage
    assert logged.cost == answer.cost == pytest.approx(14e-6)


def test_a_storm_of_429_is_waited_for(fake: FakeEndpoint, tmp_path: Path) -> None:
    fake.fault = first(*[too_many("0.1")] * 6, *[too_many()] * 4)
    started = time.monotonic()
    results = run(fake, tmp_path, questions(8))
    assert texts(results) == [f"echo: question {i}" for i in range(8)]
    assert len(fake.bodies) == 18
    assert fake.num_answered == 8
    assert sum(result.attempts for result in results) == 18
    # After the first refusal nobody asks before the time that it named.
    early = [moment for moment in fake.times_s if moment < fake.times_s[0] + 0.09]
    assert len(early) <= 4
    assert time.monotonic() - started >= 0.1


def test_retry_after_is_capped(fake: FakeEndpoint, tmp_path: Path) -> None:
    fake.fault = first(too_many("3600"), too_many("Wed, 21 Oct 2099 07:28:00 GMT"))
    started = time.monotonic()
    assert texts(run(fake, tmp_path, questions(1))) == ["echo: question 0"]
    assert 0.6 <= time.monotonic() - started < 3


@pytest.mark.parametrize(
    "fault",
    [
        too_many(status=500),
        too_many(status=503),
        too_many(status=408),
        too_many(status=409),
        CUT_BEFORE,
        CUT_WITHIN,
        HTML,
        MALFORMED,
        NO_CHOICES,
        Fault(content=b'{"error": {"message": "upstream is busy"}}'),
        Fault(content=b""),
        Fault(content=b"[1, 2]"),
        Fault(content=b"[" * 100_000),
        Fault(content=b'{"choices": [{"message": null}]}'),
        Fault(content=b"\xff\xfe\x00"),
        Fault(502, {}, b"<html>Bad gateway</html>", "text/html"),
    ],
)
def test_what_may_succeed_later_is_asked_again(fake: FakeEndpoint, tmp_path: Path, fault: Fault) -> None:
    fake.fault = first(fault, fault)
    (answer,) = run(fake, tmp_path, questions(1))
    assert isinstance(answer, Completion)
    assert answer.text == "echo: question 0"
    assert answer.attempts == 3


@pytest.mark.parametrize(
    ("fault", "kind", "says"),
    [
        (too_many(status=503), "status", "status 503: Slow down."),
        (CUT_WITHIN, "cut", "the connection broke"),
        (Fault(wait_s=0.6), "timeout", "no whole reply within 0.3 s"),
        (DRIP, "timeout", "no whole reply within 0.3 s"),
        (HTML, "html", "a web page came in place of an answer: <!DOCTYPE html><html><body>Welcome to nginx"),
        (MALFORMED, "not_json", "half an ans"),
        (NO_CHOICES, "no_choices", "the reply has no choice"),
        (Fault(content=b'{"error": {"message": "busy"}}'), "error_body", "busy"),
        (Fault(content=b"x" * (17 << 20)), "too_large", "larger than 16 MiB"),
    ],
)
def test_failures_are_told_apart(fake: FakeEndpoint, tmp_path: Path, fault: Fault, kind: str, says: str) -> None:
    fake.fault = always(fault)
    retry = {"max_retries": 1, "base_s": 0.001}
    (failure,) = run(fake, tmp_path, questions(1), timeout_s=0.3 if kind == "timeout" else 5, retry=retry)
    assert isinstance(failure, CallFailure)
    assert failure.kind == kind
    assert says in failure.message
    assert failure.attempts == (1 if kind == "too_large" else 2)
    # A failure is no answer: the next run asks again.
    fake.fault = always(OK)
    assert texts(run(fake, tmp_path, questions(1))) == ["echo: question 0"]


def test_an_answer_that_ended_at_the_limit_is_known(fake: FakeEndpoint, tmp_path: Path) -> None:
    choice = {"message": {"content": "Once upon"}, "finish_reason": "length"}
    fake.answer = lambda body: completion("", choices=[choice])  # noqa: ARG005 - the kit's shape
    (answer,) = run(fake, tmp_path, questions(1))
    assert isinstance(answer, Completion)
    assert answer.is_cut
    assert answer.text == "Once upon"


@pytest.mark.parametrize("usage", [None, {}, {"prompt_tokens": -1, "completion_tokens": 2}, {"prompt_tokens": "10"}])
def test_tokens_that_the_server_does_not_tell_are_estimated(
    fake: FakeEndpoint, tmp_path: Path, usage: dict | None
) -> None:
    fake.answer = lambda body: completion("你好你好", usage=usage)  # noqa: ARG005 - the kit's shape
    (answer,) = run(fake, tmp_path, [ask("hello world")])
    assert isinstance(answer, Completion)
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens, answer.usage.is_estimated) == (8, 8, True)


def test_strange_text_survives(fake: FakeEndpoint, tmp_path: Path) -> None:
    reply = b'{"choices": [{"message": {"content": [{"type": "text", "text": "a\\ud83d"}]}, "logprobs": NaN}]}'
    fake.fault = always(Fault(content=reply))
    run(fake, tmp_path, questions(1))
    (answer,) = run(fake, tmp_path, questions(1))
    assert isinstance(answer, Completion)
    assert (answer.text, answer.finish_reason, answer.from_log) == ("a\ufffd", "", True)


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        (refused(401, "Incorrect API key"), "status 401, the server says: Incorrect API key. The config names no key"),
        (refused(402), "no credit left"),
        (refused(403), "api_key_env or api_key_file"),
        (refused(404, "model not found"), r"mostly ends with /v1\) and the name of the model, m\."),
        (refused(405), "does not look like an OpenAI-compatible endpoint"),
        (refused(429, "You exceeded your quota", "insufficient_quota"), "no credit left"),
        (refused(301, location="http://elsewhere/v1/chat/completions?x=1"), r"points to http://elsewhere/v1/chat/com"),
        (refused(400, "temperature is not supported"), "first request is refused, status 400: temperature is not"),
    ],
)
def test_what_no_retry_helps_stops_at_once(fake: FakeEndpoint, tmp_path: Path, fault: Fault, says: str) -> None:
    fake.fault = always(fault)
    with pytest.raises(ConfigError, match=says) as error:
        run(fake, tmp_path, questions(9), concurrency=1)
    assert fake.url in str(error.value)
    assert len(fake.bodies) == 1


def test_one_request_that_is_refused_does_not_stop_the_others(fake: FakeEndpoint, tmp_path: Path) -> None:
    fake.fault = lambda number, body: refused(400, "too long") if "bad" in question(body) else OK  # noqa: ARG005
    results = run(fake, tmp_path, [ask("good"), ask("bad"), ask("fine")], concurrency=1)
    assert texts(results) == ["echo: good", "(rejected)", "echo: fine"]
    assert len(fake.bodies) == 3


def test_an_endpoint_that_is_down_ends_the_run(tmp_path: Path) -> None:
    config = EndpointConfig(
        base_url="http://127.0.0.1:9/v1",
        model="m",
        concurrency=2,
        give_up_after=3,
        retry={"max_retries": 1, "base_s": 0.001},
    )
    with (
        Endpoint(config, tmp_path / "calls.jsonl") as endpoint,
        pytest.raises(EndpointError, match=r"3 calls in a row .* \(unreachable\): no connection"),
    ):
        endpoint.complete_all(questions(50), hooks=Hooks())


def test_failures_between_answers_do_not_end_the_run(fake: FakeEndpoint, tmp_path: Path) -> None:
    fake.fault = lambda number, body: HTML if number % 3 else OK  # noqa: ARG005 - the kit's shape
    results = run(fake, tmp_path, questions(12), concurrency=1, give_up_after=3, retry={"max_retries": 0})
    assert Counter(texts(results))["(html)"] == 8


def test_calls_a_minute(fake: FakeEndpoint, tmp_path: Path) -> None:
    run(fake, tmp_path, questions(6), requests_per_minute=1200)
    gaps = [after - before for before, after in zip(fake.times_s, fake.times_s[1:], strict=False)]
    assert fake.times_s[-1] - fake.times_s[0] >= 5 * 0.05 - 0.02
    assert max(gaps) < 1


def test_the_budget_is_not_passed(fake: FakeEndpoint, tmp_path: Path) -> None:
    parameters = {"max_tokens": 10}
    # Each question is set aside as 3 + 4 tokens and 10 of output, and then takes 12.
    with pytest.raises(BudgetError, match=r"spent 84 of 100 tokens; the next call may take 1[78] tokens") as error:
        run(fake, tmp_path, questions(20), budget_tokens=100, parameters=parameters)
    assert "same command goes on" in str(error.value)
    assert fake.num_answered == 7
    results = run(fake, tmp_path, questions(20), budget_tokens=1000, parameters=parameters)
    assert fake.num_answered == 20
    assert set(fake.answered.values()) == {1}
    assert len(results) == 20


def test_the_budget_in_money_counts_earlier_runs_and_useless_replies(fake: FakeEndpoint, tmp_path: Path) -> None:
    prices = {"price_input": 1000.0, "price_output": 10_000.0}
    fake.fault = first(NO_CHOICES)
    run(fake, tmp_path, questions(1), **prices)
    with Endpoint(config_of(fake), tmp_path / "calls.jsonl") as endpoint:
        spent = endpoint.spent
    # 7 in and 5 out that were no answer, 10 in and 2 out that were one.
    assert (spent.calls, spent.prompt_tokens, spent.completion_tokens) == (2, 17, 7)
    assert spent.money == pytest.approx(0.017 + 0.07)
    with pytest.raises(BudgetError, match=r"spent 0\.0870 of 0\.1 EUR"):
        run(
            fake, tmp_path, questions(2), **prices, budget_money=0.1, currency="EUR", parameters={"max_tokens": 1},
            concurrency=1,
        )  # fmt: skip


def test_a_stop_leaves_calls_under_way_to_end(fake: FakeEndpoint, tmp_path: Path) -> None:
    fake.fault = always(Fault(wait_s=0.2))
    stop = Stop()
    threading.Timer(0.1, lambda: setattr(stop, "requested", True)).start()
    with pytest.raises(StoppedError):
        run(fake, tmp_path, questions(50), Hooks(stop=stop))
    assert fake.num_answered == 4
    fake.fault = always(OK)
    run(fake, tmp_path, questions(50))
    assert set(fake.answered.values()) == {1}
    assert fake.num_answered == 50


def test_a_stop_does_not_wait_for_a_server_that_asks_for_patience(fake: FakeEndpoint, tmp_path: Path) -> None:
    fake.fault = always(too_many("30"))
    stop = Stop()
    threading.Timer(0.1, lambda: setattr(stop, "requested", True)).start()
    started = time.monotonic()
    with pytest.raises(StoppedError):
        run(fake, tmp_path, questions(5), Hooks(stop=stop), retry={"cap_s": 60})
    assert time.monotonic() - started < 2


def test_a_reader_that_leaves_early_loses_nothing(fake: FakeEndpoint, tmp_path: Path) -> None:
    with Endpoint(config_of(fake), tmp_path / "calls.jsonl") as endpoint:
        results = endpoint.complete(questions(50), hooks=Hooks())
        next(results)
        results.close()
        calls = endpoint.spent.calls
    assert 1 <= calls == fake.num_answered < 50
    assert not [thread for thread in threading.enumerate() if thread.name.endswith("(_loop)")]


def test_progress_is_told(fake: FakeEndpoint, tmp_path: Path) -> None:
    run(fake, tmp_path, questions(2), price_input=1, price_output=1)
    told: list[dict] = []
    hooks = Hooks(emit=lambda kind, **values: told.append({"kind": kind, **values}))
    run(fake, tmp_path, questions(4), hooks, price_input=1, price_output=1, concurrency=1)
    assert [event["done"] for event in told] == [2, 3, 4]
    assert told[-1] == {
        "kind": "called", "done": 4, "total": 4, "in_log": 2, "failed": 0, "tokens": 48,
        "cost": pytest.approx(48e-6), "currency": "USD",
    }  # fmt: skip


def test_a_dry_run_counts_and_writes_nothing(fake: FakeEndpoint, tmp_path: Path) -> None:
    config = config_of(fake, price_input=1.0, price_output=2.0, parameters={"max_tokens": 100})
    requests = [ask("hello world"), ask("你好"), ask("你好")]
    plan = plan_calls(config, requests, tmp_path / "calls.jsonl")
    assert (plan.requests, plan.calls, plan.in_log) == (3, 2, 0)
    assert (plan.input_tokens, plan.output_tokens) == (8 + 6, 200)
    assert plan.cost == pytest.approx(14e-6 + 400e-6)
    assert list(tmp_path.iterdir()) == []
    with Endpoint(config, tmp_path / "calls.jsonl") as endpoint:
        endpoint.complete_all(requests[:1], hooks=Hooks())
        # Also while another process has the log.
        again = plan_calls(config, requests, tmp_path / "calls.jsonl")
    assert (again.calls, again.in_log, again.input_tokens, again.spent.tokens) == (2, 1, 6, 12)
    assert len(fake.bodies) == 1


_SCRIPT = """
import sys
from pathlib import Path
from tuneloop.core.hooks import Hooks
from tuneloop.data.schema import Message
from tuneloop.generate.chat import ChatRequest
from tuneloop.generate.endpoint import Endpoint
from tuneloop.generate.endpoint_config import EndpointConfig
config = EndpointConfig(base_url=sys.argv[1], model="m", concurrency=3, timeout_s=20)
requests = [ChatRequest((Message("user", f"question {i}"),)) for i in range(30)]
with Endpoint(config, Path(sys.argv[2])) as endpoint:
    print("with torch" if "torch" in sys.modules else "without torch", flush=True)
    endpoint.complete_all(requests, hooks=Hooks())
"""


def test_killed_in_the_middle_and_resumed_nothing_is_paid_twice(fake: FakeEndpoint, tmp_path: Path) -> None:
    log = tmp_path / "calls.jsonl"
    fake.fault = lambda number, body: OK if number < 11 else HELD  # noqa: ARG005 - the kit's shape
    command = [sys.executable, "-c", _SCRIPT, fake.url, str(log)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "without torch\n"
            end = time.monotonic() + 30
            while log.read_bytes().count(b"\n") < 12 or len(fake.bodies) < 14:
                assert time.monotonic() < end
                time.sleep(0.01)
        finally:
            process.kill()
    with log.open("ab") as file:
        file.write(b'{"kind": "answer", "key": "torn')
    fake.gate.set()
    fake.fault = always(OK)
    results = run(fake, tmp_path, questions(30))
    assert texts(results) == [f"echo: question {i}" for i in range(30)]
    # 11 answered before and 19 after; the three that the kill cut off had no answer.
    assert len(fake.bodies) == 14 + 19
    assert fake.num_answered == 30
    assert set(fake.answered.values()) == {1}


def test_the_key_is_sent_and_shows_nowhere(
    fake: FakeEndpoint, tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    (tmp_path / "key").write_text(f"{CANARY}\n")
    config = config_of(fake, api_key_file=tmp_path / "key", retry={"max_retries": 0})
    fake.answer = lambda body: f"your key is {CANARY}"  # noqa: ARG005 - the kit's shape
    seen: list[object] = []
    with Endpoint.open(config, tmp_path / "log" / "calls.jsonl", {}) as endpoint:
        hooks = Hooks(emit=lambda kind, **values: seen.append((kind, values)))
        seen += [config, config.model_dump_json(), vars(endpoint), endpoint.complete_all(questions(1), hooks=hooks)]
        fake.fault = always(refused(500, f"bad key {CANARY}"))
        seen.append(endpoint.complete_all([ask("b")], hooks=hooks))
        fake.fault = always(refused(401, f"bad key {CANARY}"))
        with pytest.raises(ConfigError, match=r"bad key \[key\]") as error:
            endpoint.complete_all([ask("c")], hooks=hooks)
        seen += [error.value, error.value.args, repr(error.value.__cause__)]
    assert {headers["authorization"] for headers in fake.headers} == {f"Bearer {CANARY}"}
    everything = f"{seen!r} {caplog.text} {capfd.readouterr()}"
    assert "your key is [key]" in everything
    assert CANARY not in everything
    assert CANARY.encode() not in b"".join(path.read_bytes() for path in (tmp_path / "log").iterdir())


def test_a_word_that_servers_without_keys_are_given_is_left_in_answers(fake: FakeEndpoint, tmp_path: Path) -> None:
    fake.answer = lambda body: "The set is EMPTY."  # noqa: ARG005 - the kit's shape
    with Endpoint(config_of(fake), tmp_path / "calls.jsonl", key=SecretStr("EMPTY")) as endpoint:
        assert texts(endpoint.complete_all(questions(1), hooks=Hooks())) == ["The set is EMPTY."]


def test_the_environment_is_not_read(fake: FakeEndpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setenv("OPENAI_API_KEY", CANARY)
    assert texts(run(fake, tmp_path, questions(1))) == ["echo: question 0"]
    assert "authorization" not in fake.headers[0]


def test_a_proxy_of_the_config_is_used(fake: FakeEndpoint, tmp_path: Path) -> None:
    config = config_of(fake).replace(base_url="http://far.invalid/v1", proxy=fake.url.removesuffix("/v1"))
    with Endpoint(config, tmp_path / "calls.jsonl") as endpoint:
        assert texts(endpoint.complete_all(questions(1), hooks=Hooks())) == ["echo: question 0"]
    assert fake.headers[0]["host"] == "far.invalid"


def test_the_key_comes_from_where_the_config_says(tmp_path: Path) -> None:
    config = EndpointConfig(base_url="http://h", model="m")
    assert config.read_key({"OPENAI_API_KEY": "x"}) is None
    found = config.replace(api_key_env="MY_KEY").read_key({"MY_KEY": f" {CANARY}\n"})
    assert found is not None
    assert found.get_secret_value() == CANARY
    with pytest.raises(ConfigError, match="environment variable MY_KEY is not set"):
        config.replace(api_key_env="MY_KEY").read_key({})
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        config.replace(api_key_file=tmp_path / "none").read_key({})
    for content in (b"", b"two words", b"\xff", "密钥".encode()):
        (tmp_path / "key").write_bytes(content)
        with pytest.raises(ConfigError, match=r"cannot be read|holds no key"):
            config.replace(api_key_file=tmp_path / "key").read_key({})


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"base_url": "ftp://h/v1"}, "begins with http:// or https://"),
        ({"base_url": "h/v1"}, "begins with http:// or https://"),
        ({"base_url": "http://"}, "names a host"),
        ({"base_url": "http://h:99999/v1"}, "names a host"),
        ({"base_url": "http://h/v1/chat/completions"}, "give the part before /chat/completions"),
        ({"base_url": f"http://me:{CANARY}@h/v1"}, "user name or a password"),
        ({"base_url": f"http://h/v1?key={CANARY}"}, "Leave it out"),
        ({"api_key_env": CANARY}, "Give the name, not the key"),
        ({"api_key": CANARY}, "Did you mean 'api_key_env'"),
        ({"api_key_env": "A", "api_key_file": "b"}, "not both"),
        ({"price_input": 1}, "or neither"),
        ({"budget_money": 1}, "needs price_input"),
        ({"concurrency": 0}, "greater than or equal to 1"),
        ({"parameters": {"extra": {"stream": True}}}, "'stream' is set by tuneloop itself"),
    ],
)
def test_a_wrong_config_is_told_and_never_shows_a_key(values: dict, says: str) -> None:
    with pytest.raises(ConfigError, match=says) as error:
        parse_config(EndpointConfig, Source("judge.yaml", {"base_url": "http://h/v1", "model": "m"} | values))
    assert CANARY not in str(error.value)
    with pytest.raises((ConfigError, ValidationError)) as raw:
        EndpointConfig(**({"base_url": "http://h/v1", "model": "m"} | values))
    assert CANARY not in str(raw.value)


@pytest.mark.parametrize(
    ("request_", "says"),
    [
        (ChatRequest(()), "has no message"),
        (ask("a\ud83d"), "half a surrogate pair at character 2"),
        (ChatRequest((Message("user", "a"),), tools="{"), "tools of a request are not JSON"),
    ],
)
def test_a_request_that_cannot_be_sent(fake: FakeEndpoint, tmp_path: Path, request_: ChatRequest, says: str) -> None:
    with pytest.raises(DataError, match=says):
        run(fake, tmp_path, [request_])
    assert fake.bodies == []


def test_no_requests(fake: FakeEndpoint, tmp_path: Path) -> None:
    assert run(fake, tmp_path, []) == []


def test_one_process_a_log(fake: FakeEndpoint, tmp_path: Path) -> None:
    with (
        Endpoint(config_of(fake), tmp_path / "calls.jsonl"),
        pytest.raises(LockedError, match="another process uses this log"),
    ):
        run(fake, tmp_path, questions(1))
    assert json.loads((tmp_path / "calls.jsonl").read_text()) == {"schema": "tuneloop.calls", "version": 1}
