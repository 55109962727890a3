"""The last stage: finds the owned entities that are gone, asks the policy, and deletes, sources before targets.

An entity is *owned* if this integration, or Ocean under the same identifier, wrote it."""

from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import replace

from gitlab_port_export.base.answer import Unreachable
from gitlab_port_export.model import Delete, Entity, Event, Held, Problem, Written
from gitlab_port_export.port.catalog import Catalog
from gitlab_port_export.port.client import PortRefused, advice
from gitlab_port_export.port.deleter import Deleter
from gitlab_port_export.port.keys import relation_targets, target_key
from gitlab_port_export.port.moments import is_before
from gitlab_port_export.port.order import blueprint_order, dependency_order
from gitlab_port_export.sync.coverage import Coverage
from gitlab_port_export.sync.policy import Decisions, Gone, Policy


def find_gone(catalog: Catalog, integration: str, targets: set[int]) -> list[Gone]:
    """Return by blueprint the owned entities that this run did not produce.

    `targets` are the keys of entities that something relates to, see `port/keys.py`. Raises PortRefused and
    Unreachable: without the whole list of owned entities nothing is deleted.
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
    """Separate, in blueprints that no resource feeds, placeholders from the other entities that are gone.

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


# Returns the policy's decisions on what is known when it is called.
Judge = Callable[[], Decisions]
# Reads GitLab again for what may be deleted, and returns the decisions after that.
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
    """Yield the held deletions and those that were made (or, without a deleter, would be).

    Right before deleting, Port is read again: an entity that changed there after `instant` (ISO, Port's clock) stays.
    """
    try:
        decisions = yield from confirm(lambda: judge(catalog, policy(), integration, targets))
        yield from decisions.held
        allowed = decisions.allowed
        if not allowed:
            return
        owned = _still_owned(catalog, integration, allowed)
        taken = [(one.blueprint, [n for n in one.identifiers if (one.blueprint, n) not in owned]) for one in allowed]
        keep = targets | _targets_of(catalog, [*decisions.staying, *taken], {entry.blueprint for entry in allowed})
        old = yield from _without_recent(catalog, allowed, owned, instant or "", keep)
        for entry in allowed:
            if entry.placeholders:
                keep.update(_wanted(catalog, entry, {one.key for one in old}))
        yield from delete(catalog, not_needed(catalog, old, keep), keep, deleter)
    except (PortRefused, Unreachable) as failure:
        yield Problem(
            "delete",
            f"Port did not list the owned entities, so nothing more is deleted: {failure}",
            advice(failure, "read entities"),
            holds_all=True,
        )


def _without_recent(
    catalog: Catalog, allowed: Sequence[Gone], owned: set[tuple[str, str]], instant: str, keep: set[int]
) -> Generator[Event, None, list[Entity]]:
    """Hold what changed in Port after `instant` and return the others; `keep` grows by what the held ones relate to."""
    old: list[Entity] = []
    for entry in allowed:
        recent: list[str] = []
        names = [name for name in entry.identifiers if (entry.blueprint, name) in owned]
        for entity, changed in fresh(catalog, entry.blueprint, names):
            if is_before(changed, instant):
                old.append(entity)
            else:
                recent.append(str(entity.identifier))
                keep.update(related(catalog, entity))
        if recent:
            why = "changed in Port after this run began"
            yield Held(entry.blueprint, tuple(recent), "recent", why, "the next run looks at it again")
    return old


def _still_owned(catalog: Catalog, integration: str, entries: Sequence[Gone]) -> set[tuple[str, str]]:
    """Return (blueprint, identifier) of what is still owned: another integration may have taken an entity over."""
    candidates = {(entry.blueprint, name) for entry in entries for name in entry.identifiers}
    return candidates.intersection(catalog.owned(integration, anew=True))


def _targets_of(catalog: Catalog, staying: Sequence[tuple[str, Sequence[str]]], among: set[str]) -> set[int]:
    """Return the keys of what staying entities that were not produced relate to, in the blueprints `among`."""
    found: set[int] = set()
    for name, identifiers in staying:
        relations = catalog.blueprints[name].relations if name in catalog.blueprints else {}
        if any(relation.target in among for relation in relations.values()):
            for entity, _ in fresh(catalog, name, identifiers):
                found.update(related(catalog, entity))
    return found


def _wanted(catalog: Catalog, entry: Gone, doomed: set[tuple[str, str]]) -> Iterator[int]:
    """Yield the keys of the placeholders to which an entity relates that stays, whoever wrote it.

    Entities that this run produced are left out: their new relations are known, and in a plan Port has the old ones.
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
    """Return the key of each entity that this one relates to."""
    blueprint = catalog.blueprints.get(entity.blueprint)
    return relation_targets(blueprint, entity.relations) if blueprint else []


def not_needed(catalog: Catalog, entities: list[Entity], keep: set[int]) -> list[Entity]:
    """Return the entities to which nothing that stays relates; the targets of those that stay are added to `keep`."""
    while staying := [entity for entity in entities if target_key(*entity.key) in keep]:
        entities = [entity for entity in entities if target_key(*entity.key) not in keep]
        for entity in staying:
            keep.update(related(catalog, entity))
    return entities


def delete(catalog: Catalog, entities: list[Entity], keep: set[int], deleter: Deleter | None) -> Iterator[Event]:
    """Delete sources before targets, or without a deleter yield what would be deleted; targets of what stays stay."""
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
