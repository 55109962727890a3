"""The stand-in's time: which changes move which times, what is committed late, and what replicas still show."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

import pytest
import requests

from gitlab_port_export.demo import gitlab_changes as changes
from gitlab_port_export.demo.gitlab import GitLabServer, gitlab_server
from gitlab_port_export.demo.gitlab_clock import WorldClock
from gitlab_port_export.demo.gitlab_kinds.milestone import add_milestone
from gitlab_port_export.demo.gitlab_list_rows import add_environment, add_release
from gitlab_port_export.demo.gitlab_rows import stamp
from gitlab_port_export.demo.world import DEVELOPER, Row, World

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


@dataclass
class Bed:
    """A group with a subgroup and a project in it, whose rows are a day old, and the clock."""

    world: World
    clock: WorldClock
    top: Row
    sub: Row
    project: Row
    user: Row
    server: GitLabServer
    session: requests.Session

    def rows(self, path: str, **params: Any) -> list[Row]:
        answer = self.session.get(f"{self.server.url}/api/v4{path}", params=params)
        assert answer.status_code == 200, answer.text
        found: list[Row] = answer.json()
        return found

    def query(self, text: str, **variables: Any) -> Any:
        body = {"query": text, "variables": variables}
        return self.session.post(f"{self.server.url}/api/graphql", json=body).json()


@pytest.fixture
def bed() -> Iterator[Bed]:
    world = World(NOON - timedelta(days=1))
    user = world.add_user("ann", "Ann")
    world.add_token("t", user)
    top = world.add_group("top")
    world.add_member(top, user, DEVELOPER)
    sub = world.add_group("sub", top)
    project = world.add_project(sub, "app", created_at=stamp(world.now), updated_at=stamp(world.now))
    project["last_activity_at"] = stamp(world.now)
    times = {"created_at": world.now, "updated_at": world.now}
    world.add_label(project, "bug")
    world.add_merge_request(project, "Change", labels=["bug", "x"], **times)
    world.add_issue(project, "Issue", labels=["bug"], **times)
    clock = WorldClock(world, remembers=300)
    clock.move(days=1)
    with gitlab_server(world) as server, requests.Session() as session:
        server.clock = clock.seconds
        session.headers["PRIVATE-TOKEN"] = "t"
        yield Bed(world, clock, top, sub, project, user, server, session)


def only(lists: Any) -> Row:
    (row,) = [row for rows in lists.values() for row in rows]
    found: Row = row
    return found


# The clock


def test_the_date_of_answers_is_the_worlds_time(bed: Bed) -> None:
    bed.clock.move(minutes=7, seconds=0.9)
    answer = bed.session.get(f"{bed.server.url}/api/v4/user")
    assert parsedate_to_datetime(answer.headers["Date"]) == NOON + timedelta(minutes=7)


def test_the_real_clock_runs_where_none_is_set() -> None:
    with gitlab_server(World(NOON)) as server:
        told = parsedate_to_datetime(requests.get(f"{server.url}/api/v4/user").headers["Date"])
    assert abs(datetime.now(UTC) - told) < timedelta(minutes=1)


def test_a_late_commit_shows_the_time_at_which_it_was_saved(bed: Bed) -> None:
    bed.clock.commit_later(lambda: changes.open_issue(bed.world, bed.project, "Late"), seconds=90)
    bed.clock.move(seconds=89)
    assert len(bed.world.issues[bed.project["id"]]) == 1
    bed.clock.move(seconds=11)
    late = bed.world.issues[bed.project["id"]][-1]
    assert (late["title"], late["updated_at"]) == ("Late", stamp(NOON))
    assert bed.world.now == NOON + timedelta(seconds=100)


def test_a_replica_shows_the_world_as_it_was(bed: Bed) -> None:
    bed.clock.move(seconds=100)
    changes.open_issue(bed.world, bed.project, "New")
    bed.clock.move(seconds=30)
    path = f"/projects/{bed.project['id']}/issues"
    for lag, titles in ((0, ["New", "Issue"]), (30, ["New", "Issue"]), (31, ["Issue"]), (120, ["Issue"])):
        bed.server.replica = lambda _, lag=lag: bed.clock.behind(lag)
        assert [row["title"] for row in bed.rows(path)] == titles, lag


def test_what_is_committed_late_is_late_on_replicas_too(bed: Bed) -> None:
    bed.clock.commit_later(lambda: changes.open_issue(bed.world, bed.project, "Late"), seconds=60)
    bed.clock.move(seconds=90)
    assert len(bed.clock.behind(0).issues[bed.project["id"]]) == 2
    assert len(bed.clock.behind(29).issues[bed.project["id"]]) == 2
    assert len(bed.clock.behind(31).issues[bed.project["id"]]) == 1


# What moves which times


@pytest.mark.parametrize("rows", ["merge_requests", "issues"])
def test_an_edit_moves_the_time_of_its_row_at_once(bed: Bed, rows: str) -> None:
    row = only(getattr(bed.world, rows))
    changes.edit(bed.world, row, title="A")
    bed.clock.move(seconds=5)
    changes.edit(bed.world, row, labels=["b"])
    assert row["updated_at"] == stamp(NOON + timedelta(seconds=5))


def test_a_comment_moves_it_once_a_minute(bed: Bed) -> None:
    row = only(bed.world.issues)
    times = []
    for _ in range(4):
        changes.comment(bed.world, row)
        times.append(row["updated_at"])
        bed.clock.move(seconds=25)
    assert times == [stamp(NOON)] * 3 + [stamp(NOON + timedelta(seconds=75))]
    assert row["user_notes_count"] == 4


UNTOUCHED: dict[str, Callable[[Bed], object]] = {
    "mergeability": lambda bed: changes.recheck(bed.world, only(bed.world.merge_requests), "conflict"),
    "a label": lambda bed: changes.rename_label(bed.world, bed.project, "bug", "defect"),
    "a user": lambda bed: changes.rename_user(bed.world, bed.user, "Anna"),
    "a project's path": lambda bed: bed.world.rename_project(bed.project, path="newer"),
    "a project's group": lambda bed: bed.world.transfer_project(bed.project, bed.top),
    "a group's path": lambda bed: bed.world.rename_group(bed.top, "newer"),
    "a group's parent": lambda bed: bed.world.transfer_group(bed.sub, bed.world.add_group("other")),
}


@pytest.mark.parametrize("change", UNTOUCHED.values(), ids=UNTOUCHED.keys())
def test_rows_tell_it_and_are_not_touched(bed: Bed, change: Callable[[Bed], object]) -> None:
    before = dict(only(bed.world.merge_requests)), str(only(bed.world.merge_requests))
    change(bed)
    after = only(bed.world.merge_requests)
    assert str(after) != before[1]
    assert after["updated_at"] == before[0]["updated_at"]


def test_a_renamed_milestone_moves_its_own_time_alone(bed: Bed) -> None:
    milestone, issue = add_milestone(bed.world, bed.project, "Next"), only(bed.world.issues)
    issue["milestone"], before = dict(milestone), issue["updated_at"]
    changes.rename_milestone(bed.world, milestone, "Later")
    assert (issue["milestone"]["title"], issue["updated_at"]) == ("Later", before)
    assert milestone["updated_at"] == stamp(NOON)


def test_another_path_shows_in_every_address(bed: Bed) -> None:
    bed.world.rename_group(bed.top, "newer")
    issue, row = only(bed.world.issues), bed.project
    assert (issue["references"]["full"], issue["web_url"]) == (
        "newer/sub/app#1", "https://gitlab.example.com/newer/sub/app/-/issues/1",
    )  # fmt: skip
    assert row["path_with_namespace"] == "newer/sub/app"
    assert row["namespace"]["full_path"] == bed.sub["full_path"] == "newer/sub"
    assert (row["ssh_url_to_repo"], row["web_url"]) == (
        "git@gitlab.example.com:newer/sub/app.git", "https://gitlab.example.com/newer/sub/app",
    )  # fmt: skip
    assert row["updated_at"] == stamp(NOON)
    assert [found["id"] for found in bed.rows("/groups/newer%2Fsub/projects")] == [row["id"]]


def test_activity_is_noted_once_an_hour(bed: Bed) -> None:
    times = []
    for _ in range(3):
        changes.open_issue(bed.world, bed.project, "Another")
        times.append(bed.project["last_activity_at"])
        bed.clock.move(minutes=40)
    assert times == [stamp(NOON), stamp(NOON), stamp(NOON + timedelta(minutes=80))]
    assert bed.project["updated_at"] == times[-1]


def test_an_event_of_older_versions_leaves_the_projects_own_time(bed: Bed) -> None:
    bed.world.events_touch_projects = False
    before = bed.project["updated_at"]
    changes.push(bed.world, bed.project, "a.txt", "a")
    assert (bed.project["updated_at"], bed.project["last_activity_at"]) == (before, stamp(NOON))


def test_a_push_moves_the_project_every_five_minutes(bed: Bed) -> None:
    times = []
    for number in range(4):
        changes.push(bed.world, bed.project, "a.txt", str(number))
        times.append(bed.project["updated_at"])
        bed.clock.move(minutes=2)
    assert times == [stamp(NOON)] * 3 + [stamp(NOON + timedelta(minutes=6))]


def test_a_release_moves_its_project_each_time(bed: Bed) -> None:
    row = add_release(bed.world, bed.project, "v1", bed.user)
    bed.clock.move(seconds=30)
    changes.edit_release(bed.world, bed.project, row, name="First")
    assert bed.project["updated_at"] == stamp(NOON + timedelta(seconds=30))


def test_a_job_inside_a_running_pipeline_does_not_move_it(bed: Bed) -> None:
    pipeline = changes.start_pipeline(bed.world, bed.project, "build", "test")
    build, test = bed.world.jobs[bed.project["id"]]
    bed.clock.move(minutes=3)
    changes.finish_job(bed.world, build)
    assert (build["status"], pipeline["status"], pipeline["updated_at"]) == ("success", "running", stamp(NOON))
    bed.clock.move(minutes=3)
    changes.finish_job(bed.world, test, "failed")
    assert (pipeline["status"], pipeline["updated_at"]) == ("failed", stamp(NOON + timedelta(minutes=6)))


def test_a_manual_job_that_is_retried_leaves_its_pipeline(bed: Bed) -> None:
    changes.start_pipeline(bed.world, bed.project, "deploy")
    (job,) = bed.world.jobs[bed.project["id"]]
    changes.finish_job(bed.world, job)
    bed.clock.move(minutes=3)
    again = changes.play_again(bed.world, job, "success")
    assert (again["pipeline"]["updated_at"], again["created_at"]) == (stamp(NOON), stamp(bed.world.now))


# What lists give since an instant


def test_an_instant_belongs_to_what_changed_since(bed: Bed) -> None:
    world, project = bed.world, bed.project
    changes.edit(world, only(world.issues), title="A")
    changes.edit(world, only(world.merge_requests), title="A")
    changes.start_pipeline(world, project)
    changes.deploy(world, project, add_environment(world, project, "production"))
    at = f"/projects/{project['id']}"
    lists: dict[str, Row] = {
        **{f"{at}/{name}": {} for name in ("merge_requests", "issues", "pipelines")},
        f"{at}/deployments": {"order_by": "updated_at"},
        "/groups/top/issues": {},
        "/groups/top/merge_requests": {},
    }
    for path, params in lists.items():
        assert len(bed.rows(path, updated_after=stamp(NOON), **params)) == 1, path
        assert bed.rows(path, updated_after=stamp(NOON + timedelta(milliseconds=1)), **params) == [], path


def test_milestones_can_be_asked_for_since_an_instant(bed: Bed) -> None:
    for source, path in ((bed.top, "/groups/top"), (bed.project, f"/projects/{bed.project['id']}")):
        add_milestone(bed.world, source, "Old")
        changes.rename_milestone(bed.world, add_milestone(bed.world, source, "New"), "Newer")
        found = bed.rows(f"{path}/milestones", updated_after=stamp(NOON))
        assert [row["title"] for row in found] == ["Newer"]


def test_deployments_since_an_instant_must_be_ordered_by_it(bed: Bed) -> None:
    url = f"{bed.server.url}/api/v4/projects/{bed.project['id']}/deployments"
    assert bed.session.get(url, params={"updated_after": stamp(NOON)}).status_code == 400


def test_activity_after_an_instant_leaves_the_instant_out(bed: Bed) -> None:
    changes.open_issue(bed.world, bed.project, "New")
    assert bed.rows("/projects", last_activity_after=stamp(NOON)) == []
    assert len(bed.rows("/projects", last_activity_after=stamp(NOON - timedelta(milliseconds=1)))) == 1


def test_a_parameter_that_a_list_does_not_know_asks_for_everything(bed: Bed) -> None:
    later = stamp(NOON + timedelta(days=1))
    assert len(bed.rows("/groups/top/issues", since=later)) == 1
    assert len(bed.rows(f"/projects/{bed.project['id']}/labels", updated_after=later)) == 1
    assert len(bed.rows("/projects", updated_after=later)) == 1  # it needs order_by=updated_at


# GraphQL

CHECK = """query ($ids: [ID!], $first: Int, $since: Time) {
  projects(ids: $ids, first: $first) { nodes { id
    changed: pipelines(first: 1, updatedAfter: $since) { nodes { id } }
    running: pipelines(first: 1, scope: RUNNING) { nodes { id } }
    pending: pipelines(first: 1, scope: PENDING) { nodes { id } } } }
}"""


def test_one_question_tells_which_projects_have_changed_pipelines(bed: Bed) -> None:
    quiet = bed.world.add_project(bed.top, "quiet")
    bed.world.add_pipeline(quiet)
    pipeline = changes.start_pipeline(bed.world, bed.project, "build")
    ids = [f"gid://gitlab/Project/{id}" for id in (bed.project["id"], quiet["id"], 999)]
    found = bed.query(CHECK, ids=ids, first=3, since=stamp(NOON))
    one = {"nodes": [{"id": f"gid://gitlab/Ci::Pipeline/{pipeline['id']}"}]}
    none: Row = {"nodes": []}
    assert found == {
        "data": {
            "projects": {
                "nodes": [
                    {"id": ids[0], "changed": one, "running": one, "pending": none},
                    {"id": ids[1], "changed": none, "running": none, "pending": none},
                ]
            }
        }
    }


def test_a_query_may_cost_250(bed: Bed) -> None:
    connection = "{}: pipelines(first: 1, updatedAfter: $since) {{ nodes {{ id }} }} "
    text = "query ($ids: [ID!], $since: Time) {{ projects(ids: $ids) {{ nodes {{ id {} }} }} }}"
    # Each costs 4, the id, the nodes and the projects 1, and a hundred projects twice as much as one.
    fits, more = (text.format("".join(connection.format(f"c{n}") for n in range(count))) for count in (30, 31))
    assert "data" in bed.query(fits, ids=[], since=stamp(NOON))
    assert bed.query(more, ids=[], since=stamp(NOON)) == {
        "errors": [{"message": "Query has complexity of 254, which exceeds max complexity of 250"}]
    }


@pytest.mark.parametrize("name", ["jobs", "environments"])
def test_some_lists_can_be_asked_of_one_project_only(bed: Bed, name: str) -> None:
    other = bed.world.add_project(bed.top, "other")
    ids = [f"gid://gitlab/Project/{row['id']}" for row in (bed.project, other)]
    text = f"query ($ids: [ID!]) {{ projects(ids: $ids) {{ nodes {{ {name}(first: 1) {{ nodes {{ id }} }} }} }} }}"
    assert "errors" not in bed.query(text, ids=ids[:1])
    found = bed.query(text, ids=ids)
    assert [node[name] is None for node in found["data"]["projects"]["nodes"]] == [False, True]
    assert found["errors"][0]["message"] == f'"{name}" field can be requested only for 1 Project(s) at a time.'


def test_groups_tell_of_changes_anywhere_below(bed: Bed) -> None:
    text = """query ($since: Time, $p0: ID!, $p1: ID!) {
      g0: group(fullPath: $p0) { mergeRequests(includeSubgroups: true, updatedAfter: $since, first: 1) { nodes { id } }
                                 issues(includeSubgroups: true, updatedAfter: $since, first: 1) { nodes { id } } }
      g1: group(fullPath: $p1) { issues(updatedAfter: $since, first: 1) { nodes { id } } } }"""
    changes.edit(bed.world, only(bed.world.issues), title="New")
    issue = {"nodes": [{"id": "gid://gitlab/Issue/1"}]}
    found = bed.query(text, since=stamp(NOON), p0="top", p1="top")["data"]
    assert found == {"g0": {"mergeRequests": {"nodes": []}, "issues": issue}, "g1": {"issues": {"nodes": []}}}
    assert bed.query(text, since=stamp(NOON), p0="top/none", p1="top/sub")["data"] == {
        "g0": None, "g1": {"issues": issue},
    }  # fmt: skip


def test_lists_may_be_null_for_some_projects(bed: Bed) -> None:
    bed.world.unanswered.add(bed.project["id"])
    ids = [f"gid://gitlab/Project/{bed.project['id']}"]
    (node,) = bed.query(CHECK, ids=ids, first=1, since=stamp(NOON))["data"]["projects"]["nodes"]
    assert node == {"id": ids[0], "changed": None, "running": None, "pending": None}


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("{ projects { nodes { nothing } } }", "Field 'nothing' doesn't exist on type 'Project'"),
        ("{ everything { id } }", "Field 'everything' doesn't exist on type 'Query'"),
        (
            "{ projects(ids: []) { nodes { pipelines(since: 1) { nodes { id } } } } }",
            "Field 'pipelines' doesn't accept argument 'since'",
        ),
        ("{ projects { nodes { id }", "Expected a closing bracket"),
    ],
)
def test_a_query_that_fits_nothing_is_refused(bed: Bed, text: str, fault: str) -> None:
    assert bed.query(text) == {"errors": [{"message": fault}]}
