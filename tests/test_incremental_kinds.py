"""An incremental run writes of each kind what a full one would, and asks only about projects that show a change."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from gitlab_port_export.demo import gitlab_changes as changes
from gitlab_port_export.demo import gitlab_list_rows as lists
from gitlab_port_export.demo.gitlab import Fault, GitLabServer, gitlab_server
from gitlab_port_export.demo.gitlab_clock import WorldClock
from gitlab_port_export.demo.gitlab_faults import forbidden, query_timeout
from gitlab_port_export.demo.port import PortServer, port_server
from gitlab_port_export.demo.world import OWNER, Row, World
from gitlab_port_export.report.values import Counts, Report
from testbed.harness import acme, blueprint, mapping_of, port_with, resource, run_sync

pytestmark = pytest.mark.usefixtures("lent_evaluator")

PATH = ".__project.path_with_namespace"
MAPPING = mapping_of(
    resource(
        "project", "project", identifier=".path_with_namespace", title=".description",
        selector={"includeLanguages": True}, properties={"text": ".__languages | tojson"},
    ),
    resource("environment", "environment", title=".state"),
    resource("deployment", "deployment", title=".status"),
    resource("release", "release", identifier=f'{PATH} + "@" + .tag_name', title=".name"),
    resource("tag", "tag", identifier=f'{PATH} + "@" + .name', title=".name"),
    resource("branch", "branch", identifier=f'{PATH} + "@" + .name', selector={"defaultBranchOnly": False}),
    resource(
        "file", "file", identifier='.repo.path_with_namespace + ":" + .file.path',
        selector={"files": {"path": "info.json"}}, title=".file.content.text",
    ),
    resource("merge-request", "mr", title=".title"),
    resource("issue", "issue", title=".title"),
)  # fmt: skip
NAMES = ("project", "environment", "deployment", "release", "tag", "branch", "file", "mr", "issue")


class Bed:
    """Ten projects, of which four are personal, with something of every kind; all of it a day old."""

    def __init__(self, world: World, clock: WorldClock, gitlab: GitLabServer, port: PortServer, state: Path) -> None:
        self.world, self.clock, self.gitlab, self.port, self.state = world, clock, gitlab, port, state
        self.projects = list(world.projects.values())

    def sync(self, mapping: Any = MAPPING, **options: Any) -> Report:
        self.gitlab.requests.clear()
        settings = {"since": "last", "state": str(self.state), "OCEAN__SEND_RAW_DATA_EXAMPLES": "false", **options}
        return run_sync(self.gitlab, self.port, mapping, **settings).report

    def incremental(self) -> dict[str, Counts]:
        """Run, and return what it wrote; a full run would write nothing more."""
        report = self.sync()
        assert report.exit_code == 0, report.problems
        assert report.rhythm
        assert report.rhythm.mode == "incremental", report.rhythm.why
        asked = [request.path for request in self.gitlab.requests]
        found = self.sync(command="plan", since=None)
        written = {name: (counts.created, counts.updated) for name, counts in found.blueprints.items()}
        assert written == dict.fromkeys(written, (0, 0)), found.changes
        self.asked = asked
        return {name: one for name, one in report.blueprints.items() if one.created or one.updated}

    def of_lists(self, *ends: str) -> list[str]:
        return sorted(path for path in self.asked if path.endswith(ends))


@pytest.fixture
def bed(tmp_path: Path) -> Iterator[Bed]:
    world, reader, group = acme()
    # GitLab's clock is far behind this machine's.
    world.now -= timedelta(days=40)
    world.add_member(group, reader, OWNER)
    owners = [*[group] * 6, *[reader] * 4]
    for number, owner in enumerate(owners):
        project = world.add_project(owner, f"p{number}", description="Old", empty_repo=False)
        environment = lists.add_environment(world, project, "prod")
        lists.add_deployment(world, project, environment)
        lists.add_release(world, project, "v1")
        lists.add_tag(world, project, "v1")
        lists.add_branch(world, project, "main")
        world.set_file(project, "info.json", '{"text": "old"}')
        world.set_languages(project, Go=100.0)
        world.add_merge_request(project, "Old MR")
        world.add_issue(project, "Old issue")
    clock = WorldClock(world)
    clock.move(days=1)
    blueprints = [blueprint(name, text="string") for name in NAMES]
    with gitlab_server(world) as gitlab, port_server(port_with(*blueprints)) as port:
        gitlab.clock = clock.seconds
        bed = Bed(world, clock, gitlab, port, tmp_path / "state.json")
        clock.move(minutes=30)
        first = bed.sync()
        assert first.exit_code == 0, first.problems
        clock.move(hours=2)
        yield bed


def test_nothing_is_read_of_projects_in_which_nothing_changed(bed: Bed) -> None:
    assert bed.incremental() == {}
    asked = {path.rpartition("/")[2] for path in bed.asked}
    assert asked == {"user", "groups", "projects", "graphql"}


def test_a_push_brings_files_tags_branches_and_languages(bed: Bed) -> None:
    project = bed.projects[2]
    changes.push(bed.world, project, "info.json", '{"text": "new"}')
    changes.push_tag(bed.world, project, "v2")
    changes.push_branch(bed.world, project, "next")
    bed.world.set_languages(project, Rust=100.0)
    written = bed.incremental()
    assert written["file"] == Counts(updated=1)
    assert written["tag"].created == written["branch"].created == 1
    assert written["project"].updated == 1
    assert all(f"/projects/{project['id']}/" in path for path in bed.of_lists("/tags", "/branches", "/tree"))


def test_a_release_moves_its_project(bed: Bed) -> None:
    project = bed.projects[3]
    changes.release(bed.world, project, "v3")
    changes.edit_release(bed.world, bed.projects[4], bed.world.releases[bed.projects[4]["id"]][0], name="Renamed")
    assert bed.incremental()["release"] == Counts(created=1, updated=1, unchanged=1)
    assert len(bed.of_lists("/releases")) == 2


def test_environments_and_deployments_come_with_a_pipeline(bed: Bed) -> None:
    project = bed.projects[1]
    environment = bed.world.environments[project["id"]][0]
    changes.start_pipeline(bed.world, project, "deploy")
    changes.deploy(bed.world, project, environment)
    changes.stop_environment(bed.world, environment)
    written = bed.incremental()
    assert (written["environment"].updated, written["deployment"].created) == (1, 1)
    assert len(bed.of_lists("/environments", "/deployments")) == 2


def test_a_description_is_seen_by_the_projects_own_time(bed: Bed) -> None:
    changes.change_project(bed.world, bed.projects[5], description="New")
    assert bed.incremental() == {"project": Counts(updated=1)}


@pytest.mark.parametrize("place", [0, 8], ids=["of a group", "personal"])
@pytest.mark.parametrize("fault", [None, forbidden, query_timeout])
def test_changed_rows_are_found_also_where_graphql_gives_no_answer(bed: Bed, place: int, fault: Any) -> None:
    project: Row = bed.projects[place]
    if fault:
        bed.gitlab.faults.append(Fault("graphql", fault()))
    changes.edit(bed.world, bed.world.merge_requests[project["id"]][0], title="New MR")
    changes.open_issue(bed.world, project, "New issue")
    written = bed.incremental()
    assert (written["mr"].updated, written["issue"].created) == (1, 1)
    if not fault:
        alone = [path for path in bed.of_lists("/merge_requests") if path.startswith("/projects")]
        assert len(alone) == (place == 8)


def test_what_graphql_answers_with_null_counts_as_changed(bed: Bed) -> None:
    project = bed.projects[9]
    bed.world.unanswered.add(project["id"])
    changes.edit(bed.world, bed.world.issues[project["id"]][0], title="New")
    assert bed.incremental() == {"issue": Counts(updated=1)}


def test_a_project_that_is_transferred_is_read_whole(bed: Bed) -> None:
    bed.world.transfer_project(bed.projects[0], bed.world.add_group("other", bed.world.group("acme")))
    written = bed.incremental()
    assert written["tag"].created == 1
    assert len(bed.of_lists("/tags")) == 1


def test_an_older_time_that_is_committed_late_is_seen(bed: Bed) -> None:
    issue = bed.world.issues[bed.projects[0]["id"]][0]
    bed.clock.commit_later(lambda: changes.edit(bed.world, issue, title="Late"), seconds=90)
    bed.clock.move(seconds=30)
    assert bed.incremental() == {}
    bed.clock.move(minutes=10)
    assert bed.incremental() == {"issue": Counts(updated=1)}


def test_the_window_follows_gitlabs_clock_and_not_this_machines(bed: Bed) -> None:
    assert datetime.now(UTC) - bed.world.now > timedelta(days=30)
    changes.edit(bed.world, bed.world.issues[bed.projects[0]["id"]][0], title="New")
    assert bed.incremental() == {"issue": Counts(updated=1)}


def test_projects_that_a_selector_names_are_read_only_where_something_was_pushed(bed: Bed) -> None:
    names = [project["path_with_namespace"] for project in bed.projects[:3]]
    file = resource(
        "file", "file", identifier='.repo.path_with_namespace + ":" + .file.path',
        selector={"files": {"path": "info.json", "repos": names}}, title=".file.content.text",
    )  # fmt: skip
    bed.sync(mapping_of(file))
    bed.clock.move(hours=2)
    changes.push(bed.world, bed.projects[1], "info.json", '{"text": "new"}')
    report = bed.sync(mapping_of(file))
    assert report.rhythm
    assert (report.rhythm.mode, report.blueprints["file"]) == ("incremental", Counts(updated=1))
    read = {request.path.split("/")[2] for request in bed.gitlab.requests if "/repository/" in request.path}
    assert read == {str(bed.projects[1]["id"])}
