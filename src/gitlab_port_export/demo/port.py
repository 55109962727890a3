"""The stand-in Port: its HTTP API over a `PortStore`, with every request recorded and faults on demand."""

from __future__ import annotations

import itertools
import json
import re
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import unquote

from gitlab_port_export.demo.port_query import View, compile_view, paged_names
from gitlab_port_export.demo.port_rules import JsonObject, RefusedError, check_entity_body, malformed, not_found
from gitlab_port_export.demo.port_store import Author, Mode, PortStore, parse_before
from gitlab_port_export.demo.port_webhooks import INGEST, ingest
from gitlab_port_export.demo.port_webhooks import ROUTES as WEBHOOK_ROUTES
from gitlab_port_export.demo.serve import JsonHandler, serve

MAX_BODY_BYTES = 1 << 20
MAX_BULK = 20
MAX_BULK_DELETE = 100
MAX_PAGE = 1000
MAX_OWNED_PAGE = 5000

Reply = tuple[int, JsonObject]
Query = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Recorded:
    """One request as it came; `status` is what was answered, 0 when the connection was closed instead."""

    method: str
    path: str
    query: Query
    body: Any
    user_agent: str
    status: int = 0


@dataclass(frozen=True, slots=True)
class Effect:
    """What a fault does: wait, do or leave what was asked, then answer something else or hang up."""

    delay: float = 0
    reply: tuple[int, bytes, tuple[tuple[str, str], ...], str] | None = None
    hang_up: bool = False
    applied: bool = False


@dataclass(slots=True)
class Fault:
    """An effect for the requests that `match` picks: a pattern for "METHOD /path", or a function.

    `times` says how often it still fires (None: always); it counts down, so a fault is mutable on purpose.
    """

    match: str | Callable[[Recorded], bool]
    effect: Effect
    times: int | None = None

    def picks(self, request: Recorded) -> bool:
        """Whether this fault is for the request."""
        if callable(self.match):
            return self.match(request)
        return re.search(self.match, f"{request.method} {request.path}") is not None


def refuse(
    status: int,
    body: JsonObject | None = None,
    headers: tuple[tuple[str, str], ...] = (),
    *,
    applied: bool = False,
) -> Effect:
    """Answer with this status; with `applied` only after the request was carried out, as a late 504 is."""
    payload = {"ok": False, "error": "internal_error", "message": "demonstration"} if body is None else body
    content = json.dumps(payload).encode()
    return Effect(reply=(status, content, headers, "application/json"), applied=applied)


def html(status: int = 502, text: str = "<html><body>Bad Gateway</body></html>") -> Effect:
    """Answer as a proxy on the way does."""
    return Effect(reply=(status, text.encode(), (), "text/html"))


def drop(*, applied: bool = False) -> Effect:
    """Close the connection without an answer; with `applied` after the request was carried out."""
    return Effect(hang_up=True, applied=applied)


def slow(seconds: float) -> Effect:
    """Answer as usual, but late."""
    return Effect(delay=seconds)


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
        """Recorded requests whose "METHOD /path" the pattern is found in."""
        return [r for r in list(self.requests) if re.search(pattern, f"{r.method} {r.path}")]

    def effect_for(self, request: Recorded) -> Effect | None:
        """Effect of the first fault that picks the request, used up by one."""
        with self._lock:
            for fault in self.faults:
                if fault.times != 0 and fault.picks(request):
                    fault.times = None if fault.times is None else fault.times - 1
                    return fault.effect
            return None

    def headers(self) -> list[tuple[str, str]]:
        """Trace id and rate headers of the next answer; the limit is shown and never enforced here."""
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


@dataclass(frozen=True, slots=True)
class _Call:
    """A request whose client is known: path parameters decoded, body parsed."""

    store: PortStore
    params: dict[str, str]
    query: Query
    body: Any
    author: Author

    def one(self, name: str) -> str | None:
        """The last value of a query parameter."""
        return next((value for key, value in reversed(self.query) if key == name), None)

    def many(self, name: str) -> list[str]:
        """Every value of a repeated query parameter."""
        return [value for key, value in self.query if key == name]

    def flag(self, name: str) -> bool:
        """A boolean query parameter, false when absent."""
        value = self.one(name)
        if value not in (None, "true", "false", ""):
            raise malformed(f"querystring/{name} must be boolean")
        return value == "true"

    def object(self, allowed: tuple[str, ...] = (), required: tuple[str, ...] = ()) -> JsonObject:
        """The body as an object; with `allowed` no other keys may be in it."""
        if not isinstance(self.body, dict):
            raise malformed("body must be object")
        if missing := [name for name in required if name not in self.body]:
            raise malformed(f"body must have required property '{missing[0]}'")
        if allowed and (extra := self.body.keys() - set(allowed)):
            raise malformed(f"body must NOT have additional properties: {', '.join(sorted(extra))}")
        return self.body


