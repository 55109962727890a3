"""Whether a mapping fits the blueprints of Port, as far as that can be told without a row; pure."""

import json
import re
from collections.abc import Iterable, Iterator
from collections.abc import Mapping as Dict
from typing import Any

from gitlab_port_export.mapping import constant_blueprint, did_you_mean
from gitlab_port_export.model import EntityMapping, Mapping, Problem, shown
from gitlab_port_export.port.ledger import Blueprint
from gitlab_port_export.program import is_legacy, rewrite_quotes

# What stands for a value that only a row can tell.
UNKNOWN = object()
# What the last step of a pipe gives, whatever goes in.
_GIVES = {
    "string": ("tostring", "tojson", "ascii_downcase", "ascii_upcase", "todate", "todateiso8601"),
    "number": ("tonumber", "length", "floor", "round", "ceil", "fromdate"),
    "boolean": ("not", "any", "all"),
    "array": ("keys", "sort", "unique", "to_entries", "reverse"),
}
_LAST_STEP = re.compile(rf"\|\s*({'|'.join(word for words in _GIVES.values() for word in words)})\s*\Z")
_TYPES = {bool: "boolean", int: "number", float: "number", str: "string", list: "array", dict: "object"}


def misfits(mapping: Mapping, blueprints: Dict[str, Blueprint]) -> Iterator[Problem]:
    """Yield a problem for each field that Port would refuse; blueprints that the row decides on are passed over."""
    mapped: dict[str, set[str]] = {}
    for resource in mapping.resources:
        for number, entity in enumerate(resource.mappings):
            blueprint = blueprints.get(constant_blueprint(entity.blueprint) or "")
            if blueprint is None:
                continue
            mapped.setdefault(blueprint.identifier, set()).update(name for name, _ in entity.fields())
            for name, what, hint in _faults(entity, blueprint):
                line, column = mapping.field_mark(resource.index, number, name)
                yield Problem(
                    stage="mapping",
                    why=what,
                    hint=hint,
                    kind=resource.kind,
                    resources=(resource.index,),
                    line=line,
                    column=column,
                    field=name,
                )
    for identifier, names in mapped.items():
        for what in _required(blueprints[identifier], names):
            why, hint = f"{what} is required and not mapped", "map it, or make it optional in Port"
            yield Problem("mapping", why, hint, blueprint=identifier)


def unknown_releases(names: Iterable[str], blueprints: Iterable[str]) -> Iterator[Problem]:
    """Yield a warning for each blueprint whose held deletions are to be released and that is none."""
    known = set(blueprints)
    for name in names:
        if name not in known:
            why = f"--allow-deletes releases nothing of {shown(name)}: Port has no such blueprint"
            yield Problem("settings", why, did_you_mean(name, known), warning=True)


def _faults(entity: EntityMapping, blueprint: Blueprint) -> Iterator[tuple[str, str, str]]:
    """Yield (field, what is wrong, what to do)."""
    for field, value in entity.fields():
        head, _, name = field.partition(".")
        if head == "properties":
            faults = _property(name, value, blueprint)
        elif head == "relations":
            faults = _relation(name, value, blueprint)
        else:
            continue
        yield from ((field, what, hint) for what, hint in faults)


def _property(name: str, value: Any, blueprint: Blueprint) -> Iterator[tuple[str, str]]:
    schema = blueprint.properties.get(name)
    if name in blueprint.computed:
        yield f"Port computes this property of blueprint {blueprint.identifier}", "leave it out of the mapping"
    elif schema is None:
        hint = did_you_mean(name, blueprint.properties) or "add the property in Port, or leave it out of the mapping"
        yield f"blueprint {blueprint.identifier} has no property {shown(name)}", hint
    else:
        kind, constant = outcome(value)
        if kind is not None and schema.get("type") not in (None, kind):
            yield f"gives {_a(kind)}; the property holds {_a(str(schema['type']))}", _conversion(str(schema["type"]))
        elif (allowed := schema.get("enum")) and constant not in (UNKNOWN, None) and constant not in allowed:
            hint = did_you_mean(str(constant), map(str, allowed)) or f"possible are {', '.join(map(str, allowed))}"
            yield f"the property cannot be {shown(constant)}", hint


def _relation(name: str, value: Any, blueprint: Blueprint) -> Iterator[tuple[str, str]]:
    relation = blueprint.relations.get(name)
    if relation is None:
        hint = did_you_mean(name, blueprint.relations) or "add the relation in Port, or leave it out of the mapping"
        yield f"blueprint {blueprint.identifier} has no relation {shown(name)}", hint
    elif (kind := outcome(value)[0]) == "boolean" or kind == ("string" if relation.many else "array"):
        holds = "identifiers in an array" if relation.many else "one identifier"
        yield f"gives {_a(kind)}; the relation holds {holds}", "correct the expression, or `many` of the relation"


def outcome(value: Any) -> tuple[str | None, Any]:
    """Return the JSON type that an expression gives and its constant value, None and UNKNOWN where a row decides."""
    if not isinstance(value, str):
        return None, UNKNOWN
    if is_legacy(value):
        return "string", UNKNOWN
    text = rewrite_quotes(value)
    try:
        constant = json.loads(text)
    except ValueError:
        found = None if "#" in text else _LAST_STEP.search(text)
        return next((kind for kind, words in _GIVES.items() if found and found[1] in words), None), UNKNOWN
    return _TYPES.get(type(constant)), constant


def _required(blueprint: Blueprint, names: set[str]) -> Iterator[str]:
    for name in blueprint.required:
        if f"properties.{name}" not in names and (blueprint.properties.get(name) or {}).get("default") is None:
            yield f"property {name}"
    for name, relation in blueprint.relations.items():
        if relation.required and f"relations.{name}" not in names:
            yield f"relation {name}"


def _a(kind: str) -> str:
    return {"array": "an array", "object": "an object"}.get(kind, f"a {kind}")


def _conversion(kind: str) -> str:
    steps = {"string": "`| tostring`", "number": "`| tonumber`", "array": "brackets, [ … ]"}
    return f"correct the expression, for example with {steps[kind]}" if kind in steps else "correct the expression"
