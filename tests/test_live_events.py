"""What hooks say is to be read again: each kind of event as GitLab documents it, folded, and in every form of file."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitlab_port_export.base.errors import UsageError
from gitlab_port_export.demo.gitlab_payloads import Shapes
from gitlab_port_export.demo.world import DEVELOPER, Row, World
from gitlab_port_export.live.events import READERS, Intake, Touched, Untold, fold, read_events
from testbed.port_bed import examples

NOTHING = "0" * 40
KEYS = (
    "commits", "refs", "ref", "project", "object_attributes", "merge_request", "issue", "user", "environment", "before",
    "after", "id", "iid", "added", "timestamp", "updated_at", "total_commits_count", "project_id", "group_id", "tag",
)  # fmt: skip
ODD = ("refs/heads/", "refs/tags/x", "9999-12-31 23:59:59 +2400", NOTHING)


def intake(*payloads: Any) -> Intake:
    return read_events(json.dumps(payloads[0] if len(payloads) == 1 else payloads), "event.json")


def named(*payloads: Any) -> list[Touched]:
    return list(intake(*payloads).touched)


@pytest.fixture(scope="module")
def shapes() -> Shapes:
    world = World(datetime(2026, 1, 15, tzinfo=UTC))
    ann = world.add_user("ann")
    group = world.add_group("acme")
    world.add_member(group, ann, DEVELOPER)
    world.add_project(world.add_group("shop", group), "web")
    return Shapes(world)


@pytest.fixture(scope="module")
def project(shapes: Shapes) -> Row:
    return next(iter(shapes.world.projects.values()))


@pytest.fixture(scope="module")
def ann(shapes: Shapes) -> Row:
    return shapes.world.users[1]


# --- one event of each kind


def test_a_merge_request_is_named_by_its_iid(shapes: Shapes, project: Row, ann: Row) -> None:
    row = shapes.world.add_merge_request(project, "x", updated_at="2026-01-15T10:00:00.123Z")
    (found,) = named(shapes.merge_request(row, ann))
    assert (found.what, found.project, found.project_path) == ("merge-request", project["id"], "acme/shop/web")
    assert (found.key, found.at, found.gone) == (row["iid"], "2026-01-15 10:00:00 UTC", False)


@pytest.mark.parametrize("kind", ["issue", "work_item"])
def test_an_issue_is_named_by_its_iid_and_so_is_another_work_item(
    shapes: Shapes, project: Row, ann: Row, kind: str
) -> None:
    row = shapes.world.add_issue(project, "x", confidential=True)
    (found,) = named(shapes.issue(row, ann) | {"object_kind": kind})
    assert (found.what, found.project, found.key) == ("issue", project["id"], row["iid"])


def test_an_epic_names_nothing() -> None:
    found = intake({"object_kind": "work_item", "object_attributes": {"iid": 3}, "group": {"id": 1}})
    assert found.touched == ()
    assert found.untold[0].event == "work_item"


@pytest.mark.parametrize("kind", ["note", "emoji"])
def test_a_comment_names_what_it_is_about(kind: str) -> None:
    payload = {"object_kind": kind, "project": {"id": 5, "path_with_namespace": "a/b"}, "object_attributes": {"id": 1}}
    assert [(one.what, one.key) for one in named(payload | {"merge_request": {"iid": 7}})] == [("merge-request", 7)]
    assert [(one.what, one.key) for one in named(payload | {"issue": {"iid": 8}})] == [("issue", 8)]
    assert named(payload | {"commit": {"id": "abc"}}) == []


def test_a_pipeline_is_named_with_its_merge_request(shapes: Shapes, project: Row, ann: Row) -> None:
    row = shapes.world.add_pipeline(project, "success")
    payload = shapes.pipeline(row, ann)
    assert [(one.what, one.key) for one in named(payload)] == [("pipeline", row["id"])]
    payload["merge_request"] = {"id": 1, "iid": 4, "target_project_id": 9}
    assert [(one.what, one.project, one.key) for one in named(payload)] == [
        ("pipeline", project["id"], row["id"]),
        ("merge-request", 9, 4),
    ]


def test_a_job_is_named_with_its_pipeline(shapes: Shapes, project: Row, ann: Row) -> None:
    pipeline = shapes.world.add_pipeline(project, "success")
    job = shapes.world.add_job(pipeline, "test")
    assert [(one.what, one.project, one.key) for one in named(shapes.job(job, ann))] == [
        ("job", project["id"], job["id"]),
        ("pipeline", project["id"], pipeline["id"]),
    ]


def test_a_deployment_is_named_by_its_id(shapes: Shapes, project: Row) -> None:
    (found,) = named(shapes.deployment(project, 15))
    assert (found.what, found.project, found.key) == ("deployment", project["id"], 15)


@pytest.mark.parametrize(("action", "gone"), [("create", False), ("update", False), ("delete", True)])
def test_a_release_is_named_by_its_tag(shapes: Shapes, project: Row, action: str, gone: bool) -> None:
    (found,) = named(shapes.release(project, "v1.0", action))
    assert (found.what, found.key, found.gone) == ("release", "v1.0", gone)


@pytest.mark.parametrize("gone", [True, False])
def test_a_tag_is_named_by_its_name(shapes: Shapes, project: Row, ann: Row, gone: bool) -> None:
    (found,) = named(shapes.tag_push(project, ann, "v/1", gone=gone))
    assert (found.what, found.key, found.gone) == ("tag", "v/1", gone)


def test_a_push_names_the_branch_its_files_and_the_project(shapes: Shapes, project: Row, ann: Row) -> None:
    found = named(shapes.push(project, ann, "main", added=["a.md"], modified=["b/c.md"], removed=["d"]))
    assert [(one.what, one.key) for one in found] == [("branch", "main"), ("files", "main"), ("project", None)]
    assert found[1].files == {"a.md", "b/c.md", "d"}
    other = named(shapes.push(project, ann, "topic/1", added=["a.md"]))
    assert [(one.what, one.key) for one in other] == [("branch", "topic/1"), ("files", "topic/1")]


def test_a_branch_that_is_deleted_names_no_files(shapes: Shapes, project: Row, ann: Row) -> None:
    (found,) = named(shapes.push(project, ann, "topic", gone=True))
    assert (found.what, found.key, found.gone) == ("branch", "topic", True)


@pytest.mark.parametrize(
    "change",
    [
        {"total_commits_count": 25},  # GitLab names the newest 20
        {"commits": [], "total_commits_count": 0},  # a system hook names none
        {"commits": None, "total_commits_count": None},
        {"before": NOTHING},  # a new branch
    ],
)
def test_a_push_that_does_not_name_all_its_files_may_have_changed_any(
    shapes: Shapes, project: Row, ann: Row, change: Row
) -> None:
    found = named(shapes.push(project, ann, added=["a"]) | change)
    assert next(one for one in found if one.what == "files").files is None


def test_a_system_hook_s_word_of_a_push_names_its_refs() -> None:
    payload = {"event_name": "repository_update", "project_id": 1, "project": {"path_with_namespace": "a/b"}}
    found = named(payload | {"refs": ["refs/heads/main", "refs/tags/v1"]})
    assert [(one.what, one.key) for one in found] == [
        ("branch", "main"),
        ("files", "main"),
        ("tag", "v1"),
        ("project", None),
    ]


def test_a_milestone_is_of_a_project_or_of_a_group() -> None:
    payload = {"object_kind": "milestone", "object_attributes": {"id": 61, "group_id": None}, "action": "close"}
    (found,) = named(payload | {"project": {"id": 5}})
    assert (found.what, found.project, found.key) == ("milestone", 5, 61)
    (found,) = named(payload | {"object_attributes": {"id": 61, "group_id": 3}})
    assert (found.what, found.project, found.group) == ("milestone", None, 3)


@pytest.mark.parametrize(
    ("event", "gone"),
    [
        ("project_create", False),
        ("project_destroy", True),
        ("project_rename", False),
        ("project_transfer", False),
        ("project_update", False),
    ],
)
def test_a_project_is_named(shapes: Shapes, project: Row, event: str, gone: bool) -> None:
    (found,) = named(shapes.project_event(project, event))
    assert (found.what, found.project, found.project_path, found.gone) == (
        "project",
        project["id"],
        "acme/shop/web",
        gone,
    )


@pytest.mark.parametrize(
    ("event", "gone"),
    [
        ("subgroup_create", False),
        ("subgroup_destroy", True),
        ("group_create", False),
        ("group_rename", False),
        ("group_destroy", True),
    ],
)
def test_a_group_is_named(shapes: Shapes, event: str, gone: bool) -> None:
    (found,) = named(shapes.subgroup(shapes.world.group("acme/shop"), event))
    assert (found.what, found.group, found.gone) == ("group", shapes.world.group("acme/shop")["id"], gone)


@pytest.mark.parametrize("event", ["user_add_to_group", "user_update_for_group", "user_remove_from_group"])
def test_members_are_named_by_their_group(shapes: Shapes, ann: Row, event: str) -> None:
    group = shapes.world.group("acme/shop")
    (found,) = named(shapes.member(group, ann, DEVELOPER, event))
    assert (found.what, found.group, found.group_path, found.gone) == ("members", group["id"], "", False)


@pytest.mark.parametrize("event", ["user_add_to_team", "user_update_for_team", "user_remove_from_team"])
def test_members_are_named_by_their_project(event: str) -> None:
    payload = {"event_name": event, "project_id": 74, "project_path_with_namespace": "jsmith/storecloud"}
    (found,) = named(payload | {"user_id": 41, "access_level": "Maintainer"})
    assert (found.what, found.project, found.project_path) == ("members", 74, "jsmith/storecloud")


@pytest.mark.parametrize(("event", "gone"), [("user_create", False), ("user_rename", False), ("user_destroy", True)])
def test_an_account_is_named(event: str, gone: bool) -> None:
    (found,) = named({"event_name": event, "user_id": 41, "username": "js"})
    assert (found.what, found.key, found.gone) == ("user", 41, gone)


@pytest.mark.parametrize(
    "payload",
    [
        {"object_kind": "wiki_page", "project": {"id": 1}},
        {"object_kind": "feature_flag", "project": {"id": 1}},
        {"object_kind": "access_token", "group": {"group_id": 1}},
        {"object_kind": "vulnerability"},
        {"event_name": "key_create", "id": 4},
        {"event_name": "user_access_request_to_group", "group_id": 1},
        {"event_name": "something_new"},
        {},
    ],
)
def test_other_events_name_nothing_and_say_so(payload: Row) -> None:
    found = intake(payload)
    assert (found.touched, found.events) == ((), 1)
    assert [type(one) for one in found.untold] == [Untold]


# --- many events


def test_each_object_is_named_once_by_its_newest_event(shapes: Shapes, project: Row, ann: Row) -> None:
    row = shapes.world.add_merge_request(project, "x")
    payloads = [
        shapes.merge_request(row | {"updated_at": f"2026-01-15T10:0{minute}:00.000Z"}, ann) for minute in (2, 5, 1)
    ]
    issue = shapes.issue(shapes.world.add_issue(project, "y"), ann)
    found = named(*payloads, issue, *payloads)
    assert (found[0].what, found[0].at) == ("merge-request", "2026-01-15 10:05:00 UTC")
    assert len(found) == 2


@pytest.mark.parametrize(
    ("early", "late"),
    [
        ("2026-01-15 10:00:00 UTC", "2026-01-15T10:00:01Z"),
        ("2026-01-15 10:00:00 +0200", "2026-01-15 08:00:01 UTC"),
        ("2026-01-15 01:00:00 -0700", "2026-01-15T08:00:00.5Z"),
    ],
)
def test_times_are_told_apart_in_every_form(early: str, late: str) -> None:
    first, second = Touched("issue", 1, key=1, at=early), Touched("issue", 1, key=1, at=late)
    assert fold([first, second]) == fold([second, first]) == (second,)


def test_where_the_age_is_not_told_the_last_to_arrive_counts() -> None:
    made, gone = Touched("branch", 1, key="x", at="2026-01-15T10:00:00Z"), Touched("branch", 1, key="x", gone=True)
    assert fold([made, gone]) == (gone,)
    assert fold([gone, made]) == (made,)


def test_files_of_pushes_add_up() -> None:
    def push(*files: str) -> Touched:
        return Touched("files", 1, key="main", files=frozenset(files))

    assert fold([push("a"), push("b"), push("a", "c")])[0].files == {"a", "b", "c"}
    assert fold([push("a"), Touched("files", 1, key="main", files=None)])[0].files is None


def test_objects_of_different_projects_stay_apart() -> None:
    assert len(fold([Touched("issue", 1, key=1), Touched("issue", 2, key=1), Touched("merge-request", 1, key=1)])) == 3


# --- forms of files


ISSUE = {"object_kind": "issue", "project": {"id": 5}, "object_attributes": {"iid": 2, "title": "a\u2028b"}}


@pytest.mark.parametrize(
    "text",
    [
        json.dumps(ISSUE),
        json.dumps([ISSUE]),
        json.dumps(ISSUE, indent=2) + "\n",
        json.dumps(ISSUE, ensure_ascii=False) + "\n\n" + json.dumps(ISSUE) + "\r\n",
        json.dumps({"event_type": "gitlab", "client_payload": ISSUE}),
        json.dumps({"client_payload": {"gitlab": ISSUE}}),
        json.dumps({"object_kind": "issue", "project": {"id": "5"}, "object_attributes": {"iid": "2"}}),
        b"\xef\xbb\xbf" + json.dumps(ISSUE).encode(),
    ],
)
def test_every_form_of_file_is_read(text: str | bytes) -> None:
    (found,) = read_events(text, "-").touched
    assert (found.what, found.project, found.key) == ("issue", 5, 2)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "x: is empty"),
        ("{", "x:1: is not JSON"),
        (f"{json.dumps(ISSUE)}\nnope", "x:2: is not JSON"),
        ("3", "x: is no object"),
        ('[{"object_kind": "wiki_page"}, 3]', "x: event 2: is no object"),
        ('{"object_kind": "issue", "project": {"id": 1}}', "x: the payload of kind issue has not an iid"),
        ('{"object_kind": "push", "project": {"id": 1}}', "x: the payload of kind push has not a ref"),
        (
            '{"object_kind": "pipeline", "object_attributes": {"id": 1}}',
            "x: the payload of kind pipeline has not a project's id",
        ),
    ],
)
def test_what_is_no_payload_is_refused(text: str, fault: str) -> None:
    with pytest.raises(UsageError) as caught:
        read_events(text, "x")
    assert str(caught.value) == fault


def test_of_several_events_one_that_lacks_something_takes_no_other_along() -> None:
    whole = {"object_kind": "issue", "project": {"id": 1}, "object_attributes": {"iid": 3}}
    found = intake({"object_kind": "push", "project": {"id": 1}}, whole)
    assert [one.key for one in found.touched] == [3]
    assert found.untold == (Untold("push", "event 1 has not a ref, and is left out"),)


# --- any JSON


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.sampled_from(ODD),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4),
    max_leaves=12,
)


# Those that hold lists are drawn more often.
KINDS = st.sampled_from(("push", "repository_update", "tag_push")) | st.sampled_from(sorted(READERS))
NAMES = st.sampled_from(KEYS[:2]) | st.sampled_from(KEYS)


@given(KINDS, st.dictionaries(NAMES, JUNK, min_size=1, max_size=3))
@examples(400, 20_000)
def test_any_json_is_read_or_refused_with_a_reason(kind: str, odd: dict[str, Any]) -> None:
    """Whoever may start the job writes the payload."""
    ref = "refs/tags/x" if kind == "tag_push" else "refs/heads/x"
    usual = {"project": {"id": 1}, "object_attributes": {"id": 1, "iid": 2}, "ref": ref, "after": "a", "before": "b"}
    payload = usual | {"project_id": 1} | odd | {"object_kind": kind}
    if isinstance(payload.get("commits"), list):
        payload["total_commits_count"] = len(payload["commits"])
    try:
        found = read_events(json.dumps(payload), "x")
    except UsageError:
        return
    assert all(one.shown for one in found.touched)
