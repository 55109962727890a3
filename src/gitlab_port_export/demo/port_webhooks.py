"""The stand-in Port's webhooks: their routes, and what a payload makes of entities.

Nobody outside knows some of what Port does here; `Unknown` has a switch for each of those things.
https://docs.port.io/build-your-software-catalog/custom-integration/webhook/
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Literal

import jq

from gitlab_port_export.demo.port_drafts import Mode
from gitlab_port_export.demo.port_rules import JsonObject, RefusedError, check_entity_body, malformed, not_found
from gitlab_port_export.jq.program import rewrite_quotes

if TYPE_CHECKING:
    from gitlab_port_export.demo.port_call import Call, Reply
    from gitlab_port_export.demo.port_store import PortStore

INGEST = "/ingest/"
MAX_PAYLOAD = 512 * 1024
MAX_ITEMS = 500
LIMITS = {"identifier": 30, "title": 30, "description": 200}
KEYS = {"identifier", "title", "description", "icon", "mappings", "enabled", "security", "integrationType"}
ITEM_KEYS = {"blueprint", "operation", "filter", "itemsToParse", "entity"}
ENTITY_KEYS = {"identifier", "title", "icon", "team", "properties", "relations"}
SECURITY_KEYS = {"secret", "signatureHeaderName", "signatureAlgorithm", "signaturePrefix", "requestIdentifierPath"}


@dataclass(frozen=True)
class Unknown:
    """What Port may do in one way or another.

    The owner that a write leaves (`own`: a text of its own, `kept`: the one before, `none`); whether null clears a
    property or leaves it; whether a missing target of a relation refuses the write or is created; in which order the
    items of a mapping are used; what a wrong token is answered; whether a webhook's secret can be read again; whether
    events without the mark by which repeated ones are known count as one.
    """

    owner: Literal["own", "kept", "none"] = "own"
    null_clears: bool = True
    creates_targets: bool = False
    backwards: bool = False
    wrong_token: Literal[202, 401] = 202
    shows_secret: bool = False
    drops_unmarked: bool = False


@dataclass(eq=False)
class Webhooks:
    """The webhooks of a Port by identifier, and what became of each event, oldest first.

    `readable` says whether the credentials are a moderator's, which reading webhooks needs.
    """

    url: str = ""
    unknown: Unknown = Unknown()
    readable: bool = True
    held: dict[str, JsonObject] = field(default_factory=dict)
    audit: list[JsonObject] = field(default_factory=list)
    seen: set[tuple[str, str]] = field(default_factory=set)

    def shown(self, identifier: str) -> JsonObject:
        """Return a webhook as answers have it."""
        found = dict(self.one(identifier))
        if not self.unknown.shows_secret and found.get("security", {}).get("secret"):
            found["security"] = found["security"] | {"secret": "***"}
        return found

    def one(self, identifier: str) -> JsonObject:
        """Return the webhook; RefusedError (404) where there is none."""
        if identifier not in self.held:
            raise not_found("Webhook", identifier)
        return self.held[identifier]

    def check_readable(self) -> None:
        """Raise RefusedError (403) unless the client is a moderator's."""
        if not self.readable:
            raise RefusedError(403, "forbidden", "reading webhooks needs the moderator or admin role")


# --- routes


def _list(call: Call) -> Reply:
    hooks = call.store.webhooks
    hooks.check_readable()
    return 200, {"ok": True, "integrations": [hooks.shown(name) for name in hooks.held]}


def _get(call: Call) -> Reply:
    call.store.webhooks.check_readable()
    return 200, {"ok": True, "integration": call.store.webhooks.shown(call.params["id"])}


