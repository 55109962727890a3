"""Merges what several entity mappings say of one entity."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gitlab_port_export.mapping.blueprints import constant_blueprint
from gitlab_port_export.mapping.model import Mapping as PortMapping
from gitlab_port_export.model import Entity, Event, Narrowed, Problem, Skipped, Unnamed

# A resource and its entity mapping, by number: of two that set a field the higher one wins.
Source = tuple[int, int]


@dataclass
class Unread:
    """Which entity mappings were not read whole: they may set fields of an entity without a row of it.

    `faults` are those found so far. `holds` says of (blueprint, identifier) whether Port holds the entity: a new
    one has no fields to lose. `left_out` are the resources that a run of a part does not read.
    """

    mapping: PortMapping
    faults: Sequence[Problem | Unnamed | Narrowed]
    holds: Callable[[str, str], bool]
    left_out: frozenset[int] = frozenset()
    resources: frozenset[int] = frozenset()
    left: dict[str, tuple[int, str]] = field(default_factory=dict)

    def settle(self) -> None:
        """Take over the faults of all reads."""
        every = frozenset(resource.index for resource in self.mapping.resources)
        self.resources = self.left_out.union(*(_of(one, every) for one in self.faults))

    def above(self, entity: Entity, found: Mapping[Source, Entity]) -> dict[Source, frozenset[str]]:
        """Return the fields of each later mapping that was not read whole and may set them in the entity."""
        if not self.resources:
            return {}
        missing = {
            (index, part): frozenset(name for name, _ in one.fields())
            for index in sorted(self.resources)
            for part, one in enumerate(self.mapping.resources[index].mappings)
            if (index, part) not in found and constant_blueprint(one.blueprint) in (None, entity.blueprint)
        }
        return missing if missing and self.holds(*entity.key) else {}

    def note(self, entity: Entity) -> None:
        """Count an entity that keeps fields for what was not read."""
        count, sample = self.left.get(entity.blueprint, (0, str(entity.identifier)))
        self.left[entity.blueprint] = (count + 1, sample)

    def words(self) -> Iterator[str]:
        """Yield what a run of a part left as it is, for people."""
        for blueprint, (count, _) in self.left.items() if self.left_out else ():
            some = "1 entity" if count == 1 else f"{count} entities"
            yield f"{blueprint}: what other resources set of {some}"

    def problems(self, *, by_field: bool) -> Iterator[Problem]:
        """Yield a Problem for the fields that were left as they are; a run of a part says so in `words`."""
        if self.left_out:
            return
        what = "fields that it may set are left as they are in Port" if by_field else "their entities are not written"
        for blueprint, (count, sample) in self.left.items():
            yield Problem(
                "transform", f"a resource that has the last word was not read whole: {what}",
                "solve the problem of that resource; the next run writes what was left",
                blueprint=blueprint, warning=True, count=count, sample=sample,
            )  # fmt: skip


def _of(fault: Problem | Unnamed | Narrowed, every: frozenset[int]) -> frozenset[int]:
    """Return the resources whose rows may be missing because of a fault."""
    if not isinstance(fault, Problem) or fault.warning or fault.stage not in ("inventory", "read", "transform"):
        return frozenset()
    # A file of specPath that could not be read holds all deletions too, but has a scope.
    return every if fault.holds_all and not fault.scope else every & frozenset(fault.resources)


def merge_shared(
    events: Iterable[Event | Entity],
    shared: frozenset[str] | None,
    *,
    by_field: bool = True,
    unread: Unread | None = None,
) -> Iterable[Event | Entity]:
    """Merge entities of blueprints that several entity mappings feed (None: any), in their order, later fields winning.

    They wait until everything was read; all others pass at once. Of rows of one entity mapping with the same key the
    one from the lowest scope, then the lowest row id, wins. Without `by_field` the last mapping's entity replaces the
    others whole, as Port does without merging. Fields that an `unread` mapping would set later are left out; without
    `by_field` the entity is.
    """
    return events if shared is not None and not shared else _merged(events, shared, by_field, unread)


def _merged(
    events: Iterable[Event | Entity], shared: frozenset[str] | None, by_field: bool, unread: Unread | None
) -> Iterator[Event | Entity]:
    waiting: dict[tuple[str, str], dict[Source, Entity]] = {}
    for event in events:
        if not isinstance(event, Entity) or (shared is not None and event.blueprint not in shared) or event.is_search:
            yield event
            continue
        found = waiting.setdefault(event.key, {})
        source = (event.resource, event.part)
        other = found.get(source)
        if other is not None:
            yield Skipped(event.resource, "duplicate", str(event.identifier), rows=(other.order, event.order))
        if other is None or event.order <= other.order:
            found[source] = event
    if unread:
        unread.settle()
    for found in waiting.values():
        ordered = [found[source] for source in sorted(found)]
        missing = unread.above(ordered[0], found) if unread else {}
        entity = _joined(found, missing) if by_field else ordered[-1]
        kept = by_field or not missing or max(missing) < max(found)
        if unread and (not kept or (missing and len(entity.values) < len(_joined(found, {}).values))):
            unread.note(entity)
        if kept:
            yield entity
    if unread:
        yield from unread.problems(by_field=by_field)


def _joined(found: Mapping[Source, Entity], missing: Mapping[Source, frozenset[str]]) -> Entity:
    """Return the entity with the last mapping's value of each field; where that was not read, without the field."""
    fields: dict[str, Any] = {}
    for source in sorted({*found, *missing}):
        if source in found:
            fields |= dict(zip(found[source].shape.names, found[source].values, strict=True))
        else:
            for name in missing[source] & fields.keys():
                del fields[name]
    return found[min(found)].holding(fields)