class _Handler(JsonHandler):
    """Reads a request, lets a fault have its way, and answers from the routes."""

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
        route, params = _find_route(request.method, request.path)
        client = "" if route is _log_in else self._client(store)
        if len(self.body) > MAX_BODY_BYTES:
            raise RefusedError(413, "payload_too_large", "Request body is too large (limit is 1MiB)")
        if self.body and request.body is None and self.body.strip() != b"null":
            raise malformed("body must be JSON")
        author = store.author(client, request.user_agent)
        return route(_Call(store, params, request.query, request.body, author))

    def _client(self, store: PortStore) -> str:
        kind, _, token = self.headers.get("Authorization", "").partition(" ")
        client = store.client_of(token) if kind == "Bearer" else None
        if client is None:
            raise RefusedError(401, "unauthorized", "The access token is missing, wrong or expired")
        return client

    def _parsed(self) -> Any:
        try:
            return self.json_body()
        except ValueError:
            return None


def _log_in(call: _Call) -> Reply:
    names = ("clientId", "clientSecret")
    body = call.object(names, names)
    token = call.store.log_in(*(body[name] for name in names))
    return 200, {
        "ok": True,
        "accessToken": token,
        "expiresIn": call.store.token_lifetime,
        "tokenType": "Bearer",
    }


def _mode(call: _Call) -> Mode:
    return Mode(
        upsert=call.flag("upsert"),
        merge=call.flag("merge"),
        create_missing=call.flag("create_missing_related_entities"),
        validation_only=call.flag("validation_only"),
    )


def _create_entity(call: _Call) -> Reply:
    row = call.object()
    check_entity_body(row, "body", null_titles=call.store.null_titles)
    return _written(call, row, _mode(call), 201)


def _replace_entity(call: _Call) -> Reply:
    row = _aimed(call)
    check_entity_body(row, "body", null_titles=call.store.null_titles)
    return _written(call, row, replace(_mode(call), must_exist=True, merge=False), 200)


def _patch_entity(call: _Call) -> Reply:
    row = _aimed(call)
    check_entity_body(row, "body", patch=True)
    return _written(call, row, replace(_mode(call), must_exist=True, merge=True), 200)


def _aimed(call: _Call) -> JsonObject:
    row, identifier = call.object(), call.params["id"]
    if row.get("identifier", identifier) != identifier:
        raise malformed("this stand-in renames no entities")
    return {**row, "identifier": identifier}


def _written(call: _Call, row: JsonObject, mode: Mode, status: int) -> Reply:
    entity, _ = call.store.write(call.params["bp"], row, mode, call.author)
    return status, {"ok": True, "entity": _view(call, call.params["bp"])(entity)}


def _write_bulk(call: _Call) -> Reply:
    rows = call.object(("entities",), ("entities",))["entities"]
    if not isinstance(rows, list) or not 1 <= len(rows) <= MAX_BULK:
        raise malformed(f"body/entities must be an array of 1 to {MAX_BULK} items")
    for index, row in enumerate(rows):
        check_entity_body(row, f"body/entities/{index}", null_titles=call.store.null_titles)
    mode = _mode(call)
    call.store.blueprint(call.params["bp"])
    entities: list[JsonObject] = []
    errors: list[JsonObject] = []
    for index, row in enumerate(rows):
        try:
            entity, created = call.store.write(call.params["bp"], row, mode, call.author)
            entities.append({"created": created, "identifier": entity.identifier, "index": index})
        except RefusedError as refused:
            errors.append(_row_error(row, index, refused))
    return (207 if errors else 200), {"ok": not errors, "entities": entities, "errors": errors}


def _row_error(row: JsonObject, index: int, refused: RefusedError) -> JsonObject:
    identifier = row.get("identifier")
    return {
        # A row whose identifier is a query that found no single entity has no name to be called by.
        "identifier": identifier if isinstance(identifier, str) else "unknown",
        "index": index,
        "statusCode": refused.status,
        "error": refused.error,
        "message": refused.message,
    }


def _delete_entity(call: _Call) -> Reply:
    call.store.get(call.params["bp"], call.params["id"])
    call.store.delete(call.params["bp"], [call.params["id"]], cascade=call.flag("delete_dependents"))
    return 200, {"ok": True}


def _delete_bulk(call: _Call) -> Reply:
    names = call.object(("entities",), ("entities",))["entities"]
    if not isinstance(names, list) or not 1 <= len(names) <= MAX_BULK_DELETE:
        raise malformed(f"body/entities must be an array of 1 to {MAX_BULK_DELETE} items")
    if not all(isinstance(name, str) for name in names):
        raise malformed("body/entities items must be string")
    deleted = call.store.delete(call.params["bp"], names, cascade=call.flag("delete_dependents"))
    return 200, {"ok": True, "deletedEntities": deleted}


