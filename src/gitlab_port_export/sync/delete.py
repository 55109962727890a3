"""The last stage: which of our entities are gone, which may be deleted, and deleting them, sources first."""

from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import replace
from datetime import datetime

from gitlab_port_export.base.answer import Unreachable
from gitlab_port_export.model import Delete, Entity, Event, Held, Problem, Written
from gitlab_port_export.port.catalog import Catalog
from gitlab_port_export.port.client import PortRefused, advice
from gitlab_port_export.port.deleter import Deleter
from gitlab_port_export.port.keys import relation_targets, target_key
from gitlab_port_export.port.order import blueprint_order, dependency_order
from gitlab_port_export.sync.coverage import Coverage
from gitlab_port_export.sync.policy import Decisions, Gone, Policy


def find_gone(catalog: Catalog, integration: str, targets: set[int]) -> list[Gone]:
    """Return per blueprint what is ours and was not produced.

    `targets` are keys of keys.target_key. Raises PortRefused and Unreachable: without the whole list nothing goes.
    """
    ledgers = catalog.ledgers
    owned: Counter[str] = Counter()
    gone: dict[str, list[str]] = {}
    needed: dict[str, list[str]] = {}
    for blueprint, identifier in catalog.owned(integration):
        owned[blueprint] += 1
        if blueprint in ledgers and ledgers[blueprint].produced(identifier):
            continue
        key = target_key(blueprint, identifier)
        stays = key in targets or any(ledger.needs(key) for ledger in ledgers.values())
        (needed if stays else gone).setdefault(blueprint, []).append(identifier)
    return [
        Gone(
            name, tuple(gone.get(name, ())), tuple(needed.get(name, ())), owned[name],
            name in ledgers and ledgers[name].any_produced,
        )
        for name in dict.fromkeys([*gone, *needed])
    ]  # fmt: skip


def judge(catalog: Catalog, policy: Policy, integration: str, targets: set[int]) -> Decisions:
    """Return what the policy decides on all that is gone. Raises PortRefused and Unreachable."""
    return policy.decide(set_apart(catalog, policy.coverage, find_gone(catalog, integration, targets)))


def set_apart(catalog: Catalog, coverage: Coverage, entries: Sequence[Gone]) -> Iterator[Gone]:
    """Yield the placeholders of a blueprint that no resource feeds apart from what else is gone there.

    Raises PortRefused and Unreachable.
    """
    for entry in entries:
        name, bare = entry.blueprint, set[str]()
        if entry.identifiers and _may_hold_placeholders(catalog, coverage, name):
            bare = catalog.bare(name, entry.identifiers)
        rest = tuple(one for one in entry.identifiers if one not in bare)
        if bare:
            yield Gone(name, tuple(one for one in entry.identifiers if one in bare), (), entry.owned, False, True)
        if rest or not bare or entry.needed:
            yield replace(entry, identifiers=rest)


def _may_hold_placeholders(catalog: Catalog, coverage: Coverage, blueprint: str) -> bool:
    """Say whether entities of a blueprint can be there only because something that is mapped relates to them."""
    if blueprint not in catalog.blueprints or coverage.feeding(blueprint):
        return False
    return any(
        relation.target == blueprint and coverage.feeding(name)
        for name, source in catalog.blueprints.items()
        for relation in source.relations.values()
    )


# Judges what is gone, as far as is known when it is called.
Judge = Callable[[], Decisions]
# Makes sure that what may be deleted is gone, and returns the decisions after that.
Confirm = Callable[[Judge], Generator[Event, None, Decisions]]


def deletions(
    catalog: Catalog,
    policy: Callable[[], Policy],
    confirm: Confirm,
    integration: str,
    targets: set[int],
    instant: str | None,
    deleter: Deleter | None,
) -> Iterator[Event]:
    """Yield what is held, and what was deleted (or, without a deleter, would be).

    Right before deleting, Port is asked again: what changed there after `instant` (ISO, Port's clock) stays.
    """
    try:
        decisions = yield from confirm(lambda: judge(catalog, policy(), integration, targets))
        yield from decisions.held
        allowed = decisions.allowed
        if not allowed:
            return
        ours = _still_ours(catalog, integration, allowed)
        taken = [(one.blueprint, [n for n in one.identifiers if (one.blueprint, n) not in ours]) for one in allowed]
        keep = targets | _targets_of(catalog, [*decisions.staying, *taken], {entry.blueprint for entry in allowed})
        doomed: list[Entity] = []
        for entry in allowed:
            recent: list[str] = []
            doubted = [name for name in entry.identifiers if (entry.blueprint, name) in ours]
            for entity, changed in fresh(catalog, entry.blueprint, doubted):
                if _is_before(changed, instant or ""):
                    doomed.append(entity)
                else:
                    recent.append(str(entity.identifier))
                    keep.update(related(catalog, entity))
            if recent:
                why = "changed in Port after this run began"
                yield Held(entry.blueprint, tuple(recent), "recent", why, "the next run looks at it again")
        for entry in allowed:
            if entry.placeholders:
                keep.update(_wanted(catalog, entry, {one.key for one in doomed}))
        yield from delete(catalog, not_needed(catalog, doomed, keep), keep, deleter)
    except (PortRefused, Unreachable) as failure:
        yield Problem(
            "delete",
            f"Port did not list what is ours, so nothing more is deleted: {failure}",
            advice(failure, "read entities"),
            holds_all=True,
        )


