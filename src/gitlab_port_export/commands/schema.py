"""The command `schema`: the mapping's JSON Schema for editors, made from the models that check a mapping."""

import re
from collections import abc
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from gitlab_port_export.gitlab.kinds.kind import Kind
from gitlab_port_export.mapping.model import Mapping

DIALECT = "https://json-schema.org/draft/2020-12/schema"
# The name of the schema, not an address: it changes when what is accepted changes in a way that old files do not fit.
SCHEMA_ID = "urn:gitlab-port-export:mapping:1"
# The loader takes such keys of the root without a word: a customary place for YAML anchors.
ANCHORS = r"^(x-|\.)"
Schema = dict[str, Any]


def mapping_schema(kinds: abc.Mapping[str, Kind]) -> Schema:
    """Return the JSON Schema (2020-12) of a mapping file.

    It accepts what a run accepts without a word. It refuses what a run refuses, reports as a Problem
    (an unknown kind), or ignores (an unknown key). The kind decides which selector is offered. Options of the root
    and filters of deployments are known in camelCase alone, while a run takes snake_case as well.
    """
    models: tuple[type[BaseModel], ...] = (Mapping, *(kind.selector for kind in kinds.values()))
    names, document = models_json_schema([(model, "validation") for model in models])
    definitions: dict[str, Schema] = {name: _readable(part) for name, part in document["$defs"].items()}
    root = definitions.pop(_name(names[Mapping, "validation"]))
    root["patternProperties"] = {ANCHORS: {}}
    definitions["Resource"] = _by_kind(
        definitions["Resource"], kinds, {name: names[kind.selector, "validation"] for name, kind in kinds.items()}
    )
    # What every selector has; which further keys there are, each kind's own says.
    definitions["Selector"] = _without(definitions["Selector"], "additionalProperties")
    about = {
        "title": "Mapping of GitLab to Port",
        "description": "Which kinds are read and what becomes of their rows.",
    }
    return {"$schema": DIALECT, "$id": SCHEMA_ID, **root, **about, "$defs": definitions | LENIENT}


def _name(reference: Schema) -> str:
    return str(reference["$ref"].rpartition("/")[2])


def _by_kind(resource: Schema, kinds: abc.Mapping[str, Kind], selectors: abc.Mapping[str, Schema]) -> Schema:
    """Return the schema of a resource in which the kind decides on the selector."""
    kind = resource["properties"]["kind"]
    named = {"oneOf": [{"const": name, "description": entry.about.what} for name, entry in sorted(kinds.items())]}
    rules = [
        {
            "if": {"properties": {"kind": {"const": name}}, "required": ["kind"]},
            "then": {"properties": {"selector": selector}},
        }
        for name, selector in sorted(selectors.items())
    ]
    return {**resource, "properties": {**resource["properties"], "kind": {**kind, **named}}, "allOf": rules}


def _either_case(word: str) -> str:
    return "".join(f"[{letter.lower()}{letter.upper()}]" for letter in word)


# What is read leniently, as Ocean reads it: YAML may hold a text where a boolean or a number is meant.
_WORDS = ("true", "t", "yes", "y", "on", "false", "f", "no", "n", "off")
_BOOLEAN_TEXT = f"^({'|'.join((*map(_either_case, _WORDS), '0', '1'))})$"
_NUMBER_TEXT = r"^\s*[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?\s*$"
LENIENT: dict[str, Schema] = {
    "Boolean": {
        "anyOf": [
            {"type": "boolean"},
            {"type": "integer", "minimum": 0, "maximum": 1},
            {"type": "string", "pattern": _BOOLEAN_TEXT},
        ]
    },
    "NumberText": {"type": "string", "pattern": _NUMBER_TEXT},
}


def _readable(schema: Any) -> Any:
    """Return a part of pydantic's schema with titles in words, and as lenient as the models are."""
    match schema:
        case list():
            return [_readable(part) for part in schema]
        case dict():
            found = {key: _readable(part) for key, part in schema.items() if key != "properties"}
            if fields := schema.get("properties"):
                found["additionalProperties"] = False
                found["properties"] = {name: _field(name, _readable(part)) for name, part in fields.items()}
            return _lenient(found)
    return schema


def _field(name: str, schema: Schema) -> Schema:
    """Return the schema of a field under a title that says `itemsToParse` as "Items to parse"."""
    title = re.sub(r"([A-Z])", r" \1", name).replace("_", " ").strip().capitalize()
    # What is null or empty where it is not written is no value that an editor should put there.
    empty = ("default",) if schema.get("default", 0) in (None, [], {}) else ()
    return {"title": title} | _without(schema, "title", *empty)


def _lenient(schema: Schema) -> Schema:
    if "oneOf" in schema:
        # An object may fit several forms; which one counts is decided by its keys.
        schema = {"anyOf" if key == "oneOf" else key: value for key, value in schema.items()}
    if "enum" in schema or "const" in schema:
        return schema
    match schema.get("type"):
        case "boolean":
            return {"$ref": "#/$defs/Boolean"} | _without(schema, "type")
        case "string" if "pattern" not in schema:
            return {**schema, "type": ["string", "number"]}
        case "integer" | "number" as kind:
            bounds = {key: schema[key] for key in _BOUNDS if key in schema}
            either = [{"type": kind, **bounds}, {"$ref": "#/$defs/NumberText"}]
            return {"anyOf": either} | _without(schema, "type", *bounds)
    return schema


_BOUNDS = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf")


def _without(schema: Schema, *keys: str) -> Schema:
    return {key: value for key, value in schema.items() if key not in keys}
