"""The last step of a sync in shards leaves the state of a full run, from which `--since last` goes on."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from conftest import Bench
from gitlab_port_export.base.errors import UsageError
from gitlab_port_export.base.jsontext import packed
from gitlab_port_export.demo.gitlab import Fault
from gitlab_port_export.demo.gitlab_faults import forbidden
from gitlab_port_export.demo.gitlab_rows import stamp
from gitlab_port_export.demo.port_faults import Fault as PortFault
from gitlab_port_export.demo.port_faults import refuse
from gitlab_port_export.demo.world import DEVELOPER, OWNER
from gitlab_port_export.gitlab.inventory import Inventory, Listed
from gitlab_port_export.incremental.frames import outlines_of
from gitlab_port_export.incremental.places import BLUEPRINT
from gitlab_port_export.incremental.state import State, state_of
from gitlab_port_export.model import Row, Scope
from gitlab_port_export.report.values import Report
from gitlab_port_export.shards.slim import slim
from test_shards import looks
from test_since import COVERED, MAPPING, Bed, a_bed, touched
from testbed.harness import mapping_of, resource
from testbed.sharding import Sharded, sharded

pytestmark = pytest.mark.usefixtures("lent_evaluator")
NO_EXAMPLES = {"OCEAN__SEND_RAW_DATA_EXAMPLES": "false"}


@pytest.fixture
def bed(tmp_path: Path) -> Iterator[Bed]:
    with a_bed(tmp_path) as made:
        yield made


@contextmanager
def in_shards(bed: Bed, **more: Any) -> Iterator[Sharded]:
    """A sync of the bed in shards that keeps the state in the bed's file."""
    settings = {"shards": 2, "mapping": MAPPING, "state": str(bed.file), **NO_EXAMPLES, **bed.options, **more}
    with sharded(bed.gitlab, bed.port, **{key: value for key, value in settings.items() if value}) as sync:
        yield sync


def mode(report: Report) -> str:
    assert report.rhythm
    return f"{report.rhythm.mode} {report.rhythm.why}".strip()


def but_for_instants(state: State) -> Any:
    """What a state says beside when that was."""
    return state.key, set(state.kinds), state.frames, state.counts, list(state.unsettled.values()), state.cuts


# The state


@pytest.mark.parametrize("type", ["gitlab-v2", "gitlab"])
def test_the_last_step_leaves_the_state_that_one_run_leaves(bed: Bed, type: str) -> None:
    bed.options = {"type": type}
    bed.world.add_project(bed.world.groups[1], "fresh", updated_at=stamp(datetime.now(UTC)))
    bed.sync(since=None)
    whole = bed.state
    bed.file.unlink()
    with in_shards(bed) as sync:
        bed.gitlab.clock = lambda: time.time() - 60
        made = sync.survey()
        bed.gitlab.clock = time.time
        sync.shard(1)
        sync.shard(2)
        report = sync.reconcile()
    assert (report.exit_code, report.problems, report.rhythm) == (0, (), None)
    assert but_for_instants(bed.state) == but_for_instants(whole)
    # A project that was made a moment ago is read once more.
    assert [len(found.projects) for found in bed.state.unsettled.values()] == [1]
    assert {bed.state.last_full, bed.state.last_run, *bed.state.kinds.values()} == {made.now}


@pytest.mark.parametrize("type", ["gitlab-v2", "gitlab"])
def test_after_a_sync_in_shards_a_run_reads_what_changed_since_its_survey(bed: Bed, type: str) -> None:
    bed.options = {"type": type}
    with in_shards(bed) as sync:
        sync.survey()
        touched(bed.issues[0], title="Before its shard")
        sync.shard(1)
        sync.shard(2)
        touched(bed.issues[1], title="After its shard")
        touched(bed.mrs[1], title="After its shard")
        bed.world.rename_project(bed.project("p3"), path="renamed")
        assert sync.reconcile().exit_code == 0
    touched(bed.mrs[2], title="After all")
    whole = bed.sync(command="plan", since=None).gitlab_requests
    report = bed.sync()
    assert (report.exit_code, mode(report)) == (0, "incremental"), report.problems
    assert report.rhythm
    assert report.rhythm.kinds == COVERED
    assert report.gitlab_requests < whole / 2
    assert report.blueprints["mr"].updated == 2
    assert {"After its shard", "Before its shard"} <= bed.titles("issue")
    assert "acme/renamed" in bed.titles("project")
    bed.assert_in_step()


