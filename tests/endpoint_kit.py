"""A chat completions server on the loopback that answers, refuses, breaks off and talks nonsense as a test tells it."""

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal

Body = dict[str, Any]


@dataclass(frozen=True)
class Fault:
    """How one request goes wrong, or goes slowly."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    content: bytes | None = None
    """In place of an answer; None where the answer itself is sent."""
    content_type: str = "application/json"
    wait_s: float = 0.0
    """Before the first byte."""
    cut: Literal["", "before", "within", "drip", "held"] = ""
    """Close the connection before the reply or in its middle; send it a byte at a time, 20 a second; or hold it until
    the gate opens, and close it then."""


OK = Fault()
HTML = Fault(content=b"<!DOCTYPE html><html><body>Welcome to nginx</body></html>", content_type="text/html")
MALFORMED = Fault(content=b'{"choices": [{"message": {"content": "half an ans')
NO_CHOICES = Fault(content=b'{"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 5}}')
CUT_BEFORE = Fault(cut="before")
CUT_WITHIN = Fault(cut="within")
DRIP = Fault(cut="drip")
HELD = Fault(cut="held")


def too_many(retry_after: str | None = None, status: int = 429) -> Fault:
    """Ask me later."""
    headers = {} if retry_after is None else {"Retry-After": retry_after}
    return Fault(status, headers, b'{"error": {"message": "Slow down.", "code": "rate_limit_exceeded"}}')


def refused(status: int, message: str = "No.", code: str = "", **headers: str) -> Fault:
    """An error in OpenAI's form."""
    content = json.dumps({"error": {"message": message, "code": code}}).encode()
    return Fault(status, {name.title(): value for name, value in headers.items()}, content)


def question(body: Body) -> str:
    """The last message of a request."""
    return body["messages"][-1]["content"]


def completion(text: str, **changes: Any) -> Body:
    """A reply as OpenAI writes it; of 10 tokens in and 2 out."""
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 10, "completion_tokens": 2, "total_tokens": 12}
    return {"id": "c", "object": "chat.completion", "model": "m-0101", "choices": [choice], "usage": usage} | changes


@dataclass
class FakeEndpoint:
    """What the server does, and what it has seen."""

    answer: Callable[[Body], str | Body] = lambda body: f"echo: {question(body)}"
    """From a request to its text, or to the whole reply."""
    fault: Callable[[int, Body], Fault] = lambda number, body: OK  # noqa: ARG005 - the parameters' names say the shape
    """From the number of the request (from 0) and its body."""
    url: str = ""
    bodies: list[Body] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    times_s: list[float] = field(default_factory=list)
    answered: Counter[str] = field(default_factory=Counter)
    """Requests that were answered with status 200 to the last byte, by their JSON."""
    most_at_once: int = 0
    connections: int = 0
    gate: threading.Event = field(default_factory=threading.Event)
    """Closed from the start; requests that are held wait here."""
    lock: threading.Lock = field(default_factory=threading.Lock)
    at_once: int = 0

    @property
    def num_answered(self) -> int:
        """With status 200, to the last byte."""
        return sum(self.answered.values())


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Else each reply waits 40 ms for the client's word that it has the headers.
    disable_nagle_algorithm = True
    endpoint: FakeEndpoint

    def setup(self) -> None:
        super().setup()
        with self.endpoint.lock:
            self.endpoint.connections += 1

    def do_POST(self) -> None:
        content = self.rfile.read(int(self.headers["Content-Length"]))
        body, fake = json.loads(content), self.endpoint
        with fake.lock:
            number = len(fake.bodies)
            fake.bodies.append(body)
            fake.headers.append({name.lower(): value for name, value in self.headers.items()})
            fake.times_s.append(time.monotonic())
            fake.at_once += 1
            fake.most_at_once = max(fake.most_at_once, fake.at_once)
        try:
            self._reply(body, fake.fault(number, body))
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True
        finally:
            with fake.lock:
                fake.at_once -= 1

    def _reply(self, body: Body, fault: Fault) -> None:
        time.sleep(fault.wait_s)
        if fault.cut == "held":
            self.endpoint.gate.wait(30)
        if fault.cut in {"before", "held"}:
            self.close_connection = True
            return
        content = fault.content
        if content is None:
            found = self.endpoint.answer(body)
            content = json.dumps(completion(found) if isinstance(found, str) else found).encode()
        self.send_response(fault.status)
        self.send_header("Content-Type", fault.content_type)
        self.send_header("Content-Length", str(len(content)))
        for name, value in fault.headers.items():
            self.send_header(name, value)
        self.end_headers()
        if fault.cut == "within":
            self.wfile.write(content[: len(content) // 2])
            self.close_connection = True
            return
        if fault.cut == "drip":
            for place in range(len(content)):
                self.wfile.write(content[place : place + 1])
                time.sleep(0.05)
        else:
            self.wfile.write(content)
        if fault.status == 200 and fault.content is None:
            with self.endpoint.lock:
                self.endpoint.answered[json.dumps(body, sort_keys=True)] += 1

    def log_message(self, *arguments: object) -> None:
        """Say nothing."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, *arguments: object) -> None:
        """A client that leaves is no error here."""


@contextmanager
def serving(**what: Any) -> Iterator[FakeEndpoint]:
    """A server in a thread, for as long as the block runs."""
    fake = FakeEndpoint(**what)
    handler = type("Handler", (_Handler,), {"endpoint": fake})
    server = _Server(("127.0.0.1", 0), handler)
    fake.url = f"http://127.0.0.1:{server.server_port}/v1"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield fake
    finally:
        fake.gate.set()
        server.shutdown()
        server.server_close()
        thread.join()
