"""A small HTTP/1.1 server on one asyncio loop: answers are made at once and sent when their time has come."""

import asyncio
import gzip
import json
import random
import sys
import threading
import time
import traceback
from array import array
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from email.utils import formatdate
from typing import Any

GZIP_FROM = 1024
SAMPLE = 400
REASONS = {
    200: "OK",
    201: "Created",
    207: "Multi-Status",
    400: "Bad Request",
    401: "Unauthorized",
    404: "Not Found",
    429: "Too Many Requests",
}


@dataclass(frozen=True, slots=True)
class Request:
    """One request: `path` is still percent-encoded, `query` raw, header names are in lower case."""

    method: str
    path: str
    query: str
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer: `name` is what it is counted as, `rows` decides how long it takes."""

    name: str
    body: bytes
    status: int = 200
    headers: Sequence[tuple[str, str]] = ()
    rows: int = 1


App = Callable[[Request], Answer]


@dataclass
class Meter:
    """What a server was asked, how long it meant to take and by how much it was late; counts up, so mutable."""

    requests: Counter[str] = field(default_factory=Counter)
    rows: int = 0
    seconds: float = 0.0
    sent: int = 0
    late: "array[float]" = field(default_factory=lambda: array("f"))
    sample: list[bytes] = field(default_factory=list)
    chance: random.Random = field(default_factory=lambda: random.Random(1))
    started: float = field(default_factory=time.process_time)

    def count(self, asked: bytes, answer: Answer, seconds: float, size: int) -> None:
        """Count an answer that is meant to take so long; of the requests as they were sent a fair sample is kept."""
        self.requests[answer.name] += 1
        if len(self.sample) < SAMPLE:
            self.sample.append(asked)
        elif (place := self.chance.randrange(self.requests.total())) < SAMPLE:
            self.sample[place] = asked
        self.rows += answer.rows
        self.seconds += seconds
        self.sent += size

    def figures(self) -> dict[str, Any]:
        """Everything as JSON: seconds of the process, of latency, and of lateness (mean and the 99th percentile)."""
        late = sorted(self.late)
        return {
            "requests": dict(self.requests),
            "rows": self.rows,
            "bytes": self.sent,
            "latency_seconds": round(self.seconds, 3),
            "late_mean": round(sum(late) / len(late), 5) if late else 0.0,
            "late_p99": round(late[int(len(late) * 0.99)], 5) if late else 0.0,
            "cpu": round(time.process_time() - self.started, 3),
        }


@dataclass
class Limiter:
    """Limits as GitLab's: `limit` requests in each `period` of seconds, for each user, and as many for each address.

    A token stands for a user. `addresses` says whether all come from one address or each from its own; empty is no
    limit for addresses.
    """

    limit: int
    period: float = 60.0
    addresses: str = ""
    started: float = field(default_factory=time.monotonic)
    window: int = 0
    seen: Counter[str] = field(default_factory=Counter)

    def count(self, request: Request) -> tuple[list[tuple[str, str]], bool]:
        """Count a request; GitLab's headers, and whether it was one too many."""
        passed = time.monotonic() - self.started
        if (window := int(passed / self.period)) != self.window:
            self.window, self.seen = window, Counter()
        token = request.headers.get("authorization", "")
        asked = [token, *([f"from {token if self.addresses == 'each' else 'one'}"] if self.addresses else [])]
        self.seen.update(asked)
        most = max(self.seen[name] for name in asked)
        reset = (window + 1) * self.period - passed
        headers = [
            ("RateLimit-Limit", str(self.limit)),
            ("RateLimit-Remaining", str(max(0, self.limit - most))),
            ("RateLimit-Reset", str(int(time.time() + reset) + 1)),
        ]
        return headers, most > self.limit


@dataclass
class Service:
    """A program and how long its answers take: `base` seconds and `row` seconds for each row, times `scale`.

    A `limiter` refuses requests of which there are too many.
    """

    app: App
    base: float = 0.0
    row: float = 0.0
    scale: float = 1.0
    limiter: Limiter | None = None
    meter: Meter = field(default_factory=Meter)
    connections: "set[_Connection]" = field(default_factory=set)
    waiting: "deque[Callable[[], None]]" = field(default_factory=deque)

    def later(self, work: Callable[[], None], loop: asyncio.AbstractEventLoop) -> None:
        """Do a piece of work when those before it are done, and between two of them send what is due."""
        self.waiting.append(work)
        if len(self.waiting) == 1:
            loop.call_soon(self._work, loop)

    def _work(self, loop: asyncio.AbstractEventLoop) -> None:
        self.waiting[0]()
        self.waiting.popleft()
        if self.waiting:
            loop.call_soon(self._work, loop)

    def seconds(self, answer: Answer) -> float:
        """How long this answer takes."""
        return (self.base + self.row * answer.rows) * self.scale


