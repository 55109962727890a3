"""The stages of a run, in order. Read this first.

    plan → read → transform → diff → write → second look → delete

Events pass through all stages: a page of rows becomes entities, an entity a change, a change what Port answered. What
goes wrong with one thing is an event too (a Problem) and ends nothing. `execute.py` makes the report of all events.
"""

from collections import abc
from collections.abc import Callable, Container, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from gitlab_port_export.gitlab.client import GitLab
from gitlab_port_export.gitlab.contact import Contact, doubtful_clock, first_contact
from gitlab_port_export.gitlab.inventory import Inventory, Patterns, read_inventory
from gitlab_port_export.gitlab.kinds.kind import Context
from gitlab_port_export.gitlab.plan import SyncPlan, make_plan, needed_actives
from gitlab_port_export.gitlab.ranges import Cuts
from gitlab_port_export.gitlab.read import read
from gitlab_port_export.gitlab.specs import Spec, read_specs
from gitlab_port_export.mapping.blueprints import blueprints_of, fixed_fields
from gitlab_port_export.mapping.model import Mapping
from gitlab_port_export.model import Dialect, Entity, Event, Planned, Problem
from gitlab_port_export.port.blueprint import Blueprint
from gitlab_port_export.port.catalog import Catalog
from gitlab_port_export.port.integration import gitops_agent
from gitlab_port_export.port.searches import Searches
from gitlab_port_export.settings.settings import Settings
from gitlab_port_export.sync import plan_record
from gitlab_port_export.sync.adopt import adopt, start_asking
from gitlab_port_export.sync.choose import blueprints_to_make, can_run, expected_blueprints
from gitlab_port_export.sync.delete_stage import delete_gone
from gitlab_port_export.sync.diff import Differ
from gitlab_port_export.sync.gitops import beside_rows, held_by_port, write_entities, write_files
from gitlab_port_export.sync.merge import Unread
from gitlab_port_export.sync.outcomes import Outcomes
from gitlab_port_export.sync.overtaken import Latecomers
from gitlab_port_export.sync.part import NO_DELETES, Part
from gitlab_port_export.sync.partly import Partly
from gitlab_port_export.sync.plan_file import Recorder
from gitlab_port_export.sync.prepare import Run
from gitlab_port_export.sync.recent import Recent, aims_of, recent_of
from gitlab_port_export.sync.remembered import kept, recalled, start_recalling
from gitlab_port_export.sync.resync import Resync
from gitlab_port_export.sync.through import Stages
from gitlab_port_export.sync.write import (
    Sink,
    carried_out,
    ensure_blueprints,
    make_catalog,
    make_searches,
    sink_of,
    start_reading,
)


def line(
    run: Run, outcomes: Outcomes, resync: Resync, executor: Executor, recorder: Recorder | None
) -> Generator[Event, None, None]:
    """Yield everything that happens between GitLab and Port, stage by stage."""
    mapping, settings, integration = run.mapping, run.settings, run.integration.identifier
    part = Part(settings.only, settings.kinds)
    part.check_kinds(mapping)
    recalling = start_recalling(run, executor)
    # What changes in Port from this instant on is not deleted. A part that is unknown ends the run before it says so.
    instant = None if part else resync.begin()
    port = _port_side(run, executor)
    contact = yield from _contact(run)
    memory = recalled(run, contact, recalling)
    aims = aims_of(run, memory, port.catalog)
    if not (mapping.spec_paths or part or aims):
        start_reading(port.catalog, mapping, integration)

    # Plan.
    inventory = inventory_reader(run.gitlab, settings, run.dialect, mapping, memory.cuts if memory else ())
    context = yield from _context(inventory(), run, contact.now, port.expected)
    if part:
        context = part.narrowed(context)
        outcomes.part = part.words
        instant = resync.begin()
    recent = recent_of(run, memory, aims, context, outcomes)
    context = recent.context if recent else context
    webhook = None if part or recent else start_asking(port.sink, integration)
    plan = yield from _planned(context, outcomes)
    ensure_blueprints(port.sink, blueprints_to_make(settings, run.chosen), run.blueprints)

    # Entities of `specPath` files come first, but for those that need what is mapped.
    specs = () if part.kinds or recent else _specs(run.gitlab, context, mapping, settings.workers)
    held = partial(held_by_port, port.catalog, mapping)
    from_files = yield from write_files(specs, port.expected.keys(), port.write_found, held)
    in_files = frozenset(from_files.keys)
    wanted = frozenset(resource.index for resource in context.resources)
    _start(port.catalog, run, part, recent, wanted)
    keep = yield from _recording(recorder, run, port.catalog)

    # Read, transform, diff, write.
    late = Latecomers(port.catalog, executor, instant if run.writes else None)
    rules = Partly(mapping, wanted, whole=not part.paths) if part or recent else None
    stages, differ = _stages(run, port, outcomes, late, rules, in_files, few=recent is not None)
    yield from keep(stages.through(differ, read(plan, run.gitlab, settings.workers)))
    stages.unread.settle()
    outcomes.left += late.words()
    yield from port.write_found((yield from beside_rows(from_files, mapping, port.catalog, stages.unread.resources)))

    if rules:
        left = recent.words(run, outcomes) if recent else (NO_DELETES,)
        outcomes.left += (*left, *rules.words(), *stages.unread.words())
    else:
        # What a webhook wrote is owned again. Delete, after the second look.
        yield from adopt(webhook, port.catalog, port.sink, integration, in_files)
        yield from keep(delete_gone(run, outcomes, context, port.catalog, stages, differ, inventory, instant))
    yield from plan_record.finish(recorder) if recorder else ()
    yield from kept(run, memory, context, recent, outcomes, port.catalog) if memory else ()


