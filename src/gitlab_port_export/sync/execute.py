"""Carries out a prepared run: what ends it, the resync state in Port, and the report that its events become."""

import time
from collections.abc import Callable, Generator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass
from datetime import UTC, datetime

from gitlab_port_export.base.alarm import alarm
from gitlab_port_export.base.clock import Stopped
from gitlab_port_export.base.errors import ExportError, Interrupted, OutOfTime, limits_reported
from gitlab_port_export.live.events import Intake
from gitlab_port_export.model import Event, Problem
from gitlab_port_export.report.builder import ReportBuilder
from gitlab_port_export.report.exit_code import Command
from gitlab_port_export.report.values import Report
from gitlab_port_export.sync.choose import blueprints_to_make, expected_blueprints
from gitlab_port_export.sync.follow import follow
from gitlab_port_export.sync.line import line
from gitlab_port_export.sync.outcomes import Outcomes
from gitlab_port_export.sync.plan_apply import apply, check_unchanged
from gitlab_port_export.sync.plan_file import PlanFile, Recorder
from gitlab_port_export.sync.plan_record import basis_of
from gitlab_port_export.sync.plan_values import GONE, PROVEN, PlanValues, plan_values, with_values
from gitlab_port_export.sync.prepare import Run, first_problems
from gitlab_port_export.sync.resync import Resync
from gitlab_port_export.sync.write import ensure_blueprints, make_catalog, sink_of


@dataclass(frozen=True)
class Share:
    """What a run does that is one of several of a sync: its own line in place of that of a full run.

    `started` is when the sync began. Only the `last` run says what is wrong with the mapping, and tells Port the end.
    """

    line: Callable[[Run, Outcomes, Resync, Executor], Generator[Event, None, None]]
    started: datetime
    last: bool = False


def execute(
    run: Run,
    command: Command,
    watch: Callable[[Event], None],
    *,
    detailed: bool = False,
    recorder: Recorder | None = None,
    plan: PlanFile | None = None,
    intake: Intake | None = None,
    share: Share | None = None,
) -> Report:
    """Carry out a prepared run and return its report; `watch` sees every event as it happens.

    A `recorder` is given the changes of a plan; with `plan` a sync applies that, and reads nothing of GitLab; with
    `intake` it reads what events name, and nothing else; with `share` it does its share of a sync. Raises
    GitLabUnavailable and PortUnavailable when nothing could be done, UsageError when a plan no longer fits or a part is
    not known; Interrupted, and Port failing after it took some writes, end in a report too.
    """
    # In whole seconds: this marks a run that repeats its state, see `integration.SILENT_SECONDS`.
    started, clock = datetime.now(UTC).replace(microsecond=0), time.monotonic()
    if share and share.last:
        clock -= max((datetime.now(UTC) - share.started).total_seconds(), 0.0)
        started = share.started
    kinds = tuple(resource.kind for resource in run.mapping.resources)
    builder = ReportBuilder(command, kinds, run.redactor.redact, zero=clock)
    outcomes, resync = Outcomes(), resync_of(run, share.started if share else started)
    resync.ends = share is None or share.last

    def take(event: Event) -> None:
        outcomes.note(event)
        builder.add(event)
        watch(event)

    values = None
    if command == "plan" and not run.settings.no_values:
        values = plan_values(run.port, run.blueprints, run.redactor.redact, PROVEN if intake else GONE)
    events = _events(run, outcomes, resync, recorder, plan, intake, values, share)
    code = _carry_out(run, outcomes, resync, events, take)
    report = _finished(builder, run, outcomes, started, clock, code, values, detailed=detailed)
    failed = any(not problem.warning for problem in report.problems)
    resync.end("aborted" if code is not None else "failed" if failed else "completed")
    return report


def _finished(
    builder: ReportBuilder, run: Run, outcomes: Outcomes, started: datetime, clock: float, code: int | None,
    values: PlanValues | None, *, detailed: bool,
) -> Report:  # fmt: skip
    """Return the report of a run that began at `started` (`clock`, monotonic), with those of the others of its sync."""
    for one in outcomes.reports:
        builder.fold(one, (datetime.fromisoformat(one.started) - started).total_seconds())
    return builder.finish(
        started=started.isoformat(timespec="seconds"),
        seconds=round(time.monotonic() - clock, 3),
        mapping_origin=run.mapping.origin,
        integration=run.integration.identifier,
        gitlab_requests=run.gitlab.http.requests + sum(one.gitlab_requests for one in outcomes.reports),
        port_requests=run.port.http.requests + sum(one.port_requests for one in outcomes.reports),
        rate=_rate(run, outcomes),
        plan=tuple(outcomes.plan.lines()) if outcomes.plan else (),
        detailed=detailed,
        fail_on=run.settings.fail_on,
        code=code,
        skipped=outcomes.skipped,
        part=outcomes.part,
        left=tuple(outcomes.left),
        rhythm=outcomes.rhythm,
        details=values.found if values else {},
    )