def _view(call: _Call, blueprint: str, include: list[str] | None = None, exclude: list[str] | None = None) -> View:
    return compile_view(
        call.store.blueprint(blueprint),
        call.many("include") if include is None else include,
        call.many("exclude") if exclude is None else exclude,
        calculated=not call.flag("exclude_calculated_properties"),
        nulls=call.store.show_nulls,
    )


def _get_entity(call: _Call) -> Reply:
    entity = call.store.get(call.params["bp"], call.params["id"])
    return 200, {"ok": True, "entity": _view(call, call.params["bp"])(entity)}


def _get_entities(call: _Call) -> Reply:
    view = _view(call, call.params["bp"])
    found = call.store.find({"combinator": "and", "rules": []}, call.params["bp"])
    return 200, {"ok": True, "entities": [view(entity) for entity in found]}


def _count_entities(call: _Call) -> Reply:
    return 200, {"ok": True, "count": call.store.count(call.params["bp"])}


def _search_page(call: _Call) -> Reply:
    body = call.object(("query", "include", "exclude", "limit", "from"))
    limit, cursor = _limit(body, 200, MAX_PAGE), _cursor(body)
    include, exclude = (paged_names(_names(body, part)) for part in ("include", "exclude"))
    view = _view(call, call.params["bp"], include, exclude)
    rows, following = call.store.page(call.params["bp"], body.get("query"), cursor, limit)
    return 200, {"ok": True, "entities": [view(entity) for entity in rows], **_next(following)}


def _search_all(call: _Call) -> Reply:
    query = call.object(("combinator", "rules"))
    found = call.store.find(query)
    names = list(dict.fromkeys(entity.blueprint for entity in found))
    views = {name: _view(call, name) for name in names}
    return 200, {
        "ok": True,
        "matchingBlueprints": names,
        "entities": [views[entity.blueprint](entity) for entity in found],
    }


def _owned(call: _Call) -> Reply:
    texts = ("datasource_prefix", "datasource_suffix")
    body = call.object((*texts, "limit", "from", "before"), texts)
    if not all(isinstance(body[name], str) for name in texts):
        raise malformed("body/datasource_prefix and body/datasource_suffix must be string")
    limit, before = _limit(body, MAX_OWNED_PAGE, MAX_OWNED_PAGE), parse_before(body.get("before"))
    prefix, suffix = (body[name] for name in texts)
    rows, following = call.store.owned(prefix, suffix, before, _cursor(body), limit)
    entities = [{"identifier": entity.identifier, "blueprint": entity.blueprint} for entity in rows]
    return 200, {"ok": True, "entities": entities, **_next(following)}


def _limit(body: JsonObject, default: int, highest: int) -> int:
    limit = body.get("limit", default)
    if isinstance(limit, bool) or not isinstance(limit, int) or not 1 <= limit <= highest:
        raise malformed(f"body/limit must be a number from 1 to {highest}")
    return limit


def _cursor(body: JsonObject) -> str | None:
    cursor = body.get("from")
    if "from" in body and not isinstance(cursor, str):
        raise malformed("body/from must be string")
    return cursor


def _names(body: JsonObject, part: str) -> list[str]:
    names = body.get(part, [])
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise malformed(f"body/{part} must be array of strings")
    return names


def _next(cursor: str | None) -> JsonObject:
    return {} if cursor is None else {"next": cursor}


def _get_blueprints(call: _Call) -> Reply:
    return 200, {"ok": True, "blueprints": list(call.store.blueprints.values())}


def _get_blueprint(call: _Call) -> Reply:
    return 200, {"ok": True, "blueprint": call.store.blueprint(call.params["bp"])}


def _create_blueprint(call: _Call) -> Reply:
    return 201, {"ok": True, "blueprint": call.store.add_blueprint(call.body, call.author.client)}


def _replace_blueprint(call: _Call) -> Reply:
    return _changed_blueprint(call, partial=False)


def _patch_blueprint(call: _Call) -> Reply:
    return _changed_blueprint(call, partial=True)


def _changed_blueprint(call: _Call, *, partial: bool) -> Reply:
    changed = call.store.change_blueprint(call.params["bp"], call.body, call.author.client, partial=partial)
    return 200, {"ok": True, "blueprint": changed}


def _delete_blueprint(call: _Call) -> Reply:
    call.store.delete_blueprint(call.params["bp"])
    return 200, {"ok": True}


def _get_integrations(call: _Call) -> Reply:
    call.store.check_integration_access()
    return 200, {"ok": True, "integrations": list(call.store.integrations.values())}


