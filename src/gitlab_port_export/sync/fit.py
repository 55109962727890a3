"""Judges a mapping against Port's blueprints without reading a row; no I/O."""

import json
import re
from collections import abc
from collections.abc import Iterable, Iterator
from typing import Any

from gitlab_port_export.base.text import did_you_mean, shown
from gitlab_port_export.gitlab.row_types import field_types
from gitlab_port_export.jq.program import is_legacy, rewrite_quotes
from gitlab_port_export.mapping.blueprints import constant_blueprint
from gitlab_port_export.mapping.model import EntityMapping, Mapping
from gitlab_port_export.model import Problem
from gitlab_port_export.port.blueprint import Blueprint
from gitlab_port_export.port.hints import UNFIT
from gitlab_port_export.port.values import (
    JSON_TYPES,
    UNMAPPED,
    computed,
    misfit,
    no_property,
    no_relation,
    required,
    unmapped,
    wrong_target,
    wrong_type,
)

# Stands for a value that depends on the row.
UNKNOWN = object()
# What the last step of a pipe gives, whatever goes in.
_GIVES = {
    "string": ("tostring", "tojson", "ascii_downcase", "ascii_upcase", "todate", "todateiso8601"),
    "number": ("tonumber", "length", "floor", "round", "ceil", "fromdate"),
    "boolean": ("not", "any", "all"),
    "array": ("keys", "sort", "unique", "to_entries", "reverse"),
}
_LAST_STEP = re.compile(rf"\|\s*({'|'.join(word for words in _GIVES.values() for word in words)})\s*\Z")
NO_TYPES: abc.Mapping[str, str] = {}


def judge(
    mapping: Mapping, found: Iterable[Problem], blueprints: abc.Mapping[str, Blueprint] | None
) -> tuple[Problem, ...]:
    """Return what is wrong with a mapping and what is doubtful, the same for check, plan and sync.

    `found` are the Problems of loading it. A field that Port will certainly refuse is a Problem before any row is read.
    """
    misfit = () if blueprints is None else misfits(mapping, blueprints)
    return (*found, *_empty(mapping), *misfit)


def _empty(mapping: Mapping) -> Iterator[Problem]:
    if not mapping.resources:
        why = f"{mapping.origin} has no resources, so nothing is read and nothing is deleted"
        yield Problem("mapping", why, "add resources to the mapping", holds_all=True)


def misfits(mapping: Mapping, blueprints: abc.Mapping[str, Blueprint]) -> Iterator[Problem]:
    """Yield a Problem for each field that Port would refuse; where the row decides on the blueprint, none."""
    mapped: dict[str, set[str]] = {}
    for resource in mapping.resources:
        types = {} if resource.port.items_to_parse else field_types(resource.kind)
        for number, entity in enumerate(resource.mappings):
            blueprint = blueprints.get(constant_blueprint(entity.blueprint) or "")
            if blueprint is None:
                continue
            mapped.setdefault(blueprint.identifier, set()).update(name for name, _ in entity.fields())
            for name, what, hint in _faults(entity, blueprint, types):
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
        for what in unmapped(blueprints[identifier], names):
            # An entity that Port holds may have it already; merging only adds fields.
            yield Problem(
                "mapping", required(what), UNMAPPED, blueprint=identifier, warning=mapping.enable_merge_entity
            )


def unknown_releases(names: Iterable[str], blueprints: Iterable[str]) -> Iterator[Problem]:
    """Yield a warning for each blueprint whose held deletions are to be released and that is none."""
    known = set(blueprints)
    for name in names:
        if name not in known:
            why = f"--allow-deletes releases nothing of {shown(name)}: Port has no such blueprint"
            yield Problem("settings", why, did_you_mean(name, known), warning=True)


def _faults(
    entity: EntityMapping, blueprint: Blueprint, types: abc.Mapping[str, str]
) -> Iterator[tuple[str, str, str]]:
    """Yield (field, what is wrong, what to do)."""
    for field, value in entity.fields():
        head, _, name = field.partition(".")
        if head == "properties":
            faults = _property(name, value, blueprint, types)
        elif head == "relations":
            faults = _relation(name, value, blueprint)
        else:
            continue
        yield from ((field, what, hint) for what, hint in faults)


def _property(name: str, value: Any, blueprint: Blueprint, types: abc.Mapping[str, str]) -> Iterator[tuple[str, str]]:
    schema = blueprint.properties.get(name)
    if name in blueprint.computed:
        yield computed(blueprint), "leave it out of the mapping"
    elif schema is None:
        hint = did_you_mean(name, blueprint.properties) or "add the property in Port, or leave it out of the mapping"
        yield no_property(name, blueprint), hint
    else:
        kind, constant = outcome(value, types)
        held = str(schema.get("type") or "")
        if kind is not None and held not in ("", kind):
            yield wrong_type(kind, held)
        elif (allowed := schema.get("enum")) and constant not in (UNKNOWN, None) and constant not in allowed:
            hint = did_you_mean(str(constant), map(str, allowed)) or f"possible are {', '.join(map(str, allowed))}"
            yield f"the property cannot be {shown(constant)}", hint
        elif constant not in (UNKNOWN, None) and (why := misfit(schema, constant)):
            yield why, UNFIT


def _relation(name: str, value: Any, blueprint: Blueprint) -> Iterator[tuple[str, str]]:
    relation = blueprint.relations.get(name)
    if relation is None:
        hint = did_you_mean(name, blueprint.relations) or "add the relation in Port, or leave it out of the mapping"
        yield no_relation(name, blueprint), hint
    elif (kind := outcome(value)[0]) == "boolean" or kind == ("string" if relation.many else "array"):
        yield wrong_target(kind, relation)


def outcome(value: Any, types: abc.Mapping[str, str] = NO_TYPES) -> tuple[str | None, Any]:
    """Return the JSON type that an expression gives and its constant value, None and UNKNOWN where a row decides.

    `types` are those of the row's fields, where they are not null.
    """
    if not isinstance(value, str):
        return None, UNKNOWN
    if is_legacy(value):
        # The content of a file, or whether a search finds anything.
        return ("string" if value.startswith("file://") else "boolean"), UNKNOWN
    text = rewrite_quotes(value)
    try:
        constant = json.loads(text)
    except ValueError:
        if text.strip().startswith(".") and (kind := types.get(text.strip()[1:])):
            return kind, UNKNOWN
        found = None if "#" in text else _LAST_STEP.search(text)
        return next((kind for kind, words in _GIVES.items() if found and found[1] in words), None), UNKNOWN
    return JSON_TYPES.get(type(constant)), constant
