"""The Port bench: a signed-in client of a stand-in Port, the line from entities to what was written, and a contract."""

import os
import re
from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import yaml
from hypothesis import Phase, settings

from gitlab_port_export.base.clock import Clock
from gitlab_port_export.base.http import Http
from gitlab_port_export.demo.port import PortServer, port_server
from gitlab_port_export.demo.port_faults import Recorded
from gitlab_port_export.demo.port_store import PortStore
from gitlab_port_export.mapping.model import Mapping
from gitlab_port_export.model import Create, Entity, Event, Problem, Settle, Update, Written
from gitlab_port_export.port.catalog import Catalog, read_blueprints
from gitlab_port_export.port.client import Port
from gitlab_port_export.port.deleter import Deleter
from gitlab_port_export.port.searches import Searches
from gitlab_port_export.port.upsert import Rules
from gitlab_port_export.port.writer import Writer
from gitlab_port_export.sync.coverage import Searched, coverage_of
from gitlab_port_export.sync.delete import Judge, deletions
from gitlab_port_export.sync.diff import Differ
from gitlab_port_export.sync.policy import Decisions, Policy, Unsettled
from gitlab_port_export.sync.write import fit_to_send, noted
from testbed.harness import NoWait, mapping_of, resource

MINE = "mine"
AGENT = f"port-ocean/gitlab-v2/1.0.0/{MINE}/exporter"
# What every entity of `things()` may set.
FIELDS = ("title", "icon", "team", "properties.text", "properties.size", "relations.parent", "relations.friends")
PORT_API = Path(__file__).parents[1] / "data" / "port_api.yml"


def examples(few: int, many: int, *, slow: bool = False) -> settings:
    """Settings of a property test: the same few examples each time, or with HYPOTHESIS_PROFILE=thorough many new.

    A slow test shows the first failure as it is: looking for a simpler one would take longer than CI may.
    """
    thorough = os.environ.get("HYPOTHESIS_PROFILE") == "thorough"
    phases = [phase for phase in Phase if phase is not Phase.shrink or thorough or not slow]
    return settings(max_examples=many if thorough else few, derandomize=not thorough, deadline=None, phases=phases)


def things(**more: Any) -> dict[str, Any]:
    """A blueprint with one property or relation of each sort that matters here."""
    properties = {"text": {"type": "string"}, "size": {"type": "number", "default": 7}, **more}
    relations = {
        "parent": {"target": "thing", "many": False, "required": False},
        "friends": {"target": "thing", "many": True, "required": False},
    }
    schema = {"properties": properties, "required": []}
    return {"identifier": "thing", "title": "Thing", "schema": schema, "relations": relations}


def thing(
    identifier: Any,
    *,
    blueprint: str = "thing",
    at: int = 0,
    order: tuple[int, int] = (0, 0),
    relations: Any = None,
    meta: Any = None,
    **properties: Any,
) -> Entity:
    """An entity: `meta` are title, icon and team, `at` is the resource it came from."""
    body = {**(meta or {}), **({"properties": properties} if properties else {})}
    return Entity.of(blueprint, identifier, body | ({"relations": relations} if relations else {}), at, order)


def sure(judge: Judge) -> Generator[Event, None, Decisions]:
    """Be content with one look."""
    yield from ()
    return judge()


@contextmanager
def signed_in(server: PortServer, agent: str = AGENT, clock: Clock | None = None) -> Iterator[Port]:
    """A client of the stand-in that waits for nothing."""
    http = Http(server.url, user_agent=agent, clock=clock or NoWait(), timeout=10)
    try:
        port = Port(http, lambda: ("demo-client", "demo-secret"))
        port.sign_in()
        yield port
    finally:
        http.close()


@dataclass
class Bed:
    """One run after another against the same Port, from entities on: compare, write, delete."""

    server: PortServer
    port: Port
    executor: ThreadPoolExecutor
    rules: Rules = field(default_factory=Rules)
    fields: Sequence[str] = FIELDS
    mapping: Mapping = field(default_factory=lambda: a_mapping("thing"))
    released: dict[str, int | None] = field(default_factory=dict)
    fixed: frozenset[str] = frozenset()

    @property
    def store(self) -> PortStore:
        """What Port holds."""
        return self.server.store

    def sync(
        self,
        *entities: Event | Entity,
        delete: bool = False,
        writes: bool = True,
        instant: str | None = None,
        before_deleting: Any = lambda: None,
    ) -> list[Event]:
        """Carry out one run and return its events in order."""
        names = {one.blueprint for one in entities if isinstance(one, Entity)}
        started = instant or self.store.now()
        catalog = Catalog(
            self.port, read_blueprints(self.port), lambda name: self.fields, self.executor, whole=not self.rules.merge
        )
        catalog.start(sorted(names))
        if delete:
            catalog.start_owned(MINE)
        searches = Searches(self.port, catalog.blueprints, self.executor, catalog.is_empty)
        differ = Differ(catalog.ledger, searches, lambda _: self.fixed)
        events: list[Event] = []
        writer = Writer(self.port, self.rules, self.executor, 8)
        for event in fit_to_send(differ.run(entities)):
            if isinstance(event, Settle):
                events += noted(writer.settle(catalog.blueprints), searches)
            else:
                done = writer.add(event) if writes and isinstance(event, Create | Update) else [event]
                events += noted(done, searches)
        events += noted(writer.finish(catalog.blueprints), searches)
        problems = [event for event in events if isinstance(event, Problem)]
        read = range(len(self.mapping.resources))
        policy = Policy(
            coverage_of(self.mapping, read, [*problems, *map(Searched, differ.searched & set(read))]),
            self.mapping.entity_deletion_threshold,
            self.released,
            Unsettled(unanswered=frozenset(differ.unresolved)),
        )
        deleter = Deleter(self.port, cascade=self.mapping.cascades) if writes else None
        wait(catalog._ours)  # the list that a run begins with is there long before it ends
        before_deleting()
        if delete:
            events += deletions(catalog, lambda: policy, sure, MINE, differ.targets, started, deleter)
        return events

    def seed(self, blueprint: str, *identifiers: str, by: str = AGENT, **row: Any) -> None:
        """Entities that are there before the run, by default ours."""
        self.store.seed(blueprint, [{"identifier": identifier, **row} for identifier in identifiers], by)


