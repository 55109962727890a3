"""The command bench: the real command between two stand-ins, with what must hold for every run checked in one place."""

import re
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from gitlab_port_export.demo.gitlab import GitLabServer, gitlab_server
from gitlab_port_export.demo.port import PortServer, port_server
from gitlab_port_export.demo.port_store import PortStore
from gitlab_port_export.demo.world import SAMPLE_TOKENS, World, sample_world
from testbed.faults import one_evaluator
from testbed.harness import Ran, Tokens, environ_for, run_command, run_sync

# How long one example takes says more of the machine than of the code.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

SECRETS = (*SAMPLE_TOKENS, "demo-secret")
INTEGRATION = "my-gitlab-v2-integration"


@dataclass(frozen=True)
class Bench:
    """A sample GitLab, a Port and a working folder; both stand-ins can be changed between runs."""

    world: World
    store: PortStore
    gitlab: GitLabServer
    port: PortServer
    folder: Path
    secrets: list[str] = field(default_factory=lambda: list(SECRETS))

    def environ(self, *, tokens: Tokens | None = None, **changes: str | None) -> dict[str, str]:
        """The variables of a run that works, with `changes`; None takes one away."""
        found: dict[str, str | None] = {**environ_for(self.gitlab, self.port, tokens), **changes}
        return {name: value for name, value in found.items() if value is not None}

    def run(self, *args: str, tokens: Tokens | None = None, **changes: str | None) -> subprocess.CompletedProcess[str]:
        """Run the command; whatever happens it shows no traceback, no secret and no escape sequence."""
        return self.checked(run_command(args, self.environ(tokens=tokens, **changes), self.folder))

    def checked(self, ran: subprocess.CompletedProcess[str]) -> subprocess.CompletedProcess[str]:
        """The same run, after a look at what no run may show."""
        # GitHub takes out the lines that begin a run there, which name what it is to hide.
        shown = ran.stdout + re.sub(r"\A(?:::add-mask::.*\n)+", "", ran.stderr)
        assert "Traceback" not in shown
        assert "\x1b" not in shown
        assert [secret for secret in self.secrets if secret in shown] == []
        return ran

    def file(self, name: str, content: str | bytes) -> str:
        """Write a file into the working folder; its name."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return name

    def sync_an_hour_ago(self, mapping: Mapping[str, Any] | str | None = None, tokens: Tokens | None = None) -> Ran:
        """Fill Port from GitLab as it is, long enough ago that nothing counts as changed during a later run."""
        self.store.clock = lambda: time.time() - 3600
        ran = run_sync(self.gitlab, self.port, mapping, tokens=tokens)
        self.store.clock = time.time
        self.port.requests.clear()
        self.gitlab.requests.clear()
        assert ran.report.exit_code == 0
        return ran

    def held(self) -> dict[str, set[str]]:
        """The identifiers that Port holds, by blueprint."""
        return {name: set(found) for name, found in self.store.snapshot().items()}

    def states(self) -> list[str]:
        """The resync states that were reported, in order."""
        return [call.body["status"] for call in self.port.calls("PATCH .*/resync-state$")]

    def changing_calls(self) -> list[str]:
        """What was asked of Port that is not a question."""
        calls = (f"{call.method} {call.path}" for call in self.port.requests)
        questions = ("POST /v1/auth/access_token", "/entities/search", "/datasource-entities")
        return [call for call in calls if not call.startswith("GET ") and not call.endswith(questions)]


@contextmanager
def running(folder: Path) -> Iterator[Bench]:
    """A bench whose stand-ins run until the block ends."""
    world, store = sample_world(datetime.now(UTC)), PortStore.default()
    with gitlab_server(world) as gitlab, port_server(store) as port:
        yield Bench(world, store, gitlab, port, folder)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """A bench of its own for one test."""
    with running(tmp_path) as found:
        yield found


@pytest.fixture(scope="module")
def lent_evaluator() -> Iterator[None]:
    """One evaluator for all runs of a file's tests, so that not every run starts processes."""
    with one_evaluator():
        yield
