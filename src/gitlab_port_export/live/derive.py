"""Derives the mapping of a Port webhook from the sync's mapping: the fields that payloads give exactly, no others."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from gitlab_port_export.base.jsontext import canonical
from gitlab_port_export.jq.program import is_legacy, rewrite_quotes
from gitlab_port_export.live import narrow
from gitlab_port_export.live.narrow import NotTold, literal
from gitlab_port_export.live.payloads import ISO, Items, Leaf, Node, Part, Source, When, sources
from gitlab_port_export.live.reach import ITEM, Depth, Path, looked_at
from gitlab_port_export.mapping.blueprints import constant_blueprint
from gitlab_port_export.mapping.model import EntityMapping, Expression, Query, Resource
from gitlab_port_export.mapping.model import Mapping as PortMapping
from gitlab_port_export.model import Dialect

Item = dict[str, Any]
# Jobs come in large numbers, and pushes with all their commits, so these are asked for.
KINDS = ("merge-request", "issue", "pipeline")
ON_REQUEST = ("job", "project", "project-with-members")
# Port's identifiers and titles are text; the sync sends numbers as such, too.
TEXT = 'if type == "number" then tostring else . end'
TEXTS = f'if type == "array" then map({TEXT}) else {TEXT} end'


@dataclass(frozen=True)
class FieldPlan:
    """How one field is kept: live, live under a condition, or by the sync alone, and why."""

    kind: str
    resource: int
    part: int
    field: str
    state: Literal["live", "conditional", "sync"]
    why: str = ""


@dataclass(frozen=True)
class Derived:
    """The items of a webhook's mapping, how each field is kept, and the flags of the hooks that feed them."""

    items: tuple[Item, ...]
    fields: tuple[FieldPlan, ...]
    flags: frozenset[str]

    @property
    def digest(self) -> str:
        """A short name of the items, by which a change of the mapping is noticed."""
        return hashlib.sha256(canonical(list(self.items))).hexdigest()[:16]


@dataclass(frozen=True)
class _Live:
    """A field that payloads give: its jq, and the conditions under which they do."""

    name: str
    jq: str
    when: frozenset[When]


class _NotLive(Exception):
    """A field or resource is kept by the sync alone; the text says why."""


def derive(
    mapping: PortMapping,
    dialect: Dialect,
    patterns: Iterable[str] = ("**",),
    *,
    kinds: Sequence[str] = KINDS,
    prefixes: Sequence[str] | None = None,
    flags: frozenset[str] | None = None,
) -> Derived:
    """Return what of a mapping can be kept live; `prefixes` as in `narrow.scope`, `flags` are events that arrive."""
    known = sources(dialect)
    items: list[Item] = []
    fields: list[FieldPlan] = []
    used: set[str] = set()
    for resource in mapping.resources:
        source = known.get(resource.kind)
        try:
            if source is None:
                raise _NotLive("the kind is not live: its payloads hold too little of a row")
            if resource.kind not in kinds:
                raise _NotLive(f"the kind is live on request (--kind {resource.kind})")
            if flags is not None and source.flag not in flags:
                raise _NotLive(f"the hooks do not send {source.flag}")
            guards = [source.filter, *narrow.scope(mapping, dialect, patterns, prefixes)]
            guards += [*narrow.conditions(resource, dialect), *_query(resource, source)]
        except (_NotLive, NotTold) as why:
            fields += _left(resource, str(why))
            continue
        for part, entity in enumerate(resource.mappings):
            found, plans = _entity(mapping, resource, part, entity, source, guards)
            items += found
            fields += plans
            used |= {source.flag} if found else set()
    return Derived(tuple(items), tuple(fields), frozenset(used))


def basis(mapping: PortMapping, dialect: Dialect, patterns: Iterable[str]) -> str:
    """Return a short name of all that could be live of a mapping, whatever kinds and hooks are asked for."""
    return derive(mapping, dialect, patterns, kinds=(*KINDS, *ON_REQUEST)).digest


