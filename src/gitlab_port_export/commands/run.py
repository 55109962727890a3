"""The commands `sync` and `plan`: one run from its options to its report."""

from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from shlex import quote
from tempfile import TemporaryFile
from typing import IO, Any

from gitlab_port_export.base.alarm import alarm
from gitlab_port_export.base.errors import UsageError
from gitlab_port_export.commands.session import Session
from gitlab_port_export.commands.signals import signals
from gitlab_port_export.live.events import Intake, read_file
from gitlab_port_export.model import Problem
from gitlab_port_export.report.exit_code import Command, FailOn, with_late
from gitlab_port_export.report.formats import FORMATS
from gitlab_port_export.report.progress import Progress
from gitlab_port_export.report.values import Report
from gitlab_port_export.settings.load import ci_choice, input_files, load_settings, report_files
from gitlab_port_export.settings.settings import Settings
from gitlab_port_export.sync.execute import execute
from gitlab_port_export.sync.plan_file import Recorder, opened
from gitlab_port_export.sync.prepare import prepare


def run(
    session: Session,
    command: Command,
    *,
    detailed: bool = False,
    out: Path | None = None,
    plan: Path | None = None,
    **options: Any,
) -> int:
    """Carry out one run, report it, and return its exit code. Raises ExportError.

    `out` is the plan file that a plan writes, `plan` the one that a sync applies. `options` are settings by name.
    """
    settings = load_run_settings(session, plan, options)
    # A shard leaves the state to the last step, which may be a job on another machine.
    state = None if settings.shard else settings.state_file
    session.reports.check({"out": out, "evidence": settings.evidence, "state": state})
    if command == "sync" and is_share(settings, options, plan):
        from gitlab_port_export.commands.shard import run_shard  # noqa: PLC0415  # other runs need no shards

        return run_shard(session, settings)
    if command == "sync" and in_processes(settings, options, plan):
        from gitlab_port_export.commands.processes import run_in_processes  # noqa: PLC0415  # as above

        return run_in_processes(session, settings, options)
    report = _report(session, settings, command, detailed=detailed, out=out, plan=plan)
    report = session.reports.publish(report, settings.port_base_url, settings.fail_on)
    print_report(session, report, reads=settings.reads)
    # One that existed before was removed at the start.
    if out and out.is_file():
        session.note(f"apply this plan with: {_applying(out, options.get('env_file'))}")
    return report.exit_code


def _chosen(settings: Settings, plan: Path | None) -> list[str]:
    """Return the options that choose what a sync reads."""
    found = {
        "--plan": plan, "--only": settings.only, "--kind": settings.kinds, "--event": settings.event,
        "--since": settings.since,
    }  # fmt: skip
    return [name for name, value in found.items() if value]


def in_processes(settings: Settings, options: dict[str, Any], plan: Path | None) -> bool:
    """Say whether a sync is one in several processes. Raises UsageError where it is asked for and cannot be."""
    if settings.processes == 1:
        return False
    if _chosen(settings, plan) and options.get("processes") is None:
        return False  # a variable that is set for all runs
    if faults := [f"{name}: several processes are for a full sync" for name in _chosen(settings, plan)]:
        raise UsageError(*faults, hint="leave out --processes")
    return True


def is_share(settings: Settings, options: dict[str, Any], plan: Path | None) -> bool:
    """Say whether a sync is one shard of a survey. Raises UsageError where only a part of that is said."""
    given = {"--shard": settings.shard, "--survey": settings.survey, "--evidence": settings.evidence}
    # A variable of the CI system that is not set: without this line the job would do a whole sync.
    empty = options.get("shard") is not None and not str(options["shard"]).strip()
    if not empty and not any(given.values()):
        return False
    faults = [f"{name}: is needed by a shard, and not given" for name, value in given.items() if not value]
    faults += [f"{name}: a shard reads what its survey says" for name in _chosen(settings, plan)]
    if faults:
        raise UsageError(*faults, hint="a shard is run with --shard K/N --survey DIR --evidence FILE")
    return True