def _create(call: Call) -> Reply:
    hooks, body = call.store.webhooks, _checked(call.object(required=("title", "enabled")))
    identifier = body.setdefault("identifier", f"webhook_{len(hooks.held) + 1}")
    if identifier in hooks.held:
        raise RefusedError(409, "conflict", f'Webhook "{identifier}" already exists')
    key = sha256(identifier.encode()).hexdigest()[:16]
    moment = call.store.now()
    stamps = {"createdAt": moment, "updatedAt": moment, "createdBy": call.author.client}
    address = {"webhookKey": key, "url": f"{hooks.url}{INGEST}{key}"}
    hooks.held[identifier] = {"mappings": [], "security": {}, "enabled": True, **body, **address, **stamps}
    return 201, {"ok": True, "integration": hooks.shown(identifier)}


def _change(call: Call) -> Reply:
    hooks, identifier = call.store.webhooks, call.params["id"]
    found = hooks.one(identifier)
    body = _checked(call.object())
    hooks.held[identifier] = found | body | {"identifier": identifier, "updatedAt": call.store.now()}
    return 200, {"ok": True, "integration": hooks.shown(identifier)}


def _delete(call: Call) -> Reply:
    call.store.webhooks.one(call.params["id"])
    del call.store.webhooks.held[call.params["id"]]
    return 200, {"ok": True}


def _audit(call: Call) -> Reply:
    wanted = {"webhookId": call.one("webhookId"), "status": call.one("status")}
    found = [
        entry
        for entry in reversed(call.store.webhooks.audit)
        if all(value is None or entry[name] == value for name, value in wanted.items())
    ]
    return 200, {"ok": True, "audits": found[: int(call.one("limit") or 100)]}


ROUTES = (
    ("GET", "webhooks", _list),
    ("POST", "webhooks", _create),
    ("GET", "webhooks/:id", _get),
    ("PATCH", "webhooks/:id", _change),
    ("DELETE", "webhooks/:id", _delete),
    ("GET", "audit-log", _audit),
)


def _checked(body: JsonObject) -> JsonObject:
    """Return the body of a webhook, checked as Port's schema does."""
    _only(body, KEYS, "body")
    for name, most in LIMITS.items():
        if name in body and not (isinstance(body[name], str) and len(body[name]) <= most):
            raise malformed(f"body/{name} must NOT have more than {most} characters")
    _only(body.get("security") or {}, SECURITY_KEYS, "body/security")
    if (algorithm := (body.get("security") or {}).get("signatureAlgorithm")) not in ("sha1", "sha256", "plain", None):
        raise malformed(f"body/security/signatureAlgorithm must not be {algorithm}")
    for index, item in enumerate(body.get("mappings") or ()):
        where = f"body/mappings/{index}"
        _only(item, ITEM_KEYS, where)
        _only(item.get("entity") or {}, ENTITY_KEYS, f"{where}/entity")
        if not isinstance(item.get("blueprint"), str) or "identifier" not in (item.get("entity") or {}):
            raise malformed(f"{where} must have blueprint and entity.identifier")
        for name in ("filter", "itemsToParse"):
            if not isinstance(item.get(name, ""), str):
                raise malformed(f"{where}/{name} must be string")
    return dict(body)


def _only(value: Any, keys: set[str], where: str) -> None:
    if not isinstance(value, dict):
        raise malformed(f"{where} must be object")
    if extra := value.keys() - keys:
        raise malformed(f"{where} must NOT have additional properties: {', '.join(sorted(extra))}")


# --- a payload comes in