def _left(resource: Resource, why: str) -> list[FieldPlan]:
    return [
        FieldPlan(resource.kind, resource.index, part, name, "sync", why)
        for part, entity in enumerate(resource.mappings)
        for name, _ in _fields(entity)
    ]


def _fields(entity: EntityMapping) -> Iterator[tuple[str, Expression | Query]]:
    return ((name, value) for name, value in entity.fields() if name != "blueprint")


def _query(resource: Resource, source: Source) -> Iterator[str]:
    """Yield the selector's own query as a condition. Raises _NotLive."""
    if resource.port.items_to_parse is not None:
        raise _NotLive("itemsToParse makes several entities of a row")
    query = resource.selector.query
    if query.strip() == "true":
        return
    live = _live(source, "selector.query", query)
    if unsure := [when for when in live.when if not when.by_version]:
        raise _NotLive(f"the selector's query can be told only where {unsure[0].words}")
    yield from sorted(when.jq for when in live.when)
    yield f"((try ({live.jq}) catch false) == true)"


def _entity(
    mapping: PortMapping, resource: Resource, part: int, entity: EntityMapping, source: Source, guards: list[str]
) -> tuple[list[Item], list[FieldPlan]]:
    """Return the items of one entity mapping, and how its fields are kept."""
    lives: list[_Live] = []
    plans: list[FieldPlan] = []

    def plan(name: str, state: Literal["live", "conditional", "sync"], why: str = "") -> None:
        plans.append(FieldPlan(resource.kind, resource.index, part, name, state, why))

    try:
        blueprint, identifier = _identity(source, entity)
    except _NotLive as why:
        return [], [one for one in _left(resource, str(why)) if one.part == part]
    plan("identifier", "live")
    for name, value in _fields(entity):
        if name == "identifier":
            continue
        try:
            _alone(mapping, resource, part, blueprint, name, value)
            live = _live(source, name, value, identifier)
        except _NotLive as why:
            plan(name, "sync", str(why))
            continue
        lives.append(live)
        unsure = sorted(when.words for when in live.when if not when.by_version)
        since = sorted(when.words for when in live.when if when.by_version)
        plan(name, "conditional" if unsure else "live", f"where {' and '.join(unsure + since)}" if live.when else "")
    guards = [*guards, f'({identifier.jq} | . != null and . != false and . != "")']
    return list(_items(source, blueprint, identifier, lives, guards)), plans


def _identity(source: Source, entity: EntityMapping) -> tuple[str, _Live]:
    blueprint = constant_blueprint(entity.blueprint)
    if blueprint is None:
        raise _NotLive("the row decides on the blueprint, and webhooks name it as it is")
    identifier = _live(source, "identifier", entity.identifier)
    if identifier.when:
        raise _NotLive(f"the identifier is known only where {min(when.words for when in identifier.when)}")
    return blueprint, identifier


def _alone(
    mapping: PortMapping, resource: Resource, part: int, blueprint: str, name: str, value: Expression | Query
) -> None:
    """Raise _NotLive where something else may set the field: in a sync the last one wins, and events have no order."""
    for other in mapping.resources:
        for number, entity in enumerate(other.mappings):
            if (other.index, number) == (resource.index, part):
                continue
            theirs = constant_blueprint(entity.blueprint)
            if theirs not in (None, blueprint):
                continue
            fields = dict(entity.fields())
            if name in fields and (other.kind != resource.kind or fields[name] != value):
                raise _NotLive(f"resource {other.index} ({other.kind}) may set it as well")


