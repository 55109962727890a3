"""Compares entities with Port and yields changes: create, update or nothing; no I/O."""

from collections import OrderedDict, abc
from collections.abc import Callable, Iterable, Iterator, Sequence, Set
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, Protocol

from gitlab_port_export.base.jsontext import encode
from gitlab_port_export.model import Create, Entity, Event, Problem, Settle, Skipped, Unchanged, Update
from gitlab_port_export.port.keys import relation_targets, target_key
from gitlab_port_export.port.ledger import UNCHANGED, Comparison, Ledger, Missing, Status
from gitlab_port_export.sync.merge import merge_shared
from gitlab_port_export.sync.searching import Later, answered, explicit_targets, queries

# Updates that wait for a better row hold at most so many bytes of values; in memory they take about twice as much.
MAX_WAITING_BYTES = 8 * 1024 * 1024
# What an entity takes beside its values.
FRAME_BYTES = 300
# How often the entities of a blueprint are compared while the answers to their searches go on changing.
MAX_LOOKS = 5


class Pending(NamedTuple):
    """An update that waits, and about how many bytes it holds."""

    update: Update
    weight: int


@dataclass
class Waiting:
    """Updates that wait for a better row, the oldest first."""

    updates: OrderedDict[tuple[str, str], Pending] = field(default_factory=OrderedDict)
    weight: int = 0

    def put(self, update: Update) -> None:
        """Add an update; it replaces an earlier one of the same entity."""
        self.drop(update.entity.key)
        pending = Pending(update, weight(update.entity))
        self.updates[update.entity.key] = pending
        self.weight += pending.weight

    def drop(self, key: tuple[str, str]) -> None:
        """Remove the update of an entity, if there is one."""
        if pending := self.updates.pop(key, None):
            self.weight -= pending.weight

    def overdue(self, most: int) -> Iterator[Update]:
        """Remove and yield the oldest updates until at most `most` bytes wait."""
        while self.weight > most and self.updates:
            _, pending = self.updates.popitem(last=False)
            self.weight -= pending.weight
            yield pending.update


def weight(entity: Entity) -> int:
    """Return the approximate size of an entity in bytes."""
    return FRAME_BYTES + len(encode(entity.values))


class Finder(Protocol):
    """What answers search queries; see port.searches."""

    def ask(self, wanted: Iterable[tuple[str, abc.Mapping[str, Any]]]) -> None:
        """Send each of these (blueprint, query) that has no answer yet."""

    def found(self, target: str, query: abc.Mapping[str, Any]) -> list[str] | None:
        """Return the identifiers that a query found, or None where Port gave no answer."""

    def shows(self, blueprint: str) -> bool:
        """Return whether Port shows the blueprint."""

    def touch(self, *blueprints: str) -> None:
        """Note that entities of these blueprints may have been created."""

    def refresh(self) -> set[str]:
        """Drop outdated answers; return the blueprints that were written to since the last call."""


# Returns which of these updates would put an older state in the place of a newer one.
Overtaken = Callable[[Sequence[Update]], Set[tuple[str, str]]]