def _applying(out: Path, env_file: Path | None) -> str:
    """Return the command that applies a plan file: it holds its mapping, and the environment has the other settings."""
    also = f" --env-file {quote(str(env_file))}" if env_file else ""
    return f"gitlab-port-export sync --plan {quote(str(out))}{also}"


def load_run_settings(session: Session, plan: Path | None, options: dict[str, Any]) -> Settings:
    """Return the settings. The session first learns where reports go, so that faulty settings are reported there."""
    environ = session.environ
    files = report_files(environ, **options)
    session.reports = replace(session.reports, files=files)
    inputs = input_files(environ, **options) | ({"the plan file": plan} if plan else {})
    session.reports = replace(session.reports, inputs=inputs)
    session.reports = replace(session.reports, ci=session.reports.ci.to(ci_choice(environ, **options)))
    session.debug |= session.reports.ci.wants_debug
    settings = load_settings(environ, **options)
    session.reports.ci.mask(settings.secrets())
    session.begin(settings)
    return settings


def _report(
    session: Session, settings: Settings, command: Command, *, detailed: bool, out: Path | None, plan: Path | None
) -> Report:
    """Carry out the run and return its report."""
    intake = _intake(settings, plan)
    with ExitStack() as stack:
        recorder = Recorder(stack.enter_context(_beside(out))) if out else None
        planned = stack.enter_context(opened(plan)) if plan else None
        stack.enter_context(signals())
        clock = session.make_clock(settings.deadline)
        with alarm(clock):
            mapping = planned.mapping if planned else None
            prepared = prepare(settings, clock, writes=command == "sync", redactor=session.redactor, planned=mapping)
        stack.callback(prepared.close)
        with progress_of(session, "applying the plan" if planned else "listing groups and projects") as progress:
            report = execute(
                prepared, command, progress.update, detailed=detailed, recorder=recorder, plan=planned, intake=intake
            )
        return _saved(report, recorder, out, settings.fail_on) if recorder and out else report


def progress_of(session: Session, doing: str) -> Progress:
    """Return what shows the progress of a run, in the form of the log."""
    beat = session.beat if session.log_json else None
    return Progress(session.err, beat=beat, silent=session.quiet, doing=doing)


def _intake(settings: Settings, plan: Path | None) -> Intake | None:
    """Return what the given events name, None where none are given. Raises UsageError."""
    if plan and (settings.event or settings.only or settings.kinds or settings.since):
        raise UsageError(
            "--plan: applies a plan and reads nothing", hint="leave out --event, --only, --kind and --since"
        )
    if settings.since and (settings.event or settings.only or settings.kinds):
        raise UsageError("--since: finds out itself what is read", hint="leave out --event, --only and --kind")
    if settings.event is None:
        return None
    if settings.only or settings.kinds:
        raise UsageError("--event: names itself what is read", hint="leave out --only and --kind")
    return read_file(settings.event)


def print_report(session: Session, report: Report, *, reads: bool) -> None:
    """Print a report, or its JSON; `reads` shows what each token reads."""
    if session.as_json:
        session.out.stream.write(FORMATS["json"].render(report))
    else:
        from gitlab_port_export.report import console  # noqa: PLC0415  # JSON needs no tables

        console.render(report, session.out.console, session.reports.ci.fold, reads=reads)


def _beside(out: Path) -> IO[bytes]:
    """Return a file without a name in the folder of the plan file, and remove a plan file that exists.

    So nobody can apply an old plan file when this plan fails. Raises UsageError.
    """
    try:
        out.unlink(missing_ok=True)
        return TemporaryFile(dir=out.parent)
    except OSError as error:
        why = f"--out: {out} cannot be written: {error.strerror or error}"
        raise UsageError(why, hint="name a file in a folder that may be written") from None


def _saved(report: Report, recorder: Recorder, out: Path, fail_on: FailOn) -> Report:
    """Write the plan file and return the report, with a Problem where the file could not be written."""
    why = "the plan did not come to its end"
    if recorder.whole:
        try:
            recorder.save(out, report.problems, report.held)
        except OSError as error:
            why = error.strerror or type(error).__name__
        else:
            return report
    return with_late([Problem("report", f"{out} was not written: {why}", "run plan again")], report, fail_on)
