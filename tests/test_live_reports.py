"""What others have reported of webhooks, each with a small input: none of it harms here."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from gitlab_port_export.base.errors import UsageError
from gitlab_port_export.demo.gitlab import Fault, faults
from gitlab_port_export.demo.gitlab_hooks import Watch
from gitlab_port_export.demo.gitlab_payloads import Shapes
from gitlab_port_export.demo.world import Row, World
from gitlab_port_export.live.events import Intake, read_events
from test_hooks import TOKEN, Bed, overriding, owner
from test_live_derive import KINDS, derive, mapping, written
from testbed.harness import acme, run_sync

__all__ = ["owner"]  # a fixture
PROJECT = {"id": 40, "path_with_namespace": "acme/web", "default_branch": "main", "web_url": "https://g.example.com/a"}
NO_COMMIT = "0" * 40


def read(*payloads: Any) -> Intake:
    return read_events("\n".join(map(json.dumps, payloads)), "event.json")


def named(*payloads: Any) -> list[tuple[Any, ...]]:
    return [(one.what, one.project, one.key, one.gone) for one in read(*payloads).touched]


def request(**attributes: Any) -> Row:
    return {"object_kind": "merge_request", "project": PROJECT, "object_attributes": {"iid": 7, **attributes}}


def push(**more: Any) -> Row:
    usual = {"before": "a1", "after": "b2", "ref": "refs/heads/main", "commits": [], "total_commits_count": 0}
    return {"object_kind": "push", "project": PROJECT, **usual, **more}


# --- what events name

# By the report, on GitHub or gitlab.com.
EVENTS: dict[str, tuple[Row, list[tuple[Any, ...]]]] = {
    # A parser wanted every system hook to have `event_name`.
    "gitlab4j/gitlab4j-api#332": (
        request() | {"event_type": "merge_request"},
        [("merge-request", 40, 7, False)],
    ),
    # Without a description there was no `action`, and the receiver answered 500.
    "btey/openproject-gitlab-integration#41": (request(description=None), [("merge-request", 40, 7, False)]),
    # `project` was expected where a system hook has `project_id`.
    "linniksa/redmine_git_mirror#15": (
        {
            "event_name": "repository_update",
            "project_id": 40,
            "changes": [{"before": "a1", "after": "b2", "ref": "refs/heads/dev"}],
            "refs": ["refs/heads/dev"],
        },
        [("branch", 40, "dev", False), ("files", 40, "dev", False), ("project", 40, None, False)],
    ),
    # A push of a system hook has neither `object_kind` nor commits.
    "malko/rocketchat-gitlab-hook#28": (
        {"event_name": "push", "project_id": 40, "project": {"name": "web"}, "after": "b2", "ref": "refs/heads/dev"},
        [("branch", 40, "dev", False), ("files", 40, "dev", False)],
    ),
    # The pushed commit is not among the commits of a branch without any.
    "bitrise-io/bitrise-webhooks#182": (
        push(ref="refs/heads/release", before=NO_COMMIT, checkout_sha="b2"),
        [("branch", 40, "release", False), ("files", 40, "release", False)],
    ),
    # The zeros of a deleted branch were taken for a commit.
    "openSUSE/open-build-service#13859": (
        push(ref="refs/heads/old", after=NO_COMMIT, checkout_sha=None, commits=None),
        [("branch", 40, "old", True)],
    ),
    # There are 64 of them where objects are named by SHA-256.
    "no report: Git's newer format of objects": (
        push(ref="refs/heads/old", after="0" * 64),
        [("branch", 40, "old", True)],
    ),
    # A merge request's pipeline came without its merge request.
    "gitlab-org/gitlab#345028": (
        {
            "object_kind": "pipeline",
            "project": PROJECT,
            "object_attributes": {"id": 31, "source": "merge_request_event"},
            "merge_request": None,
        },
        [("pipeline", 40, 31, False)],
    ),
    # Tasks, and sometimes issues, come as work items under the header of issues.
    "xanzy/go-gitlab#1577": (
        {"object_kind": "work_item", "project": PROJECT, "object_attributes": {"iid": 3, "type": "Task"}},
        [("issue", 40, 3, False)],
    ),
    # Another header alone told of a confidential issue, or note.
    "zulip/zulip#10478": (
        {
            "object_kind": "issue",
            "event_type": "confidential_issue",
            "project": PROJECT,
            "object_attributes": {"iid": 3, "confidential": True},
        },
        [("issue", 40, 3, False)],
    ),
    "gitlab4j/gitlab4j-api#896": (
        {"object_kind": "note", "event_type": "confidential_note", "project_id": 40, "issue": {"iid": 3}},
        [("issue", 40, 3, False)],
    ),
    # The path of a project that is renamed or deleted is not what others know it by.
    "SwissDataScienceCenter/renku-graph#166": (
        {"event_name": "project_rename", "project_id": 40, "path_with_namespace": "acme/new", "old_path": "x"},
        [("project", 40, None, False)],
    ),
    "gitlab-org/gitlab#526081": (
        {"event_name": "project_destroy", "project_id": 40, "path_with_namespace": "acme/web-deletion_scheduled-40"},
        [("project", 40, None, True)],
    ),
    # Deployments had no environment.
    "apache/devlake#5169": (
        {"object_kind": "deployment", "project": PROJECT, "deployment_id": 9, "environment": None},
        [("deployment", 40, 9, False)],
    ),
}


@pytest.mark.parametrize("report", EVENTS)
def test_what_an_event_names_is_read_whatever_its_form(report: str) -> None:
    payload, expected = EVENTS[report]
    assert named(payload) == expected


@pytest.mark.parametrize(
    ("older", "newer"),
    [
        # https://github.com/sourcegraph/sourcegraph-public-snapshot/issues/37842: the zone of the server
        ("2022-06-28 16:08:11 +0200", "2022-06-28 14:09:00 UTC"),
        # https://github.com/jfrog/froggit-go/issues/16: the button that tests a hook sends another form
        ("2021-11-30 08:52:57 UTC", "2021-11-30T08:52:58.746Z"),
        # https://github.com/xanzy/go-gitlab/pull/1930: no two of them alike
        ("2024-01-24 16:27:40 UTC", "2024-01-24T16:27:41Z"),
    ],
)
def test_the_newest_event_counts_in_whatever_order_and_form_times_come(older: str, newer: str) -> None:
    """Also https://github.com/tektoncd/pipelines-as-code/issues/2380, events that come late."""
    for payloads in ([request(updated_at=older), request(updated_at=newer)], [request(updated_at=newer)] * 2):
        for order in (payloads, payloads[::-1]):
            (found,) = read(*order).touched
            assert found.at == newer


