"""Session: the streams of one command, the secrets that no output may show, and its log."""

import json
import logging
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TextIO

from urllib3.exceptions import InsecureRequestWarning

from gitlab_port_export.base.alarm import alarm
from gitlab_port_export.base.clock import Clock
from gitlab_port_export.base.text import Redactor, clean
from gitlab_port_export.commands.reports import Reports
from gitlab_port_export.commands.signals import signals
from gitlab_port_export.report.ci.output import connect
from gitlab_port_export.report.screen import Screen
from gitlab_port_export.settings.settings import SETTINGS, Settings


class Session:
    """The streams of one command: its result goes to `out`, everything else to `err`.

    `redactor`, `reports` and `debug` learn from the settings as soon as these are read. What ends the command later
    is then reported without secrets, and in the right place. `make_clock` takes the deadline in seconds.
    """

    def __init__(
        self,
        out: TextIO,
        err: TextIO,
        environ: Mapping[str, str],
        *,
        as_json: bool = False,
        debug: bool = False,
        quiet: bool = False,
        log_json: bool = False,
        make_clock: Callable[[float | None], Clock] = Clock,
    ) -> None:
        self.environ, self.as_json, self.debug, self.make_clock = environ, as_json, debug, make_clock
        self.quiet = quiet and not debug
        # Asked for here too: what is wrong with the settings is said before they could be read.
        asked = environ.get(SETTINGS["log_format"].variable, "")
        self.log_json = log_json or asked.strip().lower() == "json"
        self.out, self.err = Screen.of(out, environ), Screen.of(err, environ)
        self.redactor = Redactor(())
        self.reports = Reports(connect("auto", environ, out, err, as_json=as_json))

    def say(self, text: str, style: str = "") -> None:
        """Print a line on standard error, without secrets and control characters; red is an error, yellow a warning."""
        line = clean(self.redactor.redact(text))
        if self.log_json:
            self.err.stream.write(json_line(time.time(), _LEVELS.get(style, "info"), line))
        else:
            self.err.console.print(line, style=style, soft_wrap=True)

    def note(self, text: str) -> None:
        """Print a line that says what is done, unless only what is wrong is to be said."""
        if not self.quiet:
            self.say(text)

    def beat(self, text: str) -> None:
        """Write a line about the progress of a run as JSON."""
        self.err.stream.write(json_line(time.time(), "info", text))
        self.err.stream.flush()

    def audit(self, line: str) -> None:
        """Write the audit line of a change on standard error, whatever else is to be said there."""
        self.err.stream.write(f"{line}\n")
        self.err.stream.flush()

    def begin(self, settings: Settings) -> None:
        """Hide the secrets of the settings from now on, and begin to log."""
        self.redactor.learn(*settings.secrets())
        handler = logging.StreamHandler(self.err.stream)
        self.log_json |= settings.log_format == "json"
        handler.setFormatter(_SafeFormatter(self.redactor, as_json=self.log_json))
        logger = logging.getLogger("gitlab_port_export")
        logger.handlers[:] = [handler]
        logger.setLevel(logging.DEBUG if self.debug else settings.log_level)
        if self.quiet:
            logger.setLevel(max(logger.level, logging.WARNING))
        logger.propagate = False
        # The settings warn of it once; urllib3 would warn with every request.
        warnings.simplefilter("ignore", InsecureRequestWarning)
        for line in settings.file_notes:
            self.note(line)
        for name in settings.ignored:
            logger.debug("%s is accepted and not needed in a one-shot run", name)

    @contextmanager
    def running(self, deadline: float | None) -> Iterator[Clock]:
        """Yield the clock of a command that a signal and its deadline can interrupt."""
        clock = self.make_clock(deadline)
        with signals(), alarm(clock):
            yield clock


class _SafeFormatter(logging.Formatter):
    """Log lines without secrets and without anything that a terminal or a CI system takes as a command."""

    def __init__(self, redactor: Redactor, *, as_json: bool) -> None:
        super().__init__()
        self._redactor, self._as_json = redactor, as_json

    def format(self, record: logging.LogRecord) -> str:
        level, message = record.levelname.lower(), clean(self._redactor.redact(record.getMessage()))
        if self._as_json:
            return json_line(record.created, level, message).rstrip("\n")
        return f"{time.strftime('%H:%M:%S', time.gmtime(record.created))} {level}: {message}"


_LEVELS = {"red": "error", "yellow": "warning"}


def json_line(moment: float, level: str, message: str) -> str:
    """Return a line of the log as JSON, with its end; `moment` is in seconds since 1970."""
    at = datetime.fromtimestamp(moment, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return json.dumps({"time": at, "level": level, "message": message}) + "\n"
