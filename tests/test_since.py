"""`--since last`: a run reads what changed since the last one, or everything where a full run is due, and says why."""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from gitlab_port_export.base.errors import UsageError
from gitlab_port_export.demo.gitlab import Fault, GitLabServer, gitlab_server
from gitlab_port_export.demo.gitlab_faults import forbidden
from gitlab_port_export.demo.gitlab_rows import stamp
from gitlab_port_export.demo.port import PortServer, port_server
from gitlab_port_export.demo.port_faults import Fault as PortFault
from gitlab_port_export.demo.port_faults import refuse
from gitlab_port_export.demo.world import Row, World
from gitlab_port_export.gitlab.kinds import KINDS
from gitlab_port_export.incremental.places import BLUEPRINT
from gitlab_port_export.incremental.state import State, state_of
from gitlab_port_export.report import console, markdown, openmetrics
from gitlab_port_export.report import json as as_json
from gitlab_port_export.report.screen import Screen
from gitlab_port_export.report.values import Counts, Report
from testbed.harness import acme, blueprint, mapping_of, port_with, resource, run_sync

pytestmark = pytest.mark.usefixtures("lent_evaluator")

STATE = {"properties": {"state": ".state"}}
STATUS = {"properties": {"state": ".status"}}
MAPPING = mapping_of(
    resource("group", "group", title=".name"),
    resource("project", "project", title=".path_with_namespace"),
    resource("merge-request", "mr", title=".title", selector={"states": ["opened", "merged"]}, **STATE),
    resource("issue", "issue", title=".title", selector={"state": "opened"}, properties={"state": ".references.full"}),
    resource("pipeline", "pipeline", title=".ref", **STATUS),
    resource("job", "job", title=".name", **STATUS),
    resource("member", "member", title=".name"),
)
BLUEPRINTS = ("group", "project", "mr", "issue", "pipeline", "job", "member")
COVERED = ("group", "project", "merge-request", "issue", "pipeline", "job")


class Bed:
    """Twelve projects of acme, each with a merge request, an issue and a pipeline with a job, two days old."""

    def __init__(self, world: World, gitlab: GitLabServer, port: PortServer, folder: Path) -> None:
        self.world, self.gitlab, self.port = world, gitlab, port
        self.file = folder / "state.json"
        self.options: dict[str, Any] = {}
        projects = list(world.projects)
        self.mrs, self.issues, self.pipelines, self.jobs = (
            [rows[number][0] for number in projects]
            for rows in (world.merge_requests, world.issues, world.pipelines, world.jobs)
        )

    def sync(self, mapping: Any = MAPPING, **options: Any) -> Report:
        self.gitlab.requests.clear()
        self.port.requests.clear()
        settings = {"since": "last", "state": str(self.file), "OCEAN__SEND_RAW_DATA_EXAMPLES": "false"}
        settings |= self.options | options
        return run_sync(self.gitlab, self.port, mapping, **settings).report

    def asked(self, end: str) -> int:
        return sum(request.path.endswith(end) for request in self.gitlab.requests)

    def titles(self, name: str) -> set[str]:
        store = self.port.store
        return {str((store.entity(name, one) or {})["title"]) for one in store.identifiers(name)}

    def project(self, name: str) -> Row:
        return self.world.project(f"acme/{name}")

    @property
    def state(self) -> State:
        found = state_of(self.file.read_bytes())
        assert found
        return found

    def keep(self, state: State) -> None:
        self.file.write_text(state.text)

    def assert_in_step(self) -> None:
        """A full run would write nothing; it may delete."""
        found = self.sync(command="plan", since=None)
        assert found.exit_code == 0, found.problems
        written = {name: (counts.created, counts.updated) for name, counts in found.blueprints.items()}
        assert written == dict.fromkeys(written, (0, 0)), found.changes


@contextmanager
def a_bed(folder: Path) -> Iterator[Bed]:
    """The bed between the stand-ins, with its file in a folder."""
    world, _, group = acme()
    old = stamp(datetime.now(UTC) - timedelta(days=2))
    dates = {"created_at": old, "updated_at": old}
    for number in range(12):
        project = world.add_project(group, f"p{number}", last_activity_at=old, **dates)
        world.add_merge_request(project, f"MR of p{number}", **dates)
        world.add_issue(project, f"Issue of p{number}", **dates)
        world.add_job(world.add_pipeline(project, **dates), "build")
    blueprints = [blueprint(name, state="string") for name in BLUEPRINTS]
    with gitlab_server(world) as gitlab, port_server(port_with(*blueprints)) as port:
        yield Bed(world, gitlab, port, folder)