class _Connection(asyncio.Protocol):
    """One connection, kept alive; the next request is read when the last was answered."""

    def __init__(self, service: Service, loop: asyncio.AbstractEventLoop) -> None:
        self._service, self._loop = service, loop
        self._buffer = b""
        self._busy = False
        self._transport: Any = None

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._service.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  # asyncio's signature
        self._service.connections.discard(self)

    def close(self) -> None:
        """Hang up."""
        self._transport.abort()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if not self._busy:
            self._next()

    def _next(self) -> None:
        arrived = self._loop.time()
        head, found, rest = self._buffer.partition(b"\r\n\r\n")
        if not found:
            return
        request = _parsed(head)
        length = int(request.headers.get("content-length", "0"))
        if len(rest) < length:
            return
        self._busy, self._buffer = True, rest[length:]
        whole, sent = replace(request, body=rest[:length]), head + found + rest[:length]
        self._service.later(lambda: self._answer(whole, sent, arrived), self._loop)

    def _answer(self, request: Request, sent: bytes, arrived: float) -> None:
        answer = self._limited(request)
        content = _content(answer, "gzip" in request.headers.get("accept-encoding", ""))
        seconds = self._service.seconds(answer)
        self._service.meter.count(sent, answer, seconds, len(content))
        if seconds:
            self._loop.call_at(arrived + seconds, self._send, content, arrived + seconds)
        else:
            self._send(content, None)

    def _limited(self, request: Request) -> Answer:
        if self._service.limiter is None:
            return _answered(self._service.app, request)
        headers, too_many = self._service.limiter.count(request)
        if too_many:
            wait = ("Retry-After", str(max(1, int(headers[2][1]) - int(time.time()))))
            return Answer("throttled", b'{"message":"Retry later"}', 429, [*headers, wait], 0)
        answer = _answered(self._service.app, request)
        return replace(answer, headers=[*answer.headers, *headers])

    def _send(self, content: bytes, due: float | None) -> None:
        if due is not None:
            self._service.meter.late.append(self._loop.time() - due)
        if not self._transport.is_closing():
            self._transport.write(content)
        self._busy = False
        if self._buffer:
            self._next()


def _parsed(head: bytes) -> Request:
    first, *lines = head.decode("latin-1").split("\r\n")
    method, target, _ = first.split(" ")
    path, _, query = target.partition("?")
    pairs = (line.partition(":") for line in lines)
    return Request(method, path, query, {name.lower(): value.strip() for name, _, value in pairs}, b"")


def _answered(app: App, request: Request) -> Answer:
    """What a program cannot answer is told on stderr and refused, so that a run ends with Problems, not in silence."""
    try:
        return app(request)
    except Exception:  # noqa: BLE001  # whatever the program did not expect
        traceback.print_exc()
        sys.stderr.write(f"not served here: {request.method} {request.path}?{request.query}\n")
        return Answer("refused", json.dumps({"ok": False, "error": "not served here"}).encode(), 400)


def _content(answer: Answer, packed: bool) -> bytes:
    headers = [*answer.headers, ("Date", formatdate(usegmt=True)), ("Content-Type", "application/json")]
    body = answer.body
    if packed and len(body) > GZIP_FROM:
        body = gzip.compress(body, compresslevel=1)
        headers.append(("Content-Encoding", "gzip"))
    headers.append(("Content-Length", str(len(body))))
    first = f"HTTP/1.1 {answer.status} {REASONS.get(answer.status, 'Other')}\r\n"
    return (first + "".join(f"{name}: {value}\r\n" for name, value in headers) + "\r\n").encode("latin-1") + body


async def listen(service: Service) -> tuple[asyncio.Server, str]:
    """Start to serve on a free loopback port; the server and its URL."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Connection(service, loop), "127.0.0.1", 0, backlog=256)
    return server, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


@contextmanager
def serving(service: Service) -> Iterator[str]:
    """Serve from a thread until the block ends; gives the URL."""
    loop = asyncio.new_event_loop()
    server, url = loop.run_until_complete(listen(service))
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield url
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        server.close()
        for connection in list(service.connections):
            connection.close()
        loop.run_until_complete(asyncio.sleep(0.01))  # transports close on the loop's next rounds
        loop.close()
