"""The last stage: which of our entities are gone, which may be deleted, and deleting them, sources first."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from gitlab_port_export.diff import Policy
from gitlab_port_export.http import Unreachable
from gitlab_port_export.model import Delete, Entity, Event, Held, Problem
from gitlab_port_export.port.catalog import Catalog
from gitlab_port_export.port.client import PortRefused
from gitlab_port_export.port.ledger import relation_targets, target_key
from gitlab_port_export.port.writer import Deleter, blueprint_order, dependency_order

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Gone:
    """Our entities of one blueprint that were not produced; `owned` counts all that are ours."""

    blueprint: str
    identifiers: tuple[str, ...]
    owned: int
    produced: bool


def find_gone(catalog: Catalog, integration: str, targets: set[int]) -> list[Gone]:
    """Return per blueprint what is ours and was not produced; relation targets of what was produced stay.

    `targets` are keys of ledger.target_key. Raises PortRefused and Unreachable: without the whole list nothing goes.
    """
    ledgers = catalog.ledgers
    owned: dict[str, int] = {}
    gone: dict[str, list[str]] = {}
    for blueprint, identifier in catalog.owned(integration, None):
        owned[blueprint] = owned.get(blueprint, 0) + 1
        ledger = ledgers.get(blueprint)
        if (ledger is None or not ledger.produced(identifier)) and target_key(blueprint, identifier) not in targets:
            gone.setdefault(blueprint, []).append(identifier)
    return [
        Gone(name, tuple(found), owned[name], name in ledgers and ledgers[name].any_produced)
        for name, found in gone.items()
    ]


def deletions(
    catalog: Catalog,
    policy: Policy,
    integration: str,
    targets: set[int],
    instant: str | None,
    deleter: Deleter | None,
) -> Iterator[Event]:
    """Yield what is held, and what was deleted (or, without a deleter, would be).

    Right before deleting, Port is asked again: what changed there after `instant` (ISO, Port's clock) stays.
    """
    try:
        yield from _deletions(catalog, policy, integration, targets, instant, deleter)
    except (PortRefused, Unreachable) as failure:
        yield Problem(
            "delete",
            f"Port did not list what is ours, so nothing more is deleted: {failure}",
            "run again; give the credentials the right to read entities",
            holds_all=True,
        )


def _deletions(
    catalog: Catalog,
    policy: Policy,
    integration: str,
    targets: set[int],
    instant: str | None,
    deleter: Deleter | None,
) -> Iterator[Event]:
    allowed: list[Gone] = []
    kept: list[Gone] = []
    for entry in find_gone(catalog, integration, targets):
        held = policy.hold(entry.blueprint, entry.identifiers, entry.owned, entry.produced)
        if held is not None:
            kept.append(entry)
            yield held
        else:
            allowed.append(entry)
    if not allowed:
        return
    needed = targets | _targets_of_kept(catalog, kept)
    fresh: list[Entity] = []
    for entry in allowed:
        recent: list[str] = []
        for row in catalog.fresh(entry.blueprint, entry.identifiers):
            identifier = str(row["identifier"])
            if instant is not None and not _is_before(str(row.get("updatedAt") or ""), instant):
                recent.append(identifier)
            elif target_key(entry.blueprint, identifier) not in needed:
                fresh.append(Entity(entry.blueprint, identifier, {"relations": row.get("relations") or {}}, -1))
        if recent:
            why = "changed in Port after this run began"
            yield Held(entry.blueprint, tuple(recent), "recent", why, "the next run looks at it again")
    yield from _delete(catalog, fresh, deleter)


def _targets_of_kept(catalog: Catalog, kept: Sequence[Gone]) -> set[int]:
    """Return what our entities relate to that stay although they were not produced."""
    found: set[int] = set()
    for entry in kept:
        blueprint = catalog.blueprints.get(entry.blueprint)
        if blueprint is not None and blueprint.relations:
            for row in catalog.fresh(entry.blueprint, entry.identifiers):
                found.update(relation_targets(blueprint, row))
    return found


def _is_before(moment: str, instant: str) -> bool:
    """Compare two ISO instants; one that cannot be read counts as recent."""
    try:
        first, second = (datetime.fromisoformat(text.replace("Z", "+00:00")) for text in (moment, instant))
    except ValueError:
        return False
    return first < second


def _delete(catalog: Catalog, entities: list[Entity], deleter: Deleter | None) -> Iterator[Event]:
    by_blueprint: dict[str, list[Entity]] = {}
    for entity in entities:
        by_blueprint.setdefault(entity.blueprint, []).append(entity)
    for name in reversed(blueprint_order(by_blueprint, catalog.blueprints)):
        for group in reversed(list(dependency_order(by_blueprint[name], catalog.blueprints))):
            identifiers: list[Any] = [entity.identifier for entity in group]
            if deleter is None:
                yield from (Delete(name, identifier) for identifier in identifiers)
            else:
                yield from deleter.delete(name, identifiers)