@pytest.fixture
def bed(tmp_path: Path) -> Iterator[Bed]:
    with a_bed(tmp_path) as made:
        yield made


def touched(row: Row, **fields: Any) -> None:
    """Change a row now, as GitLab does."""
    row.update(fields, updated_at=stamp(datetime.now(UTC)))


@pytest.mark.parametrize("place", ["port", "file"])
def test_the_first_run_is_a_full_one_and_the_second_reads_what_changed(bed: Bed, place: str) -> None:
    options = {"state": "port"} if place == "port" else {}
    first = bed.sync(**options)
    assert (first.exit_code, first.rhythm and first.rhythm.mode) == (0, "full"), first.problems
    second = bed.sync(**options)
    assert (second.exit_code, second.problems) == (0, ())
    assert second.rhythm
    assert (second.rhythm.mode, second.rhythm.kinds) == ("incremental", COVERED)
    assert second.blueprints == {"group": Counts(unchanged=1), "project": Counts(unchanged=12)}
    assert bed.asked("/members") == 0
    assert "member: GitLab does not say which members changed" in second.left
    assert second.left[0] == "deletions: a run that reads what changed deletes nothing"


@pytest.mark.parametrize("type", ["gitlab", "gitlab-v2"])
def test_rows_that_changed_are_written_and_rows_that_no_selector_wants_are_counted(bed: Bed, type: str) -> None:
    bed.options = {"type": type}
    bed.sync()
    world = bed.world
    touched(bed.mrs[0], state="merged", title="Merged MR")
    touched(bed.mrs[1], state="closed")
    touched(bed.issues[0], title="New title")
    touched(bed.issues[1], state="closed")
    now = datetime.now(UTC)
    pipeline = world.add_pipeline(bed.project("p3"), created_at=now, updated_at=now)
    world.add_job(pipeline, "test")
    world.add_issue(bed.project("p4"), "New issue", created_at=now, updated_at=now)
    report = bed.sync()
    assert (report.exit_code, report.problems) == (0, ())
    assert report.rhythm
    assert (report.rhythm.mode, report.rhythm.rows_left) == ("incremental", 2)
    assert report.blueprints["mr"] == Counts(updated=1)
    assert report.blueprints["issue"] == Counts(created=1, updated=1)
    assert report.blueprints["pipeline"] == Counts(created=1)
    assert report.blueprints["job"] == Counts(created=1)
    assert {"Merged MR"} <= bed.titles("mr")
    bed.assert_in_step()
    # What was closed goes with the next full run.
    report = bed.sync(since=None)
    assert (report.blueprints["mr"].deleted, report.blueprints["issue"].deleted) == (1, 1)


@pytest.mark.parametrize("graphql", [True, False], ids=["GraphQL", "REST"])
@pytest.mark.parametrize("type", ["gitlab", "gitlab-v2"])
def test_a_job_of_a_running_pipeline_is_seen_although_gitlab_does_not_touch_the_pipeline(
    bed: Bed, type: str, graphql: bool
) -> None:
    bed.options = {"type": type}
    if not graphql:
        bed.gitlab.faults.append(Fault("graphql", forbidden()))
    pipeline = bed.pipelines[0]
    pipeline["status"] = "running"
    bed.sync()
    bed.jobs[0]["status"] = "failed"
    assert bed.sync().blueprints["job"] == Counts(updated=1)
    bed.assert_in_step()


def test_a_renamed_and_a_new_project_are_read_whole(bed: Bed) -> None:
    bed.sync()
    bed.world.rename_project(bed.project("p1"), path="renamed")
    project = bed.world.add_project(bed.world.groups[1], "fresh")
    old = bed.world.ago(days=5)
    bed.world.add_issue(project, "Old issue", created_at=old, updated_at=old)
    report = bed.sync()
    assert report.rhythm
    assert report.rhythm.mode == "incremental"
    assert "Old issue" in bed.titles("issue")
    assert {"acme/renamed", "acme/fresh"} <= bed.titles("project")
    bed.assert_in_step()


def test_what_is_archived_makes_its_project_one_that_is_read_whole(bed: Bed) -> None:
    bed.sync()
    bed.project("p2")["archived"] = True
    before = bed.state.frames
    report = bed.sync()
    assert report.rhythm
    assert report.rhythm.mode == "incremental"
    assert bed.state.frames != before
    bed.assert_in_step()


