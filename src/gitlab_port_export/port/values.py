"""What a blueprint says of values: why Port will refuse an entity, told before it is sent; pure."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import Any, NamedTuple

from gitlab_port_export.model import Entity, Shape, shown
from gitlab_port_export.port.ledger import Blueprint, Relation

Types = frozenset[type]
Look = Callable[[Any], str | None]
Schema = Mapping[str, Any]

NONE = type(None)
ANY: Types = frozenset({str, int, float, bool, list, dict, NONE})
PYTHON_TYPES: dict[str, Types] = {
    "string": frozenset({str}),
    "number": frozenset({int, float}),
    "boolean": frozenset({bool}),
    "array": frozenset({list}),
    "object": frozenset({dict}),
}
JSON_TYPES = {one: name for name, types in PYTHON_TYPES.items() for one in types}
# Longer texts are left to Port, as patterns are: what GitLab's users write could keep a search busy.
MAX_FORMATTED = 2000
FIT = "correct the field's expression in the mapping, or the blueprint in Port"
UNMAPPED = "map it, or make it optional in Port"


class Refusal(NamedTuple):
    """Why Port will refuse an entity: the field, why in words that name no value, what to do, and the value."""

    field: str
    why: str
    hint: str
    sample: str = ""


# --- words, for a mapping and for a row alike


def no_property(name: str, blueprint: Blueprint) -> str:
    """Return the words for a property that the blueprint does not have."""
    return f"blueprint {blueprint.identifier} has no property {shown(name)}"


def no_relation(name: str, blueprint: Blueprint) -> str:
    """Return the words for a relation that the blueprint does not have."""
    return f"blueprint {blueprint.identifier} has no relation {shown(name)}"


def computed(blueprint: Blueprint) -> str:
    """Return the words for a property that nobody may write."""
    return f"Port computes this property of blueprint {blueprint.identifier}"


def wrong_type(given: str, held: str) -> tuple[str, str]:
    """Return the words for a value of another type than the property's, and what to do."""
    steps = {"string": "`| tostring`", "number": "`| tonumber`", "array": "brackets, [ … ]"}
    example = f", for example with {steps[held]}" if held in steps else ""
    return f"gives {_a(given)}; the property holds {_a(held)}", f"correct the expression{example}"


def wrong_target(given: str, relation: Relation) -> tuple[str, str]:
    """Return the words for a relation's value that is one where there may be many, or the other way round."""
    holds = "identifiers in an array" if relation.many else "one identifier"
    return f"gives {_a(given)}; the relation holds {holds}", "correct the expression, or `many` of the relation"


def required(what: str) -> str:
    """Return the words for a property or relation that an entity must have and the mapping does not set."""
    return f"{what} is required and not mapped"


def _a(kind: str) -> str:
    return {"array": "an array", "object": "an object"}.get(kind, f"a {kind}")


# --- entities


@dataclass(frozen=True)
class _Plan:
    """What to look at in entities of one shape.

    `types` are those that each field may have, `looks` tell of fields by their place why a value does not fit, and
    `missing` are required fields that the shape does not have.
    """

    types: tuple[Types, ...]
    looks: tuple[tuple[int, Look], ...]
    missing: tuple[str, ...]


@dataclass
class Judge:
    """Tells of entities of one blueprint why Port will refuse them; this may run for every entity.

    Types, names, choices and what is required are documented and certain. With `closely` formats and bounds of values
    are judged as well, of which a JSON schema leaves details to Port.
    """

    blueprint: Blueprint
    closely: bool = False
    _plans: dict[Shape, _Plan] = field(default_factory=dict)

    def refusal(self, entity: Entity, *, creates: bool) -> Refusal | None:
        """Return why Port will refuse an entity, or None; `creates`: Port holds nothing of it yet."""
        plan = self._plans.get(entity.shape)
        if plan is None:
            plan = self._plans[entity.shape] = self._plan(entity.shape)
        for at, (value, types) in enumerate(zip(entity.values, plan.types, strict=True)):
            if type(value) not in types:
                return self._misfit(entity.shape.names[at], value)
        for at, look in plan.looks:
            value = entity.values[at]
            if value is not None and (why := look(value)):
                return Refusal(entity.shape.names[at], why, FIT, shown(value))
        if creates and not entity.is_search:
            for what in (*plan.missing, *self._empty(entity)):
                return Refusal("", required(what), UNMAPPED)
        return None

    def _plan(self, shape: Shape) -> _Plan:
        looks = ((at, look) for at, name in enumerate(shape.names) for look in self._looks(name))
        return _Plan(tuple(map(self._types, shape.names)), tuple(looks), tuple(unmapped(self.blueprint, shape.names)))

    def _types(self, name: str) -> Types:
        head, _, key = name.partition(".")
        if head == "properties":
            schema = self.blueprint.properties.get(key)
            if schema is None or key in self.blueprint.computed:
                return frozenset()
            types = PYTHON_TYPES.get(str(schema.get("type")))
            return ANY if types is None else types | {NONE}
        if head == "relations":
            relation = self.blueprint.relations.get(key)
            # What one target must be is Port's rule for identifiers.
            return frozenset() if relation is None else ANY - ({str} if relation.many else {list})
        return ANY

    def _looks(self, name: str) -> Iterator[Look]:
        head, _, key = name.partition(".")
        schema = self.blueprint.properties.get(key) if head == "properties" else None
        if schema is None or key in self.blueprint.computed:
            return
        if isinstance(allowed := schema.get("enum"), list):
            yield partial(_not_chosen, allowed)
        if self.closely:
            yield partial(misfit, schema)

    def _misfit(self, name: str, value: Any) -> Refusal:
        """Return why a value is refused whose type its field does not take."""
        head, _, key = name.partition(".")
        given = JSON_TYPES.get(type(value), "null")
        if head == "relations":
            relation = self.blueprint.relations.get(key)
            if relation is None:
                return Refusal(name, no_relation(key, self.blueprint), FIT)
            return Refusal(name, *wrong_target(given, relation), shown(value))
        if key in self.blueprint.computed:
            return Refusal(name, computed(self.blueprint), FIT)
        schema = self.blueprint.properties.get(key)
        if schema is None:
            return Refusal(name, no_property(key, self.blueprint), FIT)
        return Refusal(name, *wrong_type(given, str(schema.get("type"))), shown(value))

    def _empty(self, entity: Entity) -> Iterator[str]:
        """Yield what is required and null in this entity."""
        if not self.blueprint.required and not any(one.required for one in self.blueprint.relations.values()):
            return
        values = dict(zip(entity.shape.names, entity.values, strict=True))
        yield from unmapped(self.blueprint, [name for name, value in values.items() if value is not None])


