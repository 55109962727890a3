"""The straight line: prepared run → plan → read → transform → diff → apply → second look → delete → report."""

import secrets
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Set
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial

from gitlab_port_export.base.alarm import alarm
from gitlab_port_export.base.clock import Stopped
from gitlab_port_export.base.errors import ExportError, Interrupted, OutOfTime, limits_said
from gitlab_port_export.gitlab.inventory import Inventory, Patterns, doubtful_clock, first_contact, read_inventory
from gitlab_port_export.gitlab.kinds.kind import Context
from gitlab_port_export.gitlab.plan import SyncPlan, make_plan, needed_actives
from gitlab_port_export.gitlab.read import read
from gitlab_port_export.jq.program import LEGACY
from gitlab_port_export.mapping.blueprints import constant_blueprints, fixed_fields, shared_blueprints
from gitlab_port_export.model import Counted, Create, Event, Failed, Page, Problem, Row, Unnamed, Update, Written
from gitlab_port_export.port import integration as integrations
from gitlab_port_export.port.catalog import Catalog
from gitlab_port_export.port.deleter import Deleter
from gitlab_port_export.port.ledger import Blueprint
from gitlab_port_export.port.searches import Searches
from gitlab_port_export.report.builder import ReportBuilder
from gitlab_port_export.report.exit_code import Command
from gitlab_port_export.report.values import Report
from gitlab_port_export.sync import plan_record as record
from gitlab_port_export.sync.choose import can_run, expected_blueprints
from gitlab_port_export.sync.coverage import Searched, coverage_of
from gitlab_port_export.sync.delete import deletions
from gitlab_port_export.sync.diff import Differ
from gitlab_port_export.sync.faults import explained
from gitlab_port_export.sync.gitops import write_entities, write_files
from gitlab_port_export.sync.plan_apply import apply, check_unchanged
from gitlab_port_export.sync.plan_file import PlanFile, Recorder
from gitlab_port_export.sync.policy import Policy, Unsettled
from gitlab_port_export.sync.prepare import Run, first_problems
from gitlab_port_export.sync.resync import Resync
from gitlab_port_export.sync.second_look import Again, First, Mapped, confirming
from gitlab_port_export.sync.transform import Transformer, merge_shared
from gitlab_port_export.sync.write import (
    ensure_blueprints,
    fit_to_send,
    foreseen,
    intended,
    make_catalog,
    make_searches,
    noted,
    write,
)


@dataclass
class Outcomes:
    """What the stages leave behind for the last one: problems, raw examples and the plan that was carried out.

    `counted` are the long lists that may prove, before something is deleted, to be as they were read.
    `refused` are the blueprints of updates that Port refused; `wrote` says whether it confirmed any write, `skipped`
    whether another run was left alone with the work.
    """

    faults: list[Problem | Unnamed] = field(default_factory=list)
    examples: dict[str, list[Row]] = field(default_factory=dict)
    plan: SyncPlan | None = None
    counted: list[Counted] = field(default_factory=list)
    refused: set[str] = field(default_factory=set)
    wrote: bool = False
    skipped: bool = False

    def note(self, event: Event) -> None:
        """Remember a problem, a few rows of a page, and how writing goes."""
        match event:
            case Problem() | Unnamed():
                self.faults.append(event)
            case Page():
                rows = self.examples.setdefault(event.kind, [])
                few = event.rows[: max(0, integrations.EXAMPLES_PER_KIND - len(rows))]
                rows += [{name: value for name, value in row.items() if name != LEGACY} for row in few]
            case Counted():
                self.counted.append(event)
            case Failed(change=Update(entity=entity)):
                self.refused.add(entity.blueprint)
            case Written():
                self.wrote = True


