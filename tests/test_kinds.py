"""The kinds, played by hand: what each asks GitLab (paths, parameters, order) and what rows it hands on."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from gitlab_port_export.gitlab import kinds
from gitlab_port_export.gitlab.client import Get, ReadFailed
from gitlab_port_export.gitlab.kinds import KINDS
from gitlab_port_export.gitlab.kinds.kind import ALL_OF_GITLAB, Context, Read
from gitlab_port_export.gitlab.kinds.shared.members import is_bot
from gitlab_port_export.gitlab.plan import make_plan, needed_actives
from gitlab_port_export.model import Page, Row
from testbed.reading import (
    Play,
    Reply,
    context,
    failed,
    graphql,
    group,
    ids,
    inventory,
    keyset,
    listing,
    mapping,
    offset,
    page,
    project,
    script,
    sized,
    url,
)

ONE = "token 1"
FIRST = "per_page=100&page=1"
# What 2026-05-01T12:00Z minus so many days is called in a query.
DAYS_14, DAYS_90, DAYS_7 = "2026-04-17T12:00:00.000000Z", "2026-01-31T12:00:00.000000Z", "2026-04-24T12:00:00.000000Z"
GROUPS = [group(1, "grp"), group(2, "grp/sub")]
PROJECTS = [project(11, "grp/one", default_branch="main"), project(12, "grp/sub/two", default_branch="feature/ü")]
PERSONAL = project(13, "ada/dotfiles")


def make(*resources: dict[str, Any], dialect: Any = "gitlab-v2", projects: Sequence[Row] = PROJECTS) -> Context:
    return context(inventory(listing(ONE, GROUPS, projects)), *resources, dialect=dialect)


def reads_of(made: Context) -> tuple[Read, ...]:
    return make_plan(made).reads


def play_all(reads: Iterable[Read], answer: Callable[[Get], Reply] | None = None) -> Play:
    """Play reads one after the other as one run does: what is shared is shared."""
    played = Play(answer or script({}))
    for read in reads:
        played.run(read.start(read.scope))
    return played


def asked(*resources: dict[str, Any], answers: Mapping[str, Reply] | None = None, **options: Any) -> list[str]:
    return play_all(reads_of(make(*resources, **options)), script(answers or {})).urls


def rows(played: Play) -> list[Row]:
    return [row for entry in played.said for row in entry.rows]


# What a selector of these kinds must have.
NEEDED: dict[str, dict[str, Any]] = {"file": {"files": {"path": "*.md"}}, "folder": {"folders": [{"path": "*"}]}}


def one(kind: str, **selector: Any) -> dict[str, Any]:
    return {"kind": kind, **NEEDED.get(kind, {}), **selector}


# Every kind's questions


ISSUES = "scope=all&order_by=created_at&sort=asc"
PIPELINES = "order_by=id&sort=asc"


def merge_requests(state: str, since: str = "", *, grouped: bool = True) -> str:
    window = f"&updated_after={since}" if since else ""
    archived = "&non_archived=true" if grouped else ""
    return f"scope=all&state={state}&order_by=created_at&sort=asc{window}{archived}&{FIRST}"


@pytest.mark.parametrize(
    ("resource", "dialect", "expected"),
    [
        (one("group"), "gitlab", []),
        (one("group"), "gitlab-v2", []),
        (one("project"), "gitlab-v2", []),
        (one("project"), "gitlab", ["/projects/11/languages", "/projects/12/languages"]),
        (one("project", includeLanguages=True), "gitlab-v2", ["/projects/11/languages", "/projects/12/languages"]),
        (
            one("project", includeLabels=True),
            "gitlab-v2",
            [f"/projects/11/labels?{FIRST}", f"/projects/12/labels?{FIRST}"],
        ),
        (one("member"), "gitlab-v2", [f"/groups/1/members?{FIRST}", f"/groups/2/members?{FIRST}"]),
        (
            one("member", includeInheritedMembers=True),
            "gitlab-v2",
            [f"/groups/1/members/all?{FIRST}", f"/groups/2/members/all?{FIRST}"],
        ),
        (one("group-with-members"), "gitlab", [f"/groups/1/members?{FIRST}", f"/groups/2/members?{FIRST}"]),
        (one("project-with-members"), "gitlab-v2", [f"/projects/11/members?{FIRST}", f"/projects/12/members?{FIRST}"]),
        (
            one("project-with-members", includeInheritedMembers="yes"),
            "gitlab",
            [
                f"/projects/11/members/all?{FIRST}",
                "/projects/11/languages",
                f"/projects/12/members/all?{FIRST}",
                "/projects/12/languages",
            ],
        ),
        (one("merge-request"), "gitlab-v2", [f"/groups/1/merge_requests?{merge_requests('opened')}"]),
        (
            one("merge-request", states=["opened", "merged", "closed"]),
            "gitlab-v2",
            [
                f"/groups/1/merge_requests?{merge_requests('opened')}",
                f"/groups/1/merge_requests?{merge_requests('merged', DAYS_90)}",
                f"/groups/1/merge_requests?{merge_requests('closed', DAYS_90)}",
            ],
        ),
        (
            one("merge-request", states=["closed", "closed"], updatedAfter=7),
            "gitlab-v2",
            [f"/groups/1/merge_requests?{merge_requests('closed', DAYS_7)}"],
        ),
        (one("merge-request", states=[]), "gitlab-v2", []),
        (
            one("merge-request"),
            "gitlab",
            [
                f"/groups/1/merge_requests?{merge_requests('opened')}",
                f"/groups/1/merge_requests?{merge_requests('closed', DAYS_14)}",
                f"/groups/1/merge_requests?{merge_requests('locked', DAYS_14)}",
                f"/groups/1/merge_requests?{merge_requests('merged', DAYS_14)}",
            ],
        ),
        (
            one("merge-request", updatedAfter=7),
            "gitlab",
            [
                f"/groups/1/merge_requests?{merge_requests('opened')}",
                f"/groups/1/merge_requests?{merge_requests('closed', DAYS_7)}",
                f"/groups/1/merge_requests?{merge_requests('locked', DAYS_7)}",
                f"/groups/1/merge_requests?{merge_requests('merged', DAYS_7)}",
            ],
        ),
        (one("issue"), "gitlab-v2", [f"/groups/1/issues?{ISSUES}&non_archived=true&{FIRST}"]),
        (one("issue"), "gitlab", [f"/groups/1/issues?{ISSUES}&non_archived=true&{FIRST}"]),
        (
            one("issue", state="closed", issueType="incident", labels="a,b c", nonArchived=False, updatedAfter=7),
            "gitlab-v2",
            [
                f"/groups/1/issues?{ISSUES}&state=closed&issue_type=incident&labels=a,b c"
                f"&updated_after={DAYS_7}&non_archived=false&{FIRST}"
            ],
        ),
        (one("issue", updatedAfter=0), "gitlab-v2", [f"/groups/1/issues?{ISSUES}&non_archived=true&{FIRST}"]),
        (
            one("pipeline"),
            "gitlab-v2",
            [f"/projects/11/pipelines?{PIPELINES}&{FIRST}", f"/projects/12/pipelines?{PIPELINES}&{FIRST}"],
        ),
        (
            one("pipeline"),
            "gitlab",
            [
                f"/projects/11/pipelines?created_after={DAYS_14}&{PIPELINES}&{FIRST}",
                f"/projects/12/pipelines?created_after={DAYS_14}&{PIPELINES}&{FIRST}",
            ],
        ),
        (
            one("pipeline", apiQueryParams={"yaml_errors": True, "ref": "main", "scope": None, "status": "success"}),
            "gitlab-v2",
            [
                f"/projects/{number}/pipelines?status=success&ref=main&yaml_errors=true&{PIPELINES}&{FIRST}"
                for number in (11, 12)
            ],
        ),
        (
            one("pipeline", apiQueryParams={"updated_after": "2026-01-01T00:00:00Z"}),
            "gitlab",
            [
                f"/projects/{number}/pipelines?updated_after=2026-01-01T00:00:00Z&{PIPELINES}&{FIRST}"
                for number in (11, 12)
            ],
        ),
        (
            one("job"),
            "gitlab",
            ["/projects/11/jobs?pagination=keyset&per_page=100", "/projects/12/jobs?pagination=keyset&per_page=100"],
        ),
        (
            one("job", pipelineQueryParams={"source": "push"}),
            "gitlab-v2",
            [f"/projects/{number}/pipelines?source=push&{PIPELINES}&{FIRST}" for number in (11, 12)],
        ),
    ],
)
def test_what_a_kind_asks(resource: dict[str, Any], dialect: Any, expected: list[str]) -> None:
    assert asked(resource, dialect=dialect) == expected


@pytest.mark.parametrize("kind", sorted(KINDS))
@pytest.mark.parametrize("dialect", ["gitlab", "gitlab-v2"])
def test_resources_that_want_the_same_share_every_request(kind: str, dialect: Any) -> None:
    alone = asked(one(kind), dialect=dialect)
    assert asked(one(kind), one(kind), dialect=dialect) == alone


# What groups above give is asked with their own tokens.
@pytest.mark.parametrize("kind", sorted(KINDS.keys() - {"access"}))
def test_every_token_of_a_place_may_read_it(kind: str) -> None:
    both = inventory(listing(ONE, GROUPS, PROJECTS), listing("token 2", GROUPS, PROJECTS))
    for read in reads_of(context(both, one(kind, includeLanguages=True))):
        if read.scope == ALL_OF_GITLAB:
            continue
        assert read.tokens == (ONE, "token 2")
        played = Play(script({}))
        played.run(read.start(type(read.scope)(read.scope.id, read.scope.path, read.scope.is_group, "token 2")))
        assert {get.token for get in played.asked} <= {"token 2"}


# What accounts take is known once GitLab has said who is an administrator.
@pytest.mark.parametrize("kind", sorted(KINDS.keys() - {"user"}))
def test_the_plan_estimates_what_reading_takes(kind: str) -> None:
    made = make(one(kind, includeLanguages=True, includeLabels=True))
    some = {f"/projects/{n}/pipelines": page([pipeline(1)]) for n in (11, 12)}
    played = Play(script(some), together=lambda ask: graphql({id: [] for id in ask.variables["ids"]}))
    for read in reads_of(made):
        played.run(read.start(read.scope))
    (estimate,) = (requests for _, requests in make_plan(made).requests().values())
    assert estimate == len(played.asked) + len(played.asked_together)


# Rows


def test_groups_and_projects_come_as_listed_in_batches() -> None:
    groups = [group(number, f"g{number}") for number in range(1, 131)]
    projects = [project(number, f"g1/p{number}") for number in range(1001, 1251)]
    found = inventory(listing(ONE, groups, projects))
    pages = play_all(reads_of(context(found, one("group"), one("project"), one("project")))).said
    assert [(entry.kind, entry.resources, len(entry.rows)) for entry in pages] == [
        ("group", (0,), 100), ("group", (0,), 30),
        ("project", (1, 2), 100), ("project", (1, 2), 100), ("project", (1, 2), 50),
    ]  # fmt: skip
    assert [row for entry in pages for row in entry.rows] == [*groups, *projects]


def test_a_project_gets_only_what_its_selector_asks_for() -> None:
    answers = {"/projects/11/languages": page({"Go": 60.5}), "/projects/11/labels": page([{"id": 1, "name": "bug"}])}
    resources = one("project"), one("project", includeLanguages=True), one("project", includeLabels=True)
    played = play_all(reads_of(make(*resources, projects=PROJECTS[:1])), script(answers))
    assert {entry.resources: entry.rows for entry in played.said} == {
        (0,): [PROJECTS[0]],
        (1,): [PROJECTS[0] | {"__languages": {"Go": 60.5}}],
        (2,): [PROJECTS[0] | {"__labels": [{"id": 1, "name": "bug"}]}],
    }
    assert "__languages" not in PROJECTS[0]


@pytest.mark.parametrize("more", [{"empty_repo": True}, {"repository_access_level": "disabled"}])
@pytest.mark.parametrize(
    ("answer", "languages"), [(page({"Go": 60.5}), {"Go": 60.5}), (page({}), {}), (failed(403), {}), (failed(404), {})]
)
def test_what_a_row_says_of_the_code_decides_nothing_about_languages(
    more: dict[str, Any], answer: Reply, languages: Row
) -> None:
    made = make(one("project"), dialect="gitlab", projects=[project(11, "grp/one", **more)])
    played = play_all(reads_of(made), script({"/projects/11/languages": answer}))
    assert played.urls == ["/projects/11/languages"]
    assert rows(played)[0]["__languages"] == languages


def test_a_refusal_of_languages_is_a_problem_where_the_row_tells_of_code() -> None:
    made = make(one("project"), dialect="gitlab", projects=PROJECTS[:1])
    with pytest.raises(ReadFailed):
        play_all(reads_of(made), script({"/projects/11/languages": failed(403)}))


def test_a_pipeline_carries_its_project() -> None:
    answers = {"/projects/11/pipelines": page([{"id": 5}])}
    for dialect, carried in (("gitlab-v2", {"path_with_namespace": "grp/one"}), ("gitlab", PROJECTS[0])):
        made = make(one("pipeline"), dialect=dialect, projects=PROJECTS[:1])
        assert rows(play_all(reads_of(made), script(answers))) == [{"id": 5, "__project": carried}]


@pytest.mark.parametrize("kind", ["pipeline", "job"])
def test_pipelines_that_are_switched_off_are_not_asked_for(kind: str) -> None:
    off, private = (
        project(11, "grp/one", builds_access_level="disabled"),
        project(12, "grp/x", builds_access_level="private"),
    )
    assert all("/projects/12/" in line for line in asked(one(kind), projects=[off, private]))
    assert asked(one(kind), projects=[off]) == []


# Lists of groups and of lone projects


def test_lone_projects_are_asked_without_parameters_that_only_groups_know() -> None:
    lines = asked(one("merge-request"), one("issue"), projects=[PERSONAL])
    assert lines == [
        f"/groups/1/merge_requests?{merge_requests('opened')}",
        f"/projects/13/merge_requests?{merge_requests('opened', grouped=False)}",
        f"/groups/1/issues?{ISSUES}&non_archived=true&{FIRST}",
        f"/projects/13/issues?{ISSUES}&{FIRST}",
    ]


@pytest.mark.parametrize(
    ("resource", "more", "read"),
    [
        (one("merge-request"), {"archived": True}, False),
        (one("merge-request"), {"merge_requests_access_level": "disabled"}, False),
        (one("merge-request"), {"merge_requests_access_level": "private"}, True),
        (one("issue"), {"archived": True}, False),
        (one("issue", nonArchived=False), {"archived": True}, True),
        (one("issue", nonArchived=False), {"issues_access_level": "disabled"}, False),
    ],
)
def test_lone_projects_with_nothing_to_read_are_left_out(
    resource: dict[str, Any], more: dict[str, Any], read: bool
) -> None:
    lines = asked(resource, projects=[PERSONAL | more])
    assert any("/projects/13/" in line for line in lines) is read


def test_rows_of_a_group_that_is_read_for_some_projects_are_filtered() -> None:
    made = context(inventory(listing(ONE, GROUPS, PROJECTS), patterns={ONE: ("grp/o*",)}), one("issue"))
    full = [
        {"id": n, "iid": n, "references": {"full": f"{path}#{n}"}} for n, path in ((1, "grp/one"), (2, "grp/sub/two"))
    ]
    played = play_all(reads_of(made), script({"/groups/1/issues": page(full)}))
    assert [row["id"] for row in rows(played)] == [1]
    nothing = play_all(reads_of(made), script({"/groups/1/issues": page(full[1:])}))
    assert nothing.said == [], "no empty pages"


def test_windows_count_from_the_one_instant_of_the_run() -> None:
    resources = one("merge-request", states=["merged"], updatedAfter=0.5), one("issue", updatedAfter="0.5")
    assert all("updated_after=2026-05-01T00:00:00.000000Z" in line for line in asked(*resources))


# Members


MEMBERS = [
    {"id": 1, "username": "ada", "name": "Ada", "access_level": 50, "email": "ada@example.com", "state": "active"},
    {"id": 2, "username": "abbott", "name": "Abbott", "access_level": 30, "bot": False},
    {"id": 3, "username": "group_1_bot_0badcafe", "name": "nightly", "access_level": 20},
    {"id": 4, "username": "deploy", "name": "deploy", "access_level": 20, "bot": True},
    {"id": 5, "username": "noname", "name": None, "access_level": 20},
]


def members(dialect: Any, **selector: Any) -> list[Row]:
    made = make(one("group-with-members", **selector), dialect=dialect)
    played = play_all(reads_of(made)[:1], script({"/groups/1/members": page(MEMBERS)}))
    (row,) = rows(played)
    assert {name: row[name] for name in GROUPS[0]} == GROUPS[0]
    found: list[Row] = row["__members"]
    return found


def test_members_of_v2_have_five_fields() -> None:
    assert members("gitlab-v2", includeVerboseMemberObject=True) == [
        {"email": "ada@example.com", "username": "ada", "name": "Ada", "access_level": 50, "id": 1},
        {"email": None, "username": "abbott", "name": "Abbott", "access_level": 30, "id": 2},
    ]
    assert [row["id"] for row in members("gitlab-v2", includeBotMembers=True)] == [1, 2, 3, 4]


def test_members_of_v1_have_three_fields_or_all() -> None:
    assert members("gitlab") == [
        {"id": 1, "username": "ada", "email": "ada@example.com"},
        {"id": 2, "username": "abbott", "email": ""},
        {"id": 5, "username": "noname", "email": ""},
    ]
    assert members("gitlab", includeVerboseMemberObject=True) == [MEMBERS[0], MEMBERS[1], MEMBERS[4]]


def test_member_rows_are_those_of_gitlab() -> None:
    made = make(one("member"))
    played = play_all(reads_of(made), script({"/groups/1/members": page(MEMBERS)}))
    assert rows(played) == [MEMBERS[0], MEMBERS[1], MEMBERS[4]]
    assert len(played.said) == 1, "no page for the group without members"


@pytest.mark.parametrize(
    ("row", "bot"),
    [
        ({"username": "project_7_bot_abc123"}, True),
        ({"username": "group_12_bot"}, True),
        ({"username": "project_7_bot1"}, True),
        ({"username": "group_12_bot12"}, True),
        ({"username": "project_7_bot1x"}, False),
        ({"username": "project_7_bot_abc123", "bot": False}, False),
        ({"username": "robot"}, False),
        ({"username": "project_x_bot_1"}, False),
        ({"username": "my_project_7_bot_abc"}, False),
        ({"username": None}, False),
        ({"username": "ada", "bot": None}, False),
        ({"username": "ada", "bot": True}, True),
    ],
)
def test_bots(row: Row, bot: bool) -> None:
    assert is_bot(row) is bot


def test_inherited_members_need_not_add_up_because_gitlab_hides_some() -> None:
    answers = {f"/groups/{n}/members/all": page(MEMBERS[:1], total=9) for n in (1, 2)}
    played = play_all(reads_of(make(one("member", includeInheritedMembers=True))), script(answers))
    assert [row["id"] for row in rows(played)] == [1, 1]


def test_kinds_with_members_share_the_member_lists() -> None:
    resources = one("member"), one("group-with-members"), one("group-with-members", includeBotMembers=True)
    lines = asked(*resources)
    assert lines == [f"/groups/1/members?{FIRST}", f"/groups/2/members?{FIRST}"]
    plan = make_plan(make(*resources))
    assert plan.requests() == {"member": (2, 2), "group-with-members": (4, 0)}


# Jobs


def pipeline(id: int, created: str = "2026-04-01T00:00:00.000Z") -> Row:
    return {"id": id, "created_at": created}


def job(id: int, of: int, name: str = "test", created: str | None = None) -> Row:
    return {"id": id, "pipeline": {"id": of}, "name": name, "created_at": created or day(of)}


def day(number: int, minute: int = 0) -> str:
    """The pipelines of these tests are one a day, numbered by day."""
    return f"2026-{1 + number // 28:02}-{1 + number % 28:02}T00:{minute:02}:00.000Z"


def jobs_of(wanted: Sequence[int], every: list[Row], own: Callable[[int], list[Row]] | None = None) -> Play:
    """Play the jobs of one project: `every` is its job list, newest first."""

    def answer(get: Get) -> Reply:
        if get.path == "/projects/11/pipelines":
            return offset([pipeline(number, day(number)) for number in wanted])(get)
        if get.path == "/projects/11/jobs":
            query = dict(get.params)
            start = (int(query["page"]) - 1) * 100 if "page" in query else int(query.get("cursor", 0))
            cut = every[start : start + 100]
            more = start + 100 < len(every)
            return page(
                cut, following=None, link=f"https://gitlab.example.com/j?cursor={start + 100}" if more else None
            )
        number = int(get.path.split("/")[4])
        latest = {row["name"]: row for row in reversed(every) if row["pipeline"]["id"] == number}
        return offset(list(latest.values()))(get)

    return play_all(reads_of(make(one("job"), projects=PROJECTS[:1])), answer)


def every_job(pipelines: Iterable[int], each: int) -> list[Row]:
    """Jobs of these pipelines, newest first."""
    newest = sorted(pipelines, reverse=True)
    return [job(number * 1000 + n, number, f"job {n}") for number in newest for n in reversed(range(each))]


def test_no_pipelines_no_jobs() -> None:
    assert jobs_of([], every_job([1], 3)).urls == [f"/projects/11/pipelines?{PIPELINES}&{FIRST}"]


def test_jobs_come_from_the_job_list_up_to_its_end() -> None:
    every = every_job(range(1, 101), 5)
    played = jobs_of(range(60, 101), every)
    assert sorted(row["id"] for row in rows(played)) == sorted(
        row["id"] for row in every if row["pipeline"]["id"] >= 60
    )
    # The first three pages hold jobs of 41 wanted pipelines, the last two none: 41 requests would not prove it sooner.
    assert [line for line in played.urls if "jobs" in line] == [
        "/projects/11/jobs?pagination=keyset&per_page=100",
        *(f"/projects/11/jobs?cursor={start}&per_page=100" for start in (100, 200, 300, 400)),
    ]


def test_jobs_whose_ids_and_dates_run_in_opposite_order_all_come() -> None:
    # As an import makes them: the oldest pipeline's jobs have the highest ids.
    every = [job(1000 - n, 1 + n // 5, f"job {n % 5}", day(1 + n // 5)) for n in range(300)]
    everything = jobs_of(range(1, 61), every)
    assert len(rows(everything)) == 300
    some = [number for number in range(1, 61) if number % 12 < 7]
    assert len(rows(jobs_of(some, every))) == 5 * len(some) == 175


@pytest.mark.parametrize("missing", ["created_at", "name", "pipeline"])
def test_jobs_of_rows_without_a_field_that_may_be_null_all_come(missing: str) -> None:
    every = every_job(range(1, 41), 5)
    every[3] = every[3] | {missing: None}
    assert len(rows(jobs_of(range(1, 41), every))) == 200 - (missing == "pipeline")


def test_jobs_far_behind_those_of_other_pipelines_come_from_their_own_pipeline() -> None:
    # The newest wanted pipelines come at once, the oldest behind two thousand jobs of others.
    every = [*every_job([60, 61, 62], 2), *every_job(range(20, 60), 50), *every_job([1, 2], 5)]
    played = jobs_of([1, 2, 60, 61, 62], every)
    assert len(rows(played)) == 16
    assert sum("/jobs" in line for line in played.urls) == 8


def test_a_page_that_ends_with_the_oldest_pipeline_is_not_the_last() -> None:
    every = [job(n, 50, f"job {n}") for n in range(150, 0, -1)] + every_job(range(1, 50), 4)
    assert len(rows(jobs_of([50], every))) == 150


def test_every_job_list_read_to_its_end_is_complete() -> None:
    every = every_job(range(1, 41), 5)
    assert len(rows(jobs_of(range(1, 41), every))) == 200


def test_of_retried_jobs_the_newest_stays() -> None:
    every = [
        job(9, 2),
        job(8, 1, "test", day(2, 5)),
        job(7, 2, "build"),
        job(6, 2),
        job(5, 1),
        job(4, 1, "build"),
        job(3, 1),
    ]
    assert [row["id"] for row in rows(jobs_of([1, 2], every))] == [9, 8, 7, 4]


def test_a_retried_job_on_a_later_page_stays_out() -> None:
    every = [job(1000, 3, "again"), *[job(n, 3, f"job {n}") for n in range(999, 899, -1)], job(1, 3, "again", day(3))]
    assert [row["id"] for row in rows(jobs_of([3], every)) if row["name"] == "again"] == [1000]


def test_jobs_of_pipelines_that_are_not_wanted_stay_out() -> None:
    every = every_job(range(1, 11), 2)
    assert {row["pipeline"]["id"] for row in rows(jobs_of([3, 7], every))} == {3, 7}
    strange = [*every, {"id": 1, "name": "x", "created_at": day(3), "pipeline": None}]
    assert len(rows(jobs_of([3, 7], strange))) == 4


def test_few_old_pipelines_are_asked_one_by_one() -> None:
    every = every_job(range(1, 101), 50)
    played = jobs_of([2, 3], every)
    assert [line.partition("?")[0] for line in played.urls] == [
        "/projects/11/pipelines", "/projects/11/jobs", "/projects/11/jobs",
        "/projects/11/pipelines/2/jobs", "/projects/11/pipelines/3/jobs",
    ]  # fmt: skip
    assert sorted(row["id"] for row in rows(played)) == sorted(
        row["id"] for row in every if row["pipeline"]["id"] in (2, 3)
    )


def test_a_burst_of_jobs_is_no_reason_to_ask_pipeline_by_pipeline() -> None:
    # The newest pipelines ran within a minute; the others lie far back but are small.
    burst = [job(990_000 - n, 100, f"burst {n}", day(100, 1)) for n in range(80)]
    every = [*burst, *every_job(range(1, 100), 4)]
    played = jobs_of(range(1, 101), every)
    assert len(rows(played)) == len(every)
    assert sum("/jobs" in line for line in played.urls) == 5


def test_switching_to_single_pipelines_gives_every_job_once() -> None:
    every = [*every_job([18, 19, 20], 2), *every_job(range(1, 18), 150)]
    played = jobs_of([1, 18, 19, 20], every)
    got = [row["id"] for row in rows(played)]
    assert sorted(got) == sorted(row["id"] for row in every if row["pipeline"]["id"] in (1, 18, 19, 20))
    single = {line.split("/")[4].partition("?")[0] for line in played.urls if "/pipelines/" in line}
    assert single == {"1", "18", "19", "20"}, "nothing proves that one of them is complete"


@pytest.mark.parametrize(("pipelines", "each"), [(5, 1), (50, 3), (30, 40), (20, 99), (10, 250)])
def test_reading_the_job_list_never_costs_much_more_than_pipeline_by_pipeline(pipelines: int, each: int) -> None:
    every = every_job(range(1, pipelines + 1), each)
    played = jobs_of(range(1, pipelines + 1), every)
    assert len(rows(played)) == len(every)
    one_by_one = pipelines * -(-each // 100)
    whole = -(-len(every) // 100)
    assert sum("/jobs" in line for line in played.urls) <= min(one_by_one + 2, 2 * whole + 2 + one_by_one)


def test_v1_takes_every_job() -> None:
    every = ids(250)
    made = make(one("job"), dialect="gitlab", projects=PROJECTS[:1])
    played = play_all(reads_of(made), keyset(every))
    assert [row["id"] for row in rows(played)] == list(range(1, 251))


def test_pipelines_and_their_jobs_share_the_pipeline_list() -> None:
    answers = {"/projects/11/pipelines": page([pipeline(1)]), "/projects/11/jobs": page([job(1, 1)], following=None)}
    lines = asked(one("pipeline"), one("job"), projects=PROJECTS[:1], answers=answers)
    assert lines == [
        f"/projects/11/pipelines?{PIPELINES}&{FIRST}", "/projects/11/jobs?pagination=keyset&per_page=100",
    ]  # fmt: skip
    others = asked(one("pipeline"), one("job", pipelineQueryParams={"ref": "main"}), projects=PROJECTS[:1])
    assert len(others) == 2, "other pipelines, other lists"
    plan = make_plan(make(one("pipeline"), one("job"), projects=PROJECTS[:1]))
    assert plan.requests() == {"pipeline": (1, 1), "job": (1, 1)}


# The plan


def test_the_plan_needs_the_listings_of_its_selectors() -> None:
    config = mapping(
        one("issue", includeOnlyActiveGroups=True),
        one("member"),
        one("job", includeOnlyActiveProjects=False),
        one("group"),
    )
    assert needed_actives(config) == (frozenset({True, None}), frozenset({False}))


def test_kinds_are_read_in_the_order_of_the_mapping() -> None:
    reads = reads_of(make(one("issue"), one("group"), one("issue", state="closed"), one("project")))
    assert [(read.kind, read.resources) for read in reads] == [
        ("issue", (0,)), ("issue", (2,)), ("group", (1,)), ("project", (3,)),
    ]  # fmt: skip


def test_the_plan_in_words() -> None:
    both = inventory(listing(ONE, GROUPS, PROJECTS), listing("token 2", [], [PERSONAL]))
    lines = list(make_plan(context(both, one("pipeline"))).lines())
    assert lines == [
        "token 1: reads 2 groups and 2 projects", "  group grp", "  group grp/sub", "  project grp/one",
        "  project grp/sub/two", "token 2: reads 0 groups and 1 project", "  project ada/dotfiles",
        "pipeline: 3 reads, at least 3 GitLab requests",
    ]  # fmt: skip


def test_pages_say_where_their_rows_come_from() -> None:
    answers = {"/groups/1/issues": page(ids(1)), "/projects/13/issues": page(ids(1))}
    played = play_all(reads_of(make(one("issue"), one("issue"), projects=[PERSONAL])), script(answers))
    assert [(e.kind, e.resources, e.scope.path, e.scope.token) for e in played.said if isinstance(e, Page)] == [
        ("issue", (0, 1), "grp", ONE), ("issue", (0, 1), "ada/dotfiles", ONE),
    ]  # fmt: skip
    assert url(played.asked[0]).endswith(sized(()))


def test_the_table_of_kinds_has_every_kind_under_its_own_name() -> None:
    files = (file.stem for file in Path(kinds.__file__).parent.glob("*.py"))
    with_kind = {name for name in files if hasattr(import_module(f"{kinds.__name__}.{name}"), "KIND")}
    named = {name.replace("-", "_") for name in KINDS}
    assert named == with_kind, (
        f"NAMES in gitlab/kinds/__init__.py lacks a name or has one too many: {named ^ with_kind}"
    )
    assert {name: kind.name for name, kind in KINDS.items()} == {name: name for name in KINDS}
    assert {name: kind.selector for name, kind in KINDS.items()} == dict(kinds.SELECTORS)
    assert "kind" not in KINDS
    with pytest.raises(KeyError):
        KINDS["members"]


def test_the_jobs_of_a_project_are_read_right_after_the_pipelines_that_they_share() -> None:
    made = make(one("pipeline"), one("issue"), one("job"))
    assert len(PROJECTS) > 1
    order = [(read.kind, read.scope.id) for read in reads_of(made) if read.kind != "issue"]
    ids = list(dict.fromkeys(number for _, number in order))
    assert order == [(kind, number) for number in ids for kind in ("pipeline", "job")]