def damaged(bed: Bed) -> None:
    bed.file.write_text(bed.file.read_text().replace('"format":1', '"format":2'))


def cut(bed: Bed) -> None:
    bed.file.write_text(bed.file.read_text()[:-40])


def removed(bed: Bed) -> None:
    bed.file.unlink()


def old(bed: Bed) -> None:
    bed.keep(replace(bed.state, last_full=bed.state.last_full - timedelta(hours=30)))


def from_the_future(bed: Bed) -> None:
    bed.keep(replace(bed.state, last_run=bed.state.last_run + timedelta(hours=1)))


def of_another_integration(bed: Bed) -> None:
    bed.keep(replace(bed.state, key={**bed.state.key, "the integration": "other"}))


def emptied(bed: Bed) -> None:
    bed.port.store.delete("issue", sorted(bed.port.store.identifiers("issue"))[:1], cascade=False)


def many_renamed(bed: Bed) -> None:
    for number in range(3):
        bed.world.rename_project(bed.project(f"p{number}"), path=f"q{number}")


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (damaged, "is damaged, or of another version"),
        (cut, "is damaged, or of another version"),
        (removed, "does not exist, so no run has left its state"),
        (old, "the last one was 30 h ago (--full-every 24 h)"),
        (from_the_future, "the state is of a later time than GitLab's clock shows"),
        (of_another_integration, "since the last run this changed: the integration"),
        (emptied, "Port holds 11 entities of blueprint issue, and the last run left 12"),
        (many_renamed, "3 of 12 projects are new, renamed, moved, archived or have other rights"),
    ],
)
def test_a_full_run_is_made_and_explained(bed: Bed, spoil: Callable[[Bed], None], why: str) -> None:
    bed.sync()
    touched(bed.issues[3], title="Changed")
    spoil(bed)
    report = bed.sync()
    assert report.rhythm
    assert report.rhythm.mode == "full"
    assert report.rhythm.why.endswith(why)
    assert report.exit_code == 0
    bed.assert_in_step()
    assert (bed.sync().rhythm or report.rhythm).mode == "incremental"


def test_another_mapping_makes_a_full_run(bed: Bed) -> None:
    bed.sync()
    other = json.loads(json.dumps(MAPPING))
    other["resources"][3]["port"]["entity"]["mappings"]["title"] = '.title + "!"'
    report = bed.sync(other)
    assert report.rhythm
    assert (report.rhythm.mode, report.rhythm.why) == ("full", "since the last run this changed: the mapping")
    assert "Issue of p5!" in bed.titles("issue")


def test_the_instant_of_a_kind_stays_where_it_had_a_problem(bed: Bed) -> None:
    bed.sync()
    first = bed.state
    bed.keep(replace(first, kinds={kind: instant - timedelta(hours=2) for kind, instant in first.kinds.items()}))
    before = bed.state.kinds
    bed.gitlab.faults.append(Fault(r"/groups/\d+/issues$", forbidden()))
    report = bed.sync()
    assert report.exit_code == 1
    after = bed.state.kinds
    assert after["issue"] == before["issue"]
    assert after["merge-request"] > before["merge-request"]
    assert bed.state.frames == first.frames
    bed.gitlab.faults.clear()
    touched(bed.issues[0], title="Late")
    bed.issues[0]["updated_at"] = stamp(before["issue"] + timedelta(minutes=1))
    assert bed.sync().exit_code == 0
    bed.assert_in_step()


def test_a_kind_that_a_full_run_did_not_read_whole_is_left_to_the_next_one(bed: Bed) -> None:
    bed.gitlab.faults.append(Fault(r"/groups/\d+/issues$", forbidden()))
    assert bed.sync().exit_code == 1
    assert "issue" not in bed.state.kinds
    bed.gitlab.faults.clear()
    report = bed.sync()
    assert report.rhythm
    assert (report.rhythm.mode, "issue" in report.rhythm.kinds) == ("incremental", False)
    assert any(line.startswith("issue: the last full run") for line in report.left)


def test_a_plan_reads_what_changed_and_leaves_the_state_alone(bed: Bed) -> None:
    bed.sync()
    bed.keep(replace(bed.state, last_run=bed.state.last_run - timedelta(minutes=10)))
    before = bed.file.read_bytes()
    touched(bed.issues[0], title="Changed")
    report = bed.sync(command="plan")
    assert report.rhythm
    assert (report.rhythm.mode, report.blueprints["issue"]) == ("incremental", Counts(updated=1))
    assert bed.file.read_bytes() == before
    assert bed.sync().blueprints["issue"] == Counts(updated=1)


