"""What the fault tests share: runs that wait for nothing, a Port that is reset in a moment, and what always holds."""

import copy
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gitlab_port_export.base.clock import Clock
from gitlab_port_export.base.errors import ExportError
from gitlab_port_export.demo.gitlab import GitLabServer, gitlab_server
from gitlab_port_export.demo.port import PortServer, port_server
from gitlab_port_export.demo.port_store import PortStore
from gitlab_port_export.demo.world import World
from gitlab_port_export.jq.pool import Evaluator
from gitlab_port_export.model import Event, Written
from gitlab_port_export.report.values import Report
from gitlab_port_export.report.words import where
from gitlab_port_export.settings.load import load_settings
from gitlab_port_export.sync import prepare as preparing
from gitlab_port_export.sync.execute import execute
from testbed.harness import environ_for, mapping_file

Snapshot = dict[str, dict[str, Any]]
AN_HOUR = 3600
# Seconds: how long a client waits, an answer that comes later than that, and one that comes after all is over.
BRIEF, SLOWER, NEVER = 0.15, 1.0, 30.0


class Leap(Clock):
    """A clock that leaps over every wait; safe for many threads."""

    def __init__(self) -> None:
        super().__init__()
        self._guard = threading.Lock()
        self.leapt = 0.0

    def now(self) -> float:
        return time.time() + self.leapt

    def sleep(self, seconds: float) -> None:
        self.check()
        with self._guard:
            self.leapt += seconds


class Lent:
    """One evaluator for many runs, so that not every run starts processes; `close` leaves it open."""

    def __init__(self) -> None:
        self._evaluator = Evaluator({})
        self.start = self._evaluator.start
        self.workers = self._evaluator.workers
        self.submit = self._evaluator.submit
        self.compile_errors = self._evaluator.compile_errors
        self.plain_expressions = True
        self.end = self._evaluator.close

    def close(self) -> None:
        pass


@contextmanager
def one_evaluator() -> Iterator[None]:
    """Let every run of the block use the same evaluator."""
    lent, usual = Lent(), preparing.Evaluator

    def borrow(_: Mapping[str, str], **_options: bool) -> Any:
        return lent

    preparing.Evaluator = borrow  # type: ignore[misc,assignment]  # the one name that `prepare` makes evaluators by
    try:
        yield
    finally:
        preparing.Evaluator = usual  # type: ignore[misc]  # as above
        lent.end()


@dataclass(frozen=True)
class Outcome:
    """How a run ended: its exit code, what it told the user, its report unless it could do nothing, its events."""

    code: int
    words: str
    report: Report | None = None
    events: tuple[Event, ...] = ()

    def written(self) -> int:
        """How many changes Port confirmed."""
        return sum(isinstance(event, Written) for event in self.events)


@dataclass
class Stage:
    """A GitLab and a Port that run, and one mapping (None: Port's); Port is put back to `rows` by `reset`."""

    gitlab: GitLabServer
    port: PortServer
    folder: Path
    mapping: Any = None
    tokens: Any = None
    type: Any = "gitlab-v2"
    rows: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    integrations: dict[str, Any] = field(default_factory=dict)

    @property
    def world(self) -> World:
        return self.gitlab.world

    def run(self, *, timeout: float = 20, watch: Callable[[Event], None] = lambda event: None) -> Outcome:
        """Run once. What ends a run as the user is told to expect is an outcome too; any other exception escapes."""
        variables = {"OCEAN__SEND_RAW_DATA_EXAMPLES": "false", "OCEAN__CLIENT_TIMEOUT": str(timeout)}
        environ = environ_for(self.gitlab, self.port, self.tokens, self.type) | variables
        file = None if self.mapping is None else mapping_file(self.mapping, self.folder)
        settings = load_settings(environ, dotenv=None, mapping_file=file, workers=4)
        events: list[Event] = []

        def see(event: Event) -> None:
            events.append(event)
            watch(event)

        with ExitStack() as stack:
            try:
                run = preparing.prepare(settings, Leap(), writes=True)
                stack.callback(run.close)
                report = execute(run, "sync", see)
            except ExportError as ended:
                return Outcome(ended.exit_code, f"{ended} ({ended.hint})", events=tuple(events))
        return Outcome(report.exit_code, words_of(report), report, tuple(events))

    def remember(self) -> None:
        """Make what Port holds now what `reset` brings back."""
        store = self.port.store
        self.rows = {
            name: [dict(store.entity(name, identifier) or {}) for identifier in sorted(found)]
            for name, found in store.snapshot().items()
        }
        self.integrations = copy.deepcopy(store.integrations)

    def reset(self) -> None:
        """Put Port back to what it held an hour ago, without any fault on either side."""
        self.gitlab.faults.clear()
        for token in self.world.tokens.values():
            token.revoked = False
        self.port.faults.clear()
        self.port.store = self.another_port(filled=True)
        self.gitlab.requests.clear()
        self.port.requests.clear()

    def wait_until(self, done: Callable[[], bool]) -> None:
        """Wait for what a server is still about to do; the test's own time limit bounds it."""
        while not done():
            time.sleep(0.01)

    def another_port(self, *, filled: bool) -> PortStore:
        """A Port with the same blueprints, and with what `remember` saw or nothing."""
        store = PortStore.default()
        store.clock = lambda: time.time() - AN_HOUR
        store.blueprints = copy.deepcopy(self.port.store.blueprints)
        store._shelves = {name: type(shelf)() for name, shelf in self.port.store._shelves.items()}
        store.integrations = copy.deepcopy(self.integrations if filled else self.port.store.integrations)
        if filled:
            for name, rows in self.rows.items():
                for row in rows:
                    store.seed(name, [row], row["$datasource"])
        store.clock = time.time
        return store

    def fresh(self) -> Snapshot:
        """What a first sync brings into an empty Port."""
        kept, faults = self.port.store, (self.gitlab.faults[:], self.port.faults[:])
        self.gitlab.faults.clear()
        self.port.faults.clear()
        self.port.store = self.another_port(filled=False)
        try:
            outcome = self.run()
            assert outcome.code == 0, outcome.words
            return self.port.store.snapshot()
        finally:
            self.port.store = kept
            self.gitlab.faults[:], self.port.faults[:] = faults


@contextmanager
def stage(world: World, store: PortStore, folder: Path, **fields: Any) -> Iterator[Stage]:
    """A stage whose servers run until the block ends."""
    with gitlab_server(world, cached=True) as gitlab, port_server(store, record_bodies=False) as port:
        yield Stage(gitlab, port, folder, **fields)


def words_of(report: Report) -> str:
    """Every problem as the report tells it: where, why, what to do."""
    found = [f"{where(problem)}: {problem.why} ({problem.hint})" for problem in report.problems]
    return "\n".join(found + [f"held: {held.why}" for held in report.held])


def gone(before: Snapshot, now: Snapshot, blueprint: str) -> set[str]:
    """Identifiers of a blueprint that Port held before and holds no more."""
    return before[blueprint].keys() - now[blueprint].keys()


def strange(before: Snapshot, after: Snapshot, now: Snapshot) -> list[str]:
    """What no run may do on the way from `before` to `after`, whatever fails: lose, invent or garble an entity."""
    found = []
    for name, held in now.items():
        lost = (before[name].keys() & after[name].keys()) - held.keys()
        found += [f"{name} {identifier} was lost" for identifier in sorted(lost)]
        for identifier, content in held.items():
            if content not in (before[name].get(identifier), after[name].get(identifier)):
                found.append(f"{name} {identifier} is {content}")
    return found
