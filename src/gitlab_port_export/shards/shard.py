"""The line of one shard: it reads its part of the plan, compares and writes. It deletes nothing."""

from array import array
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from functools import partial

from gitlab_port_export.gitlab.contact import first_contact
from gitlab_port_export.gitlab.plan import SyncPlan
from gitlab_port_export.gitlab.read import read
from gitlab_port_export.mapping.blueprints import blueprints_of, fixed_fields
from gitlab_port_export.mapping.model import Mapping
from gitlab_port_export.model import Counted, Delete, Event, Failed, Planned
from gitlab_port_export.port.catalog import Catalog
from gitlab_port_export.port.hints import RELATED
from gitlab_port_export.shards.evidence import MOST_LATER, Found, Shard
from gitlab_port_export.shards.survey import Survey
from gitlab_port_export.shards.units import digest_of
from gitlab_port_export.sync.adopt import adopt, start_asking
from gitlab_port_export.sync.diff import Differ
from gitlab_port_export.sync.merge import Unread
from gitlab_port_export.sync.outcomes import Outcomes
from gitlab_port_export.sync.overtaken import Latecomers
from gitlab_port_export.sync.prepare import Run
from gitlab_port_export.sync.resync import Resync
from gitlab_port_export.sync.through import Stages
from gitlab_port_export.sync.write import carried_out, make_catalog, make_searches, sink_of

# With fewer shards it takes fewer requests to read all that Port holds (1,000 entities each, in every shard) than to
# look up what the shard produced (100 each).
LOOK_UP_FROM = 10


def shard_line(
    survey: Survey, shard: Shard, found: Found
) -> Callable[[Run, Outcomes, Resync, Executor], Generator[Event, None, None]]:
    """Return the line of a shard; `found` takes what the last job needs of it."""

    def line(run: Run, outcomes: Outcomes, resync: Resync, executor: Executor) -> Generator[Event, None, None]:
        instant = resync.begin()
        first_contact(run.gitlab, tuple(token.alias for token in run.settings.tokens))
        mine = _share_of(survey, run.mapping, shard)
        outcomes.plan, outcomes.part = mine.plan, str(shard)
        # The last job reports what the survey found; here it says what was not read.
        outcomes.faults += survey.inventory.problems
        found.reads, found.faults, found.refused = mine.digest, outcomes.faults, outcomes.refused
        found.refused_of, found.repeated = outcomes.refused_of, outcomes.repeated
        yield Planned(mine.plan.requests())
        yield from _compared(run, survey, outcomes, executor, instant, mine.numbers, found)
        for kind in outcomes.examples.keys() - mine.first:
            del outcomes.examples[kind]
        found.whole = True

    return line


@dataclass(frozen=True)
class _Share:
    """A shard's part of the plan, with the numbers that its reads have in the whole plan, and their digest.

    `first` are the kinds whose first read is this shard's: examples of each kind are sent once.
    """

    plan: SyncPlan
    numbers: tuple[int, ...]
    digest: str
    first: frozenset[str]


def _share_of(survey: Survey, mapping: Mapping, shard: Shard) -> _Share:
    """Return the share of a shard; the rest of the plan is not kept, which takes memory."""
    plan, shares = survey.cut(mapping)
    numbers = shares[shard.number - 1]
    first: dict[str, int] = {}
    for number, one in enumerate(plan.reads):
        first.setdefault(one.kind, number)
    mine = frozenset(numbers)
    return _Share(
        replace(plan, reads=tuple(plan.reads[number] for number in numbers)),
        numbers,
        digest_of(plan, numbers),
        frozenset(kind for kind, number in first.items() if number in mine),
    )


def _compared(
    run: Run,
    survey: Survey,
    outcomes: Outcomes,
    executor: Executor,
    instant: str | None,
    numbers: tuple[int, ...],
    found: Found,
) -> Iterator[Event]:
    """Read, transform, compare and write; yield what happens but for what is left to the last job.

    What somebody changes in Port after `instant` stays.
    """
    assert outcomes.plan is not None  # noqa: S101  # a shard plans before it reads; this is for mypy
    mapping, narrow, part = run.mapping, survey.shards >= LOOK_UP_FROM, outcomes.plan
    sink = sink_of(run.port, mapping, run.settings, executor, writes=run.writes)
    catalog = make_catalog(run.port, mapping, run.blueprints, run.blueprints, executor, narrow=narrow)
    # Entities of files have an owner of their own, and which they are only the last job knows.
    webhook = None if mapping.spec_paths else start_asking(sink, survey.integration)
    if not narrow:
        catalog.start(blueprints_of(mapping, frozenset(index for one in part.reads for index in one.resources)))
    searches = make_searches(sink, mapping, catalog)
    late = Latecomers(catalog, executor, instant)
    differ = Differ(catalog.ledger, searches, partial(fixed_fields, mapping), overtaken=late.among)
    unread = Unread(mapping, outcomes.faults, catalog.holds)
    written = partial(carried_out, sink, catalog=catalog, searches=searches)
    stages = Stages(mapping, run.evaluator, unread, written, narrow=catalog if narrow else None)
    events = stages.through(differ, read(part, run.gitlab, run.settings.workers))
    yield from _left_out(events, numbers, found)
    outcomes.left += late.words()
    yield from adopt(webhook, catalog, sink, survey.integration, frozenset())
    found.searched, found.unresolved = differ.searched, differ.unresolved
    found.produced, found.targets = _produced(catalog), _targets(catalog, differ)


def _left_out(events: Iterable[Event], numbers: tuple[int, ...], found: Found) -> Iterator[Event]:
    """Yield events; long lists get the numbers of the whole plan, and rows without their target wait for the end."""
    for event in events:
        match event:
            case Counted():
                found.counted.append(replace(event, number=numbers[event.number]))
            case Failed(hint=hint, change=change) if hint == RELATED and len(found.later) < MOST_LATER:
                # What it relates to may be written by another shard.
                if isinstance(change, Delete):
                    yield event
                else:
                    found.later.append(change)
            case _:
                yield event


def _produced(catalog: Catalog) -> dict[str, "array[int]"]:
    return {name: ledger.keys_produced() for name, ledger in catalog.ledgers.items() if ledger.any_produced}


def _targets(catalog: Catalog, differ: Differ) -> "array[int]":
    needed = (key for ledger in catalog.ledgers.values() for key in ledger.needed())
    return array("Q", sorted(differ.targets.union(needed)))
