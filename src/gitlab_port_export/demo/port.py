"""The stand-in Port: its HTTP API over a `PortStore`, with every request recorded and faults on demand."""

from __future__ import annotations

import itertools
import re
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from gitlab_port_export.demo.port_access import client_of
from gitlab_port_export.demo.port_call import Call, Reply
from gitlab_port_export.demo.port_faults import Effect, Fault, Recorded
from gitlab_port_export.demo.port_routes import find_route, log_in
from gitlab_port_export.demo.port_rules import JsonObject, RefusedError, malformed
from gitlab_port_export.demo.port_store import PortStore
from gitlab_port_export.demo.port_webhooks import INGEST, ingest
from gitlab_port_export.demo.serve import JsonHandler, serve

MAX_BODY_BYTES = 1 << 20


@dataclass(eq=False)
class PortServer:
    """A running stand-in: its store, what it was asked (in order of answers) and what it shall do wrong."""

    store: PortStore
    requests: list[Recorded] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    latency: Callable[[], float] | None = None
    record_bodies: bool = True
    rate_limit: int = 35_000
    rate_period: int = 300
    url: str = ""
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)
    _traces: Iterator[int] = field(default_factory=lambda: itertools.count(1), repr=False)
    _window: tuple[int, int] = (0, 0)

    def calls(self, pattern: str) -> list[Recorded]:
        """Return the recorded requests whose "METHOD /path" the pattern is found in."""
        return [r for r in list(self.requests) if re.search(pattern, f"{r.method} {r.path}")]

    def effect_for(self, request: Recorded) -> Effect | None:
        """Return the effect of the first fault that picks the request, used up by one."""
        with self._lock:
            for fault in self.faults:
                if fault.times != 0 and fault.picks(request):
                    fault.times = None if fault.times is None else fault.times - 1
                    return fault.effect
            return None

    def headers(self) -> list[tuple[str, str]]:
        """Return the trace id and rate headers of the next answer; the limit is shown and never enforced here."""
        with self._lock:
            window = int(self.store.clock()) // self.rate_period
            used = self._window[1] + 1 if self._window[0] == window else 1
            self._window = window, used
            return [
                ("x-trace-id", f"{next(self._traces):032x}"),
                ("x-ratelimit-limit", str(self.rate_limit)),
                ("x-ratelimit-period", str(self.rate_period)),
                ("x-ratelimit-remaining", str(max(0, self.rate_limit - used))),
                ("x-ratelimit-reset", str((window + 1) * self.rate_period)),
            ]


@contextmanager
def port_server(
    store: PortStore | None = None, *, tls: ssl.SSLContext | None = None, **options: Any
) -> Iterator[PortServer]:
    """Run a stand-in Port until the block ends; `options` are fields of PortServer, `.url` lacks `/v1`."""
    port = PortServer(store or PortStore.default(), **options)
    with serve(_Handler, port, tls) as server:
        port.url = port.store.webhooks.url = server.url
        yield port


class _Handler(JsonHandler):
    """Reads a request, applies a fault where one is meant for it, and answers from the routes."""

    def answer(self, method: str) -> None:
        port: PortServer = self.server.state
        request = Recorded(method, self.url_path, self.url_query, self._parsed(), self.headers.get("User-Agent", ""))
        effect = port.effect_for(request) or Effect()
        self.server.pause(effect.delay + (port.latency() if port.latency else 0))
        if effect.hang_up or effect.reply:
            if effect.applied:
                self._carry_out(port, request)
            self._misbehave(port, request, effect)
            return
        status, payload = self._carry_out(port, request)
        self._record(port, request, status)
        self.send_json(status, payload, port.headers())

    def _misbehave(self, port: PortServer, request: Recorded, effect: Effect) -> None:
        if effect.reply is None:
            self._record(port, request, 0)
            self.drop()
            return
        status, body, headers, content_type = effect.reply
        named = {name.lower() for name, _ in headers}
        self._record(port, request, status)
        usual = [pair for pair in port.headers() if pair[0] not in named]
        self.send_body(status, body, [*usual, *headers], content_type)

    def _record(self, port: PortServer, request: Recorded, status: int) -> None:
        body = request.body if port.record_bodies else None
        port.requests.append(replace(request, status=status, body=body))

    def _carry_out(self, port: PortServer, request: Recorded) -> Reply:
        try:
            return self._route(port.store, request)
        except RefusedError as refused:
            envelope: JsonObject = {"ok": False, "error": refused.error, "message": refused.message}
            return refused.status, envelope | ({"details": refused.details} if refused.details else {})

    def _route(self, store: PortStore, request: Recorded) -> Reply:
        if request.path.startswith(INGEST):
            return ingest(store, request.path.removeprefix(INGEST), dict(self.headers), self.body)
        route, params = find_route(request.method, request.path)
        client = "" if route is log_in else self._client(store)
        if len(self.body) > MAX_BODY_BYTES:
            raise RefusedError(413, "payload_too_large", "Request body is too large (limit is 1MiB)")
        if self.body and request.body is None and self.body.strip() != b"null":
            raise malformed("body must be JSON")
        author = store.author(client, request.user_agent)
        return route(Call(store, params, request.query, request.body, author))

    def _client(self, store: PortStore) -> str:
        kind, _, token = self.headers.get("Authorization", "").partition(" ")
        client = client_of(store, token) if kind == "Bearer" else None
        if client is None:
            raise RefusedError(401, "unauthorized", "The access token is missing, wrong or expired")
        return client

    def _parsed(self) -> Any:
        try:
            return self.json_body()
        except ValueError:
            return None
