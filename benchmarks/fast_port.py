"""A Port that holds a million entities: one compact record each in a file, and an index in memory."""

import os
import tempfile
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, unquote

import orjson

from fast_http import Answer, Request
from gitlab_port_export.demo.port_access import log_in
from gitlab_port_export.demo.port_integrations import add_integration, change_integration, integration, set_resync_state
from gitlab_port_export.demo.port_rules import RefusedError, not_found
from gitlab_port_export.demo.port_store import PortStore

Json = dict[str, Any]
METAS = ("$title", "$icon", "$team")
NOT_SERVED = "the benchmark's Port does not answer this"


@dataclass
class Shelf:
    """The entities of one blueprint: identifiers by slot (None: deleted), and where in the file each record is."""

    slots: dict[str, int] = field(default_factory=dict)
    identifiers: list[str | None] = field(default_factory=list)
    offsets: "array[int]" = field(default_factory=lambda: array("Q"))
    lengths: "array[int]" = field(default_factory=lambda: array("I"))
    sources: "array[int]" = field(default_factory=lambda: array("H"))


class Records:
    """An unnamed file that records are added to; what is replaced stays behind."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115  # lives as long as the store
        self._end = 0

    def add(self, record: bytes) -> int:
        """Write a record; where it begins."""
        start = self._end
        os.pwrite(self._file.fileno(), record, start)
        self._end += len(record)
        return start

    def read(self, start: int, length: int) -> bytes:
        """Read a record."""
        return os.pread(self._file.fileno(), length, start)

    def close(self) -> None:
        """Give the file up."""
        self._file.close()


class FastPort:
    """Answers what the client asks of Port; blueprints, sign-in and integrations are the stand-in's own."""

    def __init__(self) -> None:
        self.store = PortStore.default()
        self.writes = 0
        self._records = Records()
        self._shelves: dict[str, Shelf] = {}
        self._sources: list[str] = []

    def __call__(self, request: Request) -> Answer:
        """Answer one request. Raises for what only a changed client would ask."""
        segments = [unquote(part) for part in request.path.removeprefix("/v1/").split("/")]
        body = orjson.loads(request.body) if request.body else {}
        try:
            name, status, payload = self._route(request, segments, body)
        except RefusedError as refused:
            return Answer("refused", orjson.dumps({"ok": False, "error": refused.error}), refused.status)
        return Answer(name, orjson.dumps({"ok": True, **payload}), status)

    @property
    def entities(self) -> int:
        """How many entities there are."""
        return sum(len(shelf.slots) for shelf in self._shelves.values())

    def close(self) -> None:
        """Forget everything."""
        self._records.close()

    def _route(self, request: Request, segments: list[str], body: Json) -> tuple[str, int, Json]:
        match request.method, segments:
            case "POST", ["auth", "access_token"]:
                token = log_in(self.store, body.get("clientId"), body.get("clientSecret"))
                return "sign-in", 200, {"accessToken": token, "expiresIn": 10800, "tokenType": "Bearer"}
            case "POST", ["blueprints", *_, "bulk" | "search" | "datasource-entities" | "delete"]:
                return self._entities(request, segments[1:], body)
            case "GET" | "POST", ["blueprints", _, "entities-count" | "entities", *_]:
                return self._few(request, segments[1:], body)
            case method, ["blueprints", *rest]:
                return "blueprints", *self._blueprints(method, rest, body)
            case method, ["integration", *rest]:
                return "integration", *self._integration(method, rest, body)
            case "GET", ["webhooks", identifier]:
                raise not_found("Webhook", identifier)
        raise ValueError(NOT_SERVED)

    def _entities(self, request: Request, segments: list[str], body: Json) -> tuple[str, int, Json]:
        match segments:
            case [blueprint, "entities", "bulk"]:
                found = self._upsert(blueprint, body["entities"], request)
                return "upsert", 200, {"entities": found, "errors": []}
            case ["entities", "datasource-entities"]:
                return "owned", 200, self._owned(body)
            case [blueprint, "entities", "search"]:
                return "search", 200, self._search(blueprint, body)
            case [blueprint, "bulk", "entities", "delete"]:
                return "delete", 200, {"deletedEntities": self._delete(blueprint, body["entities"])}
        raise ValueError(NOT_SERVED)

    def _few(self, request: Request, segments: list[str], body: Json) -> tuple[str, int, Json]:
        """How many entities there are, or one of them."""
        match request.method, segments:
            case "GET", [blueprint, "entities-count"]:
                return "count", 200, {"count": len(self._shelf(blueprint).slots)}
            case "GET", [blueprint, "entities", identifier]:
                return "entity", 200, {"entity": self._one(blueprint, identifier)}
            case "POST", [blueprint, "entities"]:
                self._upsert_one(blueprint, body, request)
                return "upsert", 200, {"entity": body}
        raise ValueError(NOT_SERVED)

    def _blueprints(self, method: str, rest: list[str], body: Json) -> tuple[int, Json]:
        match method, rest:
            case "GET", []:
                return 200, {"blueprints": list(self.store.blueprints.values())}
            case "POST", []:
                return 201, {"blueprint": self.store.add_blueprint(body)}
            case "PATCH", [blueprint]:
                return 200, {"blueprint": self.store.change_blueprint(blueprint, body, partial=True)}
        raise ValueError(NOT_SERVED)

    def _integration(self, method: str, rest: list[str], body: Json) -> tuple[int, Json]:
        match method, rest:
            case "POST", []:
                return 201, {"integration": add_integration(self.store, body)}
            case "GET", [identifier]:
                return 200, {"integration": integration(self.store, identifier)}
            case "PATCH", [identifier]:
                return 200, {"integration": change_integration(self.store, identifier, body)}
            case "PATCH", [identifier, "resync-state"]:
                return 200, {"integration": set_resync_state(self.store, identifier, body)}
        raise ValueError(NOT_SERVED)

    # Writing

    def _upsert(self, blueprint: str, rows: list[Json], request: Request) -> list[Json]:
        params = dict(parse_qsl(request.query))
        if (params["upsert"], params["merge"], params["create_missing_related_entities"]) != ("true",) * 3:
            raise ValueError(NOT_SERVED)
        relations = self.store.blueprint(blueprint)["relations"]
        shelf, source = self._shelf(blueprint), self._source(request.headers.get("user-agent", ""))
        found = []
        for index, row in enumerate(rows):
            identifier = row["identifier"]
            slot = shelf.slots.get(identifier)
            old = self._load(shelf, slot) if slot is not None else {}
            for name, value in (row.get("relations") or {}).items():
                self._create_missing(relations[name]["target"], value, source)
            self._store(shelf, identifier, _merged(old, row), source)
            found.append({"created": slot is None, "identifier": identifier, "index": index})
        self.writes += len(rows)
        return found

    def _upsert_one(self, blueprint: str, row: Json, request: Request) -> None:
        params = dict(parse_qsl(request.query))
        if (params["upsert"], params["merge"]) != ("true",) * 2 or row.get("relations"):
            raise ValueError(NOT_SERVED)
        shelf = self._shelf(blueprint)
        slot = shelf.slots.get(row["identifier"])
        old = self._load(shelf, slot) if slot is not None else {}
        self._store(shelf, row["identifier"], _merged(old, row), self._source(request.headers.get("user-agent", "")))
        self.writes += 1

    def _create_missing(self, target: str, value: Any, source: int) -> None:
        shelf = self._shelf(target)
        for identifier in value if isinstance(value, list) else [value]:
            if identifier is not None and identifier not in shelf.slots:
                self._store(shelf, identifier, {"title": identifier}, source)

    def _store(self, shelf: Shelf, identifier: str, content: Json, source: int) -> None:
        record = orjson.dumps(content)
        start = self._records.add(record)
        slot = shelf.slots.setdefault(identifier, len(shelf.identifiers))
        if slot == len(shelf.identifiers):
            shelf.identifiers.append(identifier)
            shelf.offsets.append(start)
            shelf.lengths.append(len(record))
            shelf.sources.append(source)
        else:
            shelf.offsets[slot], shelf.lengths[slot], shelf.sources[slot] = start, len(record), source

    def _delete(self, blueprint: str, identifiers: list[str]) -> list[str]:
        shelf = self._shelf(blueprint)
        found = [identifier for identifier in identifiers if identifier in shelf.slots]
        for identifier in found:
            shelf.identifiers[shelf.slots.pop(identifier)] = None
        self.writes += len(found)
        return found

    def _shelf(self, blueprint: str) -> Shelf:
        return self._shelves.setdefault(blueprint, Shelf())

    def _source(self, user_agent: str) -> int:
        if user_agent not in self._sources:
            self._sources.append(user_agent)
        return self._sources.index(user_agent)

    # Reading

    def _load(self, shelf: Shelf, slot: int) -> Json:
        content: Json = orjson.loads(self._records.read(shelf.offsets[slot], shelf.lengths[slot]))
        return content

    def _one(self, blueprint: str, identifier: str) -> Json:
        schema, shelf = self.store.blueprint(blueprint), self._shelf(blueprint)
        if (slot := shelf.slots.get(identifier)) is None:
            raise not_found("Entity", identifier, blueprint)
        shown = [*METAS, *schema["schema"]["properties"], *schema["relations"]]
        return _view(schema, shown)(identifier, self._load(shelf, slot))

    def _search(self, blueprint: str, body: Json) -> Json:
        schema, shelf = self.store.blueprint(blueprint), self._shelf(blueprint)
        shown = _view(schema, body["include"])
        start, limit = int(body.get("from", 0)), body["limit"]
        rules = body["query"]["rules"]
        if not rules:
            slots: Iterator[int] = iter(range(start, len(shelf.identifiers)))
        elif len(rules) == 1 and (rules[0]["property"], rules[0]["operator"]) == ("$identifier", "in"):
            wanted = sorted(shelf.slots[name] for name in rules[0]["value"] if name in shelf.slots)
            slots = (slot for slot in wanted if slot >= start)
        else:
            raise ValueError(NOT_SERVED)
        rows: list[Json] = []
        for slot in slots:
            identifier = shelf.identifiers[slot]
            if identifier is None:
                continue
            if len(rows) == limit:
                return {"entities": rows, "next": str(slot)}
            rows.append(shown(identifier, self._load(shelf, slot)))
        return {"entities": rows}

    def _owned(self, body: Json) -> Json:
        prefix, suffix = body["datasource_prefix"], body["datasource_suffix"]
        ours = [text.startswith(prefix) and text.endswith(suffix) for text in self._sources]
        first, start = (int(part) for part in body.get("from", "0 0").split())
        rows: list[Json] = []
        for number, (blueprint, shelf) in enumerate(self._shelves.items()):
            for slot in range(start if number == first else 0, len(shelf.identifiers) if number >= first else 0):
                identifier = shelf.identifiers[slot]
                if identifier is None or not ours[shelf.sources[slot]]:
                    continue
                if len(rows) == body["limit"]:
                    return {"entities": rows, "next": f"{number} {slot}"}
                rows.append({"identifier": identifier, "blueprint": blueprint})
        return {"entities": rows}


