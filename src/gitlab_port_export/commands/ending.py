"""How a command ends that could not be carried out: by an error of the user or a server, by a signal, or by a bug."""

import traceback
from contextlib import suppress
from datetime import UTC, datetime

from gitlab_port_export.base.errors import ExportError, Interrupted
from gitlab_port_export.commands.session import Session
from gitlab_port_export.model import Problem, Stage
from gitlab_port_export.report import json
from gitlab_port_export.report.exit_code import EXIT_MEANINGS
from gitlab_port_export.report.values import Report

BUG = 70


def fail(session: Session, command: str, error: ExportError | Interrupted) -> int:
    """Say and report what ended the command; return its exit code."""
    redact = session.redactor.redact
    faults = [redact(str(fault)) for fault in error.faults]
    for fault in faults:
        session.say(f"error: {fault}", "red")
    if error.hint:
        session.say(f"→ {error.hint}")
    stage = error.stage if isinstance(error, ExportError) else "integration"
    _report(session, command, error.exit_code, faults, redact(error.hint), stage)
    session.say(f"exit {error.exit_code}: {EXIT_MEANINGS.get(error.exit_code, 'ended early')}", "bold")
    return error.exit_code


def bug(session: Session, command: str, error: Exception) -> int:
    """Say in one line that there is a bug, with its traceback when debugging; return the exit code."""
    if session.debug:
        # Redacted as a whole, because a secret may have line ends.
        text = session.redactor.redact("".join(traceback.format_exception(error)))
        for line in text.rstrip("\n").split("\n"):
            session.say(line)
    what = session.redactor.redact(f"{type(error).__name__}: {error}")
    session.say(f"error: a bug in the exporter: {what}", "red")
    session.say("→ run again with --debug and report the traceback")
    # The bug may be in a renderer, which would raise it again.
    with suppress(Exception):
        _report(session, command, BUG, [what], "")
    session.say(f"exit {BUG}: {EXIT_MEANINGS[BUG]}", "bold")
    return BUG


def stray(session: Session, error: BaseException | None) -> None:
    """Say in one line that there was a bug in a thread whose result the run does not need; the run goes on."""
    if error is not None:
        session.say(f"warning: a bug in the exporter, beside the run: {type(error).__name__}: {error}", "yellow")


def _report(
    session: Session, command: str, code: int, faults: list[str], hint: str, stage: Stage = "integration"
) -> None:
    """Write a report that holds only what ended the command: JSON, and of a run also files and the CI system."""
    if command in ("sync", "plan", "reconcile"):
        problems = tuple(Problem(stage, fault, hint) for fault in faults)
        started = datetime.now(UTC).isoformat(timespec="seconds")
        report = session.reports.publish_failure(Report(command, code, started, 0.0, problems=problems))
        for problem in report.problems[len(problems) :]:
            session.say(f"error: {problem.why}", "red")
        text = json.render(report)
    else:
        text = json.refusal(command, code, faults, hint)
    if session.as_json:
        session.out.stream.write(text)
