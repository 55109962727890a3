"""Checks values against a blueprint: why Port would refuse an entity, before it is sent; pure."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import partial
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import Any, NamedTuple

from gitlab_port_export.base.text import shown
from gitlab_port_export.model import Entity
from gitlab_port_export.port.blueprint import Blueprint, Relation
from gitlab_port_export.port.hints import UNFIT

Schema = Mapping[str, Any]

PYTHON_TYPES: dict[str, frozenset[type]] = {
    "string": frozenset({str}),
    "number": frozenset({int, float}),
    "boolean": frozenset({bool}),
    "array": frozenset({list}),
    "object": frozenset({dict}),
}
JSON_TYPES = {one: name for name, types in PYTHON_TYPES.items() for one in types}
# Longer texts are left to Port, as patterns are: what GitLab's users write could keep a search busy.
MAX_FORMATTED = 2000
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
    """Return the words for a property that may not be written."""
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


def refusal_of(entity: Entity, blueprint: Blueprint, *, creates: bool) -> Refusal | None:
    """Return why Port will refuse an entity, or None; `creates`: Port holds nothing of it yet."""
    return next(_refusals(entity, blueprint, creates), None)


def _refusals(entity: Entity, blueprint: Blueprint, creates: bool) -> Iterator[Refusal]:
    for name, value in zip(entity.shape.names, entity.values, strict=True):
        head, _, key = name.partition(".")
        if head in ("properties", "relations"):
            told = _property(key, value, blueprint) if head == "properties" else _relation(key, value, blueprint)
            if told:
                yield Refusal(name, *told, "" if value is None else shown(value))
    if creates:
        given = {name for name, value in zip(entity.shape.names, entity.values, strict=True) if value is not None}
        yield from (Refusal("", required(what), UNMAPPED) for what in unmapped(blueprint, given))


def _property(name: str, value: Any, blueprint: Blueprint) -> tuple[str, str] | None:
    schema = blueprint.properties.get(name)
    if name in blueprint.computed:
        return computed(blueprint), UNFIT
    if schema is None:
        return no_property(name, blueprint), UNFIT
    if value is None:
        return None
    given, held = JSON_TYPES[type(value)], str(schema.get("type"))
    if held in PYTHON_TYPES and given != held:
        return wrong_type(given, held)
    allowed = schema.get("enum")
    if isinstance(allowed, list) and value not in allowed:
        return f"the property can only be {', '.join(map(str, allowed))}", UNFIT
    why = misfit(schema, value)
    return (why, UNFIT) if why else None


def _relation(name: str, value: Any, blueprint: Blueprint) -> tuple[str, str] | None:
    relation = blueprint.relations.get(name)
    if relation is None:
        return no_relation(name, blueprint), UNFIT
    if value is None or isinstance(value, dict) or isinstance(value, list) == relation.many:
        return None
    return wrong_target(JSON_TYPES[type(value)], relation)


def unmapped(blueprint: Blueprint, names: Sequence[str] | set[str]) -> Iterator[str]:
    """Yield the properties without a default and the relations that are required and not among the fields `names`."""
    for name in blueprint.required:
        if f"properties.{name}" not in names and (blueprint.properties.get(name) or {}).get("default") is None:
            yield f"property {name}"
    for name, relation in blueprint.relations.items():
        if relation.required and f"relations.{name}" not in names:
            yield f"relation {name}"


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
    elif isinstance(value, dict) and schema.get("format") == "labeled-url" and not isinstance(value.get("url"), str):
        yield "the property must be of the format labeled-url, an object with `url`"


def _items(schema: Any, values: list[Any]) -> Iterator[str]:
    if not isinstance(schema, dict):
        return
    held = str(schema.get("type"))
    for value in values:
        given = JSON_TYPES.get(type(value), "null")
        if held in PYTHON_TYPES and given != held:
            yield f"an item is {'null' if value is None else _a(given)}; the array holds {held}s"
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