def execute(
    run: Run,
    command: Command,
    watch: Callable[[Event], None],
    *,
    detailed: bool = False,
    recorder: Recorder | None = None,
    plan: PlanFile | None = None,
) -> Report:
    """Carry out a prepared run and return its report; `watch` sees every event as it happens.

    A `recorder` is given the changes of a plan; with `plan` a sync applies that, and reads nothing of GitLab. Raises
    GitLabUnavailable and PortUnavailable when nothing could be done, UsageError when a plan no longer fits;
    Interrupted, and Port failing after it took some writes, end in a report too.
    """
    # In whole seconds: this marks a run that repeats its state, see `integration.SILENT_SECONDS`.
    started, clock = datetime.now(UTC).replace(microsecond=0), time.monotonic()
    builder = ReportBuilder(command, tuple(resource.kind for resource in run.mapping.resources), run.redactor.redact)
    outcomes = Outcomes()
    code: int | None = None
    resync = Resync(run, started)
    try:
        with (
            limits_said(),
            alarm(run.port.http.clock),
            closing(_events(run, outcomes, resync, recorder, plan)) as events,
        ):
            for event in events:
                outcomes.note(event)
                builder.add(event)
                watch(event)
        if run.settings.send_raw_data_examples:
            resync.show(outcomes.examples)
    except OutOfTime:
        builder.add(_late(run, ""))
    except Interrupted as stopped:
        code = stopped.exit_code
    except ExportError as error:
        if not outcomes.wrote:
            resync.end("failed")
            raise
        builder.add(Problem("write", str(error), error.hint, holds_all=True))
    except Exception:
        # A bug: nobody is to take this run for one that goes on.
        resync.end("failed")
        raise
    report = builder.finish(
        started=started.isoformat(timespec="seconds"),
        seconds=round(time.monotonic() - clock, 3),
        mapping_origin=run.mapping.origin,
        integration=run.integration.identifier,
        gitlab_requests=run.gitlab.http.requests,
        port_requests=run.port.http.requests,
        plan=tuple(outcomes.plan.lines()) if outcomes.plan else (),
        detailed=detailed,
        fail_on=run.settings.fail_on,
        code=code,
        skipped=outcomes.skipped,
    )
    failed = any(not problem.warning for problem in report.problems)
    resync.end("aborted" if code is not None else "failed" if failed else "completed")
    return report


def _events(
    run: Run, outcomes: Outcomes, resync: Resync, recorder: Recorder | None, plan: PlanFile | None
) -> Generator[Event, None, None]:
    """Yield everything that happens, in order."""
    if run.overlaps and run.writes:
        yield _overlap(run)
        if run.settings.on_overlap == "skip":
            outcomes.skipped = True
            return
    yield from first_problems(run)
    with ExitStack() as ending:
        executor = ThreadPoolExecutor(run.settings.workers, thread_name_prefix="port")
        ending.callback(executor.shutdown, wait=False, cancel_futures=True)
        try:
            if plan:
                check_unchanged(run, executor, plan)
                resync.begin()
                yield from apply(run, executor, plan)
            else:
                yield from _line(run, outcomes, resync, executor, recorder)
        except Stopped as stopped:
            yield _late(run, stopped.asked)


def _late(run: Run, asked: str) -> Problem:
    """Return the Problem of a run that its deadline ended while the host `asked`, if any, had not answered."""
    at_port = asked == run.port.http.base_url
    waiting = f"; {'Port' if at_port else 'GitLab'} at {asked} had not answered" if asked else ""
    return Problem(
        "write" if at_port else "read",
        f"the deadline passed before everything was read and written{waiting}",
        "allow more time (--deadline)" + ("" if at_port else ", or read less: fewer kinds, states or days"),
        holds_all=True,
    )


def _overlap(run: Run) -> Problem:
    skipped = run.settings.on_overlap == "skip"
    return Problem(
        "integration",
        f"another run of {run.integration.identifier} has been active since {run.integration.running_since}; "
        + ("this one did nothing" if skipped else "this one runs beside it, and neither deletes what the other wrote"),
        "let CI run one at a time, or choose with --on-overlap run|skip",
        warning=True,
    )