def test_a_survey_keeps_every_field_that_the_next_run_compares() -> None:
    read: set[str] = set()

    class Watched(dict[str, Any]):
        """A row that notes which fields it is asked for."""

        def get(self, name: str, other: Any = None) -> Any:
            read.add(name)
            return super().get(name, other)

    levels = {f"{name}_access_level": "private" for name in ("builds", "issues", "secrets_manager")}
    one = {"project_access": {"access_level": 30}}

    def outlines(row: Row) -> Any:
        place = Listed(row, Scope(1, "a/b", False, "token 1"), ("token 1",))
        return outlines_of(Inventory({}, {None: (place,)}, {}))

    outlines(Watched())
    row = {**dict.fromkeys(read, "told"), **levels, "permissions": one, "id": 1}
    assert {"updated_at", "last_activity_at", "permissions", "default_branch"} <= read
    assert outlines(slim(row, frozenset())) == outlines(row)
    # Each of these fields makes a difference.
    assert [name for name in row if outlines({**row, name: None}) == outlines(row)] == []
    assert packed(slim(row, frozenset())) == packed(slim(row, None))


def test_a_sync_in_shards_asks_hardly_more_for_the_state_than_one_run(bed: Bed) -> None:
    bed.world.add_token("second", bed.world.add_user("second"))
    bed.world.add_member(bed.world.groups[1], bed.world.users[2], OWNER)
    whole = bed.sync(since=None)
    with in_shards(bed, state=None) as sync:
        without = sync.all()
    bed.gitlab.requests.clear()
    with in_shards(bed) as sync:
        report = sync.all()
    # Each shard looks at its user, and the last step at that of each token; the survey looks for long lists.
    assert report.gitlab_requests == without.gitlab_requests + 2
    assert report.gitlab_requests <= whole.gitlab_requests + 2 + 1 + looks(bed.gitlab)
    # The organization, and a count of each blueprint that the next run writes to.
    assert report.port_requests <= without.port_requests + 1 + len(COVERED)


# Who asks for it


def test_a_sync_in_shards_leaves_no_state_that_nobody_asks_for(bed: Bed) -> None:
    with in_shards(bed, state=None) as sync:
        report = sync.all()
    assert report.exit_code == 0
    assert BLUEPRINT not in bed.port.store.blueprints
    assert bed.port.calls("entities-count$") == []


def test_a_state_that_port_has_is_renewed(bed: Bed) -> None:
    bed.sync(state="port")
    kept = bed.port.store.entity(BLUEPRINT, "my-gitlab-v2-integration")
    assert kept
    aged = replace(in_port(bed), last_full=in_port(bed).last_full - timedelta(hours=30))
    row = {"identifier": "my-gitlab-v2-integration", "properties": {"state": aged.text}}
    bed.port.store.seed(BLUEPRINT, [row], kept["$datasource"])
    with in_shards(bed, state=None) as sync:
        report = sync.all()
        assert (report.exit_code, report.held) == (0, ())
    assert in_port(bed).last_full > aged.last_full
    assert mode(bed.sync(state="port")) == "incremental"


def in_port(bed: Bed) -> State:
    entity = bed.port.store.entity(BLUEPRINT, "my-gitlab-v2-integration")
    assert entity
    found = state_of(entity["properties"]["state"])
    assert found
    return found


OTHER = mapping_of(*MAPPING["resources"][:-1], resource("member", "member", title=".username"))


