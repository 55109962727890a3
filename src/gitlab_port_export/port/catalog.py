"""What Port holds: blueprints, the entities of each mapped one, and which entities are owned."""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future, wait
from threading import Lock
from types import MappingProxyType
from typing import Any

from gitlab_port_export.base.answer import Unreachable
from gitlab_port_export.base.jsontext import decode, packed
from gitlab_port_export.model import Entity
from gitlab_port_export.port.blueprint import Blueprint
from gitlab_port_export.port.client import Port, PortRefused, advice, documented, segment
from gitlab_port_export.port.digests import digests
from gitlab_port_export.port.ledger import Ledger, Missing
from gitlab_port_export.port.moments import is_before
from gitlab_port_export.port.pages import read_pages

SEARCH_PAGE = 1000
OWNED_PAGE = 5000
VERIFY_PAGE = 100
TYPES = ("gitlab", "gitlab-v2")
# The blueprint of Port's own teams.
TEAM = "_team"


def read_blueprints(port: Port) -> dict[str, Blueprint]:
    """Return all blueprints of the organisation by identifier."""
    answer = port.ask("GET", "/blueprints")
    with documented("the list of blueprints"):
        return {data["identifier"]: Blueprint.of(data) for data in answer["blueprints"]}


def search(
    port: Port,
    blueprint: str,
    rules: Sequence[Any],
    include: Sequence[str] | None,
    limit: int = SEARCH_PAGE,
    slim: Sequence[str] | None = None,
) -> Iterator[list[Any]]:
    """Yield pages of at most `limit` entities of one blueprint that match all rules.

    `include` names properties and relations bare and metas with `$`; None gives whole entities. `slim` is what is read
    of an entity that no answer can hold.
    """
    payload: dict[str, Any] = {"query": {"combinator": "and", "rules": list(rules)}, "limit": limit}
    if include is not None:
        payload["include"] = list(include)
    yield from read_pages(
        port,
        f"/blueprints/{segment(blueprint)}/entities/search",
        payload,
        (("exclude_calculated_properties", "true"),),
        None if slim is None else {"include": list(slim)},
    )


def read_fields(
    port: Port, blueprint: str, identifiers: Sequence[str], fields: Sequence[str]
) -> dict[str, Mapping[str, Any]]:
    """Return these fields (dotted names) of these entities, by identifier; those that Port does not hold are absent.

    Raises PortRefused and Unreachable.
    """
    include = ["$identifier", *map(_bare, fields)]
    found: dict[str, Mapping[str, Any]] = {}
    with documented(f"an entity of {blueprint}"):
        for part in _parts(identifiers):
            for page in search(port, blueprint, [_named(part)], include):
                found |= {row["identifier"]: row for row in page if isinstance(row.get("properties") or {}, dict)}
    return found


