"""Where a state is kept between runs: a file, or an entity in Port."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from gitlab_port_export.base.answer import Unreachable
from gitlab_port_export.base.files import write_whole
from gitlab_port_export.incremental.state import State, shown, state_of
from gitlab_port_export.model import Dialect
from gitlab_port_export.port.client import Port, PortRefused, segment
from gitlab_port_export.port.integration import state_agent

BLUEPRINT = "gitlabPortExportState"
MOST_BYTES = 1024 * 1024
# People read these fields; only `state` is read by the next run.
FIELDS: Mapping[str, Mapping[str, Any]] = {
    "lastFullRun": {"type": "string", "format": "date-time", "title": "Last full run"},
    "lastRun": {"type": "string", "format": "date-time", "title": "Last run"},
    "kinds": {"type": "object", "title": "Up to date since, by kind"},
    "state": {"type": "string", "title": "State for the next run"},
}
DEFINITION: Mapping[str, Any] = {
    "identifier": BLUEPRINT,
    "title": "GitLab export state",
    "icon": "GitLab",
    "description": "What gitlab-port-export keeps between runs of `sync --since last`. "
    "Deleting an entity makes the next run a full one.",
    "schema": {"properties": dict(FIELDS), "required": []},
}


class NotKept(Exception):
    """The state could not be kept, for the reason that the text gives."""


class Place(Protocol):
    """Where a state is kept."""

    def load(self) -> tuple[State | None, str]:
        """Return the state, or None and why there is none."""

    def save(self, state: State) -> None:
        """Keep a state. Raises NotKept."""


@dataclass(frozen=True)
class FilePlace:
    """A file, for example in the cache of a CI system."""

    path: Path

    def load(self) -> tuple[State | None, str]:
        """Return the state of the file, or None and why there is none."""
        try:
            with self.path.open("rb") as stream:
                found = state_of(stream.read(MOST_BYTES))
        except FileNotFoundError:
            return None, f"{self.path} does not exist, so no run has left its state"
        except OSError as error:
            return None, f"{self.path} cannot be read: {error.strerror or error}"
        return found, "" if found else f"{self.path} is damaged, or of another version"

    def save(self, state: State) -> None:
        """Write the file whole or not at all. Raises NotKept."""
        try:
            write_whole(self.path, f"{state.text}\n".encode())
        except OSError as error:
            raise NotKept(f"{self.path} cannot be written: {error.strerror or error}") from None


@dataclass(frozen=True)
class PortPlace:
    """An entity in Port, one for each integration.

    It is written under another User-Agent than entities of GitLab, so that no full run takes it for one of its own that
    it did not produce. `exists` says whether Port has the blueprint, `may_make` whether it may be made.
    """

    port: Port
    dialect: Dialect
    integration: str
    exists: bool
    may_make: bool

    def load(self) -> tuple[State | None, str]:
        """Return the state of the entity, or None and why there is none."""
        if not self.exists:
            return None, "Port holds no state of an earlier run"
        try:
            entity = self.port.ask("GET", f"{self._path}/{segment(self.integration)}")["entity"]
            text = entity["properties"]["state"]
        except PortRefused as refusal:
            if refusal.status == 404:
                return None, "Port holds no state of an earlier run"
            return None, f"Port did not give the state of the last run: {refusal}"
        except Unreachable as failure:
            return None, f"Port did not give the state of the last run: {failure}"
        except (LookupError, TypeError):
            text = ""
        found = state_of(str(text))
        return found, "" if found else "the state that Port holds is damaged, or of another version"

    def save(self, state: State) -> None:
        """Write the entity, and make its blueprint first where Port lacks it. Raises NotKept."""
        try:
            if not self.exists:
                self._make()
            self.port.ask(
                "POST",
                self._path,
                params=(("upsert", "true"), ("merge", "true")),
                payload=_entity(state, self.integration),
                agent=state_agent(self.dialect, self.integration),
            )
        except (PortRefused, Unreachable) as failure:
            raise NotKept(f"Port did not take the state: {failure}") from None

    @property
    def _path(self) -> str:
        return f"/blueprints/{BLUEPRINT}/entities"

    def _make(self) -> None:
        if not self.may_make:
            raise NotKept(f"Port has no blueprint {BLUEPRINT}, and no run may make one")
        answer = self.port.call("POST", "/blueprints", params=(("create_catalog_page", "true"),), payload=DEFINITION)
        # Another run may have made it meanwhile.
        if answer.status not in (200, 201, 409):
            raise PortRefused(answer)


def _entity(state: State, integration: str) -> dict[str, Any]:
    return {
        "identifier": integration,
        "title": f"State of {integration}",
        "properties": {
            "lastFullRun": shown(state.last_full),
            "lastRun": shown(state.last_run),
            "kinds": {kind: shown(instant) for kind, instant in state.kinds.items()},
            "state": state.text,
        },
    }
