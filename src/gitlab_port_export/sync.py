"""The straight line: prepared run → plan → read → transform → diff → apply → delete → report."""

import logging
import secrets
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from typing import Literal

from gitlab_port_export import gitops
from gitlab_port_export.deletion import delete, deletions, fresh
from gitlab_port_export.diff import (
    Differ,
    Policy,
    constant_blueprints,
    fields_of,
    searched_resources,
    shared_blueprints,
)
from gitlab_port_export.errors import ExportError, Interrupted, PortUnavailable, UsageError
from gitlab_port_export.gitlab.inventory import Inventory, Patterns, read_inventory
from gitlab_port_export.gitlab.kinds.kind import Context
from gitlab_port_export.gitlab.plan import SyncPlan, make_plan, needed_actives
from gitlab_port_export.gitlab.read import read
from gitlab_port_export.gitlab.specs import read_specs
from gitlab_port_export.http import Clock, Stopped, Unreachable
from gitlab_port_export.model import (
    Create,
    Delete,
    Entity,
    Event,
    Failed,
    Held,
    Page,
    Problem,
    Report,
    Row,
    Update,
    Written,
)
from gitlab_port_export.planfile import Basis, PlanFile, Recorder, differences, digest_of
from gitlab_port_export.port import integration as integrations
from gitlab_port_export.port.catalog import Catalog, resolved
from gitlab_port_export.port.client import PortRefused, advice
from gitlab_port_export.port.ledger import Blueprint, Ledger, target_key
from gitlab_port_export.port.writer import Deleter, Key, Rules, Writer, blueprint_order, dependency_order
from gitlab_port_export.prepare import Run, first_problems
from gitlab_port_export.program import LEGACY
from gitlab_port_export.report.fold import Tally
from gitlab_port_export.transform import Transformer, merge_shared

logger = logging.getLogger(__name__)

# How long a stopped run waits for the answers of calls that are under way.
GRACE_SECONDS = 2.0
Command = Literal["sync", "plan"]


@dataclass
class Seen:
    """What the stages leave behind for the last one: problems, raw examples and the plan that was carried out.

    `refused` are the blueprints of updates that Port refused; `wrote` says whether it confirmed any write.
    """

    problems: list[Problem] = field(default_factory=list)
    examples: dict[str, list[Row]] = field(default_factory=dict)
    plan: SyncPlan | None = None
    refused: set[str] = field(default_factory=set)
    wrote: bool = False

    def note(self, event: Event) -> None:
        """Remember a problem, a few rows of a page, and how writing goes."""
        match event:
            case Problem():
                self.problems.append(event)
            case Page():
                rows = self.examples.setdefault(event.kind, [])
                few = event.rows[: max(0, integrations.EXAMPLES_PER_KIND - len(rows))]
                rows += [{name: value for name, value in row.items() if name != LEGACY} for row in few]
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
    started, clock = datetime.now(UTC), time.monotonic()
    tally = Tally(command, tuple(resource.kind for resource in run.mapping.resources), run.redactor.redact)
    seen = Seen()
    code: int | None = None
    state = _State(run, started)
    try:
        with closing(_events(run, seen, state, recorder, plan)) as events:
            for event in events:
                seen.note(event)
                tally.add(event)
                watch(event)
                state.refresh()
    except Interrupted as stopped:
        code = stopped.exit_code
    except ExportError as error:
        if not seen.wrote:
            state.end("failed")
            raise
        tally.add(Problem("write", "; ".join(error.faults), error.hint, holds_all=True))
    report = tally.finish(
        started=started.isoformat(timespec="seconds"),
        seconds=round(time.monotonic() - clock, 3),
        mapping_origin=run.mapping.origin,
        integration=run.integration.identifier,
        gitlab_requests=run.gitlab.http.requests,
        port_requests=run.port.http.requests,
        plan=tuple(seen.plan.lines()) if seen.plan else (),
        detailed=detailed,
        fail_on=run.settings.fail_on,
        code=code,
    )
    if code is None and run.settings.send_raw_data_examples and state.reporting:
        integrations.send_examples(run.port, run.integration.identifier, seen.examples)
    failed = any(not problem.warning for problem in report.problems)
    state.end("aborted" if code is not None else "failed" if failed else "completed")
    return report


