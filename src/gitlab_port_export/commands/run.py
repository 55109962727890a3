"""Between the command line and a run: streams, logging, signals, and the words for what ended a run."""

import logging
import os
import signal
import time
import traceback
import warnings
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any, Literal, NoReturn, TextIO

from urllib3.exceptions import InsecureRequestWarning

from gitlab_port_export.base.alarm import alarm
from gitlab_port_export.base.clock import Clock
from gitlab_port_export.base.errors import ExportError, Interrupted, UsageError
from gitlab_port_export.base.text import Redactor, clean
from gitlab_port_export.commands.preview_values import SampleWish
from gitlab_port_export.model import Problem, Stage
from gitlab_port_export.report import files
from gitlab_port_export.report import json as as_json
from gitlab_port_export.report import markdown as as_markdown
from gitlab_port_export.report.ci.output import connect
from gitlab_port_export.report.exit_code import EXIT_MEANINGS, Command, FailOn, with_late
from gitlab_port_export.report.progress import Progress
from gitlab_port_export.report.screen import Screen
from gitlab_port_export.report.values import Finding, Report
from gitlab_port_export.settings.load import ci_choice, input_files, load_settings, report_files
from gitlab_port_export.settings.settings import Settings
from gitlab_port_export.sync.execute import execute
from gitlab_port_export.sync.plan_file import Recorder, opened
from gitlab_port_export.sync.prepare import prepare

BUG = 70


