"""What the stand-in Port accepts: checks of identifiers, rows, blueprints and property values; pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import datetime
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import Any

JsonObject = dict[str, Any]

ENTITY_FIELDS = frozenset({"identifier", "title", "icon", "team", "properties", "relations"})
MAX_IDENTIFIER = 1000
MAX_BLUEPRINT_IDENTIFIER = 100
_MARKS = frozenset("0123456789@_.+:\\/=-")
_ASCII_IDENTIFIER = re.compile(r"[A-Za-z0-9@_.+:\\/=-]+")
_KEY = re.compile(r"[A-Za-z0-9@_=\\-]{1,100}")
_INSTALLATION = re.compile(r"[a-z0-9-]+")
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^\s]+")
_DATE_TIME = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)")


class RefusedError(Exception):
    """Port's refusal of a request or of one row of it: status, error code and message of the envelope."""

    def __init__(self, status: int, error: str, message: str, details: JsonObject | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.error = error
        self.message = message
        self.details = details


def malformed(message: str) -> RefusedError:
    """Return the 422 of a body that does not match the route's schema; it refuses the whole call."""
    return RefusedError(422, "invalid_request", message)


def not_found(what: str, identifier: object, blueprint: str = "") -> RefusedError:
    """Return the 404 of a missing thing; clients tell a missing relation target by its error code alone."""
    where = f' in blueprint "{blueprint}"' if blueprint else ""
    return RefusedError(404, "not_found", f'{what} with identifier "{identifier}" was not found{where}')


def is_identifier(value: object) -> bool:
    """Return whether a value is an identifier for entities: letters of any script, digits, some marks, 1 to 1000."""
    return isinstance(value, str) and len(value) <= MAX_IDENTIFIER and _has_identifier_form(value)


def is_blueprint_identifier(value: object) -> bool:
    """Return whether a blueprint may be called so: as an entity, but without `=` and at most 100 long."""
    return (
        isinstance(value, str)
        and len(value) <= MAX_BLUEPRINT_IDENTIFIER
        and "=" not in value
        and _has_identifier_form(value)
    )


def is_installation_identifier(value: object) -> bool:
    """Return whether an integration may be called so: lower case letters, digits and hyphens."""
    return isinstance(value, str) and _INSTALLATION.fullmatch(value) is not None


def check_entity_body(row: object, where: str, *, patch: bool = False, null_titles: bool = False) -> None:
    """Refuse a row that a JSON schema validator would refuse before anything is looked up.

    Only a PATCH may send null for title, icon and team, and only a PATCH refuses keys that no entity has.
    """
    if not isinstance(row, dict):
        raise malformed(f"{where} must be object")
    nullable = patch or null_titles
    if patch and (extra := row.keys() - ENTITY_FIELDS):
        raise malformed(f"{where} must NOT have additional properties: {', '.join(sorted(extra))}")
    if "identifier" in row:
        _check_identifier_or_query(row["identifier"], f"{where}/identifier")
    for name in ("title", "icon"):
        if name in row and not (isinstance(row[name], str) or (row[name] is None and nullable)):
            raise malformed(f"{where}/{name} must be string")
    if "team" in row and not (row["team"] is None and nullable):
        _check_team(row["team"], f"{where}/team")
    if not isinstance(row.get("properties", {}), dict):
        raise malformed(f"{where}/properties must be object")
    _check_relations(row.get("relations", {}), f"{where}/relations")


def check_write_query(query: JsonObject, where: str) -> None:
    """Refuse a query inside a write that goes beyond `=`, `in`, `contains`, `containsAny` and nesting."""
    if query.keys() - {"combinator", "rules"}:
        raise malformed(f"{where} must NOT have additional properties")
    for name in ("combinator", "rules"):
        if name not in query:
            raise malformed(f"{where} must have required property '{name}'")
    if query["combinator"] not in ("and", "or"):
        raise malformed(f"{where}/combinator must be equal to one of the allowed values")
    if not isinstance(query["rules"], list):
        raise malformed(f"{where}/rules must be array")
    for index, rule in enumerate(query["rules"]):
        _check_write_rule(rule, f"{where}/rules/{index}")


def check_blueprint_body(body: object, *, partial: bool = False) -> JsonObject:
    """Return a blueprint's body when its form is right (relation targets are looked up by the store)."""
    if not isinstance(body, dict):
        raise malformed("body must be object")
    for name in () if partial else ("title", "schema"):
        if name not in body:
            raise malformed(f"body must have required property '{name}'")
    if "identifier" in body and not is_blueprint_identifier(body["identifier"]):
        raise malformed("body/identifier must match the pattern of blueprint identifiers")
    if "title" in body and not (isinstance(body["title"], str) and 1 <= len(body["title"]) <= 100):
        raise malformed("body/title must be a string of 1 to 100 characters")
    if len(body.get("description") or "") > 200:
        raise malformed("body/description must NOT have more than 200 characters")
    if "schema" in body:
        _check_blueprint_schema(body["schema"])
    for name, relation in (body.get("relations") or {}).items():
        _check_blueprint_relation(name, relation)
    return body


def check_properties(definitions: JsonObject, properties: JsonObject) -> None:
    """Refuse unknown properties and values of the wrong type, format or range; null is always accepted."""
    for name, value in properties.items():
        if name not in definitions:
            raise mismatch(f'property "{name}" does not exist in the blueprint')
        if value is not None and (fault := value_fault(definitions[name], value)):
            raise mismatch(f'property "{name}" {fault}')


def mismatch(message: str) -> RefusedError:
    """Return the 422 of one row whose content does not fit its blueprint."""
    return RefusedError(422, "blueprint_schema_mismatch", message)


def value_fault(definition: JsonObject, value: Any) -> str | None:
    """Return what is wrong with a property's value, in a JSON schema validator's words; None when nothing is."""
    return next(_value_faults(definition, value), None)


def _value_faults(definition: JsonObject, value: Any) -> Iterator[str]:
    kind = definition.get("type")
    if kind and not _TYPES[kind](value):
        yield f"must be {kind}"
        return
    allowed = definition.get("enum")
    if isinstance(allowed, list) and value not in allowed:
        yield f"must be equal to one of the allowed values: {allowed}"
    if isinstance(value, str):
        yield from _string_faults(definition, value)
    elif isinstance(value, list):
        yield from _array_faults(definition, value)
    elif isinstance(value, int | float):
        yield from _number_faults(definition, value)
    elif definition.get("format") == "labeled-url" and not isinstance(value.get("url"), str):
        yield 'must match format "labeled-url"'


def _string_faults(definition: JsonObject, value: str) -> Iterator[str]:
    if len(value) < definition.get("minLength", 0):
        yield f"must NOT have fewer than {definition['minLength']} characters"
    if len(value) > definition.get("maxLength", len(value)):
        yield f"must NOT have more than {definition['maxLength']} characters"
    pattern = definition.get("pattern")
    if pattern is not None and not re.search(pattern, value):
        yield f'must match pattern "{pattern}"'
    fits = _FORMATS.get(definition.get("format", ""))
    if fits and not fits(value):
        yield f'must match format "{definition["format"]}"'


def _number_faults(definition: JsonObject, value: float) -> Iterator[str]:
    if value < definition.get("minimum", value):
        yield f"must be >= {definition['minimum']}"
    if value > definition.get("maximum", value):
        yield f"must be <= {definition['maximum']}"
    if "exclusiveMinimum" in definition and value <= definition["exclusiveMinimum"]:
        yield f"must be > {definition['exclusiveMinimum']}"
    if "exclusiveMaximum" in definition and value >= definition["exclusiveMaximum"]:
        yield f"must be < {definition['exclusiveMaximum']}"


def _array_faults(definition: JsonObject, value: list[Any]) -> Iterator[str]:
    if len(value) < definition.get("minItems", 0):
        yield f"must NOT have fewer than {definition['minItems']} items"
    if len(value) > definition.get("maxItems", len(value)):
        yield f"must NOT have more than {definition['maxItems']} items"
    items = definition.get("items") or {}
    yield from (f"items {fault}" for item in value if (fault := value_fault(items, item)))


def _has_identifier_form(text: str) -> bool:
    if text in ("", ".", ".."):
        return False
    # str.isalpha is exactly the Unicode letter category that Port's pattern asks for; `\w` is wider.
    return bool(_ASCII_IDENTIFIER.fullmatch(text)) or all(c in _MARKS or c.isalpha() for c in text)


def _check_identifier_or_query(value: object, where: str) -> None:
    if isinstance(value, dict):
        check_write_query(value, where)
    elif not isinstance(value, str):
        raise malformed(f"{where} must be string")
    elif not is_identifier(value):
        raise malformed(f"{where} must match the pattern and length of entity identifiers")


def _check_team(value: object, where: str) -> None:
    if isinstance(value, dict):
        check_write_query(value, where)
    elif not isinstance(value, str) and not _is_strings(value):
        raise malformed(f"{where} must be string, array of strings or search query")


def _check_relations(relations: object, where: str) -> None:
    if not isinstance(relations, dict):
        raise malformed(f"{where} must be object")
    for name, value in relations.items():
        for target in value if isinstance(value, list) else () if value is None else (value,):
            if isinstance(value, list) and isinstance(target, dict):
                raise malformed(f"{where}/{name} must be string")
            _check_identifier_or_query(target, f"{where}/{name}")


def _check_write_rule(rule: object, where: str) -> None:
    if not isinstance(rule, dict):
        raise malformed(f"{where} must be object")
    if "rules" in rule or "combinator" in rule:
        check_write_query(rule, where)
        return
    if rule.keys() != {"property", "operator", "value"} or not isinstance(rule["property"], str):
        raise malformed(f"{where} must have property, operator and value")
    fits = _WRITE_OPERATORS.get(rule["operator"])
    if fits is None:
        raise malformed(f"{where}/operator must be equal to one of the allowed values")
    if not fits(rule["value"]):
        raise malformed(f"{where}/value does not fit the operator")


def _check_blueprint_schema(schema: object) -> None:
    if not isinstance(schema, dict) or not isinstance(schema.get("properties"), dict):
        raise malformed("body/schema must have required property 'properties'")
    for name, definition in schema["properties"].items():
        if not _KEY.fullmatch(name):
            raise malformed(f'body/schema/properties property name "{name}" must match the pattern')
        if not isinstance(definition, dict) or str(definition.get("type")) not in _TYPES:
            raise malformed(f"body/schema/properties/{name}/type must be one of the allowed values")
    if missing := set(schema.get("required") or ()) - schema["properties"].keys():
        raise malformed(f"body/schema/required names unknown properties: {', '.join(sorted(missing))}")


def _check_blueprint_relation(name: str, relation: object) -> None:
    if not _KEY.fullmatch(name):
        raise malformed(f'body/relations property name "{name}" must match the pattern')
    if not isinstance(relation, dict) or not isinstance(relation.get("target"), str):
        raise malformed(f"body/relations/{name} must have required property 'target'")
    if relation.get("many") and relation.get("required"):
        raise malformed(f"body/relations/{name} cannot be both many and required")


def _is_strings(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_date_time(value: str) -> bool:
    try:
        return bool(_DATE_TIME.fullmatch(value) and datetime.fromisoformat(value))
    except ValueError:
        return False


def _is_address(kind: Callable[[str], object]) -> Callable[[str], bool]:
    def fits(value: str) -> bool:
        try:
            return bool(kind(value))
        except AddressValueError:
            return False

    return fits


_TYPES: dict[str, Callable[[Any], bool]] = {
    "string": lambda value: isinstance(value, str),
    "number": _is_number,
    "boolean": lambda value: isinstance(value, bool),
    "object": lambda value: isinstance(value, dict),
    "array": lambda value: isinstance(value, list),
}
_FORMATS: dict[str, Callable[[str], object]] = {
    "date-time": _is_date_time,
    "timer": _is_date_time,
    "url": _URL.fullmatch,
    "email": _EMAIL.fullmatch,
    "idn-email": _EMAIL.fullmatch,
    "user": _EMAIL.fullmatch,
    "ipv4": _is_address(IPv4Address),
    "ipv6": _is_address(IPv6Address),
}
_WRITE_OPERATORS: dict[str, Callable[[Any], bool]] = {
    "=": lambda value: value is None or isinstance(value, str) or _is_number(value),
    "in": _is_strings,
    "containsAny": _is_strings,
    "contains": lambda value: value is None or isinstance(value, str) or _is_strings(value),
}


def completed(body: JsonObject) -> JsonObject:
    """Return a blueprint with the empty sections that Port's answers show."""
    sections = ("relations", "calculationProperties", "mirrorProperties", "aggregationProperties")
    return {**body, **{name: body.get(name) or {} for name in sections}}


def check_formats(old: JsonObject, new: JsonObject) -> None:
    """Raise RefusedError (422) where a property would change its type or format."""
    held = old["schema"]["properties"]
    for name, definition in (new.get("schema") or {}).get("properties", {}).items():
        before = held.get(name, definition)
        if (before.get("type"), before.get("format")) != (definition.get("type"), definition.get("format")):
            raise RefusedError(
                422,
                "forbidden_format_change",
                f'type and format of property "{name}" cannot be changed',
                {"property": name},
            )


def check_targets(identifier: str, body: JsonObject, blueprints: JsonObject) -> None:
    """Raise RefusedError (422) where a relation of a blueprint has a target that does not exist."""
    for name, relation in (body.get("relations") or {}).items():
        target = relation["target"]
        if target != identifier and target not in blueprints:
            raise RefusedError(422, "not_found", f'target "{target}" of relation "{name}" does not exist')
