"""Which blueprints a mapping feeds, and which of their fields."""

import json
import re
from collections.abc import Container
from functools import lru_cache

from gitlab_port_export.mapping.model import Mapping


@lru_cache(maxsize=1024)
def constant_blueprint(expression: str) -> str | None:
    """Return the text of an expression that is one plain jq string, or None where the row may decide."""
    text = expression.strip()
    # Ocean turns single quotes at the ends of a text into double quotes, if a non-blank follows and precedes.
    if re.fullmatch(r"""'[^'"\s]([^'"]*[^'"\s])?'""", text):
        text = f'"{text[1:-1]}"'
    if not text.startswith('"') or "'" in text:
        return None
    try:
        # A JSON string is a jq string; one with an interpolation, \(…), is not JSON.
        return str(json.loads(text))
    except ValueError:
        return None


def mapped_blueprints(mapping: Mapping) -> dict[int, tuple[str | None, ...]]:
    """Return the blueprints of each resource by its index; None stands for "decided by the row"."""
    return {
        resource.index: tuple(constant_blueprint(entity.blueprint) for entity in resource.mappings)
        for resource in mapping.resources
    }


def feeding(mapping: Mapping, blueprint: str) -> frozenset[int]:
    """Return the indexes of the resources that may give entities of a blueprint: a computed one may be any."""
    found = mapped_blueprints(mapping)
    return frozenset(index for index, names in found.items() if None in names or blueprint in names)


def fixed_fields(mapping: Mapping, blueprint: str) -> frozenset[str]:
    """Return the fields of a blueprint that rows with an identifier of their own set."""
    return frozenset(
        name
        for resource in mapping.resources
        for entity in resource.mappings
        if constant_blueprint(entity.blueprint) in (None, blueprint) and not isinstance(entity.identifier, dict)
        for name, _ in entity.fields()
    )


def fields_of(mapping: Mapping, blueprint: str) -> tuple[str, ...]:
    """Return the dotted names of the fields that the mapping sets in a blueprint, in mapping order."""
    names: dict[str, None] = {}
    for resource in mapping.resources:
        for entity in resource.mappings:
            if constant_blueprint(entity.blueprint) in (None, blueprint):
                names |= {name: None for name, _ in entity.fields() if name not in ("identifier", "blueprint")}
    return tuple(names)


def shared_blueprints(mapping: Mapping) -> frozenset[str] | None:
    """Return the blueprints that more than one resource (or mapping) may feed; None where a computed one may be any."""
    names = [name for found in mapped_blueprints(mapping).values() for name in found]
    if None in names and len(names) > 1:
        return None
    return frozenset(name for name in names if name is not None and names.count(name) > 1)


def blueprints_of(mapping: Mapping, resources: Container[int]) -> tuple[str, ...]:
    """Return every blueprint that these resources name, in mapping order."""
    found = (name for index, names in mapped_blueprints(mapping).items() if index in resources for name in names)
    return tuple(dict.fromkeys(name for name in found if name is not None))


def constant_blueprints(mapping: Mapping) -> tuple[str, ...]:
    """Return every blueprint that the mapping names, in mapping order."""
    found = (name for names in mapped_blueprints(mapping).values() for name in names if name is not None)
    return tuple(dict.fromkeys(found))