def test_no_full_run_takes_the_state_in_port_for_its_own_to_delete(bed: Bed) -> None:
    bed.sync(state="port")
    store = bed.port.store
    entity = store.entity(BLUEPRINT, "my-gitlab-v2-integration")
    assert entity
    assert set(entity["properties"]) == {"lastFullRun", "lastRun", "kinds", "state"}
    report = bed.sync(state="port", since=None)
    assert (report.exit_code, report.rhythm, report.held) == (0, None, ())
    renewed = store.entity(BLUEPRINT, "my-gitlab-v2-integration")
    assert renewed
    # A full run without --since keeps a state up to date that Port has.
    assert renewed["properties"]["lastFullRun"] >= entity["properties"]["lastFullRun"]


def test_a_sync_without_since_leaves_no_state_unless_it_is_asked_for(bed: Bed) -> None:
    run_sync(bed.gitlab, bed.port, MAPPING)
    assert BLUEPRINT not in bed.port.store.blueprints
    bed.sync(since=None)
    report = bed.sync()
    assert report.rhythm
    assert report.rhythm.mode == "incremental"


def test_where_no_blueprint_may_be_made_a_file_is_named(bed: Bed) -> None:
    with pytest.raises(UsageError) as caught:
        bed.sync(state="port", OCEAN__INITIALIZE_PORT_RESOURCES="false")
    assert "Port has no blueprint gitlabPortExportState" in str(caught.value)
    assert "--state FILE" in caught.value.hint
    assert bed.sync(OCEAN__INITIALIZE_PORT_RESOURCES="false").exit_code == 0


def test_a_state_that_cannot_be_kept_is_a_warning(bed: Bed) -> None:
    bed.file.mkdir()
    report = bed.sync()
    assert (report.exit_code, len(report.warnings)) == (0, 1)
    assert "cannot be written" in report.warnings[0].why


@pytest.mark.parametrize("text", ["4m", "0", "abc"])
def test_runs_overlap_by_five_minutes_at_least(bed: Bed, text: str) -> None:
    with pytest.raises(UsageError, match="at least 5m"):
        bed.sync(lookback=text)


def test_each_kind_says_how_it_takes_part() -> None:
    assert [name for name, kind in KINDS.items() if kind.since is None] == []
    for kind in KINDS.values():
        assert kind.since
        assert bool(kind.since.why) == (kind.since.taken == "nothing"), kind.name
        assert bool(kind.since.keys) == (kind.since.taken != "nothing"), kind.name


def test_every_report_says_what_was_read_and_none_that_port_is_in_step(
    bed: Bed, capsys: pytest.CaptureFixture[str]
) -> None:
    bed.sync()
    report = bed.sync()
    assert report.rhythm
    console.render(report, Screen.of(sys.stdout, {}).console)
    screen = capsys.readouterr().out
    since = report.rhythm.since
    told = f"incremental: changes since {since} (with 10 minutes of overlap); last full run "
    last = screen.strip().splitlines()[-1]
    assert last.startswith(f"exit 0: Port has every change since {since}; the report lists what is left to full runs (")
    for text in (screen, markdown.render(report)):
        assert told in unescape(text)
        assert "in step" not in text
    data = json.loads(as_json.render(report))
    assert (data["rhythm"]["mode"], data["rhythm"]["kinds"]) == ("incremental", list(COVERED))
    metrics = openmetrics.render(report)
    assert 'gitlab_port_export_incremental{integration="my-gitlab-v2-integration",mode="sync"} 1' in metrics
    assert "gitlab_port_export_last_full_timestamp_seconds{" in metrics


def test_a_renamed_project_is_read_once_more_because_its_lists_may_have_come_from_a_lagging_database(bed: Bed) -> None:
    bed.sync()
    project = bed.project("p1")
    bed.world.rename_project(project, path="renamed")
    bed.sync()
    assert project["id"] in {number for found in bed.state.unsettled.values() for number in found.projects}
    # As if the lists had been read before GitLab's replica had the new path.
    title = bed.issues[1]["title"]
    bed.issues[1]["title"] = "What the replica did not have"
    report = bed.sync()
    assert report.blueprints["issue"] == Counts(updated=1), title
    bed.assert_in_step()
    late = {instant - timedelta(minutes=30): found for instant, found in bed.state.unsettled.items()}
    bed.keep(replace(bed.state, unsettled=late))
    bed.sync()
    assert bed.state.unsettled == {}


