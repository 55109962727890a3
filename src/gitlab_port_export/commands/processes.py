"""What `sync --processes` does: a survey, a process for each shard, and the last step, as one run with one report."""

import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from gitlab_port_export.base.alarm import alarm
from gitlab_port_export.base.clock import Clock
from gitlab_port_export.base.errors import Interrupted, OutOfTime
from gitlab_port_export.commands.run import print_report, progress_of
from gitlab_port_export.commands.session import Session
from gitlab_port_export.commands.signals import signals
from gitlab_port_export.model import Planned
from gitlab_port_export.report.progress import Progress
from gitlab_port_export.report.values import Report
from gitlab_port_export.settings.settings import Settings
from gitlab_port_export.shards.collect import collect
from gitlab_port_export.shards.processes import Ending, cores, processes_for, run_processes
from gitlab_port_export.shards.reconcile import reconcile_line
from gitlab_port_export.shards.shares import prepare_share
from gitlab_port_export.shards.slim import kept_keys
from gitlab_port_export.shards.survey import Survey, save
from gitlab_port_export.shards.surveying import take_survey
from gitlab_port_export.shards.told import Tally
from gitlab_port_export.sync.execute import Share, execute, resync_of
from gitlab_port_export.sync.prepare import Run, prepare
from gitlab_port_export.sync.remembered import place_of

# So much of what is left of the deadline is for the last step, and at least so many seconds. Where processes left it
# less, it may go so long beyond the deadline, so that there is a report.
LAST_SHARE, LAST_SECONDS, BEYOND_SECONDS = 0.1, 5.0, 2.0
# Options that are about the whole run and not about a process of it.
_OURS = ("processes", "together", "fail_on", "on_overlap", "ci", "deadline", "workers")


def run_in_processes(session: Session, settings: Settings, options: Mapping[str, Any]) -> int:
    """Carry out a sync in several processes, report it, and return its exit code. Raises ExportError."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="gitlab-port-export-")))
        stack.enter_context(signals())
        clock = session.make_clock(settings.deadline)
        progress = stack.enter_context(progress_of(session, "listing groups and projects"))
        report = _report(session, settings, options, folder, clock, progress)
    report = session.reports.publish(report, settings.port_base_url, settings.fail_on)
    print_report(session, report, reads=False)
    return report.exit_code


def _report(
    session: Session, settings: Settings, options: Mapping[str, Any], folder: Path, clock: Clock, progress: Progress
) -> Report:
    """Carry out the run and return its report; `folder` is private, and gone after it."""
    with alarm(clock):
        first = prepare(settings, clock, writes=True, redactor=session.redactor)
        try:
            if first.overlaps and settings.on_overlap == "skip":
                return execute(first, "sync", progress.update)
            # Where the last step could not keep the state that somebody asks for, nothing is read.
            place_of(first)
            survey = _survey(first, folder)
        finally:
            # Its processes for jq would only take memory.
            first.close()
    endings = _endings(session, first, survey, folder, options, clock, progress)
    if clock.left is not None:
        clock = session.make_clock(max(clock.left, BEYOND_SECONDS))
    with ExitStack() as stack:
        with alarm(clock):
            last = prepare_share(settings, clock, survey, session.redactor)
        stack.callback(last.close)
        # The mapping as it was read, with the places of its lines.
        last = replace(last, chosen=replace(first.chosen, blueprints=(), config=None))
        files = [_file(folder, number) for number in range(1, survey.shards + 1)]
        collected = collect(survey, files, lambda number: _missing(number, endings))
        share = Share(reconcile_line(survey, collected), survey.started, last=True)
        return execute(last, "sync", progress.update, share=share)


def _survey(run: Run, folder: Path) -> Survey:
    wanted = run.settings.processes

    def shards(projects: int) -> int:
        return processes_for(projects, cores()) if wanted == "auto" else int(wanted)

    return save(take_survey(run, shards), folder, kept_keys(run.mapping, run.dialect))


def _endings(
    session: Session,
    run: Run,
    survey: Survey,
    folder: Path,
    options: Mapping[str, Any],
    clock: Clock,
    progress: Progress,
) -> tuple[Ending, ...]:
    """Return how each process ended; a run that is told to stop meanwhile says so in Port."""
    progress.update(Planned(survey.cut(run.mapping)[0].requests()))

    def hear(told: Any) -> None:
        if isinstance(told, Tally):
            progress.count(told.pages, told.rows, told.intended, told.answered, told.confirmed)
        else:
            progress.update(told)

    try:
        with alarm(clock):
            return run_processes(list(_requests(session, run, survey, folder, options, clock)), session.environ, hear)
    except OutOfTime:
        return (Ending(told="the deadline passed"),) * survey.shards
    except Interrupted:
        resync = resync_of(run, survey.started)
        resync.reporting = run.integration.accessible
        resync.end("aborted")
        raise


def _requests(
    session: Session, run: Run, survey: Survey, folder: Path, options: Mapping[str, Any], clock: Clock
) -> Iterator[bytes]:
    """Yield what each process is told. No secret is among it: it reads these from where this process read them.

    Together they use as many connections, and send as many requests a second, as one process would.
    """
    kept = {
        name: [str(one) for one in value] if isinstance(value, list | tuple) else str(value)
        for name, value in options.items()
        if value is not None and name not in _OURS and not name.startswith("report_")
    }
    kept["workers"] = str(max(1, -(-run.settings.workers // survey.shards)))
    if run.settings.rate:
        kept["rate"] = f"{max(run.settings.rate / survey.shards, 0.001):.3f}"
    if clock.left is not None:
        kept["deadline"] = f"{max(clock.left - max(clock.left * LAST_SHARE, LAST_SECONDS), 0.1):.3f}"
    for number in range(1, survey.shards + 1):
        request = {
            "shard": [number, survey.shards],
            "survey": str(folder),
            "evidence": str(_file(folder, number)),
            "options": kept,
            "debug": session.debug,
            "log_json": session.log_json,
        }
        yield json.dumps(request).encode()


def _file(folder: Path, number: int) -> Path:
    return folder / f"evidence-{number}"


def _missing(number: int, endings: tuple[Ending, ...]) -> str:
    return f"process {number} of {len(endings)} failed, so nothing is deleted: {endings[number - 1].why}"