class Shell:
    """The streams of one command: results to `out`, everything else to `err`."""

    def __init__(
        self,
        out: TextIO,
        err: TextIO,
        environ: Mapping[str, str],
        *,
        as_json: bool = False,
        debug: bool = False,
    ) -> None:
        self._out, self._err = Screen.of(out, environ), Screen.of(err, environ)
        self._stream, self._environ, self._json, self._debug = out, environ, as_json, debug
        self._redactor = Redactor(())
        self._files: dict[str, Path] = {}
        self._inputs: dict[str, Path] = {}
        self._ci = connect("auto", environ, out, err, as_json=as_json)

    def run(
        self,
        command: Command,
        *,
        detailed: bool,
        out: Path | None = None,
        plan: Path | None = None,
        **options: Any,
    ) -> int:
        """Carry out one run, write and print its report; `out` and `plan` are plan files. Raises ExportError."""
        self._files = report_files(self._environ, **options)
        self._inputs = input_files(self._environ, **options) | ({"the plan file": plan} if plan else {})
        self._ci = self._ci.to(ci_choice(self._environ, **options))
        self._debug |= self._ci.wants_debug
        settings = load_settings(self._environ, **options)
        self._ci.mask(settings.secrets())
        self._redactor = Redactor(settings.secrets())
        self._log(settings)
        files.check(self._files | ({"out": out} if out else {}), self._inputs)
        with ExitStack() as stack:
            recorder = Recorder(stack.enter_context(_beside(out))) if out else None
            planned = stack.enter_context(opened(plan)) if plan else None
            stack.enter_context(_signals())
            clock = Clock(settings.deadline)
            with alarm(clock):
                prepared = prepare(settings, clock, writes=command == "sync", redactor=self._redactor)
            stack.callback(prepared.close)
            with Progress(self._err) as progress:
                report = execute(prepared, command, progress.update, detailed=detailed, recorder=recorder, plan=planned)
            if recorder and out:
                report = _saved(report, recorder, out, settings.fail_on)
        report = replace(report, links=self._ci.links(settings.port_base_url, self._files.get("html")))
        report = files.publish(report, self._files, settings.fail_on)
        self._tell(report)
        self._show(report)
        return report.exit_code

    def check(self, **options: Any) -> int:
        """Look at everything that a sync needs and print what was found; never raises ExportError."""
        from gitlab_port_export.commands.check import check, exit_code  # noqa: PLC0415  # no sync has to pay for it
        from gitlab_port_export.commands.checks.mapping import check_file  # noqa: PLC0415  # as above
        from gitlab_port_export.commands.checks.settings import faulty_settings  # noqa: PLC0415  # as above
        from gitlab_port_export.report import findings as as_findings  # noqa: PLC0415  # as above

        findings: list[Finding] = []
        try:
            settings = load_settings(self._environ, **options)
        except UsageError as error:
            findings += faulty_settings(error)
            if file := options.get("mapping_file"):
                findings += check_file(Path(file))
        else:
            self._redactor = Redactor(settings.secrets())
            self._log(settings)
            clock = Clock(settings.deadline)
            with _signals(), alarm(clock):
                findings += check(settings, clock, self._redactor)
        shown = [self._redacted(finding) for finding in findings]
        code = exit_code(shown)
        if self._json:
            self._stream.write(as_findings.to_json(shown, code))
        else:
            as_findings.render(shown, code, self._out.console)
        return code

    def preview(self, wanted: SampleWish, **options: Any) -> int:
        """Show a few rows and what the mapping makes of them. Raises ExportError.

        With a saved row and a mapping file there is nothing to ask, so settings that are not complete will do.
        """
        from gitlab_port_export.commands import preview_output  # noqa: PLC0415  # as above
        from gitlab_port_export.commands.preview import preview  # noqa: PLC0415  # no sync has to pay for it

        settings: Settings | None = None
        try:
            settings = load_settings(self._environ, **options)
        except UsageError:
            if wanted.row is None or options.get("mapping_file") is None:
                raise
        else:
            self._redactor = Redactor(settings.secrets())
            self._log(settings)
        clock = Clock(settings.deadline if settings else None)
        with _signals(), alarm(clock):
            found = preview(wanted, settings, options.get("mapping_file"), clock, self._redactor)
        self._redactor.learn(*preview_output.secrets_of(found))
        if self._json:
            self._stream.write(preview_output.to_json(found, self._redactor.redact))
        else:
            preview_output.render(found, self._redactor.redact, self._out.console)
        return found.exit_code

    def hooks(
        self, command: Literal["plan", "apply", "status", "remove"], wish: Mapping[str, Any], *, detailed: bool = False,
        **options: Any,
    ) -> int:  # fmt: skip
        """Plan, apply, look after or remove the hooks of live updates. Raises ExportError."""
        from gitlab_port_export.commands import hooks_output  # noqa: PLC0415  # as above
        from gitlab_port_export.commands.hooks import run_hooks  # noqa: PLC0415  # no sync has to pay for it
        from gitlab_port_export.live.wish import load_wish  # noqa: PLC0415  # as above

        settings = load_settings(self._environ, **options)
        self._redactor = Redactor(settings.secrets())
        self._log(settings)
        wanted = load_wish(self._environ, settings, **wish)
        clock = Clock(settings.deadline)
        with _signals(), alarm(clock):
            report = run_hooks(command, wanted, settings, clock, self._redactor, detailed=detailed)
        if self._json:
            self._stream.write(hooks_output.to_json(report, self._redactor.redact))
        else:
            hooks_output.render(report, self._redactor.redact, self._out.console)
        return report.exit_code

    def _redacted(self, finding: Finding) -> Finding:
        redact = self._redactor.redact
        return replace(finding, where=redact(finding.where), what=redact(finding.what), hint=redact(finding.hint))

    def fail(self, command: str, error: ExportError | Interrupted) -> int:
        """Print what ended the run before there was anything to report."""
        faults = [self._redactor.redact(str(fault)) for fault in error.faults]
        hint = self._redactor.redact(error.hint)
        for fault in faults:
            self._say(f"error: {fault}", "red")
        if hint:
            self._say(f"→ {hint}")
        stage = error.stage if isinstance(error, ExportError) else "integration"
        self._publish(command, error.exit_code, faults, hint, stage)
        self._say(f"exit {error.exit_code}: {EXIT_MEANINGS.get(error.exit_code, 'ended early')}", "bold")
        return error.exit_code

    def bug(self, command: str, error: Exception) -> int:
        """Print one line for a bug of ours, and its traceback when asked for."""
        if self._debug:
            for line in self._redactor.redact("".join(traceback.format_exception(error))).rstrip("\n").split("\n"):
                self._say(line)
        what = self._redactor.redact(f"{type(error).__name__}: {error}")
        self._say(f"error: a bug in the exporter: {what}", "red")
        self._say("→ run again with --debug and report the traceback")
        # It may be a bug of a report's, which would only come again.
        with suppress(Exception):
            self._publish(command, BUG, [what], "")
        self._say(f"exit {BUG}: {EXIT_MEANINGS[BUG]}", "bold")
        return BUG

    def stray(self, error: BaseException | None) -> None:
        """Print one line for a bug in a thread that nobody waits for; the run goes on without it."""
        if error is not None:
            what = self._redactor.redact(f"{type(error).__name__}: {error}")
            self._say(f"warning: a bug in the exporter, beside the run: {what}", "yellow")

    def _show(self, report: Report) -> None:
        if self._json:
            self._stream.write(as_json.render(report))
        else:
            from gitlab_port_export.report import console as as_table  # noqa: PLC0415  # JSON needs no tables

            as_table.render(report, self._out.console, self._ci.fold)

    def _tell(self, report: Report) -> None:
        self._ci.show(
            report,
            lambda max_bytes: as_markdown.render(report, max_bytes),
            summary=self._files.get("markdown"),
            machine=self._files.get("json"),
        )

    def _publish(self, command: str, code: int, faults: list[str], hint: str, stage: Stage = "integration") -> None:
        """Write a report that holds no more than what ended the run, to every file that can be written."""
        if command not in ("sync", "plan"):
            if self._json:
                self._stream.write(as_json.refusal(command, code, faults, hint))
            return
        problems = tuple(Problem(stage, fault, hint) for fault in faults)
        started = datetime.now(UTC).isoformat(timespec="seconds")
        report = files.publish(
            Report(command, code, started, 0.0, problems=problems), files.fit(self._files, self._inputs)
        )
        for problem in report.problems[len(problems) :]:
            self._say(f"error: {problem.why}", "red")
        self._tell(report)
        if self._json:
            self._stream.write(as_json.render(report))

    def _say(self, text: str, style: str = "") -> None:
        self._err.console.print(clean(text), style=style, soft_wrap=True)

    def _log(self, settings: Settings) -> None:
        handler = logging.StreamHandler(self._err.stream)
        handler.setFormatter(_Redacting(self._redactor))
        logger = logging.getLogger("gitlab_port_export")
        logger.handlers[:] = [handler]
        logger.setLevel(logging.DEBUG if self._debug else settings.log_level)
        logger.propagate = False
        # The settings warn of it once; urllib3 would with every request.
        warnings.simplefilter("ignore", InsecureRequestWarning)
        for line in settings.said:
            self._say(self._redactor.redact(line))
        for name in settings.ignored:
            logger.debug("%s is accepted and not needed in a one-shot run", name)