def unmapped(blueprint: Blueprint, names: Sequence[str] | set[str]) -> Iterator[str]:
    """Yield the properties without a default and the relations that are required and not among the fields `names`."""
    for name in blueprint.required:
        if f"properties.{name}" not in names and (blueprint.properties.get(name) or {}).get("default") is None:
            yield f"property {name}"
    for name, relation in blueprint.relations.items():
        if relation.required and f"relations.{name}" not in names:
            yield f"relation {name}"


def _not_chosen(allowed: Sequence[Any], value: Any) -> str | None:
    return None if value in allowed else f"the property can only be {', '.join(map(str, allowed))}"


# --- one value and its schema


def misfit(schema: Schema, value: Any) -> str | None:
    """Return why a value does not fit a property's schema beside its type, or None."""
    return next(_misfits(schema, value), None)


def _misfits(schema: Schema, value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield from _outside(schema, len(value), "minLength", "maxLength", "{} characters")
        form = str(schema.get("format") or "")
        if form in _FORMATS and len(value) <= MAX_FORMATTED and not _FORMATS[form](value):
            yield f"the property must be of the format {form}"
    elif isinstance(value, list):
        yield from _outside(schema, len(value), "minItems", "maxItems", "{} items")
        yield from _items(schema.get("items"), value)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield from _outside(schema, value, "minimum", "maximum", "{}")
        yield from _beyond(schema, value)


def _items(schema: Any, values: list[Any]) -> Iterator[str]:
    if not isinstance(schema, dict):
        return
    types = PYTHON_TYPES.get(str(schema.get("type")), ANY)
    for value in values:
        if type(value) not in types:
            yield f"an item is {_a(JSON_TYPES.get(type(value), 'null'))}; the array holds {schema['type']}s"
        elif why := misfit(schema, value):
            yield f"in an item: {why}"


def _outside(schema: Schema, number: float, least: str, most: str, unit: str) -> Iterator[str]:
    low, high = schema.get(least), schema.get(most)
    if isinstance(low, int | float) and number < low:
        yield f"the property must have at least {unit.format(low)}"
    if isinstance(high, int | float) and number > high:
        yield f"the property may have at most {unit.format(high)}"


def _beyond(schema: Schema, number: float) -> Iterator[str]:
    low, high = schema.get("exclusiveMinimum"), schema.get("exclusiveMaximum")
    if isinstance(low, int | float) and number <= low:
        yield f"the property must be more than {low}"
    if isinstance(high, int | float) and number >= high:
        yield f"the property must be less than {high}"


_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://\S+")
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")
_DATE_TIME = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)")


def _is_url(text: str) -> bool:
    return bool(_URL.fullmatch(text))


def _is_email(text: str) -> bool:
    return bool(_EMAIL.fullmatch(text))


def _is_date_time(text: str) -> bool:
    try:
        return bool(_DATE_TIME.fullmatch(text) and datetime.fromisoformat(text.upper()))
    except ValueError:
        return False


def _is_address(kind: Callable[[str], object], text: str) -> bool:
    try:
        return bool(kind(text))
    except AddressValueError:
        return False


_FORMATS: dict[str, Callable[[str], bool]] = {
    "date-time": _is_date_time,
    "timer": _is_date_time,
    "url": _is_url,
    "email": _is_email,
    "idn-email": _is_email,
    "user": _is_email,
    "ipv4": partial(_is_address, IPv4Address),
    "ipv6": partial(_is_address, IPv6Address),
}