@pytest.mark.parametrize("value", ["true", "1"])
def test_oceans_own_switch_is_answered_with_a_hint(bed: Bed, value: str) -> None:
    switch = {"OCEAN__INTEGRATION__INCREMENTAL_SYNC_ENABLED": value}
    (warning,) = bed.sync(since=None, **switch).warnings
    assert "OCEAN__INTEGRATION__INCREMENTAL_SYNC_ENABLED is for Ocean alone" in warning.why
    assert "--since last" in warning.why
    assert bed.sync(**switch).warnings == []
    assert bed.sync(since=None, OCEAN__INTEGRATION__INCREMENTAL_SYNC_ENABLED="false").warnings == []


def test_the_switch_of_the_integration_in_port_is_answered_with_a_hint(bed: Bed) -> None:
    bed.sync()
    next(iter(bed.port.store.integrations.values()))["incrementalSyncEnabled"] = True
    (warning,) = bed.sync(since=None).warnings
    assert warning.hint == "to read what changed alone: --since last"
    assert bed.sync().warnings == []


def test_a_resource_that_is_left_to_full_runs_does_not_take_its_kind_along(bed: Bed) -> None:
    author = resource("issue", "member", port=None, title=".author.name", identifier=".author.username")
    mapping = {"resources": [*MAPPING["resources"][:-1], author]}
    assert bed.sync(mapping).exit_code == 0
    assert "issue" in bed.state.kinds
    touched(bed.issues[0], title="Changed")
    report = bed.sync(mapping)
    assert report.rhythm
    assert "issue" in report.rhythm.kinds
    assert report.blueprints["issue"] == Counts(updated=1)
    assert "issue: several rows may give one entity, as far as the identifier tells" in report.left


def test_projects_are_listed_side_by_side_between_the_ids_that_the_last_run_met(bed: Bed) -> None:
    bed.sync()
    ids = sorted(bed.world.projects)
    bed.keep(replace(bed.state, cuts=(ids[3], ids[7])))
    bed.world.add_issue(bed.project("p11"), "New", created_at=datetime.now(UTC), updated_at=datetime.now(UTC))
    report = bed.sync()
    assert report.blueprints["project"] == Counts(unchanged=12)
    assert report.blueprints["issue"] == Counts(created=1)
    # A page and the empty one after it, of each range.
    assert bed.asked("/projects") == 6
    # A cut at ids that are gone, or beyond all, loses nothing.
    bed.keep(replace(bed.state, cuts=(ids[0] - 1, ids[5], ids[-1] + 50)))
    assert bed.sync().blueprints["project"] == Counts(unchanged=12)
    bed.assert_in_step()


def test_entities_are_counted_by_port_itself_also_of_blueprints_that_the_run_made(bed: Bed) -> None:
    report = bed.sync()
    names = ("group", "project", "mr", "issue", "pipeline", "job")
    counted = {name: report.blueprints[name].created for name in names}
    assert bed.state.counts == counted
    bed.world.add_issue(bed.project("p1"), "New", created_at=datetime.now(UTC), updated_at=datetime.now(UTC))
    bed.sync()
    assert bed.state.counts == counted | {"issue": counted["issue"] + 1}


def test_where_port_does_not_count_runs_go_on(bed: Bed) -> None:
    bed.port.faults.append(PortFault("/entities-count$", refuse(404)))
    bed.sync()
    assert bed.state.counts == {}
    report = bed.sync()
    assert report.rhythm
    assert report.rhythm.mode == "incremental"


def test_where_graphql_is_refused_one_page_of_pipelines_is_asked_of_each_project(bed: Bed) -> None:
    bed.gitlab.faults.append(Fault("graphql", forbidden()))
    bed.sync()
    now = datetime.now(UTC)
    bed.world.add_pipeline(bed.project("p3"), created_at=now, updated_at=now)
    report = bed.sync()
    assert report.blueprints["pipeline"] == Counts(created=1)
    # That of each of twelve projects, and the list of the one in which something changed.
    assert bed.asked("/pipelines") == 13
    bed.gitlab.faults.append(Fault(r"/projects/\d+/pipelines$", forbidden()))
    before = {kind: instant - timedelta(hours=1) for kind, instant in bed.state.kinds.items()}
    bed.keep(replace(bed.state, kinds=before))
    assert bed.sync().exit_code == 1
    after = bed.state.kinds
    assert (after["pipeline"], after["issue"] > before["issue"]) == (before["pipeline"], True)
