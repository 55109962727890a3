"""The stand-in GitLab behaves as a real one where a reader can tell: pages, visibility, refusals, faults."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml

from gitlab_port_export.demo import gitlab_faults as faults
from gitlab_port_export.demo.gitlab import Fault, GitLabServer, RateLimit, gitlab_server
from gitlab_port_export.demo.world import (
    DEVELOPER,
    GUEST,
    LARGE_TOKEN,
    MAINTAINER,
    REPORTER,
    SAMPLE_TOKENS,
    Row,
    World,
    change_world,
    large_world,
    sample_world,
)

NOW = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)
FIELDS = Path(__file__).parent / "data" / "gitlab_fields.yml"


class Reader:
    """A client with one token."""

    def __init__(self, server: GitLabServer, token: str) -> None:
        self.session = requests.Session()
        self.session.headers["Authorization"] = f"Bearer {token}"
        self.server = server

    def get(self, path: str, **params: Any) -> requests.Response:
        url = path if path.startswith("http") else f"{self.server.url}/api/v4{path}"
        return self.session.get(url, params=params, timeout=10, allow_redirects=False)

    def rows(self, path: str, **params: Any) -> list[Row]:
        answer = self.get(path, per_page=100, **params)
        assert answer.status_code == 200, answer.text
        assert answer.headers.get("X-Next-Page") in (None, "")
        rows: list[Row] = answer.json()
        return rows

    def paths(self, path: str, **params: Any) -> set[str]:
        rows = self.rows(path, **params)
        return {row.get("full_path") or row["path_with_namespace"] for row in rows}


@pytest.fixture
def sample() -> Iterator[GitLabServer]:
    with gitlab_server(sample_world(NOW)) as server:
        yield server


@pytest.fixture
def one(sample: GitLabServer) -> Iterator[Reader]:
    reader = Reader(sample, SAMPLE_TOKENS[0])
    with reader.session:
        yield reader


@pytest.fixture
def two(sample: GitLabServer) -> Iterator[Reader]:
    reader = Reader(sample, SAMPLE_TOKENS[1])
    with reader.session:
        yield reader


def small(**options: Any) -> tuple[World, Row, Row]:
    """A world with one group, one project and the token "t" of a maintainer."""
    world = World(NOW)
    user = world.add_user("reader")
    world.add_token("t", user, **options)
    group = world.add_group("g")
    project = world.add_project(group, "p")
    world.add_member(group, user, MAINTAINER)
    return world, group, project


# Pages


def test_offset_pages_end_with_an_empty_next_page() -> None:
    world, group, project = small()
    for n in range(7):
        world.add_merge_request(project, f"m{n}")
    with gitlab_server(world) as server, requests.Session() as session:
        url = f"{server.url}/api/v4/groups/{group['id']}/merge_requests"
        first = session.get(f"{url}?per_page=3&state=opened", headers={"PRIVATE-TOKEN": "t"})
        pages = [first]
        while "next" in pages[-1].links:
            pages.append(session.get(pages[-1].links["next"]["url"], headers={"PRIVATE-TOKEN": "t"}))
        beyond = session.get(url, params={"per_page": 3, "page": 9}, headers={"PRIVATE-TOKEN": "t"})
    assert [len(page.json()) for page in pages] == [3, 3, 1]
    assert [page.headers["X-Next-Page"] for page in pages] == ["2", "3", ""]
    assert {page.headers["X-Total"] for page in pages} == {"7"}
    assert {page.headers["X-Total-Pages"] for page in pages} == {"3"}
    assert first.links["last"]["url"] == f"{url}?id={group['id']}&page=3&per_page=3&state=opened"
    assert [row["title"] for page in pages for row in page.json()] == [f"m{n}" for n in range(6, -1, -1)]
    assert (beyond.status_code, beyond.json(), beyond.headers["X-Next-Page"]) == (200, [], "")


def test_page_size_is_capped_and_checked(one: Reader, sample: GitLabServer) -> None:
    gateway = sample.world.project("platform/gateway")
    for n in range(120):
        sample.world.add_issue(gateway, f"i{n}")
    answer = one.get(f"/projects/{gateway['id']}/issues", per_page=1000)
    assert (len(answer.json()), answer.headers["X-Per-Page"]) == (100, "100")
    assert one.get("/projects", per_page="many").json() == {"error": "per_page is invalid"}
    assert one.get("/projects", page=0).status_code == 400


def test_counts_disappear_above_ten_thousand_rows() -> None:
    world, _, project = small()
    world.issues[project["id"]] = [world.add_issue(project, "same")] * 10_001
    with gitlab_server(world, cached=True) as server:
        reader = Reader(server, "t")
        with reader.session:
            answer = reader.get(f"/projects/{project['id']}/issues", per_page=100, page=100)
            last = reader.get(f"/projects/{project['id']}/issues", per_page=100, page=101)
    assert answer.headers["X-Next-Page"] == "101"
    assert "X-Total" not in answer.headers
    assert "last" not in answer.links
    assert (last.headers["X-Next-Page"], len(last.json())) == ("", 1)


@pytest.mark.parametrize(("sort", "step"), [("asc", "id_after"), ("desc", "id_before")])
def test_keyset_pages_of_projects_end_without_a_link(one: Reader, sort: str, step: str) -> None:
    params = {"pagination": "keyset", "order_by": "id", "sort": sort, "per_page": 4, "membership": "true"}
    answer = one.get("/projects", **params)
    ids = [row["id"] for row in answer.json()]
    while link := answer.links.get("next"):
        assert f"{step}={ids[-1]}" in link["url"]
        assert "X-Total" not in answer.headers
        answer = one.get(link["url"])
        ids += [row["id"] for row in answer.json()]
    assert answer.json() == []
    assert ids == sorted(set(ids), reverse=sort == "desc")
    assert len(ids) == 11


def test_keyset_wants_an_order_by_id(one: Reader) -> None:
    answer = one.get("/projects", pagination="keyset", order_by="name")
    assert answer.status_code == 405
    assert answer.json()["error"].startswith("Keyset pagination is not yet available")


def test_id_bounds_also_filter_offset_pages(one: Reader) -> None:
    rows = one.rows("/projects", order_by="id", sort="asc", id_after=2, id_before=5, membership=True)
    assert [row["id"] for row in rows] == [3, 4]


def test_jobs_of_a_project_come_by_cursor_uncounted_and_with_retried_ones() -> None:
    world, _, project = small()
    pipelines = [world.add_pipeline(project) for _ in range(3)]
    for pipeline in pipelines:
        world.add_job(pipeline, "test", "failed", retried=True)
        world.add_job(pipeline, "test")
    with gitlab_server(world) as server:
        reader = Reader(server, "t")
        with reader.session:
            url = f"/projects/{project['id']}/jobs"
            answer = reader.get(url, pagination="keyset", per_page=4)
            assert "X-Total" not in answer.headers
            rest = reader.get(answer.links["next"]["url"])
            offset = reader.get(url, per_page=4)
            own = reader.rows(f"/projects/{project['id']}/pipelines/{pipelines[0]['id']}/jobs")
            every = reader.rows(f"/projects/{project['id']}/pipelines/{pipelines[0]['id']}/jobs", include_retried=True)
            failed = reader.rows(url, **{"scope[]": ["failed", "canceled"]})
            wrong = reader.get(url, **{"scope[]": ["nonsense"]})
    assert [row["id"] for row in answer.json() + rest.json()] == [6, 5, 4, 3, 2, 1]
    assert "Link" not in rest.headers
    assert offset.headers["X-Next-Page"] == "2"
    assert "X-Total" not in offset.headers
    assert [row["id"] for row in own] == [2]
    assert [row["id"] for row in every] == [2, 1]
    assert {row["status"] for row in failed} == {"failed"}
    assert (wrong.status_code, wrong.json()) == (400, {"error": "scope does not have a valid value"})


def test_deep_offsets_are_refused(one: Reader) -> None:
    answer = one.get("/groups", page=501, per_page=100)
    assert answer.status_code == 405
    assert "of type Group" in answer.json()["error"]


# Who sees what


def test_tokens_see_what_they_are_members_of(one: Reader, two: Reader) -> None:
    platform = {"platform", "platform/runtime", "platform/runtime/observability", "platform/tooling"}
    assert one.paths("/groups") == platform | {"payments", "payments/cards"}
    assert two.paths("/groups") == {"research", "payments/cards"}
    assert two.paths("/groups", all_available=True) == {"research", "payments/cards", "platform/tooling"}
    assert two.paths("/groups", top_level_only=True) == {"research"}
    mine = two.paths("/projects", membership=True)
    assert mine == {
        "payments/cards/issuing",
        "payments/cards/fraud-rules",
        "research/paper-tools",
        "research/models",
    }
    internal = {"platform/runtime/observability/metrics"}
    assert two.paths("/projects") == mine | internal
    assert "ada.nwosu/dotfiles" in one.paths("/projects", membership=True)


def test_levels_are_inherited_and_the_highest_wins(one: Reader, two: Reader) -> None:
    assert one.paths("/groups", min_access_level=MAINTAINER) == {
        path for path in one.paths("/groups") if path.startswith("platform")
    }
    assert "payments/ledger" not in one.paths("/projects", min_access_level=MAINTAINER)
    assert "payments/ledger" in one.paths("/projects", min_access_level=DEVELOPER)
    assert one.rows("/projects", owned=True) == []
    assert two.paths("/projects", min_access_level=MAINTAINER) == two.paths("/projects", membership=True)
    assert one.get("/groups", min_access_level=31).json() == {"error": "min_access_level does not have a valid value"}


def test_an_administrator_sees_all_but_has_no_level() -> None:
    world = sample_world(NOW)
    world.add_token("root", world.add_user("admin"), admin=True)
    with gitlab_server(world) as server:
        root = Reader(server, "root")
        with root.session:
            assert len(root.rows("/groups")) == len(world.groups)
            assert len(root.rows("/projects")) == len(world.projects)
            assert root.rows("/groups", all_available=False) == []
            assert root.rows("/projects", min_access_level=GUEST) == []
            assert root.get("/user").json()["is_admin"] is True


def test_the_invisible_does_not_exist(two: Reader, sample: GitLabServer) -> None:
    gateway = sample.world.project("platform/gateway")["id"]
    platform = sample.world.group("platform")["id"]
    hidden = two.get(f"/projects/{gateway}/issues")
    assert (hidden.status_code, hidden.json()) == (404, {"message": "404 Project Not Found"})
    assert two.get("/projects/999999").json() == hidden.json()
    group = two.get(f"/groups/{platform}")
    assert (group.status_code, group.json()) == (404, {"message": "404 Group Not Found"})
    assert two.get("/nowhere").json() == {"error": "404 Not Found"}


def test_a_project_member_does_not_see_the_group() -> None:
    world, group, project = small()
    guest = world.add_user("guest")
    world.add_token("guest", guest)
    world.add_member(project, guest, GUEST)
    world.add_merge_request(project, "code")
    world.add_issue(project, "open")
    world.add_issue(project, "secret", confidential=True)
    with gitlab_server(world) as server:
        reader = Reader(server, "guest")
        with reader.session:
            assert reader.rows("/groups") == []
            assert reader.get(f"/groups/{group['id']}").status_code == 404
            row = reader.rows("/projects", membership=True)[0]
            assert row["permissions"] == {
                "project_access": {"access_level": GUEST, "notification_level": 3},
                "group_access": None,
            }
            assert reader.get(f"/projects/{project['id']}/merge_requests").status_code == 403
            assert [row["title"] for row in reader.rows(f"/projects/{project['id']}/issues")] == ["open"]


def test_shared_projects_are_listed_with_the_group_that_got_them() -> None:
    world, group, _ = small()
    other = world.add_group("other")
    shared = world.add_project(other, "shared")
    world.share_project(shared, group, REPORTER)
    with gitlab_server(world) as server:
        reader = Reader(server, "t")
        with reader.session:
            assert reader.paths(f"/groups/{group['id']}/projects") == {"g/p", "other/shared"}
            assert reader.paths(f"/groups/{group['id']}/projects", with_shared=False) == {"g/p"}
            assert reader.paths("/projects", min_access_level=REPORTER) == {"g/p", "other/shared"}
            assert reader.paths("/projects", min_access_level=MAINTAINER) == {"g/p"}
            members = reader.rows(f"/projects/{shared['id']}/members/all")
            assert [row["access_level"] for row in members] == [REPORTER]


# Lists


def test_group_lists_cover_subgroups_and_leave_archived_projects_out(one: Reader, sample: GitLabServer) -> None:
    platform = sample.world.group("platform")["id"]
    merge_requests = one.rows(f"/groups/{platform}/merge_requests")
    issues = one.rows(f"/groups/{platform}/issues")
    archived = sample.world.project("platform/runtime/observability/logs")["id"]
    below = {project["id"] for project in sample.world.projects_below(sample.world.group("platform"))}
    assert {row["state"] for row in merge_requests} == {"opened", "merged", "closed", "locked"}
    assert len({row["project_id"] for row in merge_requests}) == 3
    assert {row["project_id"] for row in merge_requests + issues} <= below - {archived}
    assert archived in {row["project_id"] for row in one.rows(f"/groups/{platform}/issues", non_archived=False)}
    assert one.rows(f"/projects/{archived}/merge_requests") != []


@pytest.mark.parametrize("shape", ["{:%Y-%m-%d %H:%M:%S.%f}+00:00", "{:%Y-%m-%dT%H:%M:%SZ}", "{:%Y-%m-%d}"])
def test_windows_take_every_spelling_of_a_time(one: Reader, sample: GitLabServer, shape: str) -> None:
    gateway = sample.world.project("platform/gateway")["id"]
    after = shape.format(NOW - timedelta(days=30))
    titles = {
        row["title"] for row in one.rows(f"/projects/{gateway}/merge_requests", updated_after=after, state="merged")
    }
    assert titles == {"Drop TLS 1.1"}


def test_a_window_that_is_no_time_is_refused(one: Reader) -> None:
    answer = one.get("/groups/platform/issues", updated_after="yesterday")
    assert (answer.status_code, answer.json()) == (400, {"error": "updated_after is invalid"})


def test_filters_of_merge_requests_and_issues(one: Reader) -> None:
    assert len(one.rows("/groups/platform/issues", issue_type="incident")) == 1
    assert len(one.rows("/groups/platform/issues", labels="team::platform", state="opened")) == 1
    assert len(one.rows("/groups/platform/merge_requests", labels="team::platform,needs review")) == 1
    times = [
        row["created_at"] for row in one.rows("/groups/platform/merge_requests", order_by="created_at", sort="asc")
    ]
    assert times == sorted(times)
    wrong = one.get("/groups/platform/merge_requests", state="opend")
    assert (wrong.status_code, wrong.json()) == (400, {"error": "state does not have a valid value"})


def test_of_a_repeated_parameter_the_last_value_counts(one: Reader) -> None:
    rows = one.rows("/groups/platform/merge_requests", state=["closed", "locked", "merged"])
    assert {row["state"] for row in rows} == {"merged"}


def test_child_pipelines_are_listed_only_as_such() -> None:
    world, _, project = small()
    parent = world.add_pipeline(project, "failed", ref="main")
    child = world.add_pipeline(project, source="parent_pipeline")
    with gitlab_server(world) as server:
        reader = Reader(server, "t")
        with reader.session:
            url = f"/projects/{project['id']}/pipelines"
            assert [row["id"] for row in reader.rows(url)] == [parent["id"]]
            assert [row["id"] for row in reader.rows(url, source="parent_pipeline")] == [child["id"]]
            assert reader.rows(url, status="success") == []
            assert [row["id"] for row in reader.rows(url, scope="finished")] == [parent["id"]]
            assert reader.get(f"{url}/{parent['id']}").json()["duration"] == 42


def test_switched_off_ci_is_forbidden(two: Reader, sample: GitLabServer) -> None:
    models = sample.world.project("research/models")["id"]
    for child in ("pipelines", "jobs"):
        answer = two.get(f"/projects/{models}/{child}")
        assert (answer.status_code, answer.json()) == (403, {"message": "403 Forbidden"})


def test_members_direct_and_inherited(one: Reader, sample: GitLabServer) -> None:
    gateway = sample.world.project("platform/gateway")["id"]
    direct = one.rows(f"/projects/{gateway}/members")
    every = one.rows(f"/projects/{gateway}/members/all")
    assert [row["username"] for row in direct if "bot" not in row] == ["chen.wei"]
    bots = [row["username"] for row in every if row.get("bot")]
    assert [bool(re.match(r"(project|group)_\d+_bot_[0-9a-f]+$", name)) for name in bots] == [True, True]
    assert {row["username"]: row["access_level"] for row in every}["ada.nwosu"] == 50
    assert len({row["id"] for row in every}) == len(every) == 6


def test_labels_of_ancestors_unless_declined(one: Reader, sample: GitLabServer) -> None:
    gateway = sample.world.project("platform/gateway")["id"]
    assert [(row["name"], row["is_project_label"]) for row in one.rows(f"/projects/{gateway}/labels")] == [
        ("needs review", True),
        ("team::platform", False),
    ]
    own = one.rows(f"/projects/{gateway}/labels", include_ancestor_groups=False)
    assert [row["name"] for row in own] == ["needs review"]


def test_active_is_neither_archived_nor_leaving(one: Reader) -> None:
    inactive = {"platform/runtime/observability/logs", "payments/legacy-billing"}
    assert one.paths("/projects", active=False, membership=True) == inactive
    active = one.paths("/projects", active=True, membership=True)
    assert active == one.paths("/projects", membership=True) - inactive


def test_paths_name_groups_and_projects_and_old_ones_redirect(one: Reader, sample: GitLabServer) -> None:
    gateway = sample.world.project("platform/gateway")
    assert one.get("/projects/platform%2Fgateway/languages").json()["Go"] == 88.4
    assert one.get("/groups/platform%2Fruntime").json()["full_path"] == "platform/runtime"
    sample.world.rename_project(gateway, path="edge")
    moved = one.get("/projects/platform%2Fgateway/issues", state="opened")
    assert moved.status_code == 301
    url = f"{sample.url}/api/v4/projects/{gateway['id']}/issues?state=opened"
    assert moved.headers["Location"] == url
    assert one.get(url).status_code == 200


def test_files_of_a_repository(one: Reader, sample: GitLabServer) -> None:
    gateway = sample.world.project("platform/gateway")["id"]
    assert one.get(f"/projects/{gateway}/repository/files/port.yml", ref="HEAD").json()["encoding"] == "base64"
    raw = one.get(f"/projects/{gateway}/repository/files/port.yml/raw", ref="main")
    assert raw.text.startswith("identifier: gateway")
    missing = one.get(f"/projects/{gateway}/repository/files/a%2Fb.txt", ref="main")
    assert (missing.status_code, missing.json()) == (404, {"message": "404 File Not Found"})
    assert one.get(f"/projects/{gateway}/repository/files/port.yml").status_code == 400


# Tokens


@pytest.mark.parametrize(
    ("options", "status", "text"),
    [
        ({"revoked": True}, 401, "Token was revoked."),
        ({"expired": True}, 401, "Token is expired."),
        ({"scopes": ("read_user",)}, 403, "insufficient_scope"),
        ({"scopes": ("api",)}, 200, ""),
    ],
)
def test_tokens_that_do_not_open(options: dict[str, Any], status: int, text: str) -> None:
    world, *_ = small(**options)
    with gitlab_server(world) as server:
        reader = Reader(server, "t")
        with reader.session:
            answer = reader.get("/projects")
    assert answer.status_code == status
    assert text in answer.text


def test_unknown_tokens_and_narrow_ones(one: Reader, sample: GitLabServer) -> None:
    stranger = Reader(sample, "nobody")
    with stranger.session:
        answer = stranger.get("/user")
    assert (answer.status_code, answer.json()) == (401, {"message": "401 Unauthorized"})
    sample.world.tokens[SAMPLE_TOKENS[0]].denied.add("issues")
    assert one.get("/groups/platform/issues").json()["error"] == "insufficient_scope"
    assert one.get("/groups/platform/merge_requests").status_code == 200
    assert one.get("/personal_access_tokens/self").json()["scopes"] == ["read_api"]


# Faults


def test_faults_hit_the_named_page_so_many_times(one: Reader, sample: GitLabServer) -> None:
    sample.faults.append(Fault(r"^/projects$", faults.server_error(), page=2, times=2))
    statuses = [one.get("/projects", page=page, per_page=5).status_code for page in (1, 2, 2, 2)]
    assert statuses == [200, 500, 500, 200]
    assert [(r.page, r.status) for r in sample.requests] == [(1, 200), (2, 500), (2, 500), (2, 200)]


@pytest.mark.parametrize(
    ("answer", "status", "body"),
    [
        (faults.unauthorized(), 401, '{"message": "401 Unauthorized"}'),
        (faults.revoked(), 401, "Token was revoked."),
        (faults.forbidden(), 403, "403 Forbidden"),
        (faults.insufficient_scope(), 403, "insufficient_scope"),
        (faults.not_found("Group "), 404, "404 Group Not Found"),
        (faults.throttled(7), 429, "Retry later\n"),
        (faults.endpoint_throttled(), 429, "requested too many times"),
        (faults.bad_gateway(), 502, "<html>"),
        (faults.login_page(), 200, "Sign in"),
        (faults.not_a_list(), 200, "maintenance"),
        (faults.redirect("https://gitlab.example.com/elsewhere"), 302, ""),
    ],
)
def test_every_fault_answers_in_its_own_way(
    one: Reader, sample: GitLabServer, answer: faults.Reply, status: int, body: str
) -> None:
    sample.faults.append(Fault(lambda request: request.token == SAMPLE_TOKENS[0], answer))
    got = one.get("/groups")
    assert got.status_code == status
    assert body in got.text
    assert ("Retry-After" in got.headers) == (body == "Retry later\n")


@pytest.mark.parametrize("answer", [faults.Drop(), faults.Truncate()])
def test_broken_connections(one: Reader, sample: GitLabServer, answer: faults.Answer) -> None:
    sample.faults.append(Fault("/groups", answer, times=1))
    with pytest.raises(requests.RequestException):
        one.get("/groups")
    assert len(one.rows("/groups")) == 6
    assert sample.count("/groups") == 2


def test_a_slow_answer_is_still_right_and_does_not_outlive_the_server() -> None:
    world, *_ = small()
    with gitlab_server(world) as server, requests.Session() as session:
        server.faults.append(Fault("/version", faults.Slow(3600)))
        with pytest.raises(requests.ReadTimeout):
            session.get(f"{server.url}/api/v4/version", headers={"PRIVATE-TOKEN": "t"}, timeout=0.05)
        server.faults[:] = [Fault("/version", faults.Slow(0))]
        assert session.get(f"{server.url}/api/v4/version", headers={"PRIVATE-TOKEN": "t"}).ok


def test_a_rate_limit_counts_down_and_refuses() -> None:
    world, *_ = small()
    with gitlab_server(world, rate_limit=RateLimit(2, period=10**9)) as server:
        reader = Reader(server, "t")
        with reader.session:
            answers = [reader.get("/user") for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert [answer.headers["RateLimit-Remaining"] for answer in answers] == ["1", "0", "0"]
    assert int(answers[2].headers["Retry-After"]) > 0


# The server itself


def test_a_server_below_a_path_with_another_external_name() -> None:
    world, *_ = small()
    world.add_project(world.group("g"), "q")
    with gitlab_server(world, prefix="/gitlab", external_url="https://gitlab.example.com/gitlab") as server:
        reader = Reader(server, "t")
        with reader.session:
            answer = reader.get("/projects", per_page=1)
            assert reader.session.get(server.url.replace("/gitlab", "/api/v4/projects")).status_code == 404
    assert server.url.endswith("/gitlab")
    assert answer.links["next"]["url"].startswith("https://gitlab.example.com/gitlab/api/v4/projects?")
    assert server.requests[0].path == "/projects"


def test_large_answers_are_gzipped_and_small_ones_are_not(one: Reader) -> None:
    assert one.get("/projects").headers["Content-Encoding"] == "gzip"
    assert "Content-Encoding" not in one.get("/version").headers


def test_a_caching_server_notices_changes() -> None:
    world, _, project = small()
    with gitlab_server(world, cached=True) as server:
        reader = Reader(server, "t")
        with reader.session:
            assert reader.rows("/groups/g/issues") == []
            world.add_issue(project, "new")
            assert [row["title"] for row in reader.rows("/groups/g/issues")] == ["new"]
            world.tokens["t"].revoked = True
            assert reader.get("/groups/g/issues", per_page=100).status_code == 401


def test_latency_depends_on_the_rows() -> None:
    world, *_ = small()
    seen: list[int] = []

    def latency(rows: int) -> float:
        seen.append(rows)
        return 0.0

    with gitlab_server(world, latency=latency) as server:
        reader = Reader(server, "t")
        with reader.session:
            reader.rows("/projects")
            reader.get("/version")
    assert seen == [1, 1]


# Worlds


def test_the_second_act_changes_three_things(one: Reader, sample: GitLabServer) -> None:
    gateway = sample.world.project("platform/gateway")["id"]
    before = one.rows(f"/projects/{gateway}/merge_requests")
    gone = sample.world.project("payments/cards/fraud-rules")["id"]
    issues = one.rows("/groups/payments/issues")
    change_world(sample.world)
    after = one.rows(f"/projects/{gateway}/merge_requests")
    assert [row["title"] for row in after if row not in before] == ["Answer 503 while draining"]
    assert one.get(f"/projects/{gone}").status_code == 404
    assert {row["project_id"] for row in issues} - {
        row["project_id"] for row in one.rows("/groups/payments/issues")
    } == {gone}
    renamed = sample.world.project("platform/infrastructure")
    assert renamed["name_with_namespace"] == "Platform / Infrastructure as Code"


def test_deleting_a_group_takes_everything_below_it(one: Reader, sample: GitLabServer) -> None:
    sample.world.delete_group(sample.world.group("platform"))
    assert one.paths("/groups") == {"payments", "payments/cards"}
    assert not any(path.startswith("platform") for path in one.paths("/projects"))


def test_the_large_world_is_the_same_every_time_and_about_ten_thousand_rows() -> None:
    world = large_world(NOW)
    rows = [
        *world.projects.values(),
        *world.groups.values(),
        *(row for lists in (world.merge_requests, world.issues) for each in lists.values() for row in each),
        *(row for lists in (world.pipelines, world.jobs) for each in lists.values() for row in each),
        *(row for each in world.group_members.values() for row in each),
    ]
    assert 9_900 <= len(rows) <= 10_500
    assert len(world.projects) == 100
    assert sum(not group["parent_id"] for group in world.groups.values()) == 10
    assert world.merge_requests == large_world(NOW).merge_requests
    with gitlab_server(world, cached=True) as server:
        reader = Reader(server, LARGE_TOKEN)
        with reader.session:
            assert reader.get("/groups/group-00000/merge_requests", per_page=100).headers["X-Total"] == "300"


# Row shapes


def _sent_rows(one: Reader, world: World) -> dict[str, Row]:
    gateway = world.project("platform/gateway")["id"]
    pipeline = world.pipelines[gateway][0]["id"]
    return {
        "groups_list": one.rows("/groups")[0],
        "group": one.get("/groups/platform", with_projects=False).json(),
        "group_descendants_list": one.rows("/groups/platform/descendant_groups")[0],
        "group_merge_requests_list": one.rows("/groups/platform/merge_requests")[0],
        "group_issues_list": one.rows("/groups/platform/issues")[0],
        "group_members_list": one.rows("/groups/platform/members")[0],
        "group_members_all_list": one.rows("/groups/platform/members/all")[0],
        "project_members_list": one.rows(f"/projects/{gateway}/members")[0],
        "project_labels_list": one.rows(f"/projects/{gateway}/labels")[0],
        "projects_list": one.rows("/projects")[0],
        "projects_list_simple": one.rows("/projects", simple=True)[0],
        "pipelines_list": one.rows(f"/projects/{gateway}/pipelines")[0],
        "pipeline_single": one.get(f"/projects/{gateway}/pipelines/{pipeline}").json(),
        "jobs_list": one.rows(f"/projects/{gateway}/jobs", scope="failed")[0],
        "branches_list": one.get(f"/projects/{gateway}/repository/branches").json()[0],
        "tags_list": one.get(f"/projects/{gateway}/repository/tags").json()[0],
        "releases_list": one.rows(f"/projects/{gateway}/releases")[0],
        "environments_list": one.rows(f"/projects/{gateway}/environments")[0],
        "deployments_list": one.rows(f"/projects/{gateway}/deployments")[0],
        "repository_file": one.get(f"/projects/{gateway}/repository/files/README.md", ref="main").json(),
        "personal_access_token": one.get("/personal_access_tokens/self").json(),
        "user_self": one.get("/user").json(),
    }


def test_rows_have_the_fields_that_gitlab_documents(one: Reader, sample: GitLabServer) -> None:
    documented = yaml.safe_load(FIELDS.read_text("utf-8"))
    sent = _sent_rows(one, sample.world)
    assert sent.keys() == documented.keys()
    lacking = {name: set(documented[name]) - set(row) for name, row in sent.items()}
    assert {name: fields for name, fields in lacking.items() if fields} == {}