def _still_ours(catalog: Catalog, integration: str, entries: Sequence[Gone]) -> set[tuple[str, str]]:
    """Return (blueprint, identifier) of those that are ours now: somebody may have taken one over during the run."""
    candidates = {(entry.blueprint, name) for entry in entries for name in entry.identifiers}
    return candidates.intersection(catalog.owned(integration, anew=True))


def _targets_of(catalog: Catalog, staying: Sequence[tuple[str, Sequence[str]]], among: set[str]) -> set[int]:
    """Return what of the blueprints `among` our entities relate to that stay although they were not produced."""
    found: set[int] = set()
    for name, identifiers in staying:
        relations = catalog.blueprints[name].relations if name in catalog.blueprints else {}
        if any(relation.target in among for relation in relations.values()):
            for entity, _ in fresh(catalog, name, identifiers):
                found.update(related(catalog, entity))
    return found


def _wanted(catalog: Catalog, entry: Gone, doomed: set[tuple[str, str]]) -> Iterator[int]:
    """Yield which of these placeholders something relates to that stays, whoever wrote it.

    What this run produced was looked at: its relations are known, and in a plan Port still holds the old ones.
    """
    ledgers = catalog.ledgers
    for entity, identifier in catalog.referrers(entry.blueprint, entry.identifiers):
        name, referrer = entity.key
        if entity.key not in doomed and not (name in ledgers and ledgers[name].produced(referrer)):
            yield target_key(entry.blueprint, identifier)


def fresh(catalog: Catalog, blueprint: str, identifiers: Sequence[str]) -> Iterator[tuple[Entity, str]]:
    """Yield these entities as Port holds them now, each with the instant of its last change."""
    for row in catalog.fresh(blueprint, identifiers):
        body = {"relations": row.get("relations") or {}}
        yield Entity.of(blueprint, str(row["identifier"]), body, -1), str(row.get("updatedAt") or "")


def related(catalog: Catalog, entity: Entity) -> list[int]:
    """Return a key of keys.target_key for each entity that this one relates to."""
    blueprint = catalog.blueprints.get(entity.blueprint)
    return relation_targets(blueprint, entity.relations) if blueprint else []


def not_needed(catalog: Catalog, entities: list[Entity], keep: set[int]) -> list[Entity]:
    """Return the entities that nothing which stays relates to; `keep` grows by what those that stay relate to."""
    while staying := [entity for entity in entities if target_key(*entity.key) in keep]:
        entities = [entity for entity in entities if target_key(*entity.key) not in keep]
        for entity in staying:
            keep.update(related(catalog, entity))
    return entities


def _is_before(moment: str, instant: str) -> bool:
    """Compare two ISO instants; one that cannot be read counts as recent."""
    try:
        return datetime.fromisoformat(moment) < datetime.fromisoformat(instant)
    except (ValueError, TypeError):  # TypeError: one of them names no time zone
        return False


def delete(catalog: Catalog, entities: list[Entity], keep: set[int], deleter: Deleter | None) -> Iterator[Event]:
    """Delete sources before targets (without a deleter, say what would go); what stays keeps what it relates to."""
    by_blueprint: dict[str, list[Entity]] = {}
    for entity in entities:
        by_blueprint.setdefault(entity.blueprint, []).append(entity)
    for name in reversed(blueprint_order(by_blueprint, catalog.blueprints)):
        for group in reversed(list(dependency_order(by_blueprint[name], catalog.blueprints))):
            needed = tuple(str(entity.identifier) for entity in group if target_key(*entity.key) in keep)
            if needed:
                why = "what relates to it could not be deleted"
                yield Held(name, needed, "dependents", why, "the next run looks at it again")
            free = [str(entity.identifier) for entity in group if entity.identifier not in needed]
            if deleter is None:
                yield from (Delete(name, identifier) for identifier in free)
                continue
            gone: set[str] = set()
            for outcome in deleter.delete(name, free):
                if isinstance(outcome, Written) and isinstance(outcome.change, Delete):
                    gone.add(outcome.change.identifier)
                yield outcome
            for entity in group:
                if entity.identifier not in gone:
                    keep.update(related(catalog, entity))