class Catalog:
    """The ledgers of the mapped blueprints, read on threads while GitLab is being read.

    A `narrow` one, and of any the blueprints that `look_up_only` names, holds the entities alone that `look_up` was
    asked for.
    `elsewhere` has the keys of the entities that other processes of the same sync produced, by blueprint.
    """

    def __init__(  # noqa: PLR0913  # what is read and how, each by its name
        self,
        port: Port,
        blueprints: Mapping[str, Blueprint],
        fields: Callable[[str], Sequence[str]],
        executor: Executor,
        *,
        whole: bool,
        absent: frozenset[str] = frozenset(),
        missing: frozenset[str] = frozenset(),
        narrow: bool = False,
        elsewhere: Mapping[str, Collection[int]] = MappingProxyType({}),
    ) -> None:
        self._port, self.blueprints, self._fields, self._executor = port, blueprints, fields, executor
        self._whole, self._absent, self._missing, self._narrow = whole, absent, missing, narrow
        self._few: frozenset[str] = frozenset()
        self._elsewhere = elsewhere
        self._looked_up: set[tuple[str, str]] = set()
        self._loading: dict[str, Future[Ledger]] = {}
        self._ours: list[Future[list[bytes]]] = []
        self._teams: dict[str, str] | None = None
        self._teams_lock = Lock()

    @property
    def is_narrow(self) -> bool:
        """Whether entities have to be looked up before they are compared."""
        return self._narrow

    def look_up_only(self, names: Iterable[str]) -> None:
        """Read of these blueprints no more than what `look_up` is asked for; comes before `start`."""
        self._few = self._few.union(names)

    def _is_narrow(self, name: str) -> bool:
        return self._narrow or name in self._few

    def start(self, names: Iterable[str]) -> None:
        """Begin to read these blueprints' entities."""
        for name in names:
            if name in self.blueprints and name not in self._loading:
                self._loading[name] = self._executor.submit(self._load, name)

    def ledger(self, name: str) -> Ledger | Missing:
        """Return the ledger of a blueprint, waiting for it where needed, or why there is none."""
        self.start([name])
        future = self._loading.get(name)
        if future is None:
            return Missing(
                f"Port has no blueprint {name}",
                "create the blueprint in Port, or correct the expression of `blueprint` in the mapping",
                told=name in self._missing,
            )
        try:
            return future.result()
        except (PortRefused, Unreachable) as failure:
            return Missing(
                f"Port's entities of blueprint {name} could not be read: {failure}",
                advice(failure, "read entities of this blueprint", "see whether the blueprint still exists in Port"),
            )

    def holds(self, blueprint: str, identifier: str) -> bool:
        """Say whether Port held an entity when its blueprint was read, or this run wrote it."""
        ledger = self.ledger(blueprint)
        return not isinstance(ledger, Missing) and ledger.knows(identifier)

    @property
    def ledgers(self) -> Mapping[str, Ledger]:
        """All ledgers that could be read."""
        found = {name: self.ledger(name) for name in list(self._loading)}
        return {name: ledger for name, ledger in found.items() if isinstance(ledger, Ledger)}

    def _compared(self, name: str) -> list[str]:
        """Return the dotted names of the fields that writing an entity of the blueprint would change."""
        blueprint = self.blueprints[name]
        fields: Sequence[str] = [
            "title", "icon", "team", *(f"properties.{key}" for key in blueprint.properties),
            *(f"relations.{key}" for key in blueprint.relations),
        ] if self._whole else self._fields(name)  # fmt: skip
        return [field for field in fields if not (field == "team" and blueprint.inherits_team)]

    def _load(self, name: str) -> Ledger:
        blueprint, fields = self.blueprints[name], self._compared(name)
        teams = self._team_names() if "team" in self._fields(name) and "team" in fields else {}
        ledger = Ledger(blueprint, fields, whole=self._whole, teams=teams, elsewhere=self._elsewhere.get(name, ()))
        for page in () if self._is_narrow(name) else self._pages(name, ()):
            with documented(f"an entity of {name}"):
                ledger.hold(page)
        return ledger

    def _pages(self, name: str, rules: Sequence[Any]) -> Iterator[list[Any]]:
        """Yield pages of what is compared of a blueprint's entities."""
        # Of a blueprint that this run created, or would create, Port holds nothing.
        if name in self._absent:
            return
        include = None
        blueprint = self.blueprints[name]
        if not self._whole:
            # Relations that the mapping does not set are kept by merging, and what they point at must stay.
            names = ["$identifier", *map(_bare, self._compared(name)), *blueprint.relations]
            include = list(dict.fromkeys(names))
        yield from search(self._port, name, rules, include, slim=["$identifier", *blueprint.relations])

    def look_up(self, keys: Iterable[tuple[str, str]]) -> None:
        """Read these entities, (blueprint, identifier) each, as far as that was not done before; others are held.

        Where Port does not give them, `ledger` tells.
        """
        wanted: dict[str, list[str]] = {}
        for name, identifier in dict.fromkeys(keys):
            narrow = self._is_narrow(name) and name in self.blueprints
            if narrow and (name, identifier) not in self._looked_up:
                self._looked_up.add((name, identifier))
                wanted.setdefault(name, []).append(identifier)
        self.start(wanted)
        asked = [
            (name, self._executor.submit(self._found, name, part))
            for name, identifiers in wanted.items()
            for part in _parts(identifiers)
        ]
        for name, reading in asked:
            try:
                rows, ledger = reading.result(), self._loading[name].result()
            except (PortRefused, Unreachable) as failure:
                self._loading[name] = Future()
                self._loading[name].set_exception(failure)
            else:
                ledger.hold(rows)

    def _found(self, name: str, identifiers: Sequence[str]) -> list[Any]:
        with documented(f"an entity of {name}"):
            pages = self._pages(name, [_named(list(identifiers))])
            return [row for page in pages for row in page if row["identifier"] in identifiers]

    def overtaken(self, name: str, identifiers: Sequence[str], instant: str) -> list[str]:
        """Return which of these entities changed in Port after `instant` (ISO) and hold other values than were read.

        Raises PortRefused and Unreachable.
        """
        recent = [str(row["identifier"]) for row in self.fresh(name, identifiers) if _is_recent(row, instant)]
        rows, ledger = self._found(name, recent) if recent else [], self._loading[name].result()
        return [row["identifier"] for row in rows if not ledger.still_holds(row)]

    def identifiers(self, name: str) -> Iterator[str]:
        """Yield the identifiers of all entities of a blueprint, as Port holds them now."""
        for page in search(self._port, name, (), ["$identifier"]):
            with documented(f"an entity of {name}"):
                yield from (_text(row["identifier"]) for row in page)

    def start_counting(self, names: Iterable[str]) -> dict[str, Future[int | None]]:
        """Begin to ask how many entities Port holds of each of these blueprints; None where it does not say."""
        return {name: self._executor.submit(self._count, name) for name in names}

    def _count(self, name: str) -> int | None:
        try:
            found = self._port.ask("GET", f"/blueprints/{segment(name)}/entities-count").get("count")
        except (PortRefused, Unreachable):
            return None
        return found if isinstance(found, int) else None

    def _team_names(self) -> Mapping[str, str]:
        """Return the identifier of each team by identifier and title; none where Port does not show its teams."""
        with self._teams_lock:
            if self._teams is None:
                self._teams = self._read_teams() if TEAM in self.blueprints else {}
            return self._teams

    def _read_teams(self) -> dict[str, str]:
        try:
            rows = [row for page in search(self._port, TEAM, (), ["$identifier", "$title"]) for row in page]
        except (PortRefused, Unreachable):
            return {}
        titles = Counter(row.get("title") for row in rows)
        named = {row["title"]: row["identifier"] for row in rows if titles[row.get("title")] == 1 and row.get("title")}
        return named | {row["identifier"]: row["identifier"] for row in rows}

    def start_owned(self, integration: str) -> None:
        """Begin to read the list of owned entities: what is created from now on is not deleted in this run."""
        if not self._ours:
            self._ours = [self._executor.submit(self._packed, kind, integration) for kind in TYPES]

    def wait_for_owned(self) -> None:
        """Wait until the list of owned entities was read, or could not be: `owned` raises then."""
        wait(self._ours)

    def owned(self, integration: str, *, anew: bool = False) -> Iterator[tuple[str, str]]:
        """Yield (blueprint, identifier) of every owned entity: an exporter of this integration wrote it.

        The datasource is `port-ocean/<gitlab or gitlab-v2>/<any version>/<identifier>/exporter`; Port matches both
        ends. `anew` reads the list once more.
        """
        if anew:
            self._ours = []
        self.start_owned(integration)
        for reading in self._ours:
            for page in reading.result():
                for blueprint, identifiers in decode(page).items():
                    yield from ((blueprint, identifier) for identifier in identifiers)

    def _packed(self, kind: str, integration: str) -> list[bytes]:
        """Return the pages as JSON, identifiers by blueprint: a million of them take a few MiB."""
        pages: list[bytes] = []
        for page in self._owned(kind, integration):
            found: dict[str, list[str]] = {}
            with documented("the list of owned entities"):
                for row in page:
                    found.setdefault(_text(row["blueprint"]), []).append(_text(row["identifier"]))
            pages.append(packed(found))
        return pages

    def _owned(self, kind: str, integration: str) -> Iterator[list[Any]]:
        payload = {
            "datasource_prefix": f"port-ocean/{kind}/",
            "datasource_suffix": f"/{integration}/exporter",
            "limit": OWNED_PAGE,
        }
        return read_pages(self._port, "/blueprints/entities/datasource-entities", payload)

    def fresh(self, blueprint: str, identifiers: Sequence[str]) -> Iterator[dict[str, Any]]:
        """Yield these entities as Port holds them now, with relations and times."""
        known = self.blueprints.get(blueprint)
        include = ["$identifier", "$updatedAt", *(known.relations if known else ())]
        for part in _parts(identifiers):
            for page in search(self._port, blueprint, [_named(part)], include):
                if not all(isinstance(row.get("relations") or {}, dict) for row in page):
                    raise Unreachable(f"an entity of {blueprint} came with relations that are no object")
                yield from (row for row in page if row["identifier"] in part)

    def bare(self, blueprint: str, identifiers: Sequence[str]) -> set[str]:
        """Return which of these entities are placeholders: Port made them to relate to, and they hold nothing."""
        known = self.blueprints[blueprint]
        defaults = {name: schema.get("default") for name, schema in known.properties.items()}
        return {
            row["identifier"]
            for part in _parts(identifiers)
            for page in search(self._port, blueprint, [_named(part)], None)
            for row in page
            if _is_bare(row, defaults)
        }

    def referrers(self, blueprint: str, identifiers: Sequence[str]) -> Iterator[tuple[Entity, str]]:
        """Yield (entity, identifier) for each entity of any blueprint that relates to one of these."""
        for name, source in self.blueprints.items():
            relations = [key for key, relation in source.relations.items() if relation.target == blueprint]
            for part in _parts(identifiers) if relations else ():
                rules = [
                    {"operator": "relatedTo", "blueprint": blueprint, "value": part, "direction": direction}
                    for direction in ("upstream", "downstream")
                ]
                both = {"combinator": "or", "rules": rules}
                for page in search(self._port, name, [both], ["$identifier", *relations]):
                    for row in page:
                        entity = Entity.of(name, row["identifier"], {"relations": row.get("relations") or {}}, -1)
                        for _, value in entity.relations:
                            found = value if isinstance(value, list) else [value]
                            yield from ((entity, one) for one in found if one in part)

    def states(self, blueprint: str, identifiers: Sequence[str]) -> dict[str, dict[str, str]]:
        """Return {identifier: {field: digest of its value}} of those that Port holds now, over all compared fields.

        `updatedAt` is among them as it is. Unlike a ledger's codes, digests mean the same in every process. Raises
        PortRefused and Unreachable.
        """
        if blueprint not in self.blueprints or blueprint in self._absent:
            return {}
        fields = self._compared(blueprint)
        include = None if self._whole else list(dict.fromkeys(["$identifier", "$updatedAt", *map(_bare, fields)]))
        rule = _named(list(identifiers))
        return {
            row["identifier"]: {**digests(row, fields), "updatedAt": str(row.get("updatedAt"))}
            for page in search(self._port, blueprint, [rule], include)
            for row in page
        }

    def is_empty(self, name: str) -> bool:
        """Return whether Port held no entity of the blueprint when this run began, as far as that was read."""
        if name in self._absent:
            return True
        if self._is_narrow(name):
            return False
        ledger = self.ledger(name) if name in self._loading else None
        return isinstance(ledger, Ledger) and not ledger.held


def _parts(identifiers: Sequence[str]) -> Iterator[list[str]]:
    return (list(identifiers[start : start + VERIFY_PAGE]) for start in range(0, len(identifiers), VERIFY_PAGE))


def _named(identifiers: list[str]) -> dict[str, Any]:
    return {"property": "$identifier", "operator": "in", "value": identifiers}


def _is_recent(row: Mapping[str, Any], instant: str) -> bool:
    return not is_before(str(row.get("updatedAt") or ""), instant)


def _is_bare(row: Mapping[str, Any], defaults: Mapping[str, Any]) -> bool:
    own = {name: value for name, value in (row.get("properties") or {}).items() if name in defaults}
    related = (row.get("relations") or {}).values()
    return (
        row.get("title") in (None, "", row["identifier"])
        and not row.get("icon")
        and not row.get("team")
        and not any(related)
        and all(value is None or value == defaults[name] for name, value in own.items())
    )


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"expected a text, got {type(value).__name__}")
    return value


def _bare(field: str) -> str:
    head, _, key = field.partition(".")
    return key or f"${head}"