def _beside(out: Path) -> IO[bytes]:
    """Return a file without a name where the plan file is to be; the one that stands there is removed.

    Nobody shall apply the plan before, when this one fails. Raises UsageError.
    """
    try:
        out.unlink(missing_ok=True)
        return TemporaryFile(dir=out.parent)
    except OSError as error:
        why = f"--out: {out} cannot be written: {error.strerror or error}"
        raise UsageError(why, hint="name a file in a folder that may be written") from None


def _saved(report: Report, recorder: Recorder, out: Path, fail_on: FailOn) -> Report:
    """Write the plan file and return the report, which has a Problem where there is none."""
    why = "the plan did not come to its end"
    if recorder.whole:
        try:
            recorder.save(out, report.problems, report.held)
        except OSError as error:
            why = error.strerror or type(error).__name__
        else:
            return report
    return with_late([Problem("report", f"{out} was not written: {why}", "run plan again")], report, fail_on)


class _Redacting(logging.Formatter):
    """Log lines without secrets and without anything that a terminal or CI system would obey."""

    def __init__(self, redactor: Redactor) -> None:
        super().__init__()
        self._redactor = redactor

    def format(self, record: logging.LogRecord) -> str:
        moment = time.strftime("%H:%M:%S", time.gmtime(record.created))
        return f"{moment} {record.levelname.lower()}: {clean(self._redactor.redact(record.getMessage()))}"


@contextmanager
def _signals() -> Iterator[None]:
    """Turn the first SIGINT or SIGTERM into Interrupted; a second one ends the process at once.

    Handlers are installed explicitly, so they also work for PID 1 of a container, which ignores default actions.
    """

    def stop(number: int, _: object) -> NoReturn:
        signal.signal(signal.SIGINT, _end_now)
        signal.signal(signal.SIGTERM, _end_now)
        raise Interrupted(number)

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _end_now(number: int, _: object) -> NoReturn:
    os._exit(128 + number)