def _line(
    run: Run, outcomes: Outcomes, resync: Resync, executor: Executor, recorder: Recorder | None
) -> Generator[Event, None, None]:
    # Before anything is read: what changes in Port from this instant on is not deleted.
    instant = resync.begin()
    patterns = {token.alias: Patterns(token.patterns) for token in run.settings.tokens}
    now = first_contact(run.gitlab, tuple(patterns))
    yield from doubtful_clock(now)
    blueprints = expected_blueprints(run.settings, run.chosen, run.blueprints)
    catalog = make_catalog(run, blueprints, executor)
    if not run.mapping.spec_paths:
        _start(catalog, run)
    actives = needed_actives(run.mapping)
    inventory = partial(read_inventory, run.gitlab, patterns, run.dialect, run.mapping, actives, run.settings.workers)
    known = inventory()
    yield from known.problems
    resources = tuple(one for one in run.mapping.resources if can_run(run.mapping, one, blueprints))
    context = Context(known, run.dialect, now, resources)
    outcomes.plan = make_plan(context)
    ensure_blueprints(run)
    from_files = yield from write_files(run, known, blueprints, executor)
    _start(catalog, run)
    if recorder:
        yield from record.begin(recorder, run, catalog)
    keep = partial(record.recorded, recorder) if recorder else iter
    searches = make_searches(run, catalog, executor)
    differ = Differ(catalog.ledger, searches, partial(fixed_fields, run.mapping), targets=from_files.keys)
    line = partial(_changes, run, catalog, searches, executor)
    yield from keep(line(differ, read(outcomes.plan, run.gitlab, run.settings.workers)))
    yield from write_entities(run, from_files.later, blueprints, executor)
    again = Again(
        run.gitlab,
        run.settings.workers,
        run.mapping,
        catalog,
        outcomes.faults,
        inventory,
        partial(_plan_again, context),
        lambda pages, choose: line(differ.afresh(), pages, choose),
    )
    yield from keep(
        deletions(
            catalog,
            lambda: _policy(run, context, outcomes, differ, blueprints),
            confirming(First(outcomes.plan, outcomes.counted), again),
            run.integration.identifier,
            differ.targets,
            instant,
            Deleter(run.port, cascade=run.mapping.cascades) if run.writes else None,
        )
    )
    if recorder:
        yield from record.finish(recorder)


def _plan_again(context: Context, inventory: Inventory, kinds: Set[str]) -> SyncPlan:
    """Return the plan of some kinds for a new inventory, of which no row alone proves that there is nothing."""
    resources = tuple(resource for resource in context.resources if resource.kind in kinds)
    return make_plan(replace(context, inventory=inventory, resources=resources, doubtful=True))


def _changes(
    run: Run,
    catalog: Catalog,
    searches: Searches,
    executor: Executor,
    differ: Differ,
    pages: Iterable[Event],
    choose: Callable[[Mapped], Mapped] = iter,
) -> Iterable[Event]:
    """Return what becomes of pages: the changes, or in a sync what Port answered to them."""
    transformer = Transformer(run.mapping, run.evaluator, f"__jq_error_{secrets.token_hex(4)}")
    merged = merge_shared(
        choose(transformer.run(pages)), shared_blueprints(run.mapping), by_field=run.mapping.enable_merge_entity
    )
    changes = fit_to_send(explained(differ.run(merged), run.mapping, transformer.label))
    if not run.writes:
        return intended(foreseen(changes, catalog.blueprints), searches)
    return noted(write(run, _once_listed(changes, catalog), catalog, executor), searches)


def _once_listed(changes: Iterable[Event], catalog: Catalog) -> Iterator[Event]:
    """Hand on changes, the first to be written when what is ours is listed: what this run creates is not in there."""
    listed = False
    for event in changes:
        if not listed and isinstance(event, Create | Update):
            catalog.wait_for_owned()
            listed = True
        yield event


def _start(catalog: Catalog, run: Run) -> None:
    """Begin to read Port's side; where files come first, after those are written."""
    catalog.start(constant_blueprints(run.mapping))
    catalog.start_owned(run.integration.identifier)


def _policy(
    run: Run, context: Context, outcomes: Outcomes, differ: Differ, blueprints: Mapping[str, Blueprint]
) -> Policy:
    read = frozenset(resource.index for resource in context.resources)
    refused = {relation.target for name in outcomes.refused for relation in blueprints[name].relations.values()}
    return Policy(
        coverage_of(run.mapping, read, [*outcomes.faults, *map(Searched, differ.searched)]),
        run.mapping.entity_deletion_threshold,
        run.settings.allow_deletes,
        Unsettled(frozenset(refused), frozenset(differ.unresolved)),
    )
