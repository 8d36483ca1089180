"""Questions to a model behind an OpenAI-compatible endpoint: asked together, retried, logged, and paid once."""

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

from pydantic import SecretStr

from tuneloop.core.errors import ConfigError, EndpointError
from tuneloop.core.hooks import Hooks
from tuneloop.core.store import canonical_json, hash_json
from tuneloop.data.schema import ToolCall
from tuneloop.generate.budget import Purse, Spending
from tuneloop.generate.call_log import CallLog, read_calls
from tuneloop.generate.chat import CallError, CallFailure, ChatRequest, Completion, Usage
from tuneloop.generate.crew import Crew
from tuneloop.generate.endpoint_config import EndpointConfig
from tuneloop.generate.estimate import estimate_tokens
from tuneloop.generate.pace import Pace
from tuneloop.generate.refusals import check_status
from tuneloop.generate.reply import parse_reply
from tuneloop.generate.retry import backoff_s
from tuneloop.generate.transport import Transport

_PATIENCE_S = 5.0
"""What a call that has begun gets beyond its own timeout when the run ends."""
_SHORTEST_SECRET = 12
"""Servers without keys are given words such as EMPTY, which an answer may well hold."""
_HIDDEN = "[key]"


class _EndedError(Exception):
    """Raised inside the client where no further attempt is wanted."""


@dataclass(frozen=True, slots=True)
class CallPlan:
    """What a set of requests would cost, before anything is sent."""

    requests: int
    calls: int
    """Different requests."""
    in_log: int
    """Of these, answered and paid already."""
    input_tokens: int
    """Of the calls to make; estimated from characters."""
    output_tokens: int
    """Of the calls to make, at most: max_tokens each."""
    cost: float | None
    """At most, for the calls to make; None without prices."""
    spent: Spending
    """By earlier runs over the same log."""


def request_key(config: EndpointConfig, request: ChatRequest) -> str:
    """What the log knows a request by: a hash of everything that decides the answer, and of the sample's number.

    Raises:
        DataError: the request cannot be sent.
    """
    body = request.body(config.model, config.parameters)
    return hash_json({"base_url": config.base_url, "body": body, "sample": request.sample})


def plan_calls(config: EndpointConfig, requests: Sequence[ChatRequest], log: Path) -> CallPlan:
    """Count calls, tokens and cost; nothing is sent and nothing is written.

    Raises:
        DataError: a request cannot be sent, or the file is no log of calls.
    """
    found = read_calls(log)
    distinct = {request_key(config, request): request for request in requests}
    missing = [request for key, request in distinct.items() if key not in found.places]
    most = [_most(config, request) for request in missing]
    usage = Usage(
        prompt_tokens=sum(item.prompt_tokens for item in most),
        completion_tokens=sum(item.completion_tokens for item in most),
        is_estimated=True,
    )
    return CallPlan(
        requests=len(requests),
        calls=len(distinct),
        in_log=len(distinct) - len(missing),
        input_tokens=usage.prompt_tokens,
        output_tokens=usage.completion_tokens,
        cost=config.cost(usage),
        spent=found.spent,
    )


def _most(config: EndpointConfig, request: ChatRequest) -> Usage:
    """The most that a call is expected to use."""
    texts = [message.content for message in request.messages] + ([request.tools] if request.tools else [])
    parameters = request.parameters or config.parameters
    return Usage(estimate_tokens(texts), parameters.max_tokens, is_estimated=True)


