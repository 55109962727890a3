"""The order in which related entities and blueprints are written and deleted."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from graphlib import CycleError, TopologicalSorter
from typing import Any

from gitlab_port_export.model import Entity
from gitlab_port_export.port.blueprint import Blueprint


def dependency_order(entities: Sequence[Entity], blueprints: Mapping[str, Blueprint]) -> Iterator[list[Entity]]:
    """Yield the entities in groups, relation targets before what relates to them; a cycle is one group."""
    keys = {entity.key: entity for entity in entities}
    needs = {
        key: {target for target in targets_of(entity, blueprints) if target in keys and target != key}
        for key, entity in keys.items()
    }
    for group in layers(needs):
        yield [keys[key] for key in group]


def in_circles(entities: Sequence[Entity], blueprints: Mapping[str, Blueprint]) -> set[tuple[str, str]]:
    """Return the keys of the entities that relate to each other in a circle, or stand between two, or to themselves."""
    found = {entity.key: set(targets_of(entity, blueprints)) for entity in entities}
    needs = {key: {target for target in targets if target in found and target != key} for key, targets in found.items()}
    _, core = _split(needs)
    return core | {key for key, targets in found.items() if key in targets}


def targets_of(entity: Entity, blueprints: Mapping[str, Blueprint]) -> Iterator[tuple[str, str]]:
    """Yield (blueprint, identifier) of each entity that this one relates to, but for what is searched."""
    blueprint = blueprints.get(entity.blueprint)
    for name, value in entity.relations:
        relation = blueprint.relations.get(name) if blueprint else None
        if relation is not None and value is not None and not isinstance(value, dict):
            yield from ((relation.target, str(one)) for one in (value if isinstance(value, list) else [value]))


def layers(needs: Mapping[Any, set[Any]]) -> Iterator[list[Any]]:
    """Yield keys after all that they need; what is in a cycle, or between two, comes as one group."""
    (first, last), core = _split(needs)
    yield from first
    if core:
        yield [key for key in needs if key in core]
    yield from reversed(last)


def _split(needs: Mapping[Any, set[Any]]) -> tuple[tuple[list[list[Any]], list[list[Any]]], set[Any]]:
    """Return the groups before every cycle and those after all, last ones first, and what is in a cycle or between."""
    first, left = _peeled(needs)
    users: dict[Any, set[Any]] = {key: set() for key in left}
    for key in left:
        for need in needs[key] & left:
            users[need].add(key)
    last, core = _peeled(users)
    return (first, last), core


def _peeled(needs: Mapping[Any, set[Any]]) -> tuple[list[list[Any]], set[Any]]:
    """Return the groups that come before every cycle, in order, and the keys that are left."""
    sorter, groups, left = TopologicalSorter(needs), [], set(needs)
    with suppress(CycleError):
        sorter.prepare()
    while ready := list(sorter.get_ready()):
        groups.append(ready)
        left.difference_update(ready)
        sorter.done(*ready)
    return groups, left


def blueprint_order(names: Iterable[str], blueprints: Mapping[str, Blueprint]) -> list[str]:
    """Return blueprints with relation targets before what relates to them."""
    wanted = list(names)
    needs = {
        name: {
            relation.target
            for relation in (blueprints[name].relations.values() if name in blueprints else ())
            if relation.target in wanted and relation.target != name
        }
        for name in wanted
    }
    return [name for layer in layers(needs) for name in layer]
