"""The resync state of a run as Port shows it: running, repeated now and then, and how it ended."""

import logging
import time
from dataclasses import dataclass
from datetime import datetime

from gitlab_port_export.errors import ExportError, Interrupted
from gitlab_port_export.http import Clock, Stopped
from gitlab_port_export.port import integration as integrations
from gitlab_port_export.prepare import Run

logger = logging.getLogger(__name__)

LAST_WORDS_SECONDS = 2.0


@dataclass
class Resync:
    """What Port is told of a run; silent in a plan and where the credentials may not touch the integration."""

    run: Run
    started: datetime
    reporting: bool = False
    stated: float = 0.0

    def begin(self) -> str | None:
        """Create the integration where it is missing, report `running`, and return Port's instant of that."""
        run = self.run
        if not run.writes or not run.integration.accessible:
            return run.port_time
        config = run.chosen.config or {} if run.settings.initialize_port_resources else {}
        self.reporting = run.integration.exists or integrations.create(
            run.port, run.integration.identifier, run.kind, config
        )
        if run.integration.exists and config:
            integrations.store_config(run.port, run.integration.identifier, config)
        if not self.reporting:
            return run.port_time
        return self._running() or run.port_time

    def refresh(self) -> None:
        """Repeat `running` every few minutes, so that another run can tell this one from one that died."""
        if self.reporting and time.monotonic() - self.stated >= integrations.REFRESH_SECONDS:
            self._running()

    def _running(self) -> str | None:
        self.stated = time.monotonic()
        return integrations.set_state(self.run.port, self.run.integration.identifier, "running", self.started)

    def end(self, state: integrations.State) -> None:
        """Report how the run ended, briefly: the run's own clock may have stopped."""
        if self.reporting:
            self.run.port.http.go_on_with(Clock(deadline=LAST_WORDS_SECONDS))
            try:
                integrations.set_state(self.run.port, self.run.integration.identifier, state, self.started)
            except (Stopped, ExportError, Interrupted):
                logger.warning("Port did not take the resync state %s", state)
