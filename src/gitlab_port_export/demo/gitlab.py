"""The stand-in GitLab: real HTTP in front of a world, with faults on demand and a record of every request."""

from __future__ import annotations

import gzip
import json
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from email.message import Message
from urllib.parse import unquote, urlsplit

from gitlab_port_export.demo import gitlab_faults as faults
from gitlab_port_export.demo import gitlab_graphql, gitlab_hooks
from gitlab_port_export.demo.gitlab_access import Access
from gitlab_port_export.demo.gitlab_call import Call
from gitlab_port_export.demo.gitlab_faults import Drop, Edit, Fault, Lost, Query, Recorded, Reply, Slow, Truncate
from gitlab_port_export.demo.gitlab_pages import (
    GITLABS,
    HeaderList,
    Limits,
    Listing,
    Params,
    Raw,
    RefusedError,
    cut,
    parse_params,
)
from gitlab_port_export.demo.gitlab_route import Result, Route
from gitlab_port_export.demo.gitlab_routes import find_route, find_write
from gitlab_port_export.demo.gitlab_store import World
from gitlab_port_export.demo.gitlab_tokens import authenticated, authorize, refused
from gitlab_port_export.demo.gitlab_writes import Change, Writes, body_params
from gitlab_port_export.demo.serve import GZIP_FROM, JsonHandler, serve

__all__ = ["Edit", "Fault", "GitLabServer", "RateLimit", "Recorded", "faults", "gitlab_server"]

API = "/api/v4"
GRAPHQL = "/api/graphql"
CACHED_PAGES = 2000  # about half a gigabyte of full pages
PAGING = ("page", "per_page", "cursor", "id_after", "id_before", "page_token")


@dataclass(frozen=True)
class RateLimit:
    """A throttle for each token in fixed windows, as GitLab's: `limit` requests in `period` seconds."""

    limit: int
    period: int = 60


@dataclass(frozen=True)
class Answered:
    """A whole answer, ready to be sent; `rows` is how many it holds."""

    status: int
    body: bytes
    headers: HeaderList
    rows: int = 1
    content_type: str = "application/json"
    packed: bytes | None = None


@dataclass
class Cache:
    """Lists and pages that were made from one version of the world."""

    version: int = -1
    access: dict[str, Access] = field(default_factory=dict)
    lists: dict[tuple[str, str, str], Result] = field(default_factory=dict)
    pages: dict[tuple[str, str], Answered] = field(default_factory=dict)