def ingest(store: PortStore, key: str, headers: Mapping[str, str], body: bytes) -> Reply:
    """Take a payload: 202 whatever becomes of it, 413 where it is too large, 404 where there is no such webhook."""
    hooks = store.webhooks
    if len(body) > MAX_PAYLOAD:
        raise RefusedError(413, "payload_too_large", "Payload is too large (limit is 512KiB)")
    hook = next((one for one in hooks.held.values() if one["webhookKey"] == key), None)
    if hook is None:
        raise not_found("Webhook", key)
    security = hook.get("security") or {}
    lower = {name.lower(): value for name, value in headers.items()}
    if security.get("secret") and lower.get((security.get("signatureHeaderName") or "").lower()) != security["secret"]:
        if hooks.unknown.wrong_token == 401:
            raise RefusedError(401, "unauthorized", "The signature does not fit")
        return 202, {"ok": True}
    try:
        context = {"body": json.loads(body), "headers": {**headers, **lower}, "queryParams": {}}
    except ValueError:
        return 202, {"ok": True}
    path = security.get("requestIdentifierPath")
    mark = evaluated(path, context) if path else None
    if mark is not None or (path and hooks.unknown.drops_unmarked):
        if (key, str(mark)) in hooks.seen:
            return 202, {"ok": True}
        hooks.seen.add((key, str(mark)))
    if hook["enabled"]:
        items = hook["mappings"]
        for item in reversed(items) if hooks.unknown.backwards else items:
            for each in _contexts(item, context):
                _use(store, hook, item, each)
    return 202, {"ok": True}


def _contexts(item: JsonObject, context: JsonObject) -> Iterator[JsonObject]:
    if "itemsToParse" not in item:
        yield context
        return
    found = evaluated(item["itemsToParse"], context)
    yield from (context | {"item": one} for one in (found if isinstance(found, list) else ())[:MAX_ITEMS])


def _use(store: PortStore, hook: JsonObject, item: JsonObject, context: JsonObject) -> None:
    """Write what an item makes of a payload; a refusal stands in the audit log and nowhere else."""
    if evaluated(item.get("filter", "true"), context) is not True:
        return
    row = _evaluated_all(item["entity"], context)
    entry = {"webhookId": hook["identifier"], "status": "SUCCESS", "message": ""}
    try:
        _write(store, hook["identifier"], item["blueprint"], row)
    except RefusedError as refused:
        entry |= {"status": "FAILURE", "message": refused.message}
    moment = {"trigger": {"at": store.now()}}
    store.webhooks.audit.append(entry | moment | {"context": {"blueprint": item["blueprint"]}})


def _write(store: PortStore, hook: str, blueprint: str, row: JsonObject) -> None:
    unknown = store.webhooks.unknown
    if isinstance(row.get("identifier"), int | float):
        row["identifier"] = str(row["identifier"])
    if row.get("identifier") is None:
        raise malformed("an entity needs an identifier")
    if not unknown.null_clears:
        for name in ("properties", "relations"):
            row[name] = {key: value for key, value in row.get(name, {}).items() if value is not None}
    row = {name: value for name, value in row.items() if name not in ("title", "icon", "team") or value is not None}
    check_entity_body(row, "entity")
    existing = store.entity(blueprint, row["identifier"]) if blueprint in store.blueprints else None
    before = existing["$datasource"] if existing else ""
    source = {"own": f"port/webhook/{hook}", "kept": before, "none": ""}[unknown.owner]
    author = replace(store.author(hook), user_agent=source)
    mode = Mode(upsert=True, merge=True, create_missing=unknown.creates_targets)
    store.write(blueprint, row, mode, author)


NO_OUTPUT = object()


def _evaluated_all(value: Any, context: JsonObject) -> Any:
    """Evaluate every text of an entity; what gives no output is left out."""
    if not isinstance(value, dict):
        return evaluated(value, context) if isinstance(value, str) else value
    found = {name: _evaluated_all(part, context) for name, part in value.items()}
    return {name: part for name, part in found.items() if part is not NO_OUTPUT}


@lru_cache(maxsize=4096)
def _compiled(expression: str) -> Any:
    # As Port's binding does: https://github.com/port-labs/jq-node-bindings/blob/main/lib/jq.js
    return jq.compile("def env: {}; {} as $ENV | " + rewrite_quotes(expression))


def evaluated(expression: str, context: JsonObject) -> Any:
    """Return the first output of an expression; null for an error, NO_OUTPUT where there is none."""
    try:
        return next(iter(_compiled(expression).input_value(context)), NO_OUTPUT)
    except ValueError:
        return None