def resync_of(run: Run, started: datetime) -> Resync:
    """Return what reports the state of a run, or of the sync that it is a part of, to Port."""
    config = run.chosen.config if run.settings.initialize_port_resources else None
    return Resync(
        run.port, run.integration, run.dialect, config or {}, started, port_time=run.port_time, writes=run.writes
    )


def _rate(run: Run, outcomes: Outcomes) -> float | None:
    """Return the bound of requests a second where it decided how long this run took, or another one of the sync."""
    others = [one.rate for one in outcomes.reports if one.rate is not None]
    if not (others or run.gitlab.http.rate.decided):
        return None
    return run.settings.rate or sum(others)


def _carry_out(
    run: Run,
    outcomes: Outcomes,
    resync: Resync,
    events: Generator[Event, None, None],
    take: Callable[[Event], None],
) -> int | None:
    """Take all events, and what ends the run early as a Problem; return the exit code where a signal ended it."""
    try:
        with limits_reported(), alarm(run.port.http.clock), closing(events):
            for event in events:
                take(event)
        # The rows of an incremental run are few, and Port has those of the last full run.
        if run.settings.send_raw_data_examples and not (outcomes.rhythm and outcomes.rhythm.mode == "incremental"):
            resync.show(outcomes.examples)
    except OutOfTime:
        take(_late(run, ""))
    except Interrupted as stopped:
        return stopped.exit_code
    except ExportError as error:
        if not outcomes.wrote:
            resync.end("failed")
            raise
        take(Problem("write", str(error), error.hint, holds_all=True))
    except Exception:
        # A bug: Port must not show this run as one that goes on.
        resync.end("failed")
        raise
    return None


def _events(
    run: Run,
    outcomes: Outcomes,
    resync: Resync,
    recorder: Recorder | None,
    plan: PlanFile | None,
    intake: Intake | None,
    values: PlanValues | None,
    share: Share | None,
) -> Generator[Event, None, None]:
    """Yield everything that happens, in order."""
    # What events name is read beside any other run: that one may have read it before. Of the runs of one sync each
    # says in Port that it is active.
    if run.overlaps and run.writes and intake is None and share is None:
        yield overlap_of(run)
        if run.settings.on_overlap == "skip":
            outcomes.skipped = True
            return
    if share is None or share.last:
        yield from first_problems(run)
    with ExitStack() as ending:
        executor = ThreadPoolExecutor(run.settings.workers, thread_name_prefix="port")
        ending.callback(executor.shutdown, wait=False, cancel_futures=True)
        try:
            if plan:
                yield from _applied(run, resync, executor, plan)
            elif share:
                yield from share.line(run, outcomes, resync, executor)
            elif intake:
                yield from with_values(values, follow(run, outcomes, executor, intake))
            else:
                yield from with_values(values, line(run, outcomes, resync, executor, recorder))
        except Stopped as stopped:
            yield _late(run, stopped.asked)


def _applied(run: Run, resync: Resync, executor: Executor, plan: PlanFile) -> Generator[Event, None, None]:
    """Apply a plan file in place of reading GitLab."""
    sink = sink_of(run.port, run.mapping, run.settings, executor, writes=run.writes)
    basis = basis_of(run.port, run.integration.identifier, run.dialect, run.mapping)
    before = make_catalog(run.port, run.mapping, run.blueprints, run.blueprints, executor)
    check_unchanged(plan, basis, before, run.integration.identifier, run.mapping)
    resync.begin()
    ensure_blueprints(sink, blueprints_to_make(run.settings, run.chosen), run.blueprints)
    expected = expected_blueprints(run.settings, run.chosen, run.blueprints)
    catalog = make_catalog(run.port, run.mapping, expected, run.blueprints, executor)
    yield from apply(plan, sink, catalog, cascade=run.mapping.cascades)


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


def overlap_of(run: Run) -> Problem:
    """Return the warning that another run of the integration is active."""
    skipped = run.settings.on_overlap == "skip"
    return Problem(
        "integration",
        f"another run of {run.integration.identifier} has been active since {run.integration.running_since}; "
        + ("this one did nothing" if skipped else "this one runs beside it, and neither deletes what the other wrote"),
        "let CI run one at a time, or choose with --on-overlap run|skip",
        warning=True,
    )
