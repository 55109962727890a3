"""Entities of a role or invitation that ended: they are deleted where GitLab proves the end and they are told apart."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from gitlab_port_export.access.values import Outcome, Person
from gitlab_port_export.gitlab.client import Get, ReadFailed
from gitlab_port_export.gitlab.kinds.access import row_of as access_row
from gitlab_port_export.gitlab.kinds.invitation import row_of as invitation_row
from gitlab_port_export.gitlab.kinds.kind import api_path
from gitlab_port_export.gitlab.kinds.shared.roles import Role
from gitlab_port_export.jq.program import rewrite_quotes
from gitlab_port_export.live.reach import looked_at
from gitlab_port_export.mapping.blueprints import constant_blueprint, feeding
from gitlab_port_export.model import Entity, Event, Page, Row, Scope
from gitlab_port_export.port.catalog import Catalog
from gitlab_port_export.port.deleter import Deleter
from gitlab_port_export.port.ledger import Missing
from gitlab_port_export.sync.prepare import Run
from gitlab_port_export.sync.through import transformer
from gitlab_port_export.sync.vanished import deleted

Key = tuple[str, str]
# What is known of a row of which GitLab has no trace any more, by its kind: an identifier may be made of that alone.
KNOWN = {"access": frozenset({"id", "username", "__scope"}), "invitation": frozenset({"invite_email", "__scope"})}


@dataclass(frozen=True)
class WholeRead:
    """A group or project of which the rows of a kind were read whole, for these resources."""

    kind: str
    scope: Scope
    resources: tuple[int, ...]


def delete_lost(
    run: Run, catalog: Catalog, places: Iterable[WholeRead], outcome: Outcome, action_run: str
) -> Iterator[Event]:
    """Delete the owned entities of this person's roles, or of the invitation, that are proved to have ended."""
    wanted: dict[Key, tuple[WholeRead, Row]] = {}
    for place in places:
        if (row := _row(place, outcome)) is not None:
            wanted |= dict.fromkeys(_keys(run, place, row), (place, row))
    catalog.look_up(wanted)
    lost = [
        key
        for key, (place, row) in wanted.items()
        if _is_left(catalog, key) and _tells_apart(run, place, row, key) and _is_proved(run, place, outcome.person)
    ]
    if not lost:
        return
    # GitLab proved the end of each of them, so how many they are does not matter; a mapping may still forbid it.
    never = run.mapping.entity_deletion_threshold == 0
    released: dict[str, int | None] = {} if never else dict.fromkeys(name for name, _ in lost)
    deleter = Deleter(run.port, cascade=False, action_run=action_run) if run.writes else None
    yield from deleted(run.mapping, catalog, lost, run.integration.identifier, released, run.port_time, deleter)


def _row(place: WholeRead, outcome: Outcome) -> Row | None:
    """Return the row that there would be if the role or invitation had not ended."""
    before = outcome.before
    level, expires = (before.role.level, before.expires) if before else (0, None)
    person = outcome.person
    if place.kind == "access" and person is not None:
        row = {**person.row, "id": person.id, "username": person.username, "name": person.name}
        return access_row(Role(row, level, place.scope.path, expires), place.scope)
    if place.kind == "invitation" and "@" in outcome.wish.person:
        row = {"invite_email": outcome.wish.person, "access_level": level, "expires_at": expires}
        return invitation_row(row, place.scope)
    return None


def _keys(run: Run, place: WholeRead, row: Row) -> list[Key]:
    """Return the entities that the mapping makes of a row, as far as their identifiers follow from what is known."""
    page = Page(place.kind, place.resources, place.scope, [row])
    found = (one for one in transformer(run.mapping, run.evaluator).run([page]) if isinstance(one, Entity))
    return list(dict.fromkeys(one.key for one in found if _follows(run, one, place.kind)))


def _follows(run: Run, entity: Entity, kind: str) -> bool:
    resource = run.mapping.resources[entity.resource]
    part = resource.mappings[entity.part]
    if not isinstance(part.identifier, str) or resource.port.items_to_parse is not None:
        return False
    if constant_blueprint(part.blueprint) is None:
        return False
    if {run.mapping.resources[index].kind for index in feeding(run.mapping, entity.blueprint)} != {kind}:
        return False
    read = looked_at(rewrite_quotes(part.identifier))
    return read is not None and all(path and path[0] in KNOWN[kind] for path, _ in read)


def _is_left(catalog: Catalog, key: Key) -> bool:
    """Say whether Port holds an entity that no fresh row produced."""
    blueprint, identifier = key
    ledger = catalog.ledger(blueprint)
    return not isinstance(ledger, Missing) and ledger.knows(identifier) and not ledger.produced(identifier)


def _tells_apart(run: Run, place: WholeRead, row: Row, key: Key) -> bool:
    """Say whether rows of others have other identifiers: of another person, and of another group or project."""
    return all(key not in _keys(run, place, other) for other in _others(place, row))


def _others(place: WholeRead, row: Row) -> Iterator[Row]:
    scope = place.scope
    if place.kind == "access":
        yield row | {"id": row["id"] + 1, "username": f"{row['username']}x"}
    else:
        yield row | {"invite_email": f"x{row['invite_email']}"}
    for other in (
        replace(scope, id=scope.id + 1, path=f"{scope.path}x"),
        replace(scope, path=f"{scope.path}x", is_group=not scope.is_group),
    ):
        kind = "group" if other.is_group else "project"
        yield row | {"__scope": {"kind": kind, "id": other.id, "full_path": other.path}}


def _is_proved(run: Run, place: WholeRead, person: Person | None) -> bool:
    """Say whether GitLab proves that it ended: a whole list lacks an invitation, and a 404 of its own says of a role.

    The place itself was read with the same token, so that the 404 can only be about the person.
    """
    if place.kind == "invitation":
        return True
    if person is None:
        return False
    selectors: list[Any] = [run.mapping.resources[index].selector for index in place.resources]
    members = "members/all" if any(one.include_inherited_members for one in selectors) else "members"
    try:
        run.gitlab.get(Get(place.scope.token, f"{api_path(place.scope)}/{members}/{person.id}", gives="object"))
    except ReadFailed as failure:
        return failure.reason == "missing"
    return False