def _live(source: Source, name: str, value: Expression | Query, identifier: _Live | None = None) -> _Live:
    """Return a field as jq over Port's context. Raises _NotLive."""
    if not isinstance(value, str):
        raise _NotLive("it is a search")
    if is_legacy(value):
        raise _NotLive("it is read from the repository")
    expression = rewrite_quotes(value)
    if "'" in expression:
        raise _NotLive("the expression holds a single quote, which Port may take for a double one")
    reached = looked_at(expression)
    if reached is None:
        raise _NotLive("what the expression looks at cannot be told")
    when: set[When] = set()
    for path, depth in sorted(reached):
        when |= _covered(source, path, depth)
    row = _object(source.row, {path for path, _ in reached})
    # What ends a comment at the expression's end, and with it our own bracket.
    result = f"({expression}\n)"
    if name.startswith("relations."):
        result = f"{result} | {TEXTS}"
    elif name in ("identifier", "title"):
        result = f"{result} | {TEXT}"
    jq = _in_context(source, f"{row} | {result}")
    if name == "title" and identifier is not None:
        # As in a sync, an entity without a title has its identifier for one.
        jq = f"({jq}) // ({identifier.jq})"
    return _Live(name, jq, frozenset(when))


def _in_context(source: Source, jq: str) -> str:
    """Return jq that gives the names of `payloads` their meaning first."""
    item = ".item as $i | " if source.each else ""
    helper = f"{ISO} " if "| iso" in jq else ""
    return f"{helper}.body as $b | $b.object_attributes as $o | {item}{jq}"


def _covered(source: Source, path: Path, depth: Depth) -> set[When]:
    """Return the conditions under which the payload tells what is looked at. Raises _NotLive."""
    node: Node = source.row
    when: set[When] = set()
    for place, name in enumerate(path):
        if isinstance(node, Leaf):
            return when
        inner = node.parts if isinstance(node, Part) else {ITEM: Part(node.parts)}
        if name not in inner:
            why = source.absent.get(path[0], "payloads do not hold it")
            raise _NotLive(f"{_shown(path[: place + 1])}: {why}")
        node = inner[name]
        when |= {node.when} if node.when else set()
    enough = isinstance(node, Leaf) or depth == "there" or (depth == "size" and isinstance(node, Items))
    if not enough or not path:
        raise _NotLive(f"{_shown(path)}: payloads hold only parts of it")
    return when


def _shown(path: Path) -> str:
    return "".join(name if name == ITEM else f".{name}" for name in path) or "."


def _object(node: Part, paths: Iterable[Path]) -> str:
    """Return jq that builds as much of a row as these paths lead to."""
    below: dict[str, set[Path]] = {}
    for path in paths:
        below.setdefault(path[0], set()).add(path[1:])
    pairs = (f"{literal(name)}: {_value(node.parts[name], rest)}" for name, rest in sorted(below.items()))
    return "{" + ", ".join(pairs) + "}"


def _value(node: Node, paths: set[Path]) -> str:
    match node:
        case Leaf():
            return node.jq
        case Part():
            return _object(node, (path for path in paths if path))
        case Items():
            names = sorted({path[1] for path in paths if len(path) > 1})
            parts = ", ".join(f"{literal(name)}: {node.parts[name].jq}" for name in names)
            return f"[{node.jq}[] | {{{parts}}}]"


def _items(
    source: Source, blueprint: str, identifier: _Live, lives: Sequence[_Live], guards: list[str]
) -> Iterator[Item]:
    """Yield one item for the fields of each condition, those with relations apart: a missing target refuses it all."""
    groups: dict[tuple[bool, frozenset[When]], list[_Live]] = {(False, frozenset()): []}
    for live in lives:
        groups.setdefault((live.name.startswith("relations."), live.when), []).append(live)
    for (_, when), members in groups.items():
        conditions = [*guards, *sorted(one.jq for one in when)]
        item: Item = {"blueprint": blueprint, "operation": "create", "filter": _filter(source, conditions)}
        if source.each:
            item["itemsToParse"] = source.each
        item["entity"] = _entity_of(identifier, members)
        yield item


def _filter(source: Source, conditions: Iterable[str]) -> str:
    return _in_context(source, " and ".join(f"({condition})" for condition in dict.fromkeys(conditions)))


def _entity_of(identifier: _Live, members: Iterable[_Live]) -> Mapping[str, Any]:
    entity: dict[str, Any] = {"identifier": identifier.jq}
    for live in members:
        section, _, name = live.name.partition(".")
        if name:
            entity.setdefault(section, {})[name] = live.jq
        else:
            entity[section] = live.jq
    return entity
