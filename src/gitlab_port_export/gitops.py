"""Documents of `specPath` files → entities, taken as they are; pure."""

from collections.abc import Iterable, Iterator, Set
from typing import Any

from gitlab_port_export.gitlab.specs import KIND, Spec
from gitlab_port_export.model import Entity, Problem
from gitlab_port_export.transform import unfit_identifier

# Entities from files belong to no resource of the mapping.
NO_RESOURCE = -1
FIELDS = ("title", "icon", "team", "properties", "relations")
OBJECTS = ("properties", "relations")


def entities(specs: Iterable[Spec | Problem], blueprints: Set[str]) -> Iterator[Entity | Problem]:
    """Yield the entities of all documents, and a Problem for each document or entity that is not one.

    A document is an entity or a list of them; of equal entities the first one counts.
    """
    seen: set[tuple[str, str]] = set()
    for spec in specs:
        if isinstance(spec, Problem):
            yield spec
            continue
        for item in spec.document if isinstance(spec.document, list) else [spec.document]:
            if item is None:
                continue
            found = _entity(spec, item, blueprints)
            if isinstance(found, Entity) and found.key in seen:
                yield _problem(spec, f"the entity {found.identifier} of {found.blueprint} stands elsewhere too")
                continue
            if isinstance(found, Entity):
                seen.add(found.key)
            yield found


def fields_of(found: Iterable[Entity], blueprint: str) -> tuple[str, ...]:
    """Return the dotted names of the fields that entities of a blueprint set."""
    names: dict[str, None] = {}
    for entity in found:
        if entity.blueprint == blueprint:
            names |= {name: None for name in entity.body if name not in OBJECTS}
            names |= {f"{part}.{name}": None for part in OBJECTS for name in entity.body.get(part, ())}
    return tuple(names)


def _entity(spec: Spec, item: Any, blueprints: Set[str]) -> Entity | Problem:
    if not isinstance(item, dict):
        return _problem(spec, "an entity must be an object with identifier and blueprint")
    identifier, blueprint = item.get("identifier"), item.get("blueprint")
    if isinstance(identifier, int) and not isinstance(identifier, bool):
        identifier = str(identifier)
    if not isinstance(identifier, str) or (why := unfit_identifier(identifier)):
        return _problem(spec, "the identifier must be text" if not isinstance(identifier, str) else str(why))
    if not isinstance(blueprint, str) or blueprint not in blueprints:
        return _problem(spec, f"{identifier}: Port has no blueprint {blueprint!r}"[:300])
    for name in OBJECTS:
        if not isinstance(item.get(name, {}), dict | None):
            return _problem(spec, f"{identifier}: {name} must be an object")
    body = {name: item[name] for name in FIELDS if name in item and not (name in OBJECTS and item[name] is None)}
    return Entity(blueprint, identifier, body, NO_RESOURCE, (spec.scope.id, 0))


def _problem(spec: Spec, why: str) -> Problem:
    """Return the Problem of a document; it holds all deletions, as its entities may be ours from another run."""
    return Problem(
        "read",
        f"{spec.path}, document {spec.number}: {why}",
        "correct the file",
        scope=spec.scope.path,
        token=spec.scope.token,
        kind=KIND,
        holds_all=True,
    )
