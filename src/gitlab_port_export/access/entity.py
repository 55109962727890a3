"""Whom and what an entity of the catalog means: the mapping itself says which of its fields hold names and ids.

A field that the mapping fills with `.username` holds a username, whatever the blueprint and the field are called.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, get_args

from gitlab_port_export.access.values import ScopeKind
from gitlab_port_export.base.answer import Unreachable
from gitlab_port_export.base.errors import PortUnavailable, UsageError
from gitlab_port_export.mapping.blueprints import constant_blueprint
from gitlab_port_export.mapping.model import EntityMapping, Resource
from gitlab_port_export.port.client import PortRefused, advice, segment
from gitlab_port_export.sync.prepare import Run

# By kind: the expressions that give a person's name and id, and a place's path and id.
PERSON = {
    "user": (".username", ".id"),
    "member": (".username", ".id"),
    "access": (".username", ".id"),
    "invitation": (".invite_email", ""),
}
PLACE = {
    "group": (".full_path", ".id"),
    "group-with-members": (".full_path", ".id"),
    "project": (".path_with_namespace", ".id"),
    "project-with-members": (".path_with_namespace", ".id"),
    "access": (".__scope.full_path", ".__scope.id"),
    "invitation": (".__scope.full_path", ".__scope.id"),
}
SCOPE_KIND = ".__scope.kind"
SCOPES: tuple[ScopeKind, ...] = get_args(ScopeKind)
Parts = tuple[tuple[Resource, EntityMapping], ...]


@dataclass(frozen=True)
class Meant:
    """What an entity tells: a person and a place by name, and the ids that the catalog holds of them."""

    person: str = ""
    person_id: int | None = None
    kind: ScopeKind | None = None
    path: str = ""
    place_id: int | None = None


def meant_by(run: Run, blueprint: str, identifier: str) -> Meant:
    """Return whom and what an entity means. Raises UsageError where it tells neither, and PortUnavailable."""
    parts = tuple(_parts(run, blueprint))
    if not parts:
        hint = "start the action from an entity that the mapping gives, or let its form ask for person and place"
        why = f"the mapping gives no entities of {blueprint} from accounts, roles, groups or projects"
        raise UsageError(why, hint=hint)
    entity = _entity(run, blueprint, identifier)
    if entity is None:
        hint = "it was deleted meanwhile; start the action from one that is there"
        raise UsageError(f"Port has no entity {identifier} of {blueprint}", hint=hint)
    meant = _first(parts, entity)
    if not (meant.person or meant.path):
        hint = "map `.username` or a path to one of its fields, or let the form ask for person and place"
        raise UsageError(f"{blueprint} {identifier} tells neither a person nor a place", hint=hint)
    if meant.person and meant.person_id is None:
        return replace(meant, person_id=_id_of_account(run, parts, entity, meant.person))
    return meant


def _first(parts: Parts, entity: Mapping[str, Any]) -> Meant:
    """Return what the first part of the mapping that tells anything makes of an entity."""
    return next((one for one in (_meant(*part, entity) for part in parts) if one.person or one.path), Meant())


def _parts(run: Run, blueprint: str) -> Iterator[tuple[Resource, EntityMapping]]:
    """Yield what the mapping makes entities of a blueprint from, as far as they name people or places."""
    for resource in run.mapping.resources:
        if resource.kind in PERSON or resource.kind in PLACE:
            for part in resource.mappings:
                if constant_blueprint(part.blueprint) == blueprint and resource.port.items_to_parse is None:
                    yield resource, part


def _entity(run: Run, blueprint: str, identifier: str) -> Mapping[str, Any] | None:
    """Return an entity, None where Port has none. Raises PortUnavailable."""
    path = f"/blueprints/{segment(blueprint)}/entities/{segment(identifier)}"
    try:
        found = run.port.ask("GET", path).get("entity")
    except PortRefused as refusal:
        if refusal.status == 404:
            return None
        raise _unread(blueprint, identifier, refusal) from None
    except Unreachable as failure:
        raise _unread(blueprint, identifier, failure) from None
    return found if isinstance(found, dict) else {}


def _unread(blueprint: str, identifier: str, failure: PortRefused | Unreachable) -> PortUnavailable:
    why = f"Port did not give the entity {identifier} of {blueprint}: {failure}"
    return PortUnavailable(why, hint=advice(failure, "read entities"))


def _meant(resource: Resource, part: EntityMapping, entity: Mapping[str, Any]) -> Meant:
    kind = resource.kind
    held = _reader(part, entity)
    name, number = PERSON.get(kind, ("", ""))
    path, place_id = PLACE.get(kind, ("", ""))
    said = held(SCOPE_KIND) if kind in PERSON else kind.partition("-")[0]
    scope = next((one for one in SCOPES if one == said), None)
    found = str(held(path) or "") if scope else ""
    return Meant(str(held(name) or ""), _number(held(number)), scope, found, _number(held(place_id)) if found else None)


def _reader(part: EntityMapping, entity: Mapping[str, Any]) -> Callable[[str], Any]:
    """Return what gives the value of the field that the mapping fills with an expression, None where it has none."""
    named = {value.strip(): name for name, value in part.fields() if isinstance(value, str)}

    def held(expression: str) -> Any:
        name = named.get(expression, "")
        head, _, key = name.partition(".")
        within = entity.get(head) if head else None
        value = within.get(key) if key and isinstance(within, dict) else within
        return value if isinstance(value, str | int) and not isinstance(value, bool) else None

    return held


def _id_of_account(run: Run, parts: Parts, entity: Mapping[str, Any], person: str) -> int | None:
    """Return the id of the account to which an entity relates, None where the catalog does not hold it."""
    for _, part in parts:
        name = next((key for key, value in part.relations.items() if value == ".username"), None)
        source = run.blueprints.get(constant_blueprint(part.blueprint) or "")
        relation = source.relations.get(name) if source and name else None
        account = (entity.get("relations") or {}).get(name) if name else None
        if relation and isinstance(account, str):
            found = _first(tuple(_parts(run, relation.target)), _entity(run, relation.target, account) or {})
            if found.person == person:
                return found.person_id
    return None


def _number(value: Any) -> int | None:
    if isinstance(value, int):
        return value
    return int(value) if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 16 else None
