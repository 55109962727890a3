"""Merges what several entity mappings say of one entity."""

from collections.abc import Iterable, Iterator
from typing import Any

from gitlab_port_export.model import Entity, Event, Skipped


def merge_shared(
    events: Iterable[Event | Entity], shared: frozenset[str] | None, *, by_field: bool = True
) -> Iterable[Event | Entity]:
    """Merge entities of blueprints that several entity mappings feed (None: any), in their order, later fields winning.

    They wait until everything was read; all others pass at once. Of rows of one entity mapping with the same key the
    one from the lowest scope, then the lowest row id, wins. Without `by_field` the last mapping's entity replaces the
    others whole, as Port does without merging.
    """
    return events if shared is not None and not shared else _merged(events, shared, by_field)


def _merged(
    events: Iterable[Event | Entity], shared: frozenset[str] | None, by_field: bool
) -> Iterator[Event | Entity]:
    waiting: dict[tuple[str, str], dict[tuple[int, int], Entity]] = {}
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
    for found in waiting.values():
        ordered = [found[source] for source in sorted(found)][0 if by_field else -1 :]
        fields: dict[str, Any] = {}
        for entity in ordered:
            fields |= dict(zip(entity.shape.names, entity.values, strict=True))
        yield ordered[0].holding(fields)