def _merged(old: Json, row: Json) -> Json:
    """What an entity holds after an upsert that merges: nulls empty what they name."""
    found: Json = {**old, **{name: row[name] for name in ("title", "icon", "team") if name in row}}
    found["title"] = found.get("title") or row["identifier"]
    for part in ("properties", "relations"):
        values = {**(old.get(part) or {}), **(row.get(part) or {})}
        found[part] = {name: value for name, value in values.items() if value is not None}
    return found


def _view(schema: Json, include: list[str]) -> Callable[[str, Json], Json]:
    """What the answer shows of an entity; relations without a value are shown, properties without one are not."""
    properties = [name for name in schema["schema"]["properties"] if name in include]
    relations: Json = {name: [] if of["many"] else None for name, of in schema["relations"].items() if name in include}
    metas = [name for name in ("title", "icon", "team") if f"${name}" in include]

    def view(identifier: str, content: Json) -> Json:
        held, related = content.get("properties") or {}, content.get("relations") or {}
        row: Json = {"identifier": identifier}
        row |= {name: value for name in metas if (value := content.get(name)) is not None}
        row["properties"] = {name: held[name] for name in properties if name in held}
        row["relations"] = {name: related.get(name, empty) for name, empty in relations.items()}
        return row

    return view


def write_figures(port: FastPort) -> dict[str, int]:
    """What a run is judged by: entities held, entity writes, blueprints."""
    return {"entities": port.entities, "writes": port.writes, "blueprints": len(port.store.blueprints)}
