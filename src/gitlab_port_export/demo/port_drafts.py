"""What an entity of the stand-in Port becomes by a write: defaults, teams, relations, required fields."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gitlab_port_export.demo.port_query import Stored
from gitlab_port_export.demo.port_rules import JsonObject, RefusedError, check_properties, mismatch, not_found

if TYPE_CHECKING:
    from gitlab_port_export.demo.port_store import PortStore

MAX_QUERY_TARGETS = 100
# Port never invents a user or a team for a relation.
PROTECTED = frozenset({"_user", "_team"})
Content = tuple[str, str | None, list[str], JsonObject, dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Mode:
    """How a write treats what is there: the query parameters of the write routes."""

    upsert: bool = False
    merge: bool = False
    create_missing: bool = False
    validation_only: bool = False
    must_exist: bool = False


@dataclass(frozen=True, slots=True)
class Author:
    """Who writes (client id; User-Agent, that is `$datasource`) and when (ISO; one instant a call)."""

    client: str
    user_agent: str
    moment: str


@dataclass(frozen=True, slots=True)
class Draft:
    """An entity as a valid row would leave it, and the relation targets to be created with it."""

    title: str
    icon: str | None
    team: list[str]
    properties: JsonObject
    relations: dict[str, str | list[str]]
    missing: tuple[tuple[str, str], ...]


def draft_of(
    store: PortStore, blueprint: JsonObject, identifier: str, row: JsonObject, existing: Stored | None, mode: Mode
) -> Draft:
    """Return what an entity becomes by a row. Raises RefusedError where Port would refuse the row."""
    base = existing if existing and mode.merge else None
    given = row.get("properties") or {}
    check_properties(blueprint["schema"]["properties"], given)
    properties = without_null({**(base.properties if base else {}), **given})
    if existing is None:
        properties = {**defaults_of(blueprint), **properties}
    for name in blueprint["schema"].get("required") or ():
        if name not in properties:
            raise RefusedError(422, "missing_property", f'required property "{name}" is missing')
    resolved, missing = _resolve_relations(store, blueprint, identifier, row.get("relations") or {}, mode)
    relations = without_null({**(base.relations if base else {}), **resolved})
    for name, relation in blueprint["relations"].items():
        if relation.get("required") and name not in relations:
            raise RefusedError(422, "required_relation", f'required relation "{name}" is missing')
    return Draft(
        title=row.get("title", base.title if base else None) or identifier,
        icon=row.get("icon", base.icon if base else None),
        team=_team_of(store, blueprint, row, base, relations),
        properties=properties,
        relations=relations,
        missing=missing,
    )


def _team_of(
    store: PortStore, blueprint: JsonObject, row: JsonObject, base: Stored | None, relations: dict[str, Any]
) -> list[str]:
    """Return the teams of a row, or those of what its blueprint inherits them from by a relation, as it is now."""
    ownership = blueprint.get("ownership") or {}
    if ownership.get("type") != "Inherited":
        return _team(store, row) if "team" in row else base.team if base else []
    if "team" in row:
        raise RefusedError(422, "inherited_ownership_enabled", "the blueprint inherits its ownership")
    name = str(ownership.get("path")).split(".")[0]
    target = blueprint["relations"].get(name, {}).get("target", "")
    owner = store.peek(target, relations.get(name))
    return list(owner.team) if owner else []


def _team(store: PortStore, row: JsonObject) -> list[str]:
    teams = store.by_identifier("_team")
    match row["team"]:
        case dict(query):
            return [team.identifier for team in store.find(query, "_team")][:MAX_QUERY_TARGETS] if teams else []
        case str(name):
            names = [name]
        case found:
            names = list(found or ())
    titles = {team.title: team.identifier for team in teams.values()}
    known = [name if name in teams else titles.get(name, name) for name in names]
    return [name for name in known if store.unknown_teams or not teams or name in teams]


def _resolve_relations(
    store: PortStore, blueprint: JsonObject, identifier: str, relations: JsonObject, mode: Mode
) -> tuple[JsonObject, tuple[tuple[str, str], ...]]:
    """Return the relations as identifiers, and the targets that have to be created for them."""
    resolved: JsonObject = {}
    missing: list[tuple[str, str]] = []
    for name, value in relations.items():
        if (relation := blueprint["relations"].get(name)) is None:
            raise mismatch(f'relation "{name}" does not exist in the blueprint')
        resolved[name] = _targets_of(store, name, relation, value)
        targets = resolved[name] if relation.get("many") else [resolved[name]]
        missing += [
            (relation["target"], target)
            for target in targets or ()
            if target is not None
            and (relation["target"], target) != (blueprint["identifier"], identifier)
            and not store.peek(relation["target"], target)
        ]
    for target, wanted in missing:
        if not mode.create_missing or target in PROTECTED or target not in store.blueprints:
            raise not_found("Related entity", wanted, target)
    return resolved, tuple(dict.fromkeys(missing))


def _targets_of(store: PortStore, name: str, relation: JsonObject, value: Any) -> str | list[str] | None:
    if isinstance(value, dict):
        return _search_targets(store, name, relation, value)
    if value is not None and isinstance(value, list) != bool(relation.get("many")):
        raise mismatch(f'relation "{name}" must be {"array" if relation.get("many") else "string"}')
    return list(dict.fromkeys(value)) if isinstance(value, list) else value


def _search_targets(store: PortStore, name: str, relation: JsonObject, query: JsonObject) -> str | list[str]:
    known = relation["target"] in store.blueprints
    found = [e.identifier for e in store.find(query, relation["target"])] if known else []
    if relation.get("many"):
        return found[:MAX_QUERY_TARGETS]
    if not found:
        raise RefusedError(404, "not_found", f'the query of relation "{name}" matches no entity')
    if len(found) > 1:
        raise mismatch(f'the query of relation "{name}" matches {len(found)} entities')
    return found[0]


def draft_as_it_is(row: JsonObject) -> Draft:
    """Return what a row says of an entity, without any check."""
    return Draft(
        title=row.get("title") or row["identifier"],
        icon=row.get("icon"),
        team=row.get("team") or [],
        properties=without_null(row.get("properties") or {}),
        relations=without_null(row.get("relations") or {}),
        missing=(),
    )


def everything_of(entity: Stored) -> JsonObject:
    """Return everything that is stored of an entity, `$datasource` included."""
    return {
        "blueprint": entity.blueprint,
        "identifier": entity.identifier,
        "title": entity.title,
        "icon": entity.icon,
        "team": list(entity.team),
        "properties": dict(entity.properties),
        "relations": dict(entity.relations),
        "createdAt": entity.created_at,
        "createdBy": entity.created_by,
        "updatedAt": entity.updated_at,
        "updatedBy": entity.updated_by,
        "$datasource": entity.datasource,
    }


def content_of(entity: Stored) -> Content:
    """Return what a mapping can set of an entity, copied."""
    return entity.title, entity.icon, list(entity.team), dict(entity.properties), dict(entity.relations)


def new_entity(blueprint: str, identifier: str, author: Author, slot: int) -> Stored:
    """Return an entity without content, at its place in the order of its blueprint."""
    return Stored(
        blueprint=blueprint,
        identifier=identifier,
        title=identifier,
        created_at=author.moment,
        created_by=author.client,
        updated_at=author.moment,
        updated_by=author.client,
        datasource=author.user_agent,
        slot=slot,
    )


def assign(entity: Stored, draft: Draft, author: Author) -> None:
    """Give an entity the content of a draft."""
    entity.title, entity.icon, entity.team = draft.title, draft.icon, draft.team
    entity.properties, entity.relations = draft.properties, draft.relations
    entity.updated_at, entity.updated_by, entity.datasource = author.moment, author.client, author.user_agent


def unsaved(blueprint: str, identifier: str, draft: Draft, author: Author) -> Stored:
    """Return the entity as a write would leave it, for a write that only validates."""
    entity = new_entity(blueprint, identifier, author, -1)
    assign(entity, draft, author)
    return entity


def without_null(values: JsonObject) -> JsonObject:
    """Return the values but those that are null."""
    return {name: value for name, value in values.items() if value is not None}


def without_target(relations: JsonObject, names: set[str], identifier: str) -> JsonObject:
    """Return the relations without those of `names` that point at the entity."""
    return {
        name: [v for v in value if v != identifier] if isinstance(value, list) and name in names else value
        for name, value in relations.items()
        if not (name in names and value == identifier)
    }


def defaults_of(blueprint: JsonObject) -> JsonObject:
    """Return the defaults of a blueprint's properties."""
    found = {name: d.get("default") for name, d in blueprint["schema"]["properties"].items()}
    return without_null(found)


def has_dependents(dependent: Stored, status: int) -> RefusedError:
    """Return the refusal of a deletion that a required relation stands against."""
    named = {"blueprint": dependent.blueprint, "identifier": dependent.identifier}
    message = f'entity "{dependent.identifier}" of "{dependent.blueprint}" has a required relation to it'
    return RefusedError(status, "has_dependents", message, {"dependents": [named]})
