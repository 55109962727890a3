"""The second look: before anything is deleted, GitLab is read again; only what no look finds is deleted.

Pages of a list are not a snapshot. When a row leaves a page that was read, all later rows move up, and the first row of
the next page is never seen. A row may also move from a list that is yet to be read to one that was read. Counts do not
show this when another row joins.
"""

from collections import Counter, abc
from collections.abc import Callable, Generator, Hashable, Iterable, Iterator, Sequence, Set
from dataclasses import dataclass, replace
from functools import partial

from gitlab_port_export.base.errors import GitLabUnavailable
from gitlab_port_export.gitlab.client import GitLab
from gitlab_port_export.gitlab.inventory import Inventory
from gitlab_port_export.gitlab.plan import SyncPlan
from gitlab_port_export.gitlab.quiet import is_importing, quiet_lists, shows_all, whereabouts
from gitlab_port_export.gitlab.read import pages_for, read
from gitlab_port_export.mapping.blueprints import feeding
from gitlab_port_export.mapping.model import Mapping
from gitlab_port_export.model import (
    Began,
    Counted,
    Ended,
    Entity,
    Event,
    Held,
    Narrowed,
    Page,
    Problem,
    ReadAgain,
    Skipped,
    Unchanged,
    Unnamed,
)
from gitlab_port_export.port.catalog import Catalog
from gitlab_port_export.port.ledger import Missing
from gitlab_port_export.sync.delete import Confirm, Judge
from gitlab_port_export.sync.lost_roles import LowRoles, hold_lost
from gitlab_port_export.sync.policy import Decisions, Gone

# Entities and other events, as they come from transform.
Mapped = Iterable[Event | Entity]


@dataclass(frozen=True)
class First:
    """The first look: its plan, and its long lists, which may prove to be unchanged."""

    plan: SyncPlan
    counted: Sequence[Counted] = ()


@dataclass(frozen=True)
class Again:
    """How GitLab is read again: with a new inventory, and a plan of some kinds.

    `faults` are those found so far. `changes` takes pages through transform, diff and write; its second argument picks
    the entities that are compared. `low_roles` reads what is left out for a low role.
    """

    gitlab: GitLab
    workers: int
    mapping: Mapping
    catalog: Catalog
    faults: Sequence[Problem | Unnamed | Narrowed]
    inventory: Callable[[], Inventory]
    plan: Callable[[Inventory, Set[str]], SyncPlan]
    changes: Callable[[Iterable[Event], Callable[[Mapped], Mapped]], Iterable[Event]]
    low_roles: LowRoles


def confirming(first: First, again: Again) -> Confirm:
    """Return a function that makes sure that entities are gone.

    A look that finds an entity which the look before missed shows that lists are changing. Then GitLab is read a third
    time, and the deletions of blueprints of which that finds an entity are held.
    """

    def confirm(judge: Judge) -> Generator[Event, None, Decisions]:
        return (yield from hold_lost(again.low_roles, (yield from look_again(judge))))

    def look_again(judge: Judge) -> Generator[Event, None, Decisions]:
        decisions = judge()
        sure: set[str] = set()
        for look in (first, First(first.plan)):
            doubted = {entry.blueprint for entry in decisions.allowed} - sure
            if not doubted:
                return decisions
            before = _missing(decisions)
            yield from _look(look, again, doubted)
            decisions = judge()
            after = _missing(decisions)
            sure |= {name for name in doubted if after[name] == before[name]}
        return _held_but_for(sure, decisions)

    return confirm


def _missing(decisions: Decisions) -> Counter[str]:
    """Return how many entities of each blueprint no look has found."""
    found: Counter[str] = Counter()
    for name, identifiers in (*decisions.staying, *((one.blueprint, one.identifiers) for one in decisions.allowed)):
        found[name] += len(identifiers)
    return found


def _held_but_for(sure: Set[str], decisions: Decisions) -> Decisions:
    doubted = tuple(entry for entry in decisions.allowed if entry.blueprint not in sure)
    return Decisions(
        tuple(entry for entry in decisions.allowed if entry.blueprint in sure),
        (*decisions.held, *map(_shifting, doubted)),
        (*decisions.staying, *((entry.blueprint, entry.identifiers) for entry in doubted)),
    )