@pytest.mark.parametrize("asked", [False, True])
@pytest.mark.parametrize("what", ["mapping", "user"])
def test_a_state_of_another_mapping_or_user_is_replaced_only_where_somebody_asks_for_it(
    bed: Bed, what: str, asked: bool
) -> None:
    bed.sync(state="port")
    before = in_port(bed)
    other = bed.world.add_user("other")
    bed.world.add_token("token-of-other", other)
    bed.world.add_member(bed.world.groups[1], other, OWNER)
    changes = {"mapping": OTHER} if what == "mapping" else {"tokens": ["token-of-other"]}
    tokens = changes.get("tokens", ["token-of-reader"])
    with in_shards(bed, **{"state": "port" if asked else None, "tokens": tokens, **changes}) as sync:
        assert sync.all().exit_code == 0
    assert (in_port(bed) != before) == asked
    report = bed.sync(changes.get("mapping", MAPPING), state="port", tokens=tokens)
    part = "the mapping" if what == "mapping" else "a token's patterns or user"
    assert mode(report) == ("incremental" if asked else f"full since the last run this changed: {part}")


def test_the_last_steps_own_users_count_and_where_the_surveys_had_other_roles_all_is_read(bed: Bed) -> None:
    other = bed.world.add_user("other")
    bed.world.add_token("token-of-other", other)
    bed.world.add_member(bed.world.groups[1], other, DEVELOPER)
    for number in {*range(12)} - {5, 6}:
        bed.world.add_member(bed.project(f"p{number}"), other, OWNER)
    with in_shards(bed, tokens=["token-of-reader"]) as sync:
        sync.survey()
        sync.shard(1)
        sync.shard(2)
        sync.tokens = ["token-of-other"]
        sync.reconcile()
    # In projects in which both have the same role, nothing says that these changed.
    for issue in bed.issues[5:8]:
        issue["title"] = "What the other user sees"
    told = "full since the last run this changed: a token's patterns or user"
    assert mode(bed.sync(command="plan", tokens=["token-of-reader"])) == told
    report = bed.sync(tokens=["token-of-other"])
    assert (mode(report), report.blueprints["issue"].updated) == ("incremental", 2)


# In doubt


def test_a_missing_shard_leaves_the_state_as_it_was(bed: Bed) -> None:
    bed.sync()
    bed.keep(replace(bed.state, last_full=bed.state.last_full - timedelta(minutes=1)))
    before = bed.file.read_bytes()
    touched(bed.issues[0], title="Changed")
    with in_shards(bed) as sync:
        sync.survey()
        sync.shard(1)
        assert sync.reconcile().exit_code == 1
        assert bed.file.read_bytes() == before
        assert bed.port.calls("/organization$") == []
        # Nothing was lost: with the shard's evidence the same last step keeps it.
        sync.shard(2)
        assert sync.reconcile().exit_code == 0
    assert bed.file.read_bytes() != before
    assert mode(bed.sync()) == "incremental"
    bed.assert_in_step()


def a_list_is_refused(bed: Bed) -> None:
    bed.gitlab.faults.append(Fault(r"/groups/\d+/issues$", forbidden()))


def writes_are_refused(bed: Bed) -> None:
    bed.port.faults.append(PortFault(r"/blueprints/issue/entities", refuse(422)))


def a_row_is_refused(bed: Bed) -> None:
    # Port takes a text there.
    bed.issues[1]["weight"] = 5


def rows_give_one_entity(bed: Bed) -> None:
    bed.issues[1]["web_url"] = bed.issues[0]["web_url"]


def a_row_gives_nothing(bed: Bed) -> None:
    bed.issues[1]["web_url"] = None


BY_ADDRESS = mapping_of(
    *(one for one in MAPPING["resources"] if one["kind"] != "issue"),
    resource("issue", "issue", title=".title", identifier=".web_url", properties={"state": ".weight"}),
)


@pytest.mark.parametrize(
    "spoil", [a_list_is_refused, writes_are_refused, a_row_is_refused, rows_give_one_entity, a_row_gives_nothing]
)
def test_a_kind_in_doubt_is_left_to_full_runs_as_after_one_run(bed: Bed, spoil: Callable[[Bed], None]) -> None:
    spoil(bed)
    bed.sync(BY_ADDRESS, since=None)
    whole = set(bed.state.kinds)
    bed.file.unlink()
    with in_shards(bed, mapping=BY_ADDRESS) as sync:
        sync.all()
    assert set(bed.state.kinds) == whole
    assert ("issue" in whole) == (spoil is a_row_gives_nothing)