def test_an_event_that_is_sent_twice_is_read_once() -> None:
    """https://github.com/packit/packit-service/issues/3105, https://github.com/gitlabhq/gitlabhq/issues/6689"""
    assert named(request(), request()) == [("merge-request", 40, 7, False)]


@pytest.mark.parametrize("kind", ["push", "tag_push"])
def test_the_ref_of_the_pipeline_that_runs_is_not_taken_for_the_one_that_was_pushed(kind: str) -> None:
    """https://gitlab.com/gitlab-org/gitlab/-/issues/347707"""
    clobbered = push(ref="main") | {"object_kind": kind, "id": "42", "variables": {}}
    found = read(clobbered)
    assert {one.what for one in found.touched} <= {"project"}
    assert "payload-with-names.json" in found.untold[0].why
    # What our template makes of the event arrives as it was sent.
    inside = {"gitlab": push(ref="refs/heads/dev"), "id": "42", "ref": "main", "variables": {}}
    assert named(inside)[0] == ("branch", 40, "dev", False)


def test_a_payload_that_variables_have_broken_is_no_crash_and_says_what_helps() -> None:
    """https://gitlab.com/gitlab-org/gitlab/-/merge_requests/146242"""
    broken = json.dumps(request(description="text ${ text")).replace("${ text", "}")[:-3]
    with pytest.raises(UsageError) as caught:
        read_events(broken, "payload")
    assert "payload-with-names.json" in caught.value.hint


# --- what goes live


@pytest.fixture(scope="module")
def world() -> World:
    world, _, group = acme()
    world.add_project(group, "web")
    world.add_user("eve")
    return world


def fields_of(payload: Row, *kinds: str, dialect: Any = "gitlab-v2") -> dict[str, Any]:
    items = derive(mapping(dialect=dialect), dialect, kinds=kinds or KINDS).items
    return {name: value for item in items for _, fields in written(item, payload) for name, value in fields.items()}


def test_the_branch_of_a_merge_request_s_pipeline_is_left_to_the_sync(world: World) -> None:
    """https://gitlab.com/gitlab-org/gitlab/-/issues/487920: the payload has another ref than the list of pipelines."""
    project = next(iter(world.projects.values()))
    payload = Shapes(world).pipeline(
        world.add_pipeline(project, source="merge_request_event", ref="refs/merge-requests/1/head"), world.users[1]
    )
    found = fields_of(payload)
    assert "properties.status" in found
    assert "properties.ref" not in found


