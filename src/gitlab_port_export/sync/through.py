"""Takes pages of GitLab through transform, merge, diff and write."""

import secrets
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from gitlab_port_export.jq.pool import Evaluator
from gitlab_port_export.mapping.blueprints import shared_blueprints
from gitlab_port_export.mapping.model import Mapping
from gitlab_port_export.model import Entity, Event
from gitlab_port_export.port.catalog import Catalog
from gitlab_port_export.sync.diff import Differ
from gitlab_port_export.sync.faults import explained
from gitlab_port_export.sync.merge import Unread, merge_shared
from gitlab_port_export.sync.partly import Partly
from gitlab_port_export.sync.second_look import Mapped
from gitlab_port_export.sync.transform import Transformer

# So many entities and other events are looked up together.
AT_ONCE = 500


@dataclass(frozen=True)
class Stages:
    """The stages of a run; `written` makes changes to what Port answered, or a plan keeps.

    In a `narrow` catalog entities are looked up first. `rules` are those of a run that reads a part.
    """

    mapping: Mapping
    evaluator: Evaluator
    unread: Unread
    written: Callable[[Iterable[Event]], Iterable[Event]]
    narrow: Catalog | None = None
    rules: Partly | None = None

    def through(
        self, differ: Differ, pages: Iterable[Event], choose: Callable[[Mapped], Mapped] = iter
    ) -> Iterable[Event]:
        """Return what becomes of pages; `choose` picks the entities that are compared."""
        transform = transformer(self.mapping, self.evaluator)
        entities = choose(transform.run(self.rules.looking_at(pages) if self.rules else pages))
        if self.narrow:
            entities = looked_up(entities, self.narrow)
        merged = merge_shared(
            entities,
            shared_blueprints(self.mapping),
            by_field=self.mapping.enable_merge_entity,
            unread=self.unread,
        )
        changes = differ.run(merged)
        if self.rules:
            changes = self.rules.let_pass(changes)
        return self.written(explained(changes, self.mapping, transform.label))


def transformer(mapping: Mapping, evaluator: Evaluator) -> Transformer:
    """Return what makes entities of pages."""
    # The key under which jq puts errors: nobody can foresee it and put one into a row.
    return Transformer(mapping, evaluator, f"__jq_error_{secrets.token_hex(4)}")


def looked_up(events: Mapped, catalog: Catalog) -> Iterator[Event | Entity]:
    """Yield the events; the catalog is made to hold each entity before it comes, many at a time."""
    batch: list[Event | Entity] = []
    for event in events:
        batch.append(event)
        if len(batch) >= AT_ONCE:
            catalog.look_up(_keys(batch))
            yield from batch
            batch = []
    catalog.look_up(_keys(batch))
    yield from batch


def _keys(events: Iterable[Event | Entity]) -> Iterator[tuple[str, str]]:
    return (event.key for event in events if isinstance(event, Entity) and not event.is_search)
