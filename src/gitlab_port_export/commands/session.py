"""Session: the streams of one command, the secrets that no output may show, and its log."""

import logging
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TextIO

from urllib3.exceptions import InsecureRequestWarning

from gitlab_port_export.base.alarm import alarm
from gitlab_port_export.base.clock import Clock
from gitlab_port_export.base.text import Redactor, clean
from gitlab_port_export.commands.reports import Reports
from gitlab_port_export.commands.signals import signals
from gitlab_port_export.report.ci.output import connect
from gitlab_port_export.report.screen import Screen
from gitlab_port_export.settings.settings import Settings


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
        make_clock: Callable[[float | None], Clock] = Clock,
    ) -> None:
        self.environ, self.as_json, self.debug, self.make_clock = environ, as_json, debug, make_clock
        self.out, self.err = Screen.of(out, environ), Screen.of(err, environ)
        self.redactor = Redactor(())
        self.reports = Reports(connect("auto", environ, out, err, as_json=as_json))

    def say(self, text: str, style: str = "") -> None:
        """Print a line on standard error, without secrets and control characters."""
        self.err.console.print(clean(self.redactor.redact(text)), style=style, soft_wrap=True)

    def begin(self, settings: Settings) -> None:
        """Hide the secrets of the settings from now on, and begin to log."""
        self.redactor.learn(*settings.secrets())
        handler = logging.StreamHandler(self.err.stream)
        handler.setFormatter(_SafeFormatter(self.redactor))
        logger = logging.getLogger("gitlab_port_export")
        logger.handlers[:] = [handler]
        logger.setLevel(logging.DEBUG if self.debug else settings.log_level)
        logger.propagate = False
        # The settings warn of it once; urllib3 would warn with every request.
        warnings.simplefilter("ignore", InsecureRequestWarning)
        for line in settings.file_notes:
            self.say(line)
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

    def __init__(self, redactor: Redactor) -> None:
        super().__init__()
        self._redactor = redactor

    def format(self, record: logging.LogRecord) -> str:
        moment = time.strftime("%H:%M:%S", time.gmtime(record.created))
        return f"{moment} {record.levelname.lower()}: {clean(self._redactor.redact(record.getMessage()))}"
