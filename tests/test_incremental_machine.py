"""Any history of changes, runs and failures: an incremental run leaves what a full run would, but for deletions."""

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal
from unittest import mock

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from gitlab_port_export.base.errors import GitLabUnavailable
from gitlab_port_export.demo import gitlab_faults as faults
from gitlab_port_export.demo.gitlab import Edit, Fault, gitlab_server
from gitlab_port_export.demo.gitlab_clock import WorldClock
from gitlab_port_export.demo.gitlab_pages import Limits
from gitlab_port_export.demo.port import port_server
from gitlab_port_export.demo.port_store import PortStore
from gitlab_port_export.demo.world import MAINTAINER
from gitlab_port_export.incremental import frames
from gitlab_port_export.incremental.places import BLUEPRINT
from gitlab_port_export.report.values import Report
from testbed.changes import CHANGES, IDENTIFIERS, LATE, Key, changed, held, small_gitlab
from testbed.faults import one_evaluator
from testbed.harness import blueprint, mapping_of, port_with, resource, run_sync
from testbed.parity import SOAK
from testbed.port_bed import breaches, examples
from testbed.sharding import sharded

# What a replica may lag, and how long a transaction may be open, in seconds.
MOST_LAG, MOST_OPEN = 120, 90
NO_EXAMPLES = {"OCEAN__SEND_RAW_DATA_EXAMPLES": "false"}
# Kind → (blueprint, fields of the entity).
KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "group": ("group", {"title": ".full_name"}),
    "project": ("service", {"title": ".name", "relations": {"group": ".namespace.full_path"}}),
    "merge-request": (
        "mr",
        {
            "title": ".title", "relations": {"service": '.references.full | split("!")[0]'},
            "selector": {"states": ["opened", "closed", "merged"]},
            "properties": {"text": '[.detailed_merge_status, (.labels | join(",")), .author.name] | join(" ")'},
        },
    ),
    "issue": (
        "issue",
        {"title": ".title", "properties": {"text": '[.state, (.labels | join(",")), .milestone.title] | join(" ")'}},
    ),
    "pipeline": ("pipeline", {"properties": {"text": ".status"}}),
    "job": ("job", {"title": ".name", "properties": {"text": '.status + " in " + .pipeline.status'}}),
    "release": ("release", {"title": ".name"}),
    "deployment": ("deployment", {"properties": {"text": ".status"}}),
}  # fmt: skip
# Resources of which one row does not decide over an entity: full runs alone write these.
OTHERS = (
    ("member", "person", {"identifier": ".username", "title": ".name"}),
    ("issue", "author", {"identifier": ".author.username", "title": ".web_url"}),
)
ABOUT = (".web_url", ".created_at", ".id | tostring")
LISTS = {
    "merge-request": r"/merge_requests$", "issue": r"/issues$", "pipeline": r"/pipelines$", "job": r"/jobs$",
    "release": r"/releases$", "deployment": r"/deployments$",
}  # fmt: skip
REFUSALS = (
    faults.forbidden(), faults.not_found(), faults.query_timeout(), faults.field_timeout(), faults.server_error(),
)  # fmt: skip
BREAKS = (faults.forbidden(), faults.server_error(), faults.Drop(), faults.not_a_list())
SPANS = (5, 40, 70, 240, 660, 2_700, 18_000)
NUMBERS = st.integers(0, 99)


def a_port(clock: Callable[[], float]) -> PortStore:
    """An empty Port with a blueprint for each kind."""
    relations = {"service": {"group": "group"}, "mr": {"service": "service"}}
    names = [name for name, _ in KINDS.values()] + [name for _, name, _ in OTHERS]
    return port_with(
        *(blueprint(name, relations.get(name), text="string", about="string") for name in names), clock=clock
    )