@dataclass
class _State:
    """The resync state that Port shows; silent in a plan and where the credentials may not touch it."""

    run: Run
    started: datetime
    reporting: bool = False
    stated: float = 0.0

    def begin(self) -> str | None:
        """Create the integration where it is missing, report `running`, and return Port's instant of that."""
        run = self.run
        if not run.writes or not run.integration.accessible:
            return run.port_time
        config = run.chosen.config or {} if run.settings.initialize_port_resources else {}
        self.reporting = run.integration.exists or integrations.create(
            run.port, run.integration.identifier, run.kind, config
        )
        if run.integration.exists and config:
            integrations.store_config(run.port, run.integration.identifier, config)
        if not self.reporting:
            return run.port_time
        return self._running() or run.port_time

    def refresh(self) -> None:
        """Repeat `running` every few minutes, so that another run can tell this one from one that died."""
        if self.reporting and time.monotonic() - self.stated >= integrations.REFRESH_SECONDS:
            self._running()

    def _running(self) -> str | None:
        self.stated = time.monotonic()
        return integrations.set_state(self.run.port, self.run.integration.identifier, "running", self.started)

    def end(self, state: integrations.State) -> None:
        """Report how the run ended, briefly: the run's own clock may have stopped."""
        if self.reporting:
            self.run.port.http.go_on_with(Clock(deadline=GRACE_SECONDS))
            try:
                integrations.set_state(self.run.port, self.run.integration.identifier, state, self.started)
            except (Stopped, ExportError):
                logger.warning("Port did not take the resync state %s", state)


def _events(
    run: Run, seen: Seen, state: _State, recorder: Recorder | None, plan: PlanFile | None
) -> Generator[Event, None, None]:
    """Yield everything that happens, in order."""
    yield from first_problems(run)
    if run.overlaps and run.writes:
        yield _overlap(run)
        if run.settings.on_overlap == "skip":
            return
    with ExitStack() as ending:
        executor = ThreadPoolExecutor(run.settings.workers, thread_name_prefix="port")
        ending.callback(executor.shutdown, wait=False, cancel_futures=True)
        try:
            if plan:
                yield from _planned(run, state, executor, plan)
            else:
                yield from _line(run, seen, state, executor, recorder)
        except Stopped:
            yield Problem(
                "read",
                "the deadline passed before everything was read and written",
                "allow more time (--deadline), or read less: fewer kinds, states or days",
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
    run: Run, seen: Seen, state: _State, executor: ThreadPoolExecutor, recorder: Recorder | None
) -> Iterator[Event]:
    instant = state.begin()
    inventory = read_inventory(
        run.gitlab,
        {token.alias: Patterns(token.patterns) for token in run.settings.tokens},
        run.kind,
        run.mapping,
        needed_actives(run.mapping),
        run.settings.workers,
    )
    yield from inventory.problems
    context = Context(inventory, run.kind, datetime.now(UTC), run.mapping.resources)
    seen.plan = make_plan(context)
    blueprints = _blueprints(run)
    from_files = (yield from _gitops(run, inventory, blueprints, executor)) if run.mapping.spec_paths else set()
    if recorder and run.mapping.spec_paths:
        yield Problem(
            "mapping", "a plan file does not hold the entities of specPath", "sync without --plan", warning=True
        )
    catalog = _catalog(run, blueprints, executor)
    catalog.start(constant_blueprints(run.mapping))
    answers: dict[str, list[str] | None] = {}
    differ = Differ(catalog.ledger, lambda entity: resolved(entity, catalog, answers), targets=from_files)
    pages = read(seen.plan, run.gitlab, run.settings.workers)
    entities = Transformer(run.mapping, run.evaluator, f"__jq_error_{secrets.token_hex(4)}").run(pages)
    changes = differ.run(
        merge_shared(entities, shared_blueprints(run.mapping), by_field=run.mapping.enable_merge_entity)
    )
    record = partial(_recorded, recorder, catalog, answers) if recorder else iter
    if recorder:
        recorder.begin(_basis(run), catalog.states)
    yield from _noted(_apply(run, changes, catalog, executor), catalog) if run.writes else record(changes)
    needed = {relation.target for name in seen.refused for relation in blueprints[name].relations.values()}
    policy = Policy(
        run.mapping,
        seen.problems,
        searched_resources(run.mapping),
        run.settings.allow_deletes,
        frozenset(differ.unresolved),
        frozenset(needed),
    )
    deleter = Deleter(run.port, cascade=run.mapping.cascades) if run.writes else None
    yield from record(deletions(catalog, policy, run.integration.identifier, differ.targets, instant, deleter))
    if recorder:
        yield from _tried(recorder.finish)