@dataclass
class GitLabServer:
    """A running stand-in.

    `requests` records what arrived, with paths below `/api/v4` and decoded; `faults` may be filled and
    emptied at any time; the first that fits a request is its answer. So may `edits`: each changes the world between an
    answer and the next one. `latency` gives the seconds to wait for an answer of so many rows. `cached` keeps answers
    until the world's version changes: for benchmarks, which must not measure the server. `clock` is the time of Date
    headers, `limits` are those of lists, and `proxy` changes the headers of answers. `replica` returns the world that
    answers a request, None for the current one.
    """

    world: World
    prefix: str = ""
    external_url: str = ""
    latency: Callable[[int], float] | None = None
    rate_limit: RateLimit | None = None
    cached: bool = False
    clock: Callable[[], float] = time.time
    limits: Limits = GITLABS
    proxy: Callable[[Recorded, HeaderList], HeaderList] | None = None
    replica: Callable[[Recorded], World | None] = lambda request: None  # noqa: ARG005  # its parameter has a name
    url: str = ""
    requests: list[Recorded] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    edits: list[Edit] = field(default_factory=list)
    hooks: gitlab_hooks.Hooks = field(default_factory=gitlab_hooks.Hooks)
    writes: Writes = field(default_factory=Writes)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _editing: threading.Lock = field(default_factory=threading.Lock)
    _cache: Cache = field(default_factory=Cache)
    _windows: dict[str, tuple[int, int]] = field(default_factory=dict)

    def count(self, path: str = "") -> int:
        """How many requests arrived whose path holds this text."""
        with self._lock:
            return sum(path in request.path for request in self.requests)

    def record(self, request: Recorded) -> int:
        """Keep a request; its number."""
        with self._lock:
            self.requests.append(request)
            return len(self.requests)

    def take_fault(self, request: Recorded) -> Fault | None:
        """The first fault that fits the request, counted down."""
        with self._lock:
            fault = next((fault for fault in self.faults if fault.hits(request)), None)
            if fault and fault.times is not None:
                fault.times -= 1
            return fault

    @contextmanager
    def edited(self, request: Recorded) -> Iterator[None]:
        """Make an answer within the block while nothing changes, and what is to change after it."""
        with self._editing if self.edits else nullcontext():
            yield
            for edit in [edit for edit in self.edits if edit.hits(request)]:
                if edit.times is not None:
                    edit.times -= 1
                edit.change()
                self.world.touch()

    def throttle(self, secret: str) -> tuple[HeaderList, Reply | None]:
        """The rate limit's headers for one more request, and the refusal when it is one too many."""
        if not self.rate_limit:
            return [], None
        limit, period = self.rate_limit.limit, self.rate_limit.period
        now = int(time.time())
        with self._lock:
            window, seen = self._windows.get(secret, (0, 0))
            seen = seen + 1 if window == now // period else 1
            self._windows[secret] = (now // period, seen)
        reset = (now // period + 1) * period
        if seen > limit:
            return [], faults.throttled(reset - now, limit)
        headers = [
            ("RateLimit-Limit", str(limit * 60 // period)),
            ("RateLimit-Name", "throttle_authenticated_api"),
            ("RateLimit-Observed", str(seen)),
            ("RateLimit-Remaining", str(limit - seen)),
            ("RateLimit-Reset", str(reset)),
        ]
        return headers, None

    def respond(self, secret: str, path: str, query: Query, raw_query: str, replica: World | None = None) -> Answered:
        """The right answer to a GET; `path` begins below `/api/v4` and is still percent-encoded."""
        try:
            token = authenticated(self.world, secret)
            route, ids = find_route(path)
            authorize(token, route)
            world, cache = replica or self.world, Cache() if replica else self._fresh_cache()
            page = (secret, f"{path}?{raw_query}")
            answered = cache.pages.get(page)
            if answered is None:
                if secret not in cache.access:
                    cache.access[secret] = world.access(token)
                url = f"{self.external_url}{API}{path}"
                call = Call(world, token, cache.access[secret], ids, parse_params(query), url, raw_query)
                if len(cache.pages) >= CACHED_PAGES:
                    cache.pages.clear()
                cache.pages[page] = answered = _page(call, route, path, cache, self.limits)
            return answered
        except RefusedError as refusal:
            return _refusal(refusal)

    def manage_hooks(self, request: Recorded, path: str, body: object) -> Answered:
        """The right answer to a request about hooks, the only thing that can be changed here."""
        try:
            token, params = authenticated(self.world, request.token), parse_params(request.query)
            access, url = self.world.access(token), f"{self.external_url}{API}{path}"
            asked = (self.hooks, self.world, token, access, request.method, path, params, body, url)
            status, payload, headers = gitlab_hooks.answer(gitlab_hooks.Asked(*asked))
            return Answered(status, b"" if payload is None else _encoded(payload), headers)
        except RefusedError as refusal:
            return _refusal(refusal)

    def write(self, request: Recorded, path: str, body: object) -> Answered:
        """The answer to a write about members, invitations or accounts, once it is carried out."""
        try:
            token = authenticated(self.world, request.token)
            if (found := find_write(request.method, path)) is None:
                return _refusal(RefusedError(405, {"error": "405 Not Allowed"}))
            if "api" not in token.scopes:
                raise refused(faults.insufficient_scope("api"))
            route, ids = found
            params: Params = {**parse_params(request.query), **body_params(body)}
            url = f"{self.external_url}{API}{path}"
            call = Call(self.world, token, self.world.access(token), ids, params, url)
            with self._lock:
                status, payload = route.write(Change(call, self.writes))
                return Answered(status, b"" if status == 204 else _encoded(payload), [])
        except RefusedError as refusal:
            return _refusal(refusal)

    def query(self, secret: str, body: object, replica: World | None = None) -> Answered:
        """The right answer to a GraphQL query."""
        try:
            token = authenticated(self.world, secret)
            if not {"api", "read_api"} & set(token.scopes):
                raise refused(faults.insufficient_scope())
        except RefusedError as refusal:
            return _refusal(refusal)
        world, cache = replica or self.world, Cache() if replica else self._fresh_cache()
        if secret not in cache.access:
            cache.access[secret] = world.access(token)
        call = Call(world, token, cache.access[secret], {}, {}, f"{self.external_url}{GRAPHQL}")
        found = gitlab_graphql.answer(call, body)
        top = found.get("data", {}).values()
        rows = sum(len((one or {}).get("nodes", [one])) for one in top) or 1
        return _packed(Answered(200, _encoded(found), [], rows=rows))

    def _fresh_cache(self) -> Cache:
        if not self.cached:
            return Cache()
        with self._lock:
            if self._cache.version != self.world.version:
                self._cache = Cache(self.world.version)
            return self._cache


def _page(call: Call, route: Route, path: str, cache: Cache, limits: Limits) -> Answered:
    filters = sorted((name, str(value)) for name, value in call.params.items() if name not in PAGING)
    key = (call.token.secret, path, str(filters))
    if key not in cache.lists:
        cache.lists[key] = route.answer(call)
    # Link headers repeat the path's id as a parameter, as GitLab's do.
    linked: Params = {"id": call.ids["id"], **call.params} if "id" in call.ids else call.params
    return _rendered(cache.lists[key], linked, call.url, limits)


def _rendered(result: Result, params: Params, url: str, limits: Limits) -> Answered:
    if isinstance(result, Raw):
        return Answered(200, result.body, result.headers, content_type=result.content_type)
    if not isinstance(result, Listing):
        return _packed(Answered(200, _encoded(result), []))
    rows, headers = cut(result, params, url, limits)
    return _packed(Answered(200, _encoded(rows), headers, rows=len(rows)))


def _encoded(payload: object) -> bytes:
    return json.dumps(payload, ensure_ascii=False, separators=(",", ":")).encode()


def _packed(answered: Answered) -> Answered:
    if len(answered.body) <= GZIP_FROM:
        return answered
    return replace(answered, packed=gzip.compress(answered.body, compresslevel=1))


def _refusal(refused: RefusedError) -> Answered:
    if isinstance(refused.payload, str):
        return Answered(refused.status, refused.payload.encode(), [*refused.headers], content_type="text/plain")
    return Answered(refused.status, _encoded(refused.payload), [*refused.headers])


def _secret(headers: Message[str, str], query: Query) -> str:
    bearer = headers.get("Authorization", "")
    if bearer.startswith("Bearer "):
        return bearer.removeprefix("Bearer ")
    return headers.get("PRIVATE-TOKEN") or dict(query).get("private_token", "")


class _Handler(JsonHandler):
    def date_time_string(self, timestamp: float | None = None) -> str:
        return super().date_time_string(self.server.state.clock() if timestamp is None else timestamp)

    def answer(self, method: str) -> None:
        started = time.monotonic()
        state: GitLabServer = self.server.state
        path = self.url_path.removeprefix(state.prefix).removeprefix(API)
        secret = _secret(self.headers, self.url_query)
        agent = self.headers.get("User-Agent", "")
        request = Recorded(method, unquote(path), self.url_query, secret, agent)
        fault = state.take_fault(request)
        match fault and fault.answer:
            case Reply() as reply:
                self._send(request, _as_answered(reply), started, foreign=reply.foreign)
            case Drop():
                state.record(request)
                self.drop()
            case Lost(instead):
                done = self._right(request, path)
                if instead:
                    self._send(request, _as_answered(instead), started)
                else:
                    state.record(replace(request, status=done.status))
                    self.drop()
            case Truncate():
                self._send(request, self._right(request, path), started, cut_short=True)
            case other:
                if isinstance(other, Slow):
                    self.server.pause(other.seconds)
                self._send(request, self._right(request, path), started)

    def _right(self, request: Recorded, path: str) -> Answered:
        """What a healthy server answers."""
        state: GitLabServer = self.server.state
        if self.url_path == f"{state.prefix}{GRAPHQL}" and request.method == "POST":
            with state.edited(request):
                return state.query(request.token, self.json_body(), state.replica(request))
        if not self.url_path.startswith(f"{state.prefix}{API}/"):
            return _refusal(RefusedError(404, {"error": "404 Not Found"}))
        if gitlab_hooks.PATH.match(path):
            return state.manage_hooks(request, path, self.json_body())
        if request.method not in ("GET", "HEAD"):
            return state.write(request, path, self.json_body())
        headers, too_many = state.throttle(request.token)
        if too_many:
            return _as_answered(too_many)
        with state.edited(request):
            answered = state.respond(
                request.token, path, request.query, urlsplit(self.path).query, state.replica(request)
            )
        return replace(answered, headers=[*answered.headers, *headers])

    def _send(
        self,
        request: Recorded,
        answered: Answered,
        started: float,
        *,
        cut_short: bool = False,
        foreign: bool = False,
    ) -> None:
        state: GitLabServer = self.server.state
        if state.latency:
            self.server.pause(state.latency(answered.rows))
        number = state.record(replace(request, status=answered.status))
        body, headers = answered.body, [*answered.headers]
        if answered.packed and "gzip" in self.headers.get("Accept-Encoding", ""):
            body = answered.packed
            headers.append(("Content-Encoding", "gzip"))
        if not foreign:
            headers.append(("X-Request-Id", f"{number:032x}"))
            headers.append(("X-Runtime", f"{time.monotonic() - started:.6f}"))
        if state.proxy:
            headers = state.proxy(request, headers)
        if cut_short:
            headers.append(("Content-Length", str(len(body))))
            body = body[: len(body) // 2]
            self.drop()
        self.send_body(answered.status, body, headers, answered.content_type)


def _as_answered(reply: Reply) -> Answered:
    return Answered(reply.status, reply.body, [*reply.headers], content_type=reply.content_type)


@contextmanager
def gitlab_server(
    world: World,
    *,
    prefix: str = "",
    external_url: str = "",
    latency: Callable[[int], float] | None = None,
    rate_limit: RateLimit | None = None,
    cached: bool = False,
    tls: ssl.SSLContext | None = None,
) -> Iterator[GitLabServer]:
    """Serve a world over HTTP on the loopback interface.

    `prefix` is a path such as "/gitlab" that the instance lives under; `external_url`, with that path, is
    what Link headers are built from: by default the server's own address.
    """
    state = GitLabServer(world, prefix, external_url, latency, rate_limit, cached)
    with serve(_Handler, state, tls) as server:
        state.url = server.url + prefix
        state.external_url = external_url or state.url
        yield state