def test_a_kind_of_which_two_shards_gave_one_entity_is_left_to_full_runs(bed: Bed) -> None:
    other = bed.world.add_group("other")
    bed.world.add_member(other, bed.world.users[1], OWNER)
    issue = bed.world.add_issue(bed.world.add_project(other, "same"), "A title")
    issue["id"] = bed.issues[0]["id"]
    with in_shards(bed, shards=6) as sync:
        report = sync.all()
    assert [one.kind for one in report.failures] == ["issue"]
    assert set(bed.state.kinds) == {*COVERED} - {"issue"}


def test_where_gitlab_did_not_tell_the_survey_when_it_answered_no_state_is_left(bed: Bed) -> None:
    with in_shards(bed) as sync:
        bed.gitlab.clock = lambda: 0.0
        sync.survey()
        bed.gitlab.clock = time.time
        sync.shard(1)
        sync.shard(2)
        assert sync.reconcile().exit_code == 0
    assert not bed.file.exists()


def test_an_older_survey_leaves_an_older_state_that_loses_no_rows(bed: Bed) -> None:
    with in_shards(bed) as sync:
        sync.survey()
        sync.shard(1)
        sync.shard(2)
        touched(bed.issues[0], title="Read by a run in between")
        bed.world.rename_project(bed.project("p3"), path="renamed")
        bed.sync()
        touched(bed.mrs[0], title="Changed after it")
        sync.reconcile()
    report = bed.sync()
    assert (report.exit_code, mode(report)) == (0, "incremental")
    assert report.blueprints["mr"].updated == 1
    bed.assert_in_step()


# In processes


def test_a_sync_in_processes_leaves_it_too(bench: Bench) -> None:
    ran = bench.run("sync", "--processes", "2", "--state", "state.json", "--output", "json")
    assert ran.returncode == 0, ran.stderr
    ran = bench.run("sync", "--since", "last", "--state", "state.json", "--output", "json")
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout)["rhythm"]["mode"] == "incremental"


@pytest.mark.parametrize("command", [["sync", "--processes", "2"], ["survey", "--out", "survey"]])
def test_a_state_that_the_last_step_cannot_keep_ends_the_first_one(bench: Bench, command: list[str]) -> None:
    bench.sync_an_hour_ago()
    variables = {"OCEAN__INITIALIZE_PORT_RESOURCES": "false", "OCEAN__EXPORT__STATE": "port"}
    ran = bench.run(*command, **variables)
    assert ran.returncode == 2
    assert "Port has no blueprint gitlabPortExportState for the state of the last run" in ran.stderr
    assert bench.gitlab.requests == []


def test_only_the_last_step_needs_the_place_of_the_state(bench: Bench) -> None:
    state = {"OCEAN__EXPORT__STATE": "cache/state.json"}
    assert bench.run("survey", "--shards", "1", "--out", "survey", **state).returncode == 0
    assert bench.run("sync", "--shard", "1/1", "--survey", "survey", "--evidence", "one", **state).returncode == 0
    ran = bench.run("reconcile", "--survey", "survey", "one", **state)
    assert (ran.returncode, "the folder cache does not exist" in ran.stderr) == (2, True)
    bench.file("cache/other", "")
    assert bench.run("reconcile", "--survey", "survey", "one", **state).returncode == 0
    assert state_of((bench.folder / "cache/state.json").read_bytes())


def test_a_last_step_that_cannot_keep_the_state_deletes_nothing_and_tells_port_that_it_failed(bed: Bed) -> None:
    bed.sync()
    del bed.world.issues[bed.project("p0")["id"]][:]
    with in_shards(bed, state="port", OCEAN__INITIALIZE_PORT_RESOURCES="false") as sync:
        sync.survey()
        sync.shard(1)
        sync.shard(2)
        with pytest.raises(UsageError, match="Port has no blueprint gitlabPortExportState"):
            sync.reconcile()
    assert len(bed.port.store.identifiers("issue")) == 12
    (integration,) = bed.port.store.integrations.values()
    assert integration["resyncState"]["status"] == "failed"