def _shifting(entry: Gone) -> Held:
    why = "GitLab's lists changed each time while they were read"
    return Held(entry.blueprint, entry.identifiers, "recent", why, "the next run looks at it again")


def _look(first: First, again: Again, blueprints: Set[str]) -> Iterator[Event]:
    """Read the resources that feed these blueprints again; yield the changes of entities that were not found before."""
    resources = frozenset().union(*(feeding(again.mapping, name) for name in blueprints))
    # A blueprint that no resource feeds is gone by the mapping, whatever GitLab has.
    if not resources:
        return
    try:
        inventory = again.inventory()
    except GitLabUnavailable as error:
        yield Problem("inventory", str(error), error.hint, kind="groups and projects", holds_all=True)
        return
    if faults := [problem for problem in inventory.problems if not problem.warning]:
        yield from faults
        return
    again.low_roles.looks.append(inventory)
    quiet = _quiet(first, again, inventory, resources)
    plan = again.plan(inventory, frozenset(again.mapping.resources[index].kind for index in resources))
    plan = plan.without(quiet, of=first.plan, resources=resources)
    before = {name: ledger.unchanged for name, ledger in again.catalog.ledgers.items()}
    pages = pages_for(resources, read(plan, again.gitlab, again.workers, doubtful=True))
    known = frozenset(map(_fault, again.faults))
    for event in again.changes(pages, partial(_not_found_before, again.catalog, blueprints, known)):
        yield from _further(event, before)


def _quiet(first: First, again: Again, inventory: Inventory, resources: Set[int]) -> frozenset[int]:
    """Return the numbers of the first plan's reads whose lists are proved to be unchanged."""
    lists = [
        one
        for one in first.counted
        if resources & set((entry := first.plan.reads[one.number]).resources)
        and shows_all(inventory, entry.scope, one.token)
    ]
    if not lists or is_importing(inventory) or whereabouts(inventory) != whereabouts(first.plan.inventory):
        return frozenset()
    return quiet_lists(lists, again.gitlab, again.workers)


def _fault(one: Problem | Unnamed | Narrowed) -> Hashable:
    """Return the identity of a fault of the mapping, however many rows have it."""
    if isinstance(one, Unnamed):
        return one.resource, one.part, one.field
    if isinstance(one, Narrowed):
        return one
    return one.stage, one.resources, one.field, one.line, one.column


def _not_found_before(
    catalog: Catalog, blueprints: Set[str], known: Set[Hashable], events: Mapped
) -> Iterator[Event | Entity]:
    """Hand on the entities that Port holds and no look before has found, and the faults of rows that are new."""
    found: set[tuple[str, str]] = set()
    for event in events:
        if isinstance(event, Unnamed):
            # A part of the rows does not show whether every row failed; the first look did.
            if _fault(event) not in known:
                yield replace(event, every=False)
        elif isinstance(event, Problem) and event.stage == "transform":
            if _fault(event) not in known:
                yield event
        elif not isinstance(event, Entity):
            yield event
        elif event.blueprint in blueprints and not event.is_search:
            ledger = catalog.ledger(event.blueprint)
            if isinstance(ledger, Missing):
                continue
            # What Port does not hold is left to the next run. Of several rows of an entity the best one counts.
            identifier = str(event.identifier)
            if event.key in found or (ledger.knows(identifier) and not ledger.produced(identifier)):
                found.add(event.key)
                yield event


def _further(event: Event, before: abc.Mapping[str, int]) -> Iterator[Event]:
    """Yield only what the report does not yet have from the first look."""
    match event:
        case Page():
            yield ReadAgain(event.kind)
        case Unchanged():
            if more := event.count - before.get(event.blueprint, 0):
                yield Unchanged(event.blueprint, more)
        case Began() | Ended() | Counted() | Skipped(reason="selector" | "duplicate"):
            pass
        case Problem(stage="read" | "transform", warning=True):
            pass
        case _:
            yield event
