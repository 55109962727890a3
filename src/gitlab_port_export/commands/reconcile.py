"""The command `reconcile`: the last step of a sync in several jobs, which alone deletes."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from gitlab_port_export.base.errors import UsageError
from gitlab_port_export.commands.run import load_run_settings, print_report, progress_of
from gitlab_port_export.commands.session import Session
from gitlab_port_export.commands.shard import prepared
from gitlab_port_export.report.values import Report
from gitlab_port_export.settings.settings import Settings
from gitlab_port_export.shards.collect import Collected, collect
from gitlab_port_export.shards.reconcile import reconcile_line
from gitlab_port_export.shards.survey import AGAIN, Survey, load
from gitlab_port_export.sync.execute import Share, execute
from gitlab_port_export.sync.prepare import Run


def run(session: Session, *, files: Sequence[Path], **options: Any) -> int:
    """Join the evidence in these files, delete what is gone, report, and return the exit code. Raises ExportError."""
    settings = load_run_settings(session, None, options)
    session.reports.check({"state": settings.state_file})
    if settings.survey is None:
        raise UsageError("--survey: is not given", hint="name the folder that survey --out wrote")
    survey = load(settings.survey)
    collected = collect(survey, files)
    if faults := list(survey.misfits(settings)):
        raise UsageError(*faults, hint="give all jobs of a sync the same settings")
    session.note(_evidence(survey, collected))
    report = _report(session, settings, survey, collected)
    report = session.reports.publish(report, settings.port_base_url, settings.fail_on)
    print_report(session, report, reads=False)
    return report.exit_code


def _report(session: Session, settings: Settings, survey: Survey, collected: Collected) -> Report:
    with prepared(session, settings, survey) as run:
        check_age(run, survey)
        share = Share(reconcile_line(survey, collected), survey.started, last=True)
        with progress_of(session, "joining the evidence") as progress:
            return execute(run, "sync", progress.update, share=share)


def check_age(run: Run, survey: Survey) -> None:
    """Raise UsageError where the survey is too old; Port's clock tells, where it gave its time."""
    most = run.settings.max_age
    if survey.instant and run.port_time:
        age = datetime.fromisoformat(run.port_time) - datetime.fromisoformat(survey.instant)
    else:
        age = datetime.now(UTC) - survey.started
    if age.total_seconds() > most:
        old, allowed = (f"{seconds / 3600:.4g}" for seconds in (age.total_seconds(), most))
        why = f"the survey is {old} hours old, and at most {allowed} are allowed"
        raise UsageError(why, hint=f"{AGAIN}, or allow more (--max-age)")


def _evidence(survey: Survey, collected: Collected) -> str:
    """Return how much evidence there is, and when it was read."""
    begun = [datetime.fromisoformat(one.report.started) for one in collected.evidence]
    ends = [moment.timestamp() + one.report.seconds for moment, one in zip(begun, collected.evidence, strict=True)]
    when = ""
    if begun:
        last = datetime.fromtimestamp(max(ends), UTC)
        when = f", read between {min(begun).astimezone(UTC):%H:%M} and {last:%H:%M} (UTC)"
    return f"{len(collected.evidence)} of {survey.shards} shards{when}"
