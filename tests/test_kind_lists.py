"""The kinds of plain lists, played by hand: what each asks, what it leaves out, what it hands on, what it refuses."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from gitlab_port_export.base.errors import UsageError
from gitlab_port_export.gitlab.client import Get, ReadFailed
from gitlab_port_export.gitlab.kinds import KINDS
from gitlab_port_export.gitlab.kinds.kind import Context, Read
from gitlab_port_export.gitlab.kinds.shared.guard import guarded
from gitlab_port_export.gitlab.plan import make_plan
from gitlab_port_export.model import Page, Problem, Row
from testbed.kinds import known_subjects, subject_of
from testbed.reading import HOST, Play, Reply, context, failed, group, inventory, listing, page, project, script

ONE = "token 1"
FIRST = "per_page=100&page=1"
KEYSET = "pagination=keyset&per_page=100"
CORE = project(11, "grp/core", default_branch="main")
UMLAUT = project(12, "grp/sub/ü", default_branch="feature/ü #1")
GROUPS = [group(1, "grp"), group(2, "grp/sub")]
BY_PROJECT = ("release", "tag", "branch", "deployment", "environment")


def make(*resources: dict[str, Any], projects: Sequence[Row] = (CORE, UMLAUT), dialect: Any = "gitlab-v2") -> Context:
    return context(inventory(listing(ONE, GROUPS, projects)), *resources, dialect=dialect)


def one(kind: str, **selector: Any) -> dict[str, Any]:
    return {"kind": kind, **selector}


def read_of(kind: str, row: Row = CORE, **selector: Any) -> Read:
    (read,) = make_plan(make(one(kind, **selector), projects=[row])).reads
    return read


def play_all(made: Context, answer: Callable[[Get], Reply] | None = None) -> Play:
    played = Play(answer or script({}))
    for read in make_plan(made).reads:
        played.run(read.start(read.scope))
    return played


def asked(*resources: dict[str, Any], **options: Any) -> list[str]:
    return play_all(make(*resources, **options)).urls


def rows(played: Play) -> list[Row]:
    return [row for entry in played.said for row in entry.rows]


# Questions


def of_projects(endpoint: str, query: str) -> list[str]:
    return [f"/projects/{number}/{endpoint}?{query}" for number in (11, 12)]


SUCCESS = {"status": "success", "finishedAfter": "2026-01-01T00:00:00Z", "finished_before": "2026-02-01T00:00:00+01:00"}


@pytest.mark.parametrize("dialect", ["gitlab", "gitlab-v2"])
@pytest.mark.parametrize(
    ("resource", "expected"),
    [
        (one("release"), of_projects("releases", f"order_by=created_at&sort=asc&{FIRST}")),
        (one("tag"), of_projects("repository/tags", f"order_by=name&sort=asc&{KEYSET}")),
        (
            one("branch"),
            ["/projects/11/repository/branches/main", "/projects/12/repository/branches/feature%2F%C3%BC%20%231"],
        ),
        (
            one("branch", defaultBranchOnly="true", regex="x", search="y"),
            ["/projects/11/repository/branches/main", "/projects/12/repository/branches/feature%2F%C3%BC%20%231"],
        ),
        (one("branch", defaultBranchOnly=False), of_projects("repository/branches", KEYSET)),
        (
            one("branch", defaultBranchOnly="no", search="^rel"),
            of_projects("repository/branches", f"search=^rel&{KEYSET}"),
        ),
        (
            one("branch", defaultBranchOnly=False, search="rel", regex="^rel/.*"),
            of_projects("repository/branches", f"regex=^rel/.*&{KEYSET}"),
        ),
        (one("branch", defaultBranchOnly=False, search="", regex=""), of_projects("repository/branches", KEYSET)),
        (one("deployment"), of_projects("deployments", f"order_by=id&sort=asc&{FIRST}")),
        (
            one("deployment", apiQueryParams={"environment": 5, "status": "failed"}),
            of_projects("deployments", f"environment=5&status=failed&order_by=id&sort=asc&{FIRST}"),
        ),
        (
            one("deployment", apiQueryParams={"updatedBefore": "2026-01-01T00:00:00Z"}),
            of_projects("deployments", f"updated_before=2026-01-01T00:00:00Z&order_by=updated_at&sort=asc&{FIRST}"),
        ),
        (
            one("deployment", apiQueryParams=SUCCESS),
            of_projects(
                "deployments",
                "status=success&finished_after=2026-01-01T00:00:00Z&finished_before=2026-02-01T00:00:00+01:00"
                f"&order_by=finished_at&sort=asc&{FIRST}",
            ),
        ),
        (one("environment"), of_projects("environments", FIRST)),
        (one("environment", states=["stopped", "stopping", "available"]), of_projects("environments", FIRST)),
        (one("environment", states=["available"]), of_projects("environments", f"states=available&{FIRST}")),
        (one("environment", states=[]), []),
        (
            one("label"),
            [
                f"/groups/{number}/labels?include_ancestor_groups=false&include_descendant_groups=false"
                f"&only_group_labels=true&{FIRST}"
                for number in (1, 2)
            ]
            + of_projects("labels", f"include_ancestor_groups=false&{FIRST}"),
        ),
        (one("label", scopes=["project"]), of_projects("labels", f"include_ancestor_groups=false&{FIRST}")),
        (one("label", scopes=[]), []),
        (
            one("milestone", state="active", scopes=["group"]),
            [
                f"/groups/{number}/milestones?include_ancestors=false&include_descendants=false&state=active&{FIRST}"
                for number in (1, 2)
            ],
        ),
        (one("milestone", scopes=["project"]), of_projects("milestones", f"include_ancestors=false&{FIRST}")),
    ],
)
def test_what_a_kind_asks(resource: dict[str, Any], dialect: Any, expected: list[str]) -> None:
    assert asked(resource, dialect=dialect) == expected


@pytest.mark.parametrize(
    ("first", "second", "requests"),
    [
        (one("environment", states=["available"]), one("environment", states=["stopped", "available"]), 4),
        (one("branch"), one("branch", defaultBranchOnly=False), 4),
        (one("branch"), one("branch", regex="x"), 2),
        (one("label"), one("label", scopes=["group"]), 4),
        (one("milestone", state="closed"), one("milestone"), 8),
        (one("deployment"), one("deployment", apiQueryParams={"status": None}), 2),
        (one("tag"), one("tag", includeOnlyActiveProjects=None), 2),
    ],
)
def test_what_two_resources_both_want_is_asked_once(first: Any, second: Any, requests: int) -> None:
    lines = asked(first, second)
    assert len(lines) == len(set(lines)) == requests
    found = {read.resources for read in make_plan(make(first, second)).reads}
    assert (0, 1) in found or requests > len(asked(first))


# What the project's row rules out, and what is only refused


OFF = {
    "repository": {"release", "tag", "branch", "deployment", "environment"},
    "releases": {"release"},
    "builds": {"deployment", "environment"},
    "environments": {"deployment", "environment"},
    "issues": set(),
    "merge_requests": set(),
}


@pytest.mark.parametrize("feature", OFF)
def test_what_is_switched_off_is_not_asked_for(feature: str) -> None:
    kinds = (*BY_PROJECT, "label", "milestone")
    for setting in ("disabled", "private", "enabled"):
        row = CORE | {f"{feature}_access_level": setting}
        quiet = {kind for kind in kinds if not asked(one(kind, **scopes(kind)), projects=[row])}
        assert quiet == (OFF[feature] if setting == "disabled" else set()), setting


def scopes(kind: str) -> dict[str, Any]:
    return {"scopes": ["project"]} if kind in ("label", "milestone") else {}


def test_labels_and_milestones_end_with_issues_and_merge_requests() -> None:
    row = CORE | {"issues_access_level": "disabled", "merge_requests_access_level": "disabled"}
    assert asked(one("label", scopes=["project"]), one("milestone", scopes=["project"]), projects=[row]) == []


@pytest.mark.parametrize(("more", "read"), [({"empty_repo": True}, {"release"}), ({"default_branch": None}, {"tag"})])
def test_projects_without_code(more: dict[str, Any], read: set[str]) -> None:
    resources = one("tag"), one("branch"), one("branch", defaultBranchOnly=False), one("release")
    kinds = {entry.kind for entry in make_plan(make(*resources, projects=[CORE | more])).reads}
    assert kinds == read | {"release"}


# Projects whose row says that there is nothing

EVERYTHING_OFF: dict[str, Any] = {
    **{f"{name}_access_level": "disabled" for name in ("repository", "builds", "environments", "releases")},
    **{f"{name}_access_level": "disabled" for name in ("issues", "merge_requests")},
    "empty_repo": True,
    "default_branch": None,
}


DENIED = {kind: dict(found.denied) for kind, found in known_subjects().items() if found.denied is not None}
# Their files and folders are not in the answers here: test_proofs reads them over HTTP.
IN_TREES = ("file", "folder", "skill", "plugin")


def selected(kind: str) -> dict[str, Any]:
    return {name: value for name, value in subject_of(kind).fields.get("selector", {}).items() if name != "query"}


def doubted(kind: str, answer: Callable[[Get], Reply]) -> tuple[list[Any], list[str]]:
    """Play the reads of a kind in a project that says it has nothing of it, first as usual, then in doubt."""
    row = CORE | {"path_with_namespace": "ada/core"} | DENIED[kind]
    found = inventory(listing(ONE, [], [row]))
    resource = one(kind, **selected(kind))
    assert make_plan(context(found, resource)).reads == ()
    reads = make_plan(context(found, resource, doubtful=True)).reads
    assert reads
    played = [problems(read, answer) for read in reads]
    return [entry for said, _ in played for entry in said], [url for _, urls in played for url in urls]


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_that_no_row_denies_is_read_whatever_is_off(kind: str) -> None:
    lone = CORE | {"path_with_namespace": "ada/core"}
    usual, off = (
        make_plan(context(inventory(listing(ONE, [], [row])), one(kind, **selected(kind)))).reads
        for row in (lone, lone | EVERYTHING_OFF)
    )
    assert (len(off) < len(usual)) is (subject_of(kind).denied is not None)


@pytest.mark.parametrize("kind", DENIED)
def test_what_a_row_denies_is_read_before_anything_is_deleted(kind: str) -> None:
    listed = {
        "/projects/11/repository/branches": page([{"name": "main", "default": True}], following=None),
        "/projects/11/repository/tree": page([{"path": "docs", "name": "docs", "type": "tree"}], following=None),
        "/projects/11/repository/files/docs%2FSKILL.md": page({"content": "", "encoding": "text"}),
        "/projects/11/pipelines": page([{"id": 1}]),
    }

    def answer(get: Get) -> Reply:
        usual: Any = [{"id": 5, "name": "x", "tag_name": "x", "pipeline": {"id": 1}}]
        known = script(listed)(get) if get.path in listed or get.gives == "object" else page(usual)
        return page([], following=None) if dict(get.params).get("path") else known

    said, _ = doubted(kind, answer)
    pages = [entry for entry in said if isinstance(entry, Page)]
    assert bool(pages) is (kind not in IN_TREES), said
    assert len(said) == len(pages)


@pytest.mark.parametrize("kind", DENIED)
@pytest.mark.parametrize("status", [403, 404])
def test_what_a_row_denies_and_gitlab_refuses_is_not_there(kind: str, status: int) -> None:
    said, urls = doubted(kind, lambda get: page(CORE | DENIED[kind]) if get.path == "/projects/11" else failed(status))
    assert said == []
    assert "/projects/11" in urls


@pytest.mark.parametrize("kind", DENIED)
@pytest.mark.parametrize("status", [403, 404])
def test_what_a_row_denied_and_the_project_does_not_is_a_problem(kind: str, status: int) -> None:
    said, _ = doubted(kind, lambda get: page(CORE) if get.path == "/projects/11" else failed(status))
    assert {type(entry) for entry in said} == {Problem}


def test_a_row_that_contradicts_itself_is_not_believed() -> None:
    row = CORE | {"default_branch": None, "empty_repo": False}
    branches = page([{"name": "dev"}, {"name": "trunk", "default": True}], following=None)
    answers = {
        "/projects/11/repository/branches": branches,
        "/projects/11/repository/branches/trunk": page({"name": "trunk"}),
        "/projects/11/repository/tree": page([{"path": "a", "name": "a", "type": "tree"}], following=None),
    }
    made = make(one("branch"), one("folder", folders=[{"path": "*"}]), projects=[row])
    played = play_all(made, script(answers))
    branch, folder = rows(played)
    assert branch["name"] == folder["__branch"] == folder["repo"]["default_branch"] == "trunk"


def test_branches_without_a_default_one_are_a_problem() -> None:
    row = CORE | {"default_branch": None, "empty_repo": False}
    answers = {"/projects/11/repository/branches": page([{"name": "dev"}], following=None)}
    (problem,), _ = problems(read_of("branch", row), script(answers))
    assert problem.why == "GitLab lists branches and none of them as the default one"


# Rows


def test_rows_carry_the_path_of_their_project_and_deployments_all_of_it() -> None:
    answer = script(
        {
            "/projects/11/releases": page([{"tag_name": "v1"}]),
            "/projects/11/repository/tags": page([{"name": "v1"}], following=None),
            "/projects/11/deployments": page([{"id": 1}]),
            "/projects/11/environments": page([{"id": 2}]),
        }
    )
    path = {"path_with_namespace": "grp/core"}
    for dialect in ("gitlab", "gitlab-v2"):
        played = play_all(make(*(one(kind) for kind in BY_PROJECT), projects=[CORE], dialect=dialect), answer)
        assert rows(played) == [
            {"tag_name": "v1", "__project": path},
            {"name": "v1", "__project": path},
            {"name": "main", "__project": path},
            {"id": 1, "__project": CORE},
            {"id": 2, "__project": path},
        ]


@pytest.mark.parametrize("kind", ["label", "milestone"])
def test_labels_and_milestones_say_where_they_live(kind: str) -> None:
    answers = {f"/{place}/{kind}s": page([{"id": n}]) for n, place in enumerate(("groups/2", "projects/11"))}
    assert rows(play_all(make(one(kind)), script(answers))) == [
        {"id": 0, "__group": {"full_path": "grp/sub"}},
        {"id": 1, "__project": {"path_with_namespace": "grp/core"}},
    ]


# The default branch


BRANCH = "/projects/11/repository/branches/main"


def problems(read: Read, answer: Callable[[Get], Reply]) -> tuple[list[Any], list[str]]:
    played = Play(answer)
    played.run(guarded(read))
    return played.said, played.urls


def test_a_default_branch_that_is_not_there_is_a_problem() -> None:
    answers = {BRANCH: failed(404), "/projects/11": page({"id": 11, "empty_repo": False})}
    said, _ = problems(read_of("branch"), script(answers))
    assert [(type(entry), entry.kind, entry.scope) for entry in said] == [(Problem, "branch", "grp/core")]


def test_a_repository_that_was_emptied_meanwhile_has_no_default_branch() -> None:
    answers = {BRANCH: failed(404), "/projects/11": page({"id": 11, "empty_repo": True})}
    assert problems(read_of("branch"), script(answers)) == ([], [BRANCH, "/projects/11"])


@pytest.mark.parametrize("status", [401, 403, 404, 500])
def test_no_answer_about_the_project_is_no_empty_repository(status: int) -> None:
    answers = {BRANCH: failed(404), "/projects/11": failed(status), "/groups/grp/projects": page([{"id": 11}])}
    said, _ = problems(read_of("branch"), script(answers))
    assert [type(entry) for entry in said] == [Problem]


@pytest.mark.parametrize("row", [{}, {"name": "dev"}, {"message": "maintenance"}, {"name": None}])
def test_something_else_than_the_branch_is_a_problem(row: Row) -> None:
    said, _ = problems(read_of("branch"), script({BRANCH: page(row)}))
    assert [entry.why for entry in said] == ["answered 200 with something else than the branch that was asked for"]


def test_a_default_branch_that_is_hidden_is_a_problem_and_not_none() -> None:
    hidden = project(11, "grp/core")
    (problem,), urls = problems(read_of("branch", hidden), script({}))
    assert (problem.why, urls) == ("GitLab hides the project's default branch", [])
    assert asked(one("branch", defaultBranchOnly=False), projects=[hidden]), "a list needs no name"


# Releases without tags


def test_releases_whose_tags_are_hidden_are_a_problem() -> None:
    answers = {"/projects/11/releases": page([{"tag_name": "v1"}, {"name": "One", "released_at": "2026"}])}
    (problem,), _ = problems(read_of("release"), script(answers))
    assert (problem.why, problem.kind) == ("GitLab hides the tags of the project's releases", "release")


# Filtered branches: GitLab gives them all at once, and a full page links to itself


def filtered(count: int, *, old: bool = True) -> Callable[[Get], Reply]:
    """A filtered list as GitLab gives it: whole when asked by keyset, cut when asked by number."""
    every = [{"name": f"b{number:03}"} for number in range(count)]

    def answer(get: Get) -> Reply:
        query = dict(get.params)
        if "page" in query:
            start = (int(query["page"]) - 1) * 100
            return page(every[start : start + 100])
        link = f"{HOST}/api/v4/list?page_token=x&pagination=keyset" if old and count == 100 else None
        return page(every, following=None, link=link)

    return answer


@pytest.mark.parametrize("selector", [{"regex": "b"}, {"search": "b"}])
@pytest.mark.parametrize(("count", "requests"), [(0, 1), (99, 1), (100, 2), (101, 2), (250, 2), (300, 2)])
def test_every_branch_of_a_filter_comes_once(selector: dict[str, Any], count: int, requests: int) -> None:
    played = play_all(make(one("branch", defaultBranchOnly=False, **selector), projects=[CORE]), filtered(count))
    assert [row["name"] for row in rows(played)] == [f"b{number:03}" for number in range(count)]
    assert len(played.asked) == requests


def test_a_full_page_of_refs_is_followed_to_its_end() -> None:
    tags = [{"name": f"v{number:03}"} for number in range(200)]

    def answer(get: Get) -> Reply:
        token = dict(get.params).get("page_token", "")
        cut = [row for row in tags if row["name"] > token][:100]
        link = f"{HOST}/api/v4/list?page_token={cut[-1]['name']}&pagination=keyset" if len(cut) == 100 else None
        return page(cut, following=None, link=link)

    played = play_all(make(one("tag"), projects=[CORE]), answer)
    assert [row["name"] for row in rows(played)] == [row["name"] for row in tags]
    assert len(played.asked) == 3


@pytest.mark.parametrize("kind", ["tag", "branch", "release", "deployment", "environment"])
def test_a_later_page_that_fails_is_no_end(kind: str) -> None:
    full = [{"name": f"n{n}", "tag_name": f"n{n}"} for n in range(100)]

    def answer(get: Get) -> Reply:
        query = dict(get.params)
        if query.get("page_token") or query.get("page", "1") != "1":
            return ReadFailed("server", "502", status=502)
        return page(full, following="2", link=f"{HOST}/api/v4/list?page_token=n99&page=2")

    more = {"defaultBranchOnly": False} if kind == "branch" else {}
    said, _ = problems(read_of(kind, **more), answer)
    assert [entry.kind for entry in said if isinstance(entry, Problem)] == [kind]


# Selectors


@pytest.mark.parametrize(
    ("resource", "words"),
    [
        (one("branch", defaultBranchOnly="maybe"), "selector.defaultBranchOnly: must be true or false; got 'maybe'"),
        (one("branch", regex=["a"]), "selector.regex: must be a text; got a list"),
        (one("environment", states="stopped"), "selector.states: must be a list; got 'stopped'"),
        (one("environment", states=["gone"]), "selector.states.0: must be one of available, stopping, stopped"),
        (one("label", scopes=["user"]), "selector.scopes.0: must be one of group, project; got 'user'"),
        (one("milestone", state="open"), "selector.state: must be one of active, closed; got 'open'"),
        (one("deployment", apiQueryParams=[]), "selector.apiQueryParams: must be an object; got a list"),
        (one("deployment", apiQueryParams={"status": "done"}), "selector.apiQueryParams.status: must be one of"),
        (
            one("deployment", apiQueryParams={"updated_after": "2026-01-01"}),
            "selector.apiQueryParams.updated_after: must match",
        ),
        (
            one("deployment", apiQueryParams={"finishedAfter": "2026-01-01T00:00:00Z"}),
            "selector.apiQueryParams: finishedAfter and finishedBefore need `status: success`",
        ),
        (
            one("deployment", apiQueryParams={"finished_before": "2026-01-01T00:00:00Z", "status": "failed"}),
            "selector.apiQueryParams: finishedAfter and finishedBefore need `status: success`",
        ),
        (
            one("deployment", apiQueryParams=SUCCESS | {"updatedAfter": "2026-01-01T00:00:00Z"}),
            "selector.apiQueryParams: GitLab takes bounds of finished or of updated, not of both",
        ),
    ],
)
def test_selectors_that_cannot_be(resource: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError) as caught:
        make(resource)
    (fault,) = map(str, caught.value.faults)
    assert words in fault