class Rhythm(RuleBasedStateMachine):
    """A GitLab whose clock moves, a Port, and runs with `--since last` between changes of both."""

    def __init__(self) -> None:
        super().__init__()
        self.stack = ExitStack()
        # The list of the projects is read in several ranges.
        self.stack.enter_context(mock.patch.object(frames, "RANGE", 5))
        self.world = small_gitlab()
        self.clock = WorldClock(self.world, remembers=MOST_LAG + 1)
        self.store = a_port(self.clock.seconds)
        self.gitlab = self.stack.enter_context(gitlab_server(self.world))
        self.gitlab.clock = self.clock.seconds
        self.gitlab.limits = Limits(per_page=6)
        self.port = self.stack.enter_context(port_server(self.store))
        # None: Port keeps the state.
        self.state: Path | None = Path(self.stack.enter_context(TemporaryDirectory())) / "state.json"
        # Changes that nothing in GitLab shows, with their instant, until a full run.
        self.unseen: dict[Key, datetime] = {}
        self.about, self.backwards = 0, False
        self.older: list[str] = []
        self.broken = False
        self.type: Literal["gitlab", "gitlab-v2"] = "gitlab-v2"
        self.known: tuple[Any, Any] | None = None

    def teardown(self) -> None:
        self.stack.close()

    @initialize(in_port=st.booleans(), older=st.booleans(), two=st.booleans())
    def a_first_run(self, in_port: bool = False, older: bool = False, two: bool = False) -> None:
        """Where the state is kept, whether the older of Ocean's integrations is replaced, whether with two tokens."""
        if in_port:
            self.state = None
        if older:
            self.type = "gitlab"
        if two:
            second = self.world.add_user("second")
            self.world.add_token("token-of-second", second)
            for group in list(self.world.groups.values())[::3]:
                self.world.add_member(group, second, MAINTAINER)
        self.clock.move(minutes=1)
        assert self.run().exit_code == 0

    # GitLab

    @rule(name=st.sampled_from(sorted(CHANGES)), number=NUMBERS)
    def change(self, name: str, number: int) -> None:
        self.carry_out(lambda: CHANGES[name](self.world, number))

    @rule(name=st.sampled_from(sorted(LATE)), number=NUMBERS, seconds=st.integers(1, MOST_OPEN))
    def change_that_is_committed_late(self, name: str, number: int, seconds: int) -> None:
        self.clock.commit_later(lambda: self.carry_out(lambda: LATE[name](self.world, number)), seconds=seconds)

    @rule(seconds=st.sampled_from(SPANS))
    def time_passes(self, seconds: int) -> None:
        self.clock.move(seconds=seconds)

    def carry_out(self, change: Callable[[], object]) -> None:
        """Change something, and note what GitLab shows of it."""
        before = held(self.world)
        change()
        self.world.touch()
        seen, unseen = changed(before, held(self.world), self.world.now)
        for key in seen:
            self.unseen.pop(key, None)
        self.unseen |= dict.fromkeys(unseen, self.world.now)

    # The mapping and Port

    @rule(number=st.integers(0, len(ABOUT) - 1), backwards=st.booleans())
    def edit_the_mapping(self, number: int, backwards: bool) -> None:
        self.about, self.backwards = number, backwards

    @rule(kind=st.sampled_from(sorted(KINDS)))
    def somebody_empties_a_blueprint(self, kind: str) -> None:
        name = KINDS[kind][0]
        self.store.delete(name, self.store.identifiers(name), cascade=True)

    # The state

    @rule(how=st.sampled_from(["lost", "cut", "changed", "older"]))
    def the_state_is_not_what_it_was(self, how: str) -> None:
        match how:
            case "lost":
                self.keep("")
            case "cut":
                self.keep(self.kept[: len(self.kept) // 2])
            case "changed":
                self.keep(self.kept.replace("2026", "2027"))
            case "older" if self.older:
                self.keep(self.older[0])

    @property
    def integration(self) -> str:
        """The identifier of the integration, as it is by default."""
        return f"my-{self.type}-integration"

    @property
    def kept(self) -> str:
        """The state as it is kept, empty where none is."""
        if self.state:
            return self.state.read_text() if self.state.exists() else ""
        entity = self.store.entity(BLUEPRINT, self.integration) if BLUEPRINT in self.store.blueprints else None
        return str(entity["properties"]["state"]) if entity else ""

    def keep(self, text: str) -> None:
        """Put another state there, or take it away."""
        if self.state:
            self.state.write_text(text)
            if not text:
                self.state.unlink()
        elif not text:
            self.store.delete(BLUEPRINT, [self.integration], cascade=True)
        elif entity := self.store.entity(BLUEPRINT, self.integration):
            row = {"identifier": self.integration, "properties": {**entity["properties"], "state": text}}
            self.store.seed(BLUEPRINT, [row], entity["$datasource"])

    # Runs

    @rule(lag=st.integers(1, MOST_LAG), which=st.sampled_from(["", *LISTS.values(), "s$"]), others=st.booleans())
    def run_on_replicas(self, lag: int, which: str, others: bool) -> None:
        """Some answers come from a replica that lags: those of these paths, or those of all others."""
        self.gitlab.replica = lambda asked: (
            self.clock.behind(lag) if bool(re.search(which, asked.path)) != others else None
        )
        self.run(lag=lag)
        self.gitlab.replica = lambda _: None

    @rule(kind=st.sampled_from(sorted(LISTS)), answer=st.sampled_from(BREAKS), times=st.sampled_from([1, None]))
    def run_in_which_a_kind_fails(self, kind: str, answer: Any, times: int | None) -> None:
        self.gitlab.faults.append(Fault(LISTS[kind], answer, times=times))
        self.run()
        self.gitlab.faults.clear()

    @rule(
        kind=st.sampled_from(sorted(LISTS)), names=st.tuples(*[st.sampled_from(sorted(CHANGES))] * 2), number=NUMBERS,
        minutes=st.sampled_from([1, 15]),
    )  # fmt: skip
    def run_while_gitlab_changes(self, kind: str, names: tuple[str, str], number: int, minutes: int) -> None:
        """After the first list of a kind something changes, the run goes on for long, and something changes again."""

        def change() -> None:
            self.clock.move(seconds=1)
            for name in names:
                self.carry_out(lambda name=name: CHANGES[name](self.world, number))  # type: ignore[misc]
                self.clock.move(minutes=minutes)

        self.gitlab.edits.append(Edit(LISTS[kind], change))
        self.run()
        self.gitlab.edits.clear()

    @rule(
        shards=st.integers(1, 2), names=st.tuples(*[st.sampled_from(sorted(CHANGES))] * 3), number=NUMBERS,
        minutes=st.sampled_from([1, 15]), lost=st.booleans(),
    )  # fmt: skip
    def run_in_shards_while_gitlab_changes(
        self, shards: int, names: tuple[str, ...], number: int, minutes: int, lost: bool = False
    ) -> None:
        """After each step of a full run in shards something changes; the evidence of one may be lost."""
        left = list(names)

        def change() -> None:
            self.clock.move(seconds=1)
            name = left.pop()
            self.carry_out(lambda: CHANGES[name](self.world, number))
            self.clock.move(minutes=minutes)

        before = self.kept
        self.run_in_shards(shards, change, lost=lost)
        assert not lost or self.kept == before

    @rule(answer=st.sampled_from(REFUSALS), some=st.booleans())
    def graphql_refuses(self, answer: Any, some: bool) -> None:
        if some:
            self.world.unanswered = {id for id in self.world.projects if id % 2}
        else:
            self.gitlab.faults.append(Fault("^/api/graphql$", answer))
        self.check()
        self.world.unanswered = set()
        self.gitlab.faults.clear()

    @rule()
    def check(self) -> None:
        """A run without failures: what takes part is what a full run would leave, but for what nothing shows."""
        self.clock.move(seconds=1)
        before = self.store.snapshot()
        report = self.run()
        assert report.exit_code in (0, 5)
        found, wanted = self.store.snapshot(), self.fresh()
        rhythm = report.rhythm
        assert rhythm is not None
        if rhythm.mode == "full":
            self.agrees(found, wanted)
            return
        assert {"group", "project"} <= set(rhythm.kinds)
        assert self.broken or KINDS.keys() == set(rhythm.kinds)
        assert {name: found[name] for _, name, _ in OTHERS} == {name: before[name] for _, name, _ in OTHERS}
        for kind in rhythm.kinds:
            name = KINDS[kind][0]
            for identifier, content in wanted[name].items():
                assert (kind, identifier) in self.unseen or found[name].get(identifier) == content, (kind, identifier)

    @rule(shards=st.sampled_from([0, 0, 2]))
    def check_a_full_run(self, shards: int = 0) -> None:
        self.clock.move(seconds=1)
        had = self.kept
        report = self.run_in_shards(shards) if shards else self.run(since="")
        assert report.exit_code in (0, 5)
        assert self.kept or not (had or shards)
        self.agrees(self.store.snapshot(), self.fresh())

    def agrees(self, found: Any, wanted: Any) -> None:
        assert {name: found[name] for name in wanted} == wanted

    def run(self, since: str = "last", lag: float = 0) -> Report:
        started = self.world.now
        settings = {"since": since, "state": str(self.state or "port")} if since else {}
        try:
            report = run_sync(self.gitlab, self.port, self.mapping, type=self.type, **NO_EXAMPLES, **settings).report
        except GitLabUnavailable:
            raise AssertionError("GitLab was there") from None
        return self.noted(report, started, lag, state=bool(since))

    def run_in_shards(self, shards: int, between: Callable[[], object] = lambda: None, *, lost: bool = False) -> Report:
        """A full run in shards that keeps its state; something may happen after each of its steps."""
        started, state = self.world.now, str(self.state or "port")
        options = {"mapping": self.mapping, "type": self.type, "state": state, **NO_EXAMPLES}
        with sharded(self.gitlab, self.port, shards, **options) as sync:
            sync.survey()
            for number in range(1, shards + 1):
                between()
                sync.shard(number)
            between()
            report = sync.reconcile([] if lost else None)
        return self.noted(report, started, 0, state=not lost)

    def noted(self, report: Report, started: datetime, lag: float, *, state: bool) -> Report:
        """Note what a run has seen, and what it left for the next one where it was asked for its `state`."""
        full = report.rhythm is None or report.rhythm.mode == "full"
        problems = [one for one in report.problems if not one.warning]
        if full and not problems:
            # What changed while it ran, or just before on a primary, it may not have seen.
            self.unseen = {key: at for key, at in self.unseen.items() if (started - at).total_seconds() <= lag}
        if full and state:
            self.broken = bool(problems)
        if state and self.kept:
            self.older = [*self.older[-3:], self.kept]
        return report

    def fresh(self) -> Any:
        """What a full run leaves in an empty Port."""
        version = (self.world.version, self.about, self.backwards)
        if self.known is None or self.known[0] != version:
            store = a_port(self.clock.seconds)
            assert run_sync(self.gitlab, store, self.mapping, type=self.type, **NO_EXAMPLES).report.exit_code == 0
            self.known = version, store.snapshot()
        return self.known[1]

    def fields(self, kind: str, fields: dict[str, Any]) -> dict[str, Any]:
        """Return the fields of a resource; the older integration has no states to choose."""
        found = {**fields, "properties": {**fields.get("properties", {}), "about": ABOUT[self.about]}}
        if self.type == "gitlab":
            found.pop("selector", None)
        return found

    @property
    def mapping(self) -> Any:
        resources = [
            resource(
                kind, name, identifier=IDENTIFIERS.get(kind, ".id | tostring"),
                **self.fields(kind, fields),
            )
            for kind, (name, fields) in KINDS.items()
        ]  # fmt: skip
        resources += [resource(kind, name, **fields) for kind, name, fields in OTHERS]
        return mapping_of(*(resources[::-1] if self.backwards else resources), entityDeletionThreshold=1)


@contextmanager
def a_rhythm(change: Callable[[Rhythm], None] = lambda _: None) -> Iterator[Rhythm]:
    """A machine after its first run, which was a full one an hour ago; something may be changed before that."""
    machine = Rhythm()
    try:
        change(machine)
        machine.a_first_run()
        machine.time_passes(seconds=3600)
        yield machine
    finally:
        machine.teardown()


@pytest.mark.timeout(3600)  # only HYPOTHESIS_PROFILE=thorough comes near
def test_any_history() -> None:
    few = examples(3, 300, slow=True)
    wanted = settings(few, max_examples=60, derandomize=False) if SOAK else few
    with one_evaluator():
        run_state_machine_as_test(Rhythm, settings=settings(wanted, stateful_step_count=14))


@pytest.mark.usefixtures("lent_evaluator")
def test_port_is_asked_what_it_publishes() -> None:
    machine = Rhythm()
    try:
        machine.a_first_run(in_port=True)
        machine.change(name="an issue is edited", number=1)
        machine.check()
        assert machine.port.calls("entities-count$")
        assert machine.port.calls("gitlabPortExportState/entities")
        assert breaches(machine.port.requests) == []
    finally:
        machine.teardown()
