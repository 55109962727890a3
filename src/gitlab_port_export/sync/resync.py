"""The resync state of a run as Port shows it: running, repeated now and then, and how it ended."""

import logging
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from gitlab_port_export.base.alarm import alarm
from gitlab_port_export.base.clock import Clock, Stopped
from gitlab_port_export.base.errors import ExportError, Interrupted, OutOfTime
from gitlab_port_export.model import Dialect, Row
from gitlab_port_export.port import integration as integrations
from gitlab_port_export.port.client import Port
from gitlab_port_export.port.integration import Integration

logger = logging.getLogger(__name__)

LAST_WORDS_SECONDS = 1.0
EXAMPLES_SECONDS = 10.0


@dataclass
class Resync:
    """Reports the state of a run to Port; not in a plan, nor where the credentials may not write to the integration.

    A run that is one of several of a sync, and not the last one, repeats the state and does not end it (`ends`).
    """

    port: Port
    integration: Integration
    dialect: Dialect
    # What a new integration gets as its mapping.
    config: Mapping[str, Any]
    started: datetime
    # Port's clock when the run signed in.
    port_time: str | None
    writes: bool
    ends: bool = True
    reporting: bool = False
    _ended: threading.Event = field(default_factory=threading.Event)
    _telling: threading.Lock = field(default_factory=threading.Lock)

    def begin(self) -> str | None:
        """Create the integration where it is missing, report `running`, and return Port's instant of that."""
        known = self.integration
        if not self.writes or not known.accessible:
            return self.port_time
        self.reporting = known.exists or integrations.create(self.port, known.identifier, self.dialect, self.config)
        if known.exists and self.config:
            integrations.store_config(self.port, known.identifier, self.config)
        if not self.reporting:
            return self.port_time
        instant = self._running()
        threading.Thread(target=self._repeat, name="heartbeat", daemon=True).start()
        return instant or self.port_time

    def _repeat(self) -> None:
        """Repeat `running` once a minute, so that another run can tell this one from one that died.

        On a thread of its own: a run may wait minutes for one answer.
        """
        while not self._ended.wait(integrations.REFRESH_SECONDS):
            with self._telling:
                if self._ended.is_set():
                    return
                try:
                    self._running()
                except (Stopped, ExportError):
                    return

    def _running(self) -> str | None:
        return integrations.set_state(self.port, self.integration.identifier, "running", self.started)

    def show(self, examples: Mapping[str, Sequence[Row]]) -> None:
        """Send raw rows for Port's mapping editor, within a few seconds: the run must not wait long for that."""
        if not self.reporting:
            return
        http = self.port.http
        clock = http.clock.at_most(EXAMPLES_SECONDS)
        http.go_on_with(clock)
        try:
            with alarm(clock):
                integrations.send_examples(self.port, self.integration.identifier, examples)
        except OutOfTime:
            logger.info("not all raw examples were sent: that took too long")

    def end(self, state: integrations.State) -> None:
        """Report how the run ended, on a short clock of its own: the run's deadline may have passed."""
        self._ended.set()
        if not (self.reporting and self.ends):
            return
        self.port.http.go_on_with(Clock(deadline=LAST_WORDS_SECONDS))
        # A `running` that is under way must not arrive last; if Port does not answer, go on after a moment.
        waited = self._telling.acquire(timeout=LAST_WORDS_SECONDS / 2)
        try:
            integrations.set_state(self.port, self.integration.identifier, state, self.started)
        except (Stopped, ExportError, Interrupted):
            logger.warning("Port did not take the resync state %s", state)
        finally:
            if waited:
                self._telling.release()