def _catalog(
    run: Run,
    blueprints: Mapping[str, Blueprint],
    executor: ThreadPoolExecutor,
    fields: Callable[[str], Sequence[str]] | None = None,
) -> Catalog:
    return Catalog(
        run.port,
        blueprints,
        fields or partial(fields_of, run.mapping),
        executor,
        whole=not run.mapping.enable_merge_entity,
        absent=frozenset(blueprints) - frozenset(run.blueprints),
    )


def _basis(run: Run) -> Basis:
    return Basis(run.integration.identifier, run.kind, run.settings.port_base_url, digest_of(run.mapping))


def _recorded(
    recorder: Recorder, catalog: Catalog, answers: dict[str, list[str] | None], events: Iterable[Event]
) -> Iterator[Event]:
    """Hand on the events of a plan and record its changes, with what Port has to search for as it is found now."""
    for event in events:
        yield event
        match event:
            case Create(entity) | Update(entity):
                found = _found(entity, catalog, answers)
                if isinstance(found, Problem):
                    yield found
                else:
                    yield from _tried(partial(recorder.add, replace(event, entity=found)))
            case Delete():
                yield from _tried(partial(recorder.add, event))


def _found(entity: Entity, catalog: Catalog, answers: dict[str, list[str] | None]) -> Entity | Problem:
    """Return the entity with its searches as identifiers, so that applying the plan finds the same ones."""
    if entity.is_search:
        found = catalog.resolve(entity.blueprint, entity.identifier) or []
        if len(found) != 1:
            return Problem(
                "diff",
                f"a search for an entity finds {len(found)}, so the plan file does not have it",
                "let the search find one entity; or sync without a plan file",
                blueprint=entity.blueprint,
                resources=(entity.resource,),
                sample=str(entity.identifier),
            )
        entity = replace(entity, identifier=found[0])
    return resolved(entity, catalog, answers) or entity


def _tried(record: Callable[[], None]) -> Iterator[Problem]:
    """Record something; a plan file that cannot be had is a Problem of the plan."""
    try:
        record()
    except (PortRefused, Unreachable, OSError) as failure:
        yield Problem("report", f"the plan file could not be made: {failure}", "run again", holds_all=True)


def _planned(run: Run, state: _State, executor: ThreadPoolExecutor, plan: PlanFile) -> Iterator[Event]:
    """Apply exactly the changes of a plan: first the upserts, then, when all of them were made, the deletions.

    Raises UsageError, before anything is written, where something is not as it was when the plan was made.
    """
    try:
        now = _catalog(run, run.blueprints, executor)
        found = differences(plan, _basis(run), now.states, partial(now.owned, run.integration.identifier))
    except (PortRefused, Unreachable) as failure:
        raise PortUnavailable(
            f"Port did not say what it holds, so the plan was not applied: {failure}",
            hint=advice(failure, "read entities"),
        ) from None
    if found:
        raise UsageError(*found, hint="nothing was written; make a new plan")
    state.begin()
    catalog = _catalog(run, _blueprints(run), executor)
    upserts = (change for change, _ in plan.changes() if isinstance(change, Create | Update))
    failed = False
    for outcome in _apply(run, upserts, catalog, executor):
        failed |= isinstance(outcome, Failed)
        yield outcome
    yield from plan.problems
    yield from plan.held
    doomed: dict[str, list[str]] = {}
    for change, _ in plan.changes():
        if isinstance(change, Delete):
            doomed.setdefault(change.blueprint, []).append(change.identifier)
    if failed:
        why = "not everything that the plan writes was written"
        yield from (Held(name, tuple(gone), "problem", why, "make a new plan") for name, gone in doomed.items())
        return
    entities = [entity for name, gone in doomed.items() for entity, _ in fresh(catalog, name, gone)]
    yield from delete(catalog, entities, set(), Deleter(run.port, cascade=run.mapping.cascades))


