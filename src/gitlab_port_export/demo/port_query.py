"""The search queries of the stand-in Port: a query becomes a predicate over stored entities."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Set
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from gitlab_port_export.demo.port_rules import JsonObject, malformed


@dataclass(slots=True, eq=False)
class Stored:
    """An entity as the store holds it, mutable on purpose; properties and relations hold no nulls.

    `slot` is its place in the stable order that cursors count in, `referrers` who points at it.
    """

    blueprint: str
    identifier: str
    title: str
    created_at: str
    created_by: str
    updated_at: str
    updated_by: str
    datasource: str
    slot: int
    icon: str | None = None
    team: list[str] = field(default_factory=list)
    properties: JsonObject = field(default_factory=dict)
    relations: dict[str, str | list[str]] = field(default_factory=dict)
    referrers: set[Stored] | None = None


Predicate = Callable[[Stored], bool]
Related = Callable[[JsonObject], Set[Stored]]


def compile_query(query: object, related: Related, where: str = '"query"') -> Predicate:
    """Return the predicate of a {combinator, rules} query; RefusedError (422) names what is wrong with it.

    `related` gives the entities that a `relatedTo` rule reaches, which only the store can know.
    """
    if not isinstance(query, dict):
        raise malformed(f"{where} must be object")
    for name in ("combinator", "rules"):
        if name not in query:
            raise malformed(f"{where} must have required property '{name}'")
    if not isinstance(query["rules"], list):
        raise malformed(f"{where}/rules must be array")
    rules = [_compile_rule(rule, related, f"{where}/rules/{n}") for n, rule in enumerate(query["rules"])]
    if query["combinator"] not in ("and", "or"):
        raise malformed(f"{where}/combinator must be equal to one of the allowed values")
    if query["combinator"] == "and" or not rules:
        return lambda entity: all(rule(entity) for rule in rules)
    return lambda entity: any(rule(entity) for rule in rules)


def required_values(query: object, meta: str) -> set[str] | None:
    """Return the values that `meta` (say `$identifier`) must have for the query to hold; None when it names none.

    Only looks at the top level of an `and`: enough to answer the usual look-ups without reading everything.
    """
    if not isinstance(query, dict) or query.get("combinator") != "and":
        return None
    named = [values for rule in query["rules"] if (values := _values_of(rule, meta)) is not None]
    return set.intersection(*named) if named else None


def canonical_time(text: object) -> str | None:
    """Return an ISO date-time in the form of updatedAt (UTC, ms, Z), which sorts as text; None if it is none."""
    if not isinstance(text, str):
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return iso_time((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())


def iso_time(seconds: float) -> str:
    """Return epoch seconds as Port writes them: UTC, milliseconds, Z."""
    moment = datetime.fromtimestamp(round(seconds * 1000) / 1000, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _values_of(rule: object, meta: str) -> set[str] | None:
    if not isinstance(rule, dict) or rule.get("property") != meta or rule.get("operator") not in ("=", "in"):
        return None
    value = rule.get("value")
    return {v for v in (value if isinstance(value, list) else [value]) if isinstance(v, str)}


def _compile_rule(rule: object, related: Related, where: str) -> Predicate:
    if not isinstance(rule, dict):
        raise malformed(f"{where} must be object")
    if "rules" in rule or "combinator" in rule:
        return compile_query(rule, related, where)
    operator = rule.get("operator")
    if operator == "relatedTo":
        reached = related(rule)
        return lambda entity: entity in reached
    if operator not in OPERATORS:
        raise malformed(f"{where}/operator must be equal to one of the allowed values")
    if "value" not in rule and operator not in ("isEmpty", "isNotEmpty"):
        raise malformed(f"{where} must have required property 'value'")
    read, holds, value = _reader(rule, where), OPERATORS[operator], rule.get("value")
    if operator in ("between", "notBetween") and not (isinstance(value, dict) and {"from", "to"} <= value.keys()):
        raise malformed(f"{where}/value must have required properties 'from' and 'to'")
    if operator in ("in", "notIn") and not isinstance(value, list):
        raise malformed(f"{where}/value must be array")
    return lambda entity: holds(read(entity), value)


def _reader(rule: JsonObject, where: str) -> Callable[[Stored], Any]:
    relation, name = rule.get("relation"), rule.get("property")
    if isinstance(relation, str):
        return lambda entity: entity.relations.get(relation)
    if not isinstance(name, str):
        raise malformed(f"{where} must have required property 'property'")
    if name.startswith("$"):
        if name not in METAS:
            raise malformed(f'{where}/property "{name}" is not a meta property')
        return METAS[name]
    return lambda entity: entity.properties.get(name)


def _equal(actual: Any, value: Any) -> bool:
    if isinstance(actual, bool) or isinstance(value, bool):
        return actual is value
    return bool(actual == value)


def _contains(actual: Any, value: Any) -> bool:
    if isinstance(value, list):
        return bool(value) and all(_contains(actual, item) for item in value)
    if isinstance(actual, str):
        return isinstance(value, str) and value in actual
    return isinstance(actual, list) and value in actual


def _contains_any(actual: Any, value: Any) -> bool:
    values = value if isinstance(value, list) else [value]
    return any(item in values for item in (actual if isinstance(actual, list) else [actual]))


def _order(actual: Any, value: Any) -> int | None:
    """Return the sign of actual compared with value (numbers, or times as text); None where they do not compare."""
    if isinstance(actual, str) and isinstance(value, str):
        left, right = canonical_time(actual), canonical_time(value)
        if left is None or right is None:
            return None
        return (left > right) - (left < right)
    if isinstance(actual, int | float) and isinstance(value, int | float):
        return (actual > value) - (actual < value)
    return None


def _between(actual: Any, value: JsonObject) -> bool:
    return _order(actual, value["from"]) in (0, 1) and _order(actual, value["to"]) in (-1, 0)


def _begins(actual: Any, value: Any) -> bool:
    return isinstance(actual, str) and isinstance(value, str) and actual.startswith(value)


def _ends(actual: Any, value: Any) -> bool:
    return isinstance(actual, str) and isinstance(value, str) and actual.endswith(value)


def _is_empty(actual: Any, _: object) -> bool:
    return actual is None or actual in ("", [], {})


Operator = Callable[[Any, Any], bool]


def _not(holds: Operator) -> Operator:
    return lambda actual, value: not holds(actual, value)


def _operators() -> Iterator[tuple[str, Operator]]:
    for name, opposite, holds in (
        ("=", "!=", _equal),
        ("in", "notIn", _contains_any),
        ("contains", "doesNotContains", _contains),
        ("beginsWith", "doesNotBeginsWith", _begins),
        ("endsWith", "doesNotEndsWith", _ends),
        ("between", "notBetween", _between),
        ("isEmpty", "isNotEmpty", _is_empty),
    ):
        yield name, holds
        yield opposite, _not(holds)
    yield "containsAny", _contains_any
    yield ">", lambda actual, value: _order(actual, value) == 1
    yield ">=", lambda actual, value: _order(actual, value) in (0, 1)
    yield "<", lambda actual, value: _order(actual, value) == -1
    yield "<=", lambda actual, value: _order(actual, value) in (-1, 0)


OPERATORS: dict[str, Operator] = dict(_operators())
METAS: dict[str, Callable[[Stored], Any]] = {
    "$identifier": lambda entity: entity.identifier,
    "$title": lambda entity: entity.title,
    "$icon": lambda entity: entity.icon,
    "$team": lambda entity: entity.team,
    "$blueprint": lambda entity: entity.blueprint,
    "$datasource": lambda entity: entity.datasource,
    "$createdAt": lambda entity: entity.created_at,
    "$createdBy": lambda entity: entity.created_by,
    "$updatedAt": lambda entity: entity.updated_at,
    "$updatedBy": lambda entity: entity.updated_by,
}

View = Callable[[Stored], JsonObject]
_VIEW_METAS = (
    "identifier",
    "title",
    "icon",
    "blueprint",
    "team",
    "createdAt",
    "createdBy",
    "updatedAt",
    "updatedBy",
)


def paged_names(names: list[str]) -> list[str]:
    """Return the names of the paged search (`$title`, bare keys) as the paths that the other routes use."""
    return [
        path
        for name in names
        for path in ([name[1:]] if name.startswith("$") else [f"properties.{name}", f"relations.{name}"])
    ]


def compile_view(
    blueprint: JsonObject, include: list[str], exclude: list[str], *, calculated: bool, nulls: bool
) -> View:
    """Return what an answer shows of an entity of `blueprint`.

    `include` and `exclude` hold paths (`title`, `properties`, `relations.x`); an empty `include` means all.
    `calculated` adds values that Port computes (here always null), `nulls` shows properties without a value.
    """

    def shown(path: str) -> bool:
        names = {path, path.partition(".")[0]}
        return (not include or not names.isdisjoint(include)) and names.isdisjoint(exclude)

    metas = [(name, METAS[f"${name}"]) for name in _VIEW_METAS if shown(name)]
    properties = [name for name in _property_names(blueprint, calculated) if shown(f"properties.{name}")]
    relations = [
        (name, bool(relation.get("many")))
        for name, relation in blueprint["relations"].items()
        if shown(f"relations.{name}")
    ]
    scorecards = calculated and shown("scorecards")

    def view(entity: Stored) -> JsonObject:
        row = {name: value for name, read in metas if (value := read(entity)) is not None}
        held = entity.properties
        row["properties"] = {name: held.get(name) for name in properties if nulls or name in held}
        row["relations"] = {name: entity.relations.get(name, [] if many else None) for name, many in relations}
        if scorecards:
            row["scorecards"] = {}
        return row

    return view


def _property_names(blueprint: JsonObject, calculated: bool) -> Iterator[str]:
    yield from blueprint["schema"]["properties"]
    if calculated:
        for section in ("mirrorProperties", "calculationProperties", "aggregationProperties"):
            yield from blueprint[section]