@dataclass
class Differ:
    """Turns entities into changes: creates pass at once, updates wait a while, entities with searches until the end.

    Updates wait because several rows may have the same key: the lowest wins, whichever came first. When many wait,
    the oldest pass, so that memory stays bounded; a better row that comes later is then a second update. `ledger` gives
    what Port holds of a blueprint, or why that is not known. `fixed` names the fields of a blueprint that rows with an
    identifier of their own set: a row that finds the entity by a search does not change those. `overtaken` is asked of
    updates that have waited.
    """

    ledger: Callable[[str], Ledger | Missing]
    searches: Finder
    fixed: Callable[[str], Set[str]] = field(default=lambda _blueprint: frozenset())
    overtaken: Overtaken = field(default=lambda _updates: frozenset())
    waiting: Waiting = field(default_factory=Waiting)
    targets: set[int] = field(default_factory=set)
    # Blueprints that entities relate to by a search whose result is not known.
    unresolved: set[str] = field(default_factory=set)
    # Resources whose entities Port finds by a search, as the mapping says or an expression gave.
    searched: set[int] = field(default_factory=set)
    ledgers: dict[str, Ledger] = field(default_factory=dict)
    later: Later = field(default_factory=Later)
    # By blueprint and resource: how many more entities cannot be written.
    unwritable: dict[tuple[str, int], Problem] = field(default_factory=dict)
    # Resources whose entities inherit their teams although the mapping gives them some.
    teamless: set[int] = field(default_factory=set)
    # Keys of entities that only a search found: no row has their identifier.
    patched: set[int] = field(default_factory=set)

    def afresh(self) -> "Differ":
        """Return a Differ for further entities: it shares what is known, and no update waits."""
        return replace(self, waiting=Waiting(), ledgers={}, later=Later())

    def run(self, events: Iterable[Event | Entity]) -> Iterator[Event]:
        """Yield changes in place of entities, and everything else as it came."""
        for event in events:
            if isinstance(event, Entity):
                yield from self._take(event)
            else:
                yield event
        yield from self._overdue(0)
        yield from self._search()
        yield from (problem for problem in self.unwritable.values() if problem.count)
        self.unwritable.clear()
        for name, ledger in self.ledgers.items():
            if ledger.unchanged:
                yield Unchanged(name, ledger.unchanged)
            if ledger.unknown_teams:
                yield _unknown_teams(ledger)

    def _take(self, entity: Entity) -> Iterable[Event]:
        """Compare one entity with Port; yields nothing when it is unchanged."""
        ledger = self.ledgers.get(entity.blueprint) or self.ledger(entity.blueprint)
        if isinstance(ledger, Missing):
            return () if ledger.told else self._not_written(ledger, entity)
        self.ledgers[entity.blueprint] = ledger
        if ledger.blueprint.inherits_team and entity.shape.keys[2]:
            return (*self._told(entity), *self._take(entity.without("team")))
        if entity.searches:
            if entity.is_search:
                self.searched.add(entity.resource)
            self.later.put(entity, ledger.blueprint)
            return ()
        return self._meet(ledger, entity)

    def _not_written(self, missing: Missing, entity: Entity) -> Iterator[Problem]:
        """Yield a Problem for the first entity of a resource that cannot be written; count the others until the end."""
        key = entity.blueprint, entity.resource
        if known := self.unwritable.get(key):
            self.unwritable[key] = replace(known, count=known.count + 1)
            return
        problem = _unwritable(missing, entity)
        self.unwritable[key] = replace(problem, sample="", count=0)
        yield problem

    def _told(self, entity: Entity) -> Iterator[Problem]:
        """Yield a warning, once for each resource, that Port takes no team for its entities."""
        if entity.resource not in self.teamless:
            self.teamless.add(entity.resource)
            why = f"entities of blueprint {entity.blueprint} inherit their teams, so the mapped ones are left out"
            hint = "take `team` out of the mapping, or make the blueprint's ownership direct"
            resources = (entity.resource,)
            yield Problem(
                "diff", why, hint, resources=resources, field="team", blueprint=entity.blueprint, warning=True
            )

    def _meet(self, ledger: Ledger, entity: Entity) -> Sequence[Event]:
        """Compare an entity with what Port holds of it."""
        if entity.shape.keys[3]:
            self.targets.update(relation_targets(ledger.blueprint, entity.relations))
        comparison = ledger.meet(entity)
        if comparison is UNCHANGED and not self.waiting.updates:
            return ()  # as nearly all are
        found: list[Event] = []
        if comparison.duplicate:
            rows = (comparison.other, entity.order) if comparison.other else None
            found.append(Skipped(entity.resource, "duplicate", str(entity.identifier), rows=rows))
        if comparison.lost:
            return found
        if comparison.status in (Status.SENT, Status.CREATED):
            # A better row for an entity that was just written overwrites it.
            found.append(Update(entity, comparison.fields, again=True) if comparison.fields else Create(entity))
        elif comparison.status == Status.UPDATED:
            self.waiting.put(Update(entity, comparison.fields))
            if self.waiting.weight > MAX_WAITING_BYTES:
                # Many at once, as they are looked at together.
                found += self._overdue(MAX_WAITING_BYTES * 7 // 8)
        else:
            self.waiting.drop(entity.key)
        return found

    def _overdue(self, most: int) -> Iterator[Update]:
        """Yield the updates that have waited longest, until at most `most` bytes wait."""
        updates = list(self.waiting.overdue(most))
        left = self.overtaken(updates) if updates else ()
        for update in updates:
            if update.entity.key not in left:
                self.ledgers[update.entity.blueprint].send(update.entity)
                yield update

    def _search(self) -> Iterator[Event]:
        """Compare the entities with searches; again when this run has written to a blueprint in which they search.

        A blueprint comes after those that its entities search in. In a cycle of blueprints, or within one, later writes
        may change the answers.
        """
        names = self.later.order()
        stale, seen = set(names), set[str]()
        for _ in range(MAX_LOOKS * len(names)):
            yield Settle()
            touched = self.searches.refresh()
            stale |= {name for name in names if self.later.searched[name] & touched}
            name = next((name for name in names if name in stale), None)
            if name is None:
                return
            stale.remove(name)
            ledger, first, patches = self.ledgers[name], name not in seen, list[Entity]()
            for entities in self.later.take(name):
                yield from self._look(ledger, entities, patches, first=first)
            yield from self._overdue(0)
            for found in merge_shared(patches, None):
                if isinstance(found, Entity):
                    yield from self._patch(ledger, found)
                elif first:
                    yield found
            seen.add(name)

    def _look(
        self, ledger: Ledger, entities: Sequence[Entity], patches: list[Entity], *, first: bool
    ) -> Iterator[Event]:
        """Compare these entities; those whose own identifier was found by a search are added to `patches`."""
        blueprint = ledger.blueprint
        self.searches.ask((target, query) for entity in entities for _, target, query in queries(entity, blueprint))
        for entity in entities:
            replaced = ledger.whole and ledger.knows(str(entity.identifier))
            answer = answered(entity, blueprint, self.searches.found, self.searches.shows, replaced=replaced)
            self.targets.update(answer.targets)
            self.unresolved.update(answer.unknown)
            if first:
                yield from answer.problems
            if answer.entity is None:
                if first and not answer.problems:
                    yield Skipped(entity.resource, "identifier", entity.key[1])
            elif entity.is_search:
                patches.append(answer.entity)
            else:
                changes = self._meet(ledger, answer.entity) if first else self._meet_again(ledger, answer.entity)
                if changes:
                    self.searches.touch(*explicit_targets(entity, blueprint))
                yield from changes

    def _meet_again(self, ledger: Ledger, entity: Entity) -> Sequence[Event]:
        self.targets.update(relation_targets(ledger.blueprint, entity.relations))
        return _changed(entity, ledger.meet_again(entity))

    def _patch(self, ledger: Ledger, entity: Entity) -> Sequence[Event]:
        """Compare an entity that a search found; fields that a row with its identifier sets are left out."""
        key = target_key(*entity.key)
        if key not in self.patched:
            if ledger.produced(str(entity.identifier)):
                # Where Port overwrites, a row with the identifier sets every field, and another write clears them.
                if ledger.whole:
                    return ()
                fixed = self.fixed(entity.blueprint)
                fields = dict(zip(entity.shape.names, entity.values, strict=True))
                entity = entity.holding({name: value for name, value in fields.items() if name not in fixed})
            else:
                self.patched.add(key)
        self.targets.update(relation_targets(ledger.blueprint, entity.relations))
        return _changed(entity, ledger.patch(entity))


def _changed(entity: Entity, comparison: Comparison) -> Sequence[Event]:
    sent = comparison.status in (Status.SENT, Status.CREATED)
    return (Update(entity, comparison.fields, again=sent),) if comparison.fields else ()


def _unknown_teams(ledger: Ledger) -> Problem:
    names = ", ".join(sorted(ledger.unknown_teams))
    why, hint = "Port has no such teams and does not show them, so they are not compared", "create them in Port"
    return Problem("diff", why, hint, blueprint=ledger.blueprint.identifier, field="team", warning=True, sample=names)


def _unwritable(missing: Missing, entity: Entity) -> Problem:
    return Problem(
        "diff",
        missing.why,
        missing.hint,
        blueprint=entity.blueprint,
        resources=(entity.resource,),
        sample=str(entity.identifier),
    )