def test_reviewers_that_an_older_gitlab_does_not_send_are_left_to_the_sync(world: World) -> None:
    """https://github.com/gitlab4j/gitlab4j-api/pull/916"""
    project, eve = next(iter(world.projects.values())), world.users[2]
    payload = Shapes(world).merge_request(world.add_merge_request(project, "x", reviewers=[eve]), eve)
    assert fields_of(payload)["properties.reviewers"] == ["eve"]
    del payload["reviewers"]
    assert "properties.reviewers" not in fields_of(payload)


def test_labels_that_a_payload_does_not_have_are_not_taken_for_none(world: World) -> None:
    """https://github.com/jenkinsci/gitlab-plugin/issues/1059: keys come and go with GitLab's versions."""
    project, eve = next(iter(world.projects.values())), world.users[2]
    payload = Shapes(world).issue(world.add_issue(project, "x", labels=["a"]), eve)
    assert fields_of(payload)["properties.labels"] == ["a"]
    del payload["labels"]
    assert fields_of(payload) == {}


def test_the_address_of_a_job_needs_no_key_that_is_to_go(world: World) -> None:
    """https://github.com/voxpupuli/puppet-r10k/issues/378: `repository` has been called deprecated for years."""
    project = next(iter(world.projects.values()))
    row = world.add_job(world.add_pipeline(project), "build")
    payload = Shapes(world).job(row, world.users[1]) | {"project": Shapes.project(project)}
    del payload["repository"]
    assert fields_of(payload, "job", dialect="gitlab")["properties.link"] == row["web_url"]


def test_a_confidential_issue_does_not_go_to_port_by_whatever_hook_it_comes(world: World) -> None:
    """https://github.com/YappyBots/YappyGitLab/issues/49: the test of that hook sends any issue."""
    project, eve = next(iter(world.projects.values())), world.users[2]
    payload = Shapes(world).issue(world.add_issue(project, "secret", confidential=True), eve)
    for kind in ("issue", "confidential_issue"):
        assert fields_of(payload | {"event_type": kind}) == {}


# --- hooks


@pytest.mark.parametrize("form", [lambda groups: groups, lambda groups: {"tokens": groups}])
def test_groups_without_events_as_ocean_once_took_them_mean_all_events(owner: Bed, form: Callable[[Any], Any]) -> None:
    """https://github.com/port-labs/ocean/pull/475"""
    owner.environ |= overriding(form({TOKEN: ["acme/below"]}))
    report = owner.run()
    (hook,) = owner.hooks()
    assert (report.exit_code, hook.place) == (0, owner.world.group("acme/below")["id"])
    assert owner.flags(hook) == {"merge_requests_events", "issues_events", "pipeline_events"}


@pytest.mark.parametrize(
    "answer",
    [
        {"message": {"url": ["is blocked: Requests to the local network are not allowed"]}},
        {"message": "Validation failed: Url is blocked: Requests to the local network are not allowed"},
        {"error": "Url is blocked: Requests to the local network are not allowed"},
    ],
)
def test_an_address_that_gitlab_blocks_is_told_in_its_own_words(owner: Bed, answer: Row) -> None:
    """https://github.com/getsentry/sentry/issues/13079, https://github.com/packistry/packistry/issues/36"""
    refused = Fault(lambda asked: asked.method == "POST", faults.Reply(422, json.dumps(answer).encode()))
    owner.gitlab.faults.append(refused)
    (done,) = owner.run().steps
    assert "Requests to the local network are not allowed" in done.why
    assert "outbound request settings" in done.hint


def test_two_events_of_one_object_within_a_moment_are_both_taken(owner: Bed) -> None:
    """https://github.com/zapier/tfbuddy/pull/11: the object's id was the mark by which repeated events are known."""
    run_sync(owner.gitlab, owner.port)
    owner.run()
    watch = Watch(owner.gitlab.hooks, owner.world, owner.reader)
    row = owner.world.add_merge_request(next(iter(owner.world.projects.values())), "x")
    watch.fire()
    row |= {"state": "merged", "merged_at": datetime.now(UTC).isoformat().replace("+00:00", "Z")}
    watch.fire()
    assert (owner.port.store.entity("gitlabMergeRequest", str(row["id"])) or {})["properties"]["status"] == "merged"
