"""What `sync --shard K/N` does: the share of one shard, its evidence and its report."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from gitlab_port_export.base.alarm import alarm
from gitlab_port_export.base.errors import Fault, UsageError
from gitlab_port_export.commands.run import print_report, progress_of
from gitlab_port_export.commands.session import Session
from gitlab_port_export.commands.signals import signals
from gitlab_port_export.model import Event, Problem
from gitlab_port_export.report.exit_code import with_late
from gitlab_port_export.report.values import Report
from gitlab_port_export.settings.settings import Settings
from gitlab_port_export.shards.evidence import Found, Shard, save
from gitlab_port_export.shards.shard import shard_line
from gitlab_port_export.shards.shares import prepare_share
from gitlab_port_export.shards.survey import Survey, load
from gitlab_port_export.sync.execute import Share, execute
from gitlab_port_export.sync.prepare import Run


def run_shard(session: Session, settings: Settings) -> int:
    """Do the share of one shard, write its evidence and report it; return the exit code. Raises ExportError."""
    assert settings.shard and settings.survey and settings.evidence  # noqa: S101, PT018  # is_share says so; for mypy
    shard = Shard(*settings.shard, settings.attempt)
    with progress_of(session, f"planning {shard}") as progress:
        report = leave_evidence(session, settings, settings.survey, shard, settings.evidence, progress.update)
    report = session.reports.publish(report, settings.port_base_url, settings.fail_on)
    print_report(session, report, reads=False)
    return report.exit_code


def leave_evidence(
    session: Session, settings: Settings, folder: Path, shard: Shard, file: Path, watch: Callable[[Event], None]
) -> Report:
    """Do the share of a shard of the survey in a folder, and write its evidence. Raises ExportError and Interrupted.

    Where the evidence cannot be written, which holds all deletions in the last step, the report says so.
    """
    # So that nothing takes the evidence of another try for that of this one.
    file.unlink(missing_ok=True)
    survey = load(folder)
    faults = list(survey.misfits(settings))
    if shard.of != survey.shards:
        faults.append(Fault(f"the survey has {survey.shards} shards, not {shard.of}", "--shard"))
    if faults:
        raise UsageError(*faults, hint="give all jobs of a sync the same settings, and each its own shard")
    found = Found()
    with prepared(session, settings, survey) as run:
        report = execute(run, "sync", watch, share=Share(shard_line(survey, shard, found), survey.started))
    try:
        save(file, shard, survey.digest, survey.run, found, report, session.redactor.redact)
    except OSError as error:
        why = f"--evidence: {file} was not written: {error.strerror or type(error).__name__}"
        return with_late([Problem("report", why, "make room, and run this shard again")], report, settings.fail_on)
    return report


@contextmanager
def prepared(session: Session, settings: Settings, survey: Survey) -> Iterator[Run]:
    """Give a run that is one of several of a sync, ready to be carried out. Raises ExportError and Interrupted."""
    with ExitStack() as stack:
        stack.enter_context(signals())
        clock = session.make_clock(settings.deadline)
        with alarm(clock):
            run = prepare_share(settings, clock, survey, session.redactor)
        stack.callback(run.close)
        yield run
