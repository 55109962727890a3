"""Runs of Port's self-service actions: what was asked by whom, log lines, and the final status, which is sent once.

https://docs.port.io/actions-and-automations/reflect-action-progress/
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from gitlab_port_export.base.answer import Unreachable
from gitlab_port_export.base.clock import Clock, Stopped
from gitlab_port_export.base.errors import ExportError, Interrupted, OutOfTime, PortUnavailable, UsageError
from gitlab_port_export.port.client import Port, PortRefused, advice, documented, segment

logger = logging.getLogger(__name__)

IN_PROGRESS = "IN_PROGRESS"
ENDED = ("SUCCESS", "FAILURE")
RIGHT = "read and change action runs"
# How often the final status is sent: each time only after the run was read again.
FINAL_TRIES = 4
# How long a command whose own time is over takes to end its run.
LAST_WORDS_SECONDS = 8.0
# What a run's page takes is shown to people; Port refuses a body of more than 1 MiB.
MAX_LABEL, MAX_TEXT = 100, 10_000
End = Literal["SUCCESS", "FAILURE"]


@dataclass(frozen=True)
class ActionRun:
    """A run as Port has it: `inputs` as the person gave them, `entity` of a day-2 action, ids of people."""

    id: str
    status: str
    action: str
    inputs: Mapping[str, Any]
    raw: Mapping[str, Any]
    blueprint: str = ""
    entity: str = ""
    created_by: str = ""
    impersonated_by: str = ""
    approved_by: str = ""


def read_run(port: Port, identifier: str) -> ActionRun:
    """Return a run. Raises UsageError where Port has none of that id, PortUnavailable where it does not give it."""
    asked = f"Port did not give the action run {identifier}"
    try:
        return _read(port, identifier)
    except PortRefused as refusal:
        if refusal.status == 404:
            hint = "it takes the run's id, `{{ .run.id }}` in the action, in the organisation of the credentials"
            raise UsageError(f"--run: Port has no action run {identifier}", hint=hint) from None
        hint = f"{advice(refusal, RIGHT)}, or give the inputs with --request"
        raise PortUnavailable(f"{asked}: {refusal}", hint=hint) from None
    except Unreachable as failure:
        raise PortUnavailable(f"{asked}: {failure}", hint=advice(failure, RIGHT)) from None


def _read(port: Port, identifier: str) -> ActionRun:
    """Return a run. Raises PortRefused and Unreachable."""
    answer = port.ask("GET", f"/actions/runs/{segment(identifier)}", params=(("version", "v2"),))
    with documented(f"the action run {identifier}"):
        run = answer["run"]
        return ActionRun(
            str(run["id"]),
            str(run["status"]),
            # The first version of the API names it alone.
            str(run["action"]["identifier"] if isinstance(run["action"], dict) else run["action"]),
            _object(run["properties"]),
            _object(run.get("rawProperties")),
            str(_object(run.get("blueprint")).get("identifier") or ""),
            str(_object(run.get("entity")).get("identifier") or ""),
            str(run.get("createdBy") or ""),
            str(run.get("impersonatedBy") or ""),
            str(_object(run.get("approval")).get("userId") or ""),
        )


def read_action(port: Port, identifier: str) -> str:
    """Return the blueprint that an action belongs to; its runs do not always name it. Raises PortUnavailable."""
    try:
        found = port.ask("GET", f"/actions/{segment(identifier)}")
    except (PortRefused, Unreachable) as failure:
        why = f"Port did not give the action {identifier}, and its run does not name the blueprint: {failure}"
        raise PortUnavailable(why, hint=advice(failure, "read actions")) from None
    with documented(f"the action {identifier}"):
        return str(found["action"]["trigger"]["blueprintIdentifier"])


def read_emails(port: Port, identifiers: frozenset[str]) -> dict[str, str]:
    """Return the e-mail address of each of these users of Port, as far as Port tells them."""
    if not identifiers:
        return {}
    try:
        found = port.ask("GET", "/users", params=(("fields", "id"), ("fields", "email")))
        with documented("the users"):
            rows = [row for row in found["users"] if row.get("id") in identifiers]
            return {row["id"]: str(row["email"]) for row in rows if row.get("email")}
    except (PortRefused, Unreachable) as failure:
        logger.info("Port did not tell who asked: %s", failure)
        return {}


@dataclass
class RunPage:
    """The page of one run in Port, which this process alone reports to: log lines, and one final status.

    A log line that Port does not take is not sent again, since it might come twice. `lost` counts these. `other` is the
    final status that somebody else gave the run.
    """

    port: Port
    id: str
    ended: bool = False
    lost: int = 0
    other: str = ""
    _sent: bool = field(default=False, repr=False)

    def begin(self, label: str, link: str = "") -> None:
        """Say what is being done, and where the job's own log is."""
        body = {"statusLabel": label[:MAX_LABEL], **({"link": link} if link else {})}
        try:
            self.port.ask("PATCH", self._path, payload=body)
        except (PortRefused, Unreachable, Stopped) as failure:
            logger.warning("Port did not take the label of the run: %s", failure)

    def note(self, message: str) -> None:
        """Add a line to the run's log, once at most."""
        if self.ended:
            return
        try:
            self.port.ask("POST", f"{self._path}/logs", payload={"message": message[:MAX_TEXT]}, attempts=1)
        except (PortRefused, Unreachable, Stopped) as failure:
            self.lost += 1
            logger.warning("Port did not take a line of the run's log: %s", failure)

    def end(self, status: End, label: str, summary: str) -> None:
        """Send the final status; before it is sent again, the run is read.

        A second call does nothing: Port takes one final status. Raises PortUnavailable where the run may be open still.
        """
        body = {"status": status, "statusLabel": label[:MAX_LABEL], "summary": summary[:MAX_TEXT]}
        failure: PortRefused | Unreachable | str = "its status stays as it is"
        for number in range(FINAL_TRIES + 1):
            if self.ended:
                return
            # One that was sent may have arrived, also where a signal came before the answer.
            found = self._status_now() if self._sent else IN_PROGRESS
            if found == IN_PROGRESS and number < FINAL_TRIES:
                try:
                    found = self._send(body)
                except (PortRefused, Unreachable) as caught:
                    failure = caught
            self.ended = found != IN_PROGRESS
            if found not in (IN_PROGRESS, status):
                self.other = found
                logger.warning("the action run %s had ended as %s before this command could end it", self.id, found)
        hint = "end the run in Port by hand; in GitLab everything is as the report says"
        raise PortUnavailable(f"the action run {self.id} may be open still: {failure}", hint=hint)

    def _send(self, body: Mapping[str, str]) -> str:
        """Send the final status once and return the status that Port has then. Raises PortRefused and Unreachable."""
        self._sent = True
        answer = self.port.ask("PATCH", self._path, payload=body, attempts=1)
        return str(_object(answer.get("run")).get("status") or body["status"])

    def end_late(self, status: End, label: str, summary: str) -> None:
        """Send the final status on a short clock of its own, whatever comes in between: a signal waits for it.

        Where the run may be open still, that is logged.
        """
        if self.ended:
            return
        self.take_more_time()
        signal: Interrupted | None = None
        # The deadline's signal and one of the user may both come now; after another one the process ends at once.
        for _ in range(3):
            try:
                self.end(status, label, summary)
                break
            except (Stopped, ExportError) as failure:
                logger.warning("the action run %s may be open still: %s", self.id, failure)
                break
            except Interrupted as caught:
                signal = caught
        if signal and not isinstance(signal, OutOfTime):
            raise signal

    def take_more_time(self) -> None:
        """Take a short clock of its own for the last words: the command's time may be over."""
        self.port.http.go_on_with(Clock(deadline=LAST_WORDS_SECONDS))

    def ended_as(self) -> str:
        """Return the status of a run that somebody has ended, such as who started it; "" where it is in progress."""
        found = self._status_now()
        return "" if found == IN_PROGRESS else found

    @property
    def in_progress(self) -> bool:
        """Whether Port ties entities to the run: only while it is in progress. False where Port does not say."""
        return not self.ended and self._status_now(unknown="") == IN_PROGRESS

    def _status_now(self, unknown: str = IN_PROGRESS) -> str:
        try:
            return _read(self.port, self.id).status
        except (PortRefused, Unreachable, Stopped):
            return unknown

    @property
    def _path(self) -> str:
        return f"/actions/runs/{segment(self.id)}"


def _object(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}