class Endpoint:
    """An endpoint and the log of what it has answered; for one reader, with `concurrency` calls at the same time.

    Raises:
        LockedError: another process uses the log.
        DataError: the file is no log of calls.
    """

    def __init__(self, config: EndpointConfig, log: Path, *, key: SecretStr | None = None, seed: int = 0) -> None:
        self.config = config
        self._seed = seed
        self._key = key
        self._transport = Transport(config, None if key is None else key.get_secret_value())
        try:
            self._log = CallLog(log)
        except BaseException:
            self._transport.close()
            raise
        self._pace = Pace(config.requests_per_minute)
        self._has_answered = len(self._log) > 0

    @classmethod
    def open(cls, config: EndpointConfig, log: Path, environ: Mapping[str, str], *, seed: int = 0) -> Self:
        """With the key from where the config says.

        Raises:
            ConfigError: it is not there.
        """
        return cls(config, log, key=config.read_key(environ), seed=seed)

    @property
    def spent(self) -> Spending:
        """By all runs over the log."""
        return self._log.spent

    def complete(
        self, requests: Sequence[ChatRequest], *, hooks: Hooks
    ) -> Iterator[tuple[int, Completion | CallFailure]]:
        """Answer requests; each comes with its index, first those of the log, then as they are ready.

        Equal requests are one call. A failure is about its request alone; what concerns all of them is raised, after
        the calls under way have ended and are in the log.

        Raises:
            StoppedError: an end was asked for.
            BudgetError: the next call could pass the budget.
            ConfigError: no request can succeed: a wrong key, address or model.
            EndpointError: the endpoint is down.
            DataError: a request cannot be sent.
            DiskError: an answer cannot be kept.
        """
        places: dict[str, list[int]] = {}
        for index, request in enumerate(requests):
            places.setdefault(request_key(self.config, request), []).append(index)
        progress = _Progress(self, hooks, len(requests))
        for key, indices in places.items():
            answer = self._log.get(key)
            if answer is not None:
                yield from ((index, answer) for index in indices)
                progress.count(answer, len(indices))
        missing = [key for key in places if key not in self._log]
        progress.tell()
        purse = Purse(self.config, self._log.spent)

        def work(key: str, ending: threading.Event) -> Completion | CallFailure | None:
            return self._call(key, requests[places[key][0]], purse, ending)

        crew = Crew(
            work,
            missing,
            size=min(self.config.concurrency, len(missing)),
            patience_s=self.config.timeout_s + _PATIENCE_S,
        )
        for key, result in crew.results(hooks.stop):
            if result is not None:
                progress.count(result, len(places[key]))
                progress.tell()
                yield from ((index, result) for index in places[key])

    def complete_all(self, requests: Sequence[ChatRequest], *, hooks: Hooks) -> list[Completion | CallFailure]:
        """As `complete`, in the order of the requests."""
        found = dict(self.complete(requests, hooks=hooks))
        return [found[index] for index in range(len(requests))]

    def _call(
        self, key: str, request: ChatRequest, purse: Purse, ending: threading.Event
    ) -> Completion | CallFailure | None:
        """One request with all its attempts; None where an end came first."""
        body = canonical_json(request.body(self.config.model, self.config.parameters))
        share = purse.take(_most(self.config, request), ending)
        if share is None:
            return None
        try:
            return self._attempts(key, request, body, purse, ending)
        except _EndedError:
            return None
        finally:
            purse.give_back(share)

    def _attempts(
        self, key: str, request: ChatRequest, body: bytes, purse: Purse, ending: threading.Event
    ) -> Completion | CallFailure:
        attempt = 0
        while True:
            _wait(self._pace.claim(), ending)
            try:
                answer = self._attempt(key, request, body, attempt + 1)
            except CallError as error:
                if error.usage is not None:
                    cost = self.config.cost(error.usage)
                    self._log.add_unusable(key, error.usage, cost, error.kind)
                    purse.spend(error.usage, cost)
                failure = self._failure(key, error, attempt + 1)
                if error.is_final or attempt == self.config.retry.max_retries:
                    return failure
                wait_s = backoff_s(self.config.retry, attempt, error.retry_after_s, seed=self._seed, key=key)
                if error.retry_after_s is not None:
                    self._pace.hold(min(error.retry_after_s, self.config.retry.cap_s))
                _wait(wait_s, ending)
                attempt += 1
            else:
                self._log.add(answer)
                purse.spend(answer.usage, answer.cost)
                self._has_answered = True
                return answer

    def _attempt(self, key: str, request: ChatRequest, body: bytes, attempt: int) -> Completion:
        start_s = time.monotonic()
        raw = self._transport.post(body)
        try:
            check_status(raw, self.config)
        except ConfigError as error:
            raise ConfigError(self._redact(str(error), always=True)) from None
        reply = parse_reply(raw.content, raw.headers.get("content-type", ""))
        latency_s = time.monotonic() - start_s
        usage = reply.usage
        if usage is None:
            written = estimate_tokens([reply.reasoning + reply.text])
            usage = replace(_most(self.config, request), completion_tokens=written)
        return Completion(
            key=key,
            text=self._redact(reply.text),
            finish_reason=self._redact(reply.finish_reason),
            usage=usage,
            cost=self.config.cost(usage),
            model=self._redact(reply.model),
            latency_s=latency_s,
            attempts=attempt,
            reasoning=self._redact(reply.reasoning),
            tool_calls=tuple(
                ToolCall(self._redact(call.name), self._redact(call.arguments), self._redact(call.id))
                for call in reply.tool_calls
            ),
        )

    def _failure(self, key: str, error: CallError, attempts: int) -> CallFailure:
        message = self._redact(error.message, always=True)
        if error.kind == "rejected" and not self._has_answered:
            raise ConfigError(
                f"{self.config.url}: the first request is refused, {message}. "
                f"Change what is asked, or the parameters of the endpoint."
            )
        return CallFailure(key, error.kind, message, attempts, error.status)

    def _redact(self, text: str, *, always: bool = False) -> str:
        """Some servers say a key back; it must not reach a file or a screen."""
        secret = "" if self._key is None else self._key.get_secret_value()
        if secret and (always or len(secret) >= _SHORTEST_SECRET):
            return text.replace(secret, _HIDDEN)
        return text

    def close(self) -> None:
        """Close the connections and the log."""
        self._transport.close()
        self._log.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def _wait(wait_s: float, ending: threading.Event) -> None:
    if ending.wait(wait_s) if wait_s > 0 else ending.is_set():
        raise _EndedError


class _Progress:
    """Counts results, tells of them, and notices an endpoint that is down."""

    def __init__(self, endpoint: Endpoint, hooks: Hooks, total: int) -> None:
        self._endpoint, self._hooks, self._total = endpoint, hooks, total
        self._done = self._in_log = self._failed = self._failed_in_a_row = 0

    def count(self, result: Completion | CallFailure, requests: int) -> None:
        """Take the result of so many equal requests.

        Raises:
            EndpointError: too many calls in a row got no answer.
        """
        self._done += requests
        if isinstance(result, Completion):
            self._failed_in_a_row = 0
            self._in_log += requests if result.from_log else 0
            return
        self._failed += requests
        # The server is well where it says what is wrong with one request.
        self._failed_in_a_row += result.kind != "rejected"
        config = self._endpoint.config
        if self._failed_in_a_row >= config.give_up_after:
            raise EndpointError(
                f"{config.url}: {self._failed_in_a_row} calls in a row got no answer, the last one after "
                f"{result.attempts} attempts ({result.kind}): {result.message}. What was answered is kept; the same "
                f"command goes on when the endpoint is back."
            )

    def tell(self) -> None:
        """Emit where the calls stand."""
        spent, config = self._endpoint.spent, self._endpoint.config
        values: dict[str, Any] = {"done": self._done, "total": self._total, "in_log": self._in_log}
        values |= {"failed": self._failed, "tokens": spent.tokens}
        values |= {"cost": spent.money if config.price_input is not None else None, "currency": config.currency}
        self._hooks.emit("called", **values)
