"""The resync state of a run as Port shows it: running, repeated now and then, and how it ended."""

import logging
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from gitlab_port_export.base.alarm import alarm
from gitlab_port_export.base.clock import Clock, Stopped
from gitlab_port_export.base.errors import ExportError, Interrupted, OutOfTime
from gitlab_port_export.model import Row
from gitlab_port_export.port import integration as integrations
from gitlab_port_export.sync.prepare import Run

logger = logging.getLogger(__name__)

LAST_WORDS_SECONDS = 1.0
EXAMPLES_SECONDS = 10.0


@dataclass
class Resync:
    """What Port is told of a run; silent in a plan and where the credentials may not touch the integration."""

    run: Run
    started: datetime
    reporting: bool = False
    _ended: threading.Event = field(default_factory=threading.Event)
    _telling: threading.Lock = field(default_factory=threading.Lock)

    def begin(self) -> str | None:
        """Create the integration where it is missing, report `running`, and return Port's instant of that."""
        run = self.run
        if not run.writes or not run.integration.accessible:
            return run.port_time
        config = run.chosen.config or {} if run.settings.initialize_port_resources else {}
        self.reporting = run.integration.exists or integrations.create(
            run.port, run.integration.identifier, run.dialect, config
        )
        if run.integration.exists and config:
            integrations.store_config(run.port, run.integration.identifier, config)
        if not self.reporting:
            return run.port_time
        instant = self._running()
        threading.Thread(target=self._repeat, name="heartbeat", daemon=True).start()
        return instant or run.port_time

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
        return integrations.set_state(self.run.port, self.run.integration.identifier, "running", self.started)

    def show(self, examples: Mapping[str, Sequence[Row]]) -> None:
        """Send raw rows for Port's mapping editor: nothing that a run waits for long, so it has a bound of its own."""
        if not self.reporting:
            return
        http = self.run.port.http
        clock = http.clock.at_most(EXAMPLES_SECONDS)
        http.go_on_with(clock)
        try:
            with alarm(clock):
                integrations.send_examples(self.run.port, self.run.integration.identifier, examples)
        except OutOfTime:
            logger.info("not all raw examples were sent: that took too long")

    def end(self, state: integrations.State) -> None:
        """Report how the run ended, briefly: the run's own clock may have stopped."""
        self._ended.set()
        if not self.reporting:
            return
        self.run.port.http.go_on_with(Clock(deadline=LAST_WORDS_SECONDS))
        # A `running` that is under way must not arrive last; a Port that does not answer it is not waited for.
        waited = self._telling.acquire(timeout=LAST_WORDS_SECONDS / 2)
        try:
            integrations.set_state(self.run.port, self.run.integration.identifier, state, self.started)
        except (Stopped, ExportError, Interrupted):
            logger.warning("Port did not take the resync state %s", state)
        finally:
            if waited:
                self._telling.release()
