"""Compares two mappings: which options, resources and fields differ, and which blueprints may lose entities."""

from collections import abc
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from gitlab_port_export.mapping.blueprints import constant_blueprint, mapped_blueprints
from gitlab_port_export.mapping.model import Mapping, Resource

# Options of the root that decide which rows are read.
_ROW_OPTIONS = ("visibility", "filterOwnedProjects", "projectVisibilityFilter")


@dataclass(frozen=True)
class FieldChange:
    """A field or option that differs, under its dotted name; None where a mapping does not set it."""

    name: str
    old: Any
    new: Any


@dataclass(frozen=True)
class ResourceChange:
    """A resource that differs: its number in the mapping in use and in the other, None where it is not there.

    `blueprints` are those that it feeds in either mapping; None stands for "decided by the row".
    """

    kind: str
    old: int | None
    new: int | None
    blueprints: tuple[str | None, ...]
    fields: tuple[FieldChange, ...] = ()


@dataclass(frozen=True)
class MappingChanges:
    """What differs between the mapping in use and another one; `lost` are blueprints that only the former feeds.

    `narrowed` are further blueprints that may get other entities than before. In both, None stands for any blueprint.
    `reordered`: the same resources stand in another order, which decides where several set a field of one entity.
    """

    options: tuple[FieldChange, ...]
    resources: tuple[ResourceChange, ...]
    reordered: bool
    lost: frozenset[str | None]
    narrowed: frozenset[str | None]

    def __bool__(self) -> bool:
        """Return whether there is any difference."""
        return bool(self.options or self.resources or self.reordered)


def compare(old: Mapping, new: Mapping) -> MappingChanges:
    """Return what differs in `new` from the mapping in use, defaults filled in on both sides."""
    options = tuple(_differences(_options(old), _options(new)))
    pairs = _pairs(old.resources, new.resources)
    resources = tuple(change for one, other in pairs if (change := _resource(one, other)))
    both = [one.index for one, other in pairs if one and other]
    still_fed = _fed(new)
    lost = _fed(old) - still_fed if None not in still_fed else frozenset()
    narrowed = frozenset(name for one, other in pairs if one and _may_lose(one, other) for name in _blueprints(one))
    if any(option.name in _ROW_OPTIONS for option in options):
        narrowed |= _fed(old)
    return MappingChanges(options, resources, both != sorted(both), lost, narrowed - lost)


def _fed(mapping: Mapping) -> frozenset[str | None]:
    return frozenset(name for names in mapped_blueprints(mapping).values() for name in names)


def _options(mapping: Mapping) -> dict[str, Any]:
    found = mapping.model_dump(mode="json", by_alias=True, exclude={"resources"})
    # Only a written `true` cascades.
    return {**found, "deleteDependentEntities": mapping.cascades}


def _pairs(old: abc.Sequence[Resource], new: abc.Sequence[Resource]) -> list[tuple[Resource | None, Resource | None]]:
    """Return which resource became which, in the order of `new`: equal ones first, then nearly equal ones."""
    keys: tuple[Callable[[Resource], Any], ...] = (
        _fields,
        lambda one: (one.kind, _blueprints(one), [str(entity.identifier) for entity in one.mappings]),
        lambda one: (one.kind, _blueprints(one)),
        lambda one: one.kind,
    )
    left, partner = list(old), dict[int, Resource]()
    for key in keys:
        for resource in new:
            if resource.index in partner:
                continue
            if found := next((one for one in left if key(one) == key(resource)), None):
                partner[resource.index] = found
                left.remove(found)
    return [*((partner.get(resource.index), resource) for resource in new), *((one, None) for one in left)]


def _resource(old: Resource | None, new: Resource | None) -> ResourceChange | None:
    """Return how a resource differs, or None where it does not."""
    one = new or old
    fields = tuple(_differences(_fields(old), _fields(new)))
    if one is None or not fields:
        return None
    names = dict.fromkeys(name for each in (old, new) if each for name in _blueprints(each))
    return ResourceChange(
        one.kind, old.index if old else None, new.index if new else None, tuple(names), fields if old and new else ()
    )


def _may_lose(old: Resource, new: Resource | None) -> bool:
    """Return whether entities of a resource may be gone: other rows are mapped, or they get other identifiers."""
    if new is None:
        return True
    decisive = ("selector.", "port.", "mappings", "identifier", "blueprint")
    return any(change.name.startswith(decisive) and not _only_fields(change.name) for change in _changes(old, new))


def _changes(old: Resource, new: Resource) -> Iterator[FieldChange]:
    return _differences(_fields(old), _fields(new))


def _only_fields(name: str) -> bool:
    """Return whether a name such as `mappings.1.title` is a field that decides on no entity."""
    return name.startswith("mappings.") and name.split(".")[2] not in ("identifier", "blueprint")


def _blueprints(resource: Resource) -> tuple[str | None, ...]:
    return tuple(constant_blueprint(entity.blueprint) for entity in resource.mappings)


def _fields(resource: Resource | None) -> dict[str, Any]:
    """Return {dotted name: value} of a resource, with defaults; fields of one of several entities have its number."""
    if resource is None:
        return {}
    selector = resource.selector.model_dump(mode="json", by_alias=True)
    port = resource.port.model_dump(mode="json", by_alias=True, exclude={"entity"})
    found: dict[str, Any] = {"kind": resource.kind}
    found |= {f"selector.{name}": value for name, value in selector.items() if value is not None}
    found |= {f"port.{name}": value for name, value in port.items() if value is not None}
    for number, entity in enumerate(resource.mappings):
        start = f"mappings.{number}." if len(resource.mappings) > 1 else ""
        found |= {f"{start}{name}": value for name, value in entity.fields()}
    return found


def _differences(old: abc.Mapping[str, Any], new: abc.Mapping[str, Any]) -> Iterator[FieldChange]:
    for name in dict.fromkeys((*old, *new)):
        if old.get(name) != new.get(name):
            yield FieldChange(name, old.get(name), new.get(name))
