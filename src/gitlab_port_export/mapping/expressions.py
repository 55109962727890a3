"""The jq expressions of a mapping: which there are, and a fault for each that is not jq."""

from collections.abc import Callable, Iterator
from typing import Any

from gitlab_port_export.base.errors import Fault
from gitlab_port_export.base.text import clean
from gitlab_port_export.jq.program import is_legacy
from gitlab_port_export.mapping.model import Mapping, Position, Resource


def expressions(mapping: Mapping) -> tuple[str, ...]:
    """Return every jq expression of the mapping once, for compiling them all in one go."""
    found = (text for resource in mapping.resources for _, _, text in _expressions(mapping, resource))
    return tuple(dict.fromkeys(found))


def check_expressions(mapping: Mapping, compiles: Callable[[str], str | None]) -> tuple[Fault, ...]:
    """Return a fault for each expression that is not jq; `compiles` gives jq's error text, or None."""
    return tuple(
        mapping.fault(
            resource.index,
            position,
            f"{name}: not a jq expression: {clean(' '.join(expression.split()), 80)}: {_first_line(error)}",
        )
        for resource in mapping.resources
        for name, position, expression in _expressions(mapping, resource)
        if (error := compiles(expression)) is not None
    )


def _first_line(text: str) -> str:
    return next((line.strip() for line in text.splitlines() if line.strip()), "refused by jq")


def _expressions(mapping: Mapping, resource: Resource) -> Iterator[tuple[str, Position, str]]:
    """Yield (field, position, expression) of everything in a resource that jq will run."""
    yield "selector.query", mapping.field_mark(resource.index, 0, "selector.query"), resource.selector.query
    if (items := resource.port.items_to_parse) is not None:
        yield "port.itemsToParse", mapping.field_mark(resource.index, 0, "itemsToParse"), items
    for index, entity in enumerate(resource.mappings):
        for name, value in entity.fields():
            position = mapping.field_mark(resource.index, index, name)
            # Ocean's older form for file contents and searches stands where jq would.
            yield from (
                (leaf, position, expression) for leaf, expression in _leaves(name, value) if not is_legacy(expression)
            )


def _leaves(name: str, value: Any) -> Iterator[tuple[str, str]]:
    match value:
        case str():
            yield name, value
        case dict():
            for key, item in value.items():
                yield from _leaves(f"{name}.{key}", item)
        case list():
            for index, item in enumerate(value):
                yield from _leaves(f"{name}.{index}", item)