def _gitops(
    run: Run, inventory: Inventory, blueprints: dict[str, Blueprint], executor: ThreadPoolExecutor
) -> Generator[Event, None, set[int]]:
    """Write the entities that stand in files, in the name of GitOps; return their keys, which nothing may delete."""
    mapping, agent = run.mapping, integrations.user_agent(run.kind, run.integration.identifier)
    specs = read_specs(run.gitlab, inventory, mapping.spec_paths, mapping.branch or "", run.kind, run.settings.workers)
    found: list[Entity] = []
    for item in gitops.entities(specs, blueprints.keys()):
        if isinstance(item, Entity):
            found.append(item)
        else:
            yield item
    catalog = _catalog(run, blueprints, executor, lambda name: gitops.fields_of(found, name))
    answers: dict[str, list[str] | None] = {}
    changes = Differ(catalog.ledger, lambda entity: resolved(entity, catalog, answers)).run(found)
    run.port.http.set_user_agent(integrations.gitops_agent(run.kind, run.integration.identifier))
    try:
        for event in _apply(run, changes, catalog, executor) if run.writes else changes:
            yield replace(event, resources=(), holds_all=True) if isinstance(event, Problem) else event
    finally:
        run.port.http.set_user_agent(agent)
    return {target_key(*entity.key) for entity in found}


def _blueprints(run: Run) -> dict[str, Blueprint]:
    """Return Port's blueprints, after creating the missing ones of a default mapping (in a plan: as if created)."""
    if not (run.chosen.blueprints and run.settings.initialize_port_resources):
        return dict(run.blueprints)
    if run.writes:
        integrations.create_blueprints(run.port, run.blueprints, run.chosen.blueprints)
    return {data["identifier"]: Blueprint.of(data) for data in run.chosen.blueprints} | dict(run.blueprints)


def _apply(run: Run, events: Iterable[Event], catalog: Catalog, executor: ThreadPoolExecutor) -> Iterator[Event]:
    """Write changes as they come, or targets before sources when Port is not to create missing ones."""
    rules = Rules(
        run.mapping.enable_merge_entity,
        run.mapping.create_missing_related_entities,
        run.settings.batch_length,
        run.settings.batch_bytes,
    )
    writer = Writer(run.port, rules, executor, 2 * run.settings.workers)
    waiting: dict[str, list[Create | Update]] = {}
    try:
        for event in events:
            if not isinstance(event, Create | Update):
                yield event
            elif rules.create_missing:
                yield from writer.add(event)
            else:
                waiting.setdefault(event.entity.blueprint, []).append(event)
        for name in blueprint_order(waiting, catalog.blueprints):
            changes = _last_of_each(waiting[name])
            for group in dependency_order([change.entity for change in changes.values()], catalog.blueprints):
                for entity in group:
                    yield from writer.add(changes[entity.key])
                yield from writer.flush()
        yield from writer.finish(catalog.blueprints)
    except (Stopped, ExportError):
        yield from writer.abandon(GRACE_SECONDS)
        raise


def _last_of_each(changes: Iterable[Create | Update]) -> dict[Key, Create | Update]:
    """Return the last change of each entity; what was not created yet is created from its best row at once."""
    return {
        change.entity.key: Create(change.entity) if isinstance(change, Update) and change.again else change
        for change in changes
    }


def _noted(outcomes: Iterable[Event], catalog: Catalog) -> Iterator[Event]:
    """Tell the ledger which entities Port found for search identifiers, so that they are not taken for gone."""
    for outcome in outcomes:
        if isinstance(outcome, Written) and isinstance(outcome.change, Create | Update):
            entity: Entity = outcome.change.entity
            ledger = catalog.ledger(entity.blueprint)
            if isinstance(ledger, Ledger):
                ledger.mark(str(entity.identifier))
        yield outcome