@dataclass(frozen=True)
class _PortSide:
    """What a run has of Port: the blueprints that it expects there, what it compares with, and where it writes.

    `write_found` writes the entities that stand in files.
    """

    expected: abc.Mapping[str, Blueprint]
    sink: Sink
    catalog: Catalog
    searches: Searches
    write_found: Callable[[Sequence[Entity]], Iterator[Event]]


def _port_side(run: Run, executor: Executor) -> _PortSide:
    """Return Port's side of a run; nothing is asked yet."""
    expected = expected_blueprints(run.settings, run.chosen, run.blueprints)
    sink = sink_of(run.port, run.mapping, run.settings, executor, writes=run.writes)
    new_catalog = partial(make_catalog, run.port, run.mapping, expected, run.blueprints, executor)
    catalog = new_catalog()
    agent = gitops_agent(run.dialect, run.integration.identifier)
    write_found = partial(write_entities, sink.named(agent), run.mapping, new_catalog)
    return _PortSide(expected, sink, catalog, make_searches(sink, run.mapping, catalog), write_found)


def _stages(
    run: Run, port: _PortSide, outcomes: Outcomes, late: Latecomers, rules: Partly | None, in_files: frozenset[int],
    *, few: bool,
) -> tuple[Stages, Differ]:  # fmt: skip
    """Return the stages from rows to writes, and what compares; of a `few` entities Port is asked one by one."""
    differ = Differ(
        port.catalog.ledger,
        port.searches,
        partial(fixed_fields, run.mapping),
        overtaken=late.among,
        targets=set(in_files),
    )
    unread = Unread(run.mapping, outcomes.faults, port.catalog.holds, rules.left_out if rules else frozenset())
    written = partial(carried_out, port.sink, catalog=port.catalog, searches=port.searches, in_files=in_files)
    narrow = port.catalog if few else None
    return Stages(run.mapping, run.evaluator, unread, written, narrow=narrow, rules=rules), differ


def _contact(run: Run) -> Generator[Event, None, Contact]:
    """Return what GitLab's first answer tells. Raises GitLabUnavailable."""
    contact = first_contact(run.gitlab, tuple(token.alias for token in run.settings.tokens))
    yield from doubtful_clock(contact.now)
    return contact


def _start(catalog: Catalog, run: Run, part: Part, recent: Recent | None, wanted: Container[int]) -> None:
    """Begin to read of Port what the run compares."""
    if recent:
        recent.start(catalog)
    elif part:
        catalog.start(blueprints_of(run.mapping, wanted))
    else:
        start_reading(catalog, run.mapping, run.integration.identifier)


def inventory_reader(
    gitlab: GitLab, settings: Settings, dialect: Dialect, mapping: Mapping, cuts: tuple[int, ...] = ()
) -> Callable[[], Inventory]:
    """Return what reads the groups and projects that all tokens together may read, between `cuts` side by side."""
    patterns = {token.alias: Patterns(token.patterns) for token in settings.tokens}
    return partial(
        read_inventory, gitlab, patterns, dialect, mapping, needed_actives(mapping), settings.workers, Cuts(ends=cuts)
    )


def _context(
    inventory: Inventory, run: Run, now: datetime, blueprints: Container[str]
) -> Generator[Event, None, Context]:
    """Yield what is wrong with the inventory, and return what the plan is made of."""
    yield from inventory.problems
    mapping = run.mapping
    resources = tuple(resource for resource in mapping.resources if can_run(mapping, resource, blueprints))
    return Context(inventory, run.dialect, now, resources, window=run.window)


def _planned(context: Context, outcomes: Outcomes) -> Generator[Event, None, SyncPlan]:
    """Return the plan, and yield what it comes to."""
    outcomes.plan = plan = make_plan(context)
    yield Planned(plan.requests())
    return plan


def _recording(
    recorder: Recorder | None, run: Run, catalog: Catalog
) -> Generator[Event, None, Callable[[Iterable[Event]], Iterable[Event]]]:
    """Begin to record a plan where one is wanted, and return what changes pass on their way into it."""
    if recorder is None:
        return iter
    yield from plan_record.begin(
        recorder, run.port, run.integration.identifier, run.dialect, run.mapping, catalog.states,
        given=run.settings.mapping_file is not None,
    )  # fmt: skip
    return partial(plan_record.recorded, recorder)


def _specs(gitlab: GitLab, context: Context, mapping: Mapping, workers: int) -> Iterable[Spec | Problem]:
    """Return the documents of `specPath` files."""
    if not mapping.spec_paths:
        return ()
    return read_specs(gitlab, context.inventory, mapping.spec_paths, mapping.branch or "", context.dialect, workers)