def _get_integration(call: _Call) -> Reply:
    return 200, {"ok": True, "integration": call.store.integration(call.params["id"])}


def _create_integration(call: _Call) -> Reply:
    body = call.object(required=("installationId", "installationAppType"))
    return 201, {"ok": True, "integration": call.store.add_integration(body)}


def _patch_integration(call: _Call) -> Reply:
    changes = {} if call.body is None else call.object()
    return 200, {"ok": True, "integration": call.store.change_integration(call.params["id"], changes)}


def _patch_config(call: _Call) -> Reply:
    body = call.object(("config",), ("config",))
    return 200, {"ok": True, "integration": call.store.change_integration(call.params["id"], body)}


def _patch_resync_state(call: _Call) -> Reply:
    state = call.object()
    if state.get("status", "running") not in ("running", "completed", "failed", "aborted"):
        raise malformed("body/status must be equal to one of the allowed values")
    return 200, {"ok": True, "integration": call.store.set_resync_state(call.params["id"], state)}


def _add_examples(call: _Call) -> Reply:
    call.store.integration(call.params["id"])
    examples = call.object(("examples",), ("examples",))["examples"]
    if not isinstance(examples, list):
        raise malformed("body/examples must be array")
    call.store.examples[call.params["id"], call.params["kind"]] = examples
    return 200, {"ok": True}


def _get_kinds(call: _Call) -> Reply:
    call.store.integration(call.params["id"])
    data = {
        kind: {"examples": [{"_id": str(n), "data": example} for n, example in enumerate(examples)]}
        for (identifier, kind), examples in call.store.examples.items()
        if identifier == call.params["id"]
    }
    return 200, {"ok": True, "data": data}


def _get_organization(call: _Call) -> Reply:
    flags = list(call.store.feature_flags)
    return 200, {"ok": True, "organization": {"id": call.store.organization, "name": "Demo", "featureFlags": flags}}


Route = Callable[[_Call], Reply]
ROUTES: tuple[tuple[str, str, Route], ...] = (
    ("POST", "auth/access_token", _log_in),
    ("GET", "blueprints", _get_blueprints),
    ("POST", "blueprints", _create_blueprint),
    ("GET", "blueprints/:bp", _get_blueprint),
    ("PUT", "blueprints/:bp", _replace_blueprint),
    ("PATCH", "blueprints/:bp", _patch_blueprint),
    ("DELETE", "blueprints/:bp", _delete_blueprint),
    ("POST", "blueprints/entities/datasource-entities", _owned),
    ("GET", "blueprints/:bp/entities-count", _count_entities),
    ("GET", "blueprints/:bp/entities", _get_entities),
    ("POST", "blueprints/:bp/entities", _create_entity),
    ("POST", "blueprints/:bp/entities/bulk", _write_bulk),
    ("POST", "blueprints/:bp/entities/search", _search_page),
    ("POST", "blueprints/:bp/bulk/entities/delete", _delete_bulk),
    ("GET", "blueprints/:bp/entities/:id", _get_entity),
    ("PUT", "blueprints/:bp/entities/:id", _replace_entity),
    ("PATCH", "blueprints/:bp/entities/:id", _patch_entity),
    ("DELETE", "blueprints/:bp/entities/:id", _delete_entity),
    ("POST", "entities/search", _search_all),
    ("GET", "integration", _get_integrations),
    ("POST", "integration", _create_integration),
    ("GET", "integration/:id", _get_integration),
    ("PATCH", "integration/:id", _patch_integration),
    ("PATCH", "integration/:id/config", _patch_config),
    ("PATCH", "integration/:id/resync-state", _patch_resync_state),
    ("GET", "integration/:id/kinds", _get_kinds),
    ("POST", "integration/:id/kinds/:kind/examples", _add_examples),
    ("GET", "organization", _get_organization),
    *WEBHOOK_ROUTES,
)


def _find_route(method: str, path: str) -> tuple[Route, dict[str, str]]:
    segments = path.removeprefix("/v1/").split("/") if path.startswith("/v1/") else []
    for verb, template, route in ROUTES:
        params = _match(template.split("/"), segments) if verb == method else None
        if params is not None:
            return route, params
    raise not_found("Route", f"{method} {path}")


def _match(template: list[str], segments: list[str]) -> dict[str, str] | None:
    """Decoded path parameters, or None; split first: an encoded slash is part of an identifier."""
    if len(template) != len(segments):
        return None
    pairs = list(zip(template, segments, strict=True))
    if any(not name.startswith(":") and name != segment for name, segment in pairs):
        return None
    return {name[1:]: unquote(segment) for name, segment in pairs if name.startswith(":")}