@contextmanager
def a_bed(store: PortStore, **options: Any) -> Iterator[Bed]:
    """A bed on a stand-in of its own."""
    with port_server(store) as server, signed_in(server) as port, ThreadPoolExecutor(4) as executor:
        yield Bed(server, port, executor, **options)


def a_mapping(*blueprints: str, **options: Any) -> Mapping:
    """A mapping with one resource for each blueprint (or expression in brackets), checked as far as it matters here."""
    resources = [
        resource("project", name) if not name.startswith("(") else with_expression(name) for name in blueprints
    ]
    found = Mapping.model_validate(mapping_of(*resources, **options))
    numbered = tuple(replace_index(one, index) for index, one in enumerate(found.resources))
    return found.model_copy(update={"resources": numbered})


def with_expression(expression: str) -> Any:
    """A resource whose blueprint is decided by the row."""
    made = resource("project")
    made["port"]["entity"]["mappings"]["blueprint"] = expression
    return made


def replace_index(one: Any, index: int) -> Any:
    """The resource with its place in the mapping."""
    return one.model_copy(update={"index": index})


def of(kind: type | Any, events: Iterable[Event]) -> list[Any]:
    """The events of one class (or union)."""
    return [event for event in events if isinstance(event, kind)]


def written(events: Iterable[Event]) -> list[tuple[str, str]]:
    """What Port confirmed, as (kind of change, identifier)."""
    return [
        (
            type(one.change).__name__.lower(),
            str(one.change.entity.identifier if isinstance(one.change, Create | Update) else one.change.identifier),
        )
        for one in of(Written, events)
    ]


# --- the contract: what we send fits what Port publishes

# Routes that Port's own clients use and its reference does not show.
UNPUBLISHED = (
    "POST /v1/integration",
    "POST /v1/blueprints/entities/datasource-entities",
    "PATCH /v1/integration/{}/resync-state",
    "POST /v1/integration/{}/kinds/{}/examples",
)


@cache
def request_schemas() -> dict[tuple[str, str], tuple[re.Pattern[str], Any]]:
    """(method, path template) → (pattern of its paths, schema of its body); the schema is None where it has none."""
    found: dict[tuple[str, str], tuple[re.Pattern[str], Any]] = {}
    for route, entry in port_api()["routes"].items():
        method, path = route.split()
        pattern = re.compile(re.sub(r"\{[^}]*\}", "[^/]+", path) + "$")
        found[method, path] = pattern, with_shapes(entry["body"]) if "body" in entry else None
    return found


@cache
def port_api() -> Any:
    """What Port takes and gives, as far as the exporter uses it."""
    return yaml.safe_load(PORT_API.read_text("utf-8"))


def with_shapes(schema: Any) -> Any:
    """A schema with the shapes that it refers to."""
    return {**schema, "shapes": port_api()["shapes"]}


def breaches(requests: Iterable[Recorded]) -> list[str]:
    """What is wrong with the requests by Port's documented shapes."""
    return [fault for request in requests for fault in _breaches(request)]


def _breaches(request: Recorded) -> Iterator[str]:
    shown = f"{request.method} {request.path}"
    schemas = [
        body
        for (method, _), (pattern, body) in request_schemas().items()
        if method == request.method and pattern.match(request.path)
    ]
    if not schemas:
        if not any(re.fullmatch(re.escape(known).replace(r"\{\}", "[^/]+"), shown) for known in UNPUBLISHED):
            yield f"{shown}: Port publishes no such route"
    elif schemas[0] is not None:
        for error in jsonschema.Draft202012Validator(schemas[0]).iter_errors(request.body):
            yield f"{shown}: {error.json_path}: {error.message[:200]}"
    elif request.body is not None:
        yield f"{shown}: Port takes no body there"
