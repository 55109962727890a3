"""What an event may delete: what GitLab proves to be gone, where the entity follows from the event's own fields."""

import re
from collections import Counter
from collections.abc import Generator, Iterable, Iterator, Sequence
from collections.abc import Mapping as Dict
from dataclasses import dataclass
from functools import partial
from typing import Any

from gitlab_port_export.base.parallel import Job, drive
from gitlab_port_export.gitlab.client import Ask, Get, GitLab, ReadFailed
from gitlab_port_export.gitlab.inventory import Inventory
from gitlab_port_export.gitlab.kinds import KINDS
from gitlab_port_export.gitlab.kinds.kind import Vanished
from gitlab_port_export.gitlab.kinds.shared.again import is_gone
from gitlab_port_export.gitlab.touched import Touched
from gitlab_port_export.jq.pool import Evaluator
from gitlab_port_export.jq.program import rewrite_quotes
from gitlab_port_export.live.reach import looked_at
from gitlab_port_export.mapping.blueprints import constant_blueprint, feeding
from gitlab_port_export.mapping.model import Mapping, Resource
from gitlab_port_export.model import Entity, Event, Held, Page, Row, Scope
from gitlab_port_export.port.catalog import Catalog
from gitlab_port_export.port.deleter import Deleter
from gitlab_port_export.port.keys import target_key
from gitlab_port_export.sync.coverage import coverage_of
from gitlab_port_export.sync.delete import Judge, deletions
from gitlab_port_export.sync.policy import Decisions, Gone, Policy
from gitlab_port_export.sync.through import transformer

Key = tuple[str, str]


@dataclass(frozen=True)
class Lost:
    """An object that GitLab has proved to be gone, where it was, and what is known of its row."""

    touched: Touched
    scope: Scope
    row: Row


def proved_gone(
    gitlab: GitLab, inventory: Inventory, resources: Sequence[Resource], touched: Iterable[Touched], workers: int
) -> Iterator[tuple[str, Lost]]:
    """Yield (kind, object) of what GitLab proves to be gone. A failed read proves nothing."""
    jobs = (
        _proof(name, one, vanished, scope)
        for one in touched
        if (scope := _scope(inventory, one)) is not None
        for name, vanished in _kinds(resources, one)
    )
    yield from drive(jobs, gitlab.answer, (Get, Ask), workers=workers)


def _kinds(resources: Sequence[Resource], touched: Touched) -> Iterator[tuple[str, Vanished]]:
    for name in dict.fromkeys(resource.kind for resource in resources):
        again = KINDS[name].again
        if again and again.vanished and touched.what in again.of:
            yield name, again.vanished


def _scope(inventory: Inventory, touched: Touched) -> Scope | None:
    places = inventory.groups() if touched.group is not None else inventory.projects()
    wanted = touched.project if touched.group is None else touched.group
    return next((place.scope for place in places if place.scope.id == wanted), None)


def _proof(name: str, touched: Touched, vanished: Vanished, scope: Scope) -> Job:
    try:
        if (yield from is_gone(scope, vanished, touched)):
            yield name, Lost(touched, scope, vanished.row(touched, scope))
    except ReadFailed:
        pass  # what could not be read is not proved


def entities_of(mapping: Mapping, evaluator: Evaluator, kind: str, lost: Lost) -> list[Key]:
    """Return the entities of an object that is gone, as far as its key and place alone tell them.

    None where another kind may give the entity as well.
    """
    indexes = tuple(one.index for one in mapping.resources if one.kind == kind and one.known)
    page = Page(kind, indexes, lost.scope, [lost.row])
    found = (one for one in transformer(mapping, evaluator).run([page]) if isinstance(one, Entity))
    return list(dict.fromkeys(one.key for one in found if _follows(mapping, one, kind, lost)))


def _follows(mapping: Mapping, entity: Entity, kind: str, lost: Lost) -> bool:
    resource = mapping.resources[entity.resource]
    identifier = resource.mappings[entity.part].identifier
    if not isinstance(identifier, str) or resource.port.items_to_parse is not None:
        return False
    if constant_blueprint(resource.mappings[entity.part].blueprint) is None:
        return False
    if {mapping.resources[index].kind for index in feeding(mapping, entity.blueprint)} != {kind}:
        return False
    seen = looked_at(rewrite_quotes(identifier))
    return seen is not None and all(_is_text(lost.row, path) for path, _ in seen) and _is_own(entity, lost)


def _is_text(row: Any, path: Sequence[str]) -> bool:
    for name in path:
        row = row.get(name) if isinstance(row, dict) else None
    return isinstance(row, str | int)


def _is_own(entity: Entity, lost: Lost) -> bool:
    """Say whether an identifier holds the whole key of the object, and of its project where the key is a name there.

    Without them another object may have the same identifier.
    """
    key = lost.touched.key
    parts = [str(key)] if isinstance(key, int) else [str(key), lost.scope.path]
    return all(re.search(rf"(?<![\w.-]){re.escape(part)}(?![\w.-])", str(entity.identifier)) for part in parts)


def deleted(
    mapping: Mapping,
    catalog: Catalog,
    keys: Iterable[Key],
    integration: str,
    released: Dict[str, int | None],
    instant: str | None,
    deleter: Deleter | None,
) -> Iterator[Event]:
    """Yield what became of entities whose objects are gone: the rules are those of a full run.

    What Port does not hold, or another one wrote, is no deletion to speak of.
    """
    every = frozenset(one.index for one in mapping.resources)
    policy = Policy(coverage_of(mapping, every, ()), mapping.entity_deletion_threshold, released)
    named = frozenset(keys)
    related = set[int]()

    def decide(_: Judge) -> Generator[Event, None, Decisions]:
        counts, wanted = _owned(catalog, integration, named)
        for name, some in wanted.items():
            related.update(target_key(name, identifier) for _, identifier in catalog.referrers(name, some))
            if held := tuple(one for one in some if target_key(name, one) in related):
                why = "other entities relate to it"
                yield Held(name, held, "recent", why, "the next full run looks at it again")
        return policy.decide(Gone(name, tuple(some), (), counts[name], produced=True) for name, some in wanted.items())

    yield from deletions(catalog, partial(lambda: policy), decide, integration, related, instant, deleter)


def _owned(catalog: Catalog, integration: str, named: frozenset[Key]) -> tuple[Counter[str], dict[str, list[str]]]:
    """Return how many entities of each blueprint are owned, and by blueprint those of the named ones that are.

    Raises PortRefused and Unreachable.
    """
    counts: Counter[str] = Counter()
    wanted: dict[str, list[str]] = {}
    for name, identifier in catalog.owned(integration):
        counts[name] += 1
        if (name, identifier) in named:
            wanted.setdefault(name, []).append(identifier)
    return counts, wanted
