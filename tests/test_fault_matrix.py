"""Every way to fail, for every kind and both ends of its list: what the run says, what it deletes, what it leaves."""

import os
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NamedTuple

import pytest

from gitlab_port_export.demo import gitlab_list_rows as lists
from gitlab_port_export.demo.gitlab import Fault, faults
from gitlab_port_export.demo.gitlab_faults import Answer, Drop, Recorded, Slow, Truncate, reply_json
from gitlab_port_export.demo.port_faults import Fault as PortFault
from gitlab_port_export.demo.port_faults import Recorded as PortRecorded
from gitlab_port_export.demo.port_faults import drop, html, refuse, slow
from gitlab_port_export.demo.world import DEVELOPER, OWNER, Row, World
from gitlab_port_export.model import Written, target
from gitlab_port_export.report.values import total, writes
from testbed.faults import BRIEF, NEVER, SLOWER, Outcome, Snapshot, Stage, gone, one_evaluator, stage, strange
from testbed.harness import blueprint, mapping_of, port_with, resource

# What becomes of one list when it fails for one scope. "held": Port keeps what is gone in GitLab; "gone": it is
# deleted. `tested` is the kind that the list is read for, `other` a kind that GitLab gives as usual.
#
# fault            | times  | exit | tested | other | the report says
ONE_LIST = """
401                | always | 1    | held   | gone  | GitLab takes the token elsewhere
401                | once   | 0    | gone   | gone  |
403                | always | 1    | held   | gone  | at least the role that may read this
insufficient scope | always | 1    | held   | gone  | give the token the scope read_api
404                | always | 1    | held   | gone  | it was deleted or moved
429 text           | always | 1    | held   | gone  | GitLab's rate limit did not let go
429 text           | once   | 0    | gone   | gone  |
429 JSON           | always | 1    | held   | gone  | GitLab's rate limit did not let go
429 JSON           | once   | 0    | gone   | gone  |
500                | always | 1    | held   | gone  | GitLab was in trouble
502                | once   | 0    | gone   | gone  |
HTML               | always | 1    | held   | gone  | no login page or proxy answers in its place
another shape      | always | 1    | held   | gone  | answered 200 with JSON of another shape
drop               | always | 1    | held   | gone  | did not answer
drop               | once   | 0    | gone   | gone  |
truncate           | always | 1    | held   | gone  | did not answer
truncate           | once   | 0    | gone   | gone  |
slow               | always | 1    | held   | gone  | did not answer
slow               | once   | 0    | gone   | gone  |
token revoked      | always | 1    | held   | held  | make a new one with the scope read_api
"""
# The same for GET /groups and GET /projects, on which everything rests: with a second token that lists the same, and
# with none ("alone"). Exit 3: nothing was compared with Port.
#
# fault            | times  | alone | two tokens | every kind | the report says
INVENTORY = """
401                | always | 3     | 1          | held       | GitLab takes the token elsewhere
401                | once   | 0     | 0          | gone       |
403                | always | 3     | 1          | held       | at least the role that may read this
insufficient scope | always | 3     | 1          | held       | give the token the scope read_api
404                | always | 3     | 1          | held       | it was deleted or moved
429 text           | always | 3     | 1          | held       | GitLab's rate limit did not let go
429 text           | once   | 0     | 0          | gone       |
429 JSON           | always | 3     | 1          | held       | GitLab's rate limit did not let go
429 JSON           | once   | 0     | 0          | gone       |
500                | always | 3     | 1          | held       | GitLab was in trouble
502                | once   | 0     | 0          | gone       |
HTML               | always | 3     | 1          | held       | no login page or proxy answers in its place
another shape      | always | 3     | 1          | held       | answered 200 with JSON of another shape
drop               | always | 3     | 1          | held       | did not answer
drop               | once   | 0     | 0          | gone       |
truncate           | always | 3     | 1          | held       | did not answer
truncate           | once   | 0     | 0          | gone       |
a gateway's list   | always | 3     | 1          | held       | none of the headers that GitLab sends with a list
slow               | always | 3     | 1          | held       | did not answer
slow               | once   | 0     | 0          | gone       |
too large a page   | always | 0     | 0          | gone       |
token revoked      | always | 3     | 1          | held       | make a new one with the scope read_api
"""
# The same for GET /user, the first question of a run; a token may be forbidden to ask it and still read groups.
#
# fault            | times  | exit | every kind | the report says
FIRST_CONTACT = """
401                | always | 3    | held       | make a new one with the scope read_api
401                | once   | 0    | gone       |
403                | always | 0    | gone       |
insufficient scope | always | 0    | gone       |
404                | always | 3    | held       | it was deleted or moved
429 text           | always | 3    | held       | GitLab's rate limit did not let go
429 text           | once   | 0    | gone       |
429 JSON           | always | 3    | held       | GitLab's rate limit did not let go
429 JSON           | once   | 0    | gone       |
500                | always | 3    | held       | GitLab was in trouble
502                | once   | 0    | gone       |
HTML               | always | 3    | held       | no login page or proxy answers in its place
another shape      | always | 3    | held       | answered 200 with JSON of another shape
drop               | always | 3    | held       | did not answer
drop               | once   | 0    | gone       |
truncate           | always | 3    | held       | did not answer
truncate           | once   | 0    | gone       |
token revoked      | always | 3    | held       | make a new one with the scope read_api
"""
ANSWERS: dict[str, Callable[[], Answer]] = {
    "401": faults.unauthorized,
    "403": faults.forbidden,
    "insufficient scope": faults.insufficient_scope,
    "404": faults.not_found,
    "429 text": faults.throttled,
    "429 JSON": faults.endpoint_throttled,
    "500": faults.server_error,
    "502": faults.bad_gateway,
    "HTML": faults.login_page,
    "another shape": faults.not_a_list,
    "drop": Drop,
    "truncate": Truncate,
    "slow": lambda: Slow(NEVER),
    "too large a page": faults.server_error,
    "maintenance": faults.not_a_list,
    "no rows": lambda: reply_json(200, [], ("X-Next-Page", "")),
    "a gateway's list": faults.gateway_list,
}
PAGES = ("first", "later")
DIALECTS = ["gitlab-v2", "gitlab"]
MANY, FULL = 120, 100
# `make soak` runs every combination. `make test` runs a part that covers them: every kind meets every second fault,
# half of these on each page, and the next kind the others; every call of Port meets every effect once or always.
SOAK = bool(os.environ.get("SOAK"))
OFTEN, SELDOM = (DIALECTS, DIALECTS) if SOAK else (["gitlab-v2"], ["gitlab"])


class Line(NamedTuple):
    """One line of a table."""

    fault: str
    times: str
    cells: tuple[str, ...]
    words: str

    def __str__(self) -> str:
        return f"{self.fault} {self.times}".replace(" ", "-")


def table(text: str) -> list[Line]:
    """The lines of a table."""
    rows = [[cell.strip() for cell in line.split("|")] for line in text.strip().splitlines()]
    return [Line(fault, times, tuple(cells), words) for fault, times, *cells, words in rows]


# The world: two groups and a subgroup, a project in each, and one kind with more than a page of rows


@dataclass(frozen=True)
class Company:
    """What the tests name of their world."""

    world: World
    alpha: Row
    beta: Row
    one: Row
    two: Row
    three: Row
    people: list[Row]


def company() -> Company:
    """A small world that two tokens see alike."""
    world = World(datetime.now(UTC).replace(microsecond=0))
    reader = world.add_user("catalog-reader")
    people = [world.add_user(f"user-{n:03}") for n in range(10)]
    alpha, beta = world.add_group("alpha"), world.add_group("beta")
    sub = world.add_group("sub", alpha)
    for secret in ("token-of-alice", "token-of-bob"):
        world.add_token(secret, reader)
    for group in (alpha, beta):
        world.add_member(group, reader, OWNER)
        world.add_member(group, people[0], DEVELOPER)
    one, two, three = (world.add_project(g, p) for g, p in ((alpha, "one"), (sub, "two"), (beta, "three")))
    for project in (one, two, three):
        world.set_languages(project, Go=60.0, Shell=40.0)
        world.add_label(project, "bug")
        for title in ("A change", "Another change"):
            world.add_merge_request(project, title, author=people[0])
        for title in ("An issue", "Another issue"):
            world.add_issue(project, title, author=people[0])
        world.add_job(world.add_pipeline(project), "build")
    return Company(world, alpha, beta, one, two, three, people)


@dataclass(frozen=True)
class Subject:
    """One list under test: the kind it is read for, where it is found, and how its rows come to be and change.

    `change` deletes one entity of the kind, changes one and adds one.
    """

    name: str
    kind: str
    path: Callable[[Company], str]
    fill: Callable[[Company], Any]
    change: Callable[[Company], Any]
    fields: dict[str, Any]
    later_path: Callable[[Company], str] | None = None
    in_group: bool = True
    dialects: tuple[str, ...] = ("gitlab-v2", "gitlab")
    other: str = "issue"
    counted: bool = True
    # Read by the same lines as another subject, so that `make soak` will do.
    alike: bool = False

    def __str__(self) -> str:
        return self.name

    def place(self, page: str) -> str:
        """The scope whose list it is."""
        if self.in_group:
            return "alpha"
        return "alpha/sub/two" if self.later_path and page == "later" else "alpha/one"


def of_group(name: str) -> Callable[[Company], str]:
    return lambda c: f"/groups/{c.alpha['id']}/{name}"


def of_project(name: str, which: str = "one") -> Callable[[Company], str]:
    return lambda c: f"/projects/{getattr(c, which)['id']}/{name}"


def newcomers(c: Company, source: Row, count: int, name: str = "member") -> list[Row]:
    """So many new people as members of a group or project."""
    return [c.world.add_member(source, c.world.add_user(f"{name}-{n:03}"), DEVELOPER) for n in range(count)]


def change_projects(c: Company) -> None:
    c.world.delete_project(c.world.project("alpha/old"))
    c.world.set_languages(c.one, Rust=100.0)
    c.world.set_languages(c.world.add_project(c.beta, "new"), C=100.0)
    c.world.add_label(c.two, "new")


def change_groups(c: Company) -> None:
    c.world.delete_group(c.world.group("alpha/old"))
    c.world.add_group("new", c.beta)
    newcomers(c, c.alpha, 1, "newcomer")


def change_members(c: Company) -> None:
    members = c.world.group_members[c.alpha["id"]]
    c.world.remove_member(c.alpha, c.world.users[members[40]["id"]])
    members[30] |= {"name": "Another Name"}
    newcomers(c, c.alpha, 1, "newcomer")


def change_rows(
    held: str, name: str, new: Callable[[World, Row, str], Row], where: str = "one"
) -> Callable[[Company], None]:
    """Delete, change and add a row of the list of the first project or group."""

    def change(c: Company) -> None:
        rows = getattr(c.world, held)[getattr(c, where)["id"]]
        del rows[40]
        rows[30] |= {name: "something else"}
        new(c.world, getattr(c, where), "new")
        c.world.touch()

    return change


def change_default_branches(c: Company) -> None:
    commit = {"title": "something else"}
    lists.add_branch(c.world, c.one, "main", commit=commit)
    c.world.delete_project(c.world.project("alpha/old"))
    c.world.add_project(c.beta, "new")


def add_deployment(world: World, project: Row) -> Row:
    (production,) = world.environments[project["id"]]
    return lists.add_deployment(world, project, production)


def many_deployments(c: Company) -> None:
    lists.add_environment(c.world, c.one, "production")
    for _ in range(MANY):
        add_deployment(c.world, c.one)


def change_jobs(c: Company) -> None:
    jobs = c.world.jobs[c.one["id"]]
    del jobs[40]
    jobs[30] |= {"stage": "something else"}
    c.world.add_job(c.world.pipelines[c.one["id"]][-1], "new", stage="test")


def many_jobs(c: Company) -> None:
    for start in range(0, MANY, 60):
        pipeline = c.world.add_pipeline(c.one)
        for n in range(start, start + 60):
            c.world.add_job(pipeline, f"job {n}", stage="test")


def steps(*found: Callable[[Company], Any]) -> Callable[[Company], Any]:
    """Do one after the other."""
    return lambda c: [step(c) for step in found]


def titled(text: str) -> dict[str, Any]:
    return {"properties": {"text": text}}


def info(c: Company, project: Row, text: str) -> None:
    c.world.set_file(project, "info.json", f'{{"text": "{text}"}}')


def in_all(put: Callable[[Company, Row, str], None]) -> tuple[Callable[[Company], None], Callable[[Company], None]]:
    """Put something into each project and one more; then take that away, put something else, and it into a new one."""

    def before(c: Company) -> None:
        for number, project in enumerate((c.one, c.two, c.three, c.world.add_project(c.alpha, "old"))):
            put(c, project, f"number {number}")

    def change(c: Company) -> None:
        c.world.delete_project(c.world.project("alpha/old"))
        put(c, c.one, "something else")
        put(c, c.world.add_project(c.beta, "new"), "new")

    return before, change


def long_tree(c: Company) -> None:
    """More than a page of entries, of which a few are wanted, on the first page and the last."""
    for n in range(MANY):
        c.world.set_file(c.one, f"dirs/{n:03}/x.txt", "")
    for n in range(4):
        c.world.set_file(c.one, f"spec/{n}.json", f'{{"text": "number {n}"}}')


def change_tree(c: Company) -> None:
    c.world.remove_file(c.one, "spec/3.json")
    c.world.set_file(c.one, "spec/2.json", '{"text": "something else"}')
    c.world.set_file(c.one, "spec/new.json", '{"text": "new"}')
    for n in (5, 110):
        c.world.remove_file(c.one, f"dirs/{n:03}/x.txt")
    c.world.set_file(c.one, "dirs/new/x.txt", "")


def files(path: str) -> dict[str, Any]:
    return {
        "selector": {"files": {"path": path}},
        "identifier": '.repo.path + "/" + .file.file_path',
        **titled(".file.content.text"),
    }


def old_project(c: Company) -> None:
    c.world.set_languages(c.world.add_project(c.alpha, "old"), Perl=100.0)


def change_roles(c: Company) -> None:
    members = c.world.project_members[c.one["id"]]
    c.world.remove_member(c.one, c.world.users[members[40]["id"]])
    members[30] |= {"access_level": OWNER}
    newcomers(c, c.one, 1, "newcomer")


def skill(c: Company, name: str, text: str) -> None:
    c.world.set_file(c.one, f"skills/{name}/SKILL.md", f"---\ndescription: {text}\n---\n")


def many_skills(c: Company) -> None:
    """More than a page of entries, of which a few are skills, on the first page and the last."""
    for n in range(MANY):
        c.world.set_file(c.one, f"skills/{n:03}/notes.txt", "")
    for n in (0, 1, 2, 110, 111, 112):
        skill(c, f"{n:03}", f"number {n}")


def change_skills(c: Company) -> None:
    c.world.remove_file(c.one, "skills/111/SKILL.md")
    c.world.remove_file(c.one, "skills/001/SKILL.md")
    skill(c, "112", "something else")
    skill(c, "new", "new")


MANIFEST = "gemini-extension.json"


def manifest(c: Company, project: Row, version: str) -> None:
    c.world.set_file(project, MANIFEST, f'{{"version": "{version}"}}')


MEMBERS = titled('.__members | map(.username) | join(" ")')
EVERY = (
    Subject(
        "project", "project", of_project("languages"), old_project, change_projects,
        {"selector": {"includeLanguages": True}, **titled('.__languages | keys | join(" ")')},
        later_path=of_project("languages", "two"), in_group=False, counted=False,
    ),
    Subject(
        "project-labels", "project", of_project("labels"),
        steps(old_project, lambda c: [c.world.add_label(c.one, f"label {n}") for n in range(MANY)]),
        change_projects, {"selector": {"includeLabels": True}, **titled('.__labels | map(.name) | join(" ")')},
        in_group=False, dialects=("gitlab-v2",),
    ),
    Subject(
        "member", "member", of_group("members"), lambda c: newcomers(c, c.alpha, MANY), change_members,
        {"identifier": ".username", **titled(".name")},
    ),
    Subject(
        "group-with-members", "group-with-members", of_group("members"),
        steps(lambda c: newcomers(c, c.alpha, MANY), lambda c: c.world.add_group("old", c.alpha)), change_groups,
        MEMBERS,
    ),
    Subject(
        "project-with-members", "project-with-members", of_project("members"),
        steps(lambda c: newcomers(c, c.one, MANY), old_project),
        steps(change_projects, lambda c: newcomers(c, c.one, 1, "newcomer")), MEMBERS, in_group=False,
    ),
    Subject(
        "merge-request", "merge-request", of_group("merge_requests"),
        lambda c: [c.world.add_merge_request(c.one, f"Change {n}") for n in range(MANY)],
        change_rows("merge_requests", "title", World.add_merge_request), titled(".title"),
    ),
    Subject(
        "issue", "issue", of_group("issues"),
        lambda c: [c.world.add_issue(c.one, f"Issue {n}") for n in range(MANY)],
        change_rows("issues", "title", World.add_issue), titled(".title"), other="merge-request",
    ),
    Subject(
        "pipeline", "pipeline", of_project("pipelines"),
        lambda c: [c.world.add_pipeline(c.one) for n in range(MANY)],
        change_rows("pipelines", "ref", lambda world, project, _: world.add_pipeline(project)), titled(".ref"),
        in_group=False,
    ),
    Subject(
        "job", "job", of_project("jobs"), many_jobs, change_jobs, titled(".stage"), in_group=False, counted=False,
    ),
    Subject(
        "job-pipelines", "job", of_project("pipelines"),
        lambda c: [c.world.add_job(c.world.add_pipeline(c.one), f"job {n}") for n in range(MANY)],
        change_jobs, titled(".stage"), in_group=False, dialects=("gitlab-v2",),
    ),
    Subject(
        "file", "file", of_project("repository/tree"), long_tree, change_tree, files("**/spec/*.json"), in_group=False,
        counted=False,
    ),
    Subject(
        "file-content", "file", of_project("repository/files/info.json"), *in_all(info), files("info.json"),
        later_path=of_project("repository/files/info.json", "two"), in_group=False, counted=False, dialects=("gitlab",),
    ),
    Subject(
        "folder", "folder", of_project("repository/tree"), long_tree, change_tree,
        {
            "selector": {"folders": [{"path": "dirs/*"}]},
            "identifier": '.repo.path + "/" + .folder.name', **titled(".folder.path"),
        },
        in_group=False, counted=False, dialects=("gitlab-v2",),
    ),
    # These are read alike in both dialects.
    Subject(
        "release", "release", of_project("releases"),
        lambda c: [lists.add_release(c.world, c.one, f"v{n:03}") for n in range(MANY)],
        change_rows("releases", "name", lists.add_release), {"identifier": ".tag_name", **titled(".name")},
        in_group=False, dialects=("gitlab",),
    ),
    Subject(
        "tag", "tag", of_project("repository/tags"),
        lambda c: [lists.add_tag(c.world, c.one, f"v{n:03}") for n in range(MANY)],
        change_rows("tags", "message", lists.add_tag), {"identifier": ".name", **titled(".message")},
        in_group=False, alike=True, dialects=("gitlab-v2",), counted=False,
    ),
    Subject(
        "branch", "branch", lambda c: f"/projects/{c.one['id']}/repository/branches/main", old_project,
        change_default_branches, {"identifier": ".__project.path_with_namespace", **titled(".commit.title")},
        later_path=lambda c: f"/projects/{c.two['id']}/repository/branches/main",
        in_group=False, dialects=("gitlab",), counted=False,
    ),
    Subject(
        "branches", "branch", of_project("repository/branches"),
        lambda c: [lists.add_branch(c.world, c.one, f"b{n:03}") for n in range(MANY)],
        change_rows("branches", "merged", lists.add_branch),
        {
            "selector": {"defaultBranchOnly": False}, "identifier": '.__project.path_with_namespace + "@" + .name',
            **titled(".merged | tostring"),
        },
        in_group=False, dialects=("gitlab-v2",), counted=False,
    ),
    Subject(
        "deployment", "deployment", of_project("deployments"), many_deployments,
        change_rows("deployments", "ref", lambda world, project, _: add_deployment(world, project)), titled(".ref"),
        in_group=False, alike=True, dialects=("gitlab",),
    ),
    Subject(
        "environment", "environment", of_project("environments"),
        lambda c: [lists.add_environment(c.world, c.one, f"review/{n}") for n in range(MANY)],
        change_rows("environments", "tier", lists.add_environment), titled(".tier"),
        in_group=False, alike=True, dialects=("gitlab-v2",),
    ),
    Subject(
        "label", "label", of_group("labels"),
        lambda c: [c.world.add_label(c.alpha, f"label {n}") for n in range(MANY)],
        change_rows("group_labels", "color", World.add_label, "alpha"), titled(".color"), dialects=("gitlab",),
    ),
    Subject(
        "milestone", "milestone", of_group("milestones"),
        lambda c: [lists.add_milestone(c.world, c.alpha, f"milestone {n}") for n in range(MANY)],
        change_rows("group_milestones", "title", lists.add_milestone, "alpha"), titled(".title"),
        alike=True, dialects=("gitlab-v2",),
    ),
    Subject(
        "user", "user", of_group("members"), lambda c: newcomers(c, c.alpha, MANY), change_members,
        {"identifier": ".username", **titled(".name")}, alike=True, dialects=("gitlab",),
    ),
    Subject(
        "access", "access", of_project("members"), lambda c: newcomers(c, c.one, MANY), change_roles,
        {"identifier": '.__scope.full_path + ":" + .username', **titled(".access_role")},
        in_group=False, dialects=("gitlab-v2",),
    ),
    Subject(
        "skill", "skill", of_project("repository/tree"), many_skills, change_skills,
        {"identifier": '.repo.path + "/" + .skill.path', **titled(".skill.description")},
        in_group=False, counted=False, alike=True, dialects=("gitlab",),
    ),
    Subject(
        "plugin", "plugin", of_project(f"repository/files/{MANIFEST}"), *in_all(manifest),
        {"identifier": ".repo.path", **titled(".plugin.version")},
        later_path=of_project(f"repository/files/{MANIFEST}", "two"), in_group=False, counted=False, alike=True,
        dialects=("gitlab-v2",),
    ),
)  # fmt: skip
SUBJECTS = tuple(one for one in EVERY if SOAK or not one.alike)
# What is read alike in both dialects is tried in the older one by `make soak`.
OLDER = tuple(one for one in SUBJECTS if SOAK or one.name == "job" or "gitlab-v2" not in one.dialects)


def many_places(c: Company) -> None:
    """More than a page of groups and of projects."""
    c.world.add_group("old", c.alpha)
    for n in range(MANY):
        c.world.add_group(f"group-{n:03}", c.beta)
        c.world.add_project(c.beta, f"project-{n:03}")


def change_places(c: Company) -> None:
    c.world.delete_project(c.world.project("beta/project-050"))
    c.world.add_project(c.beta, "new")
    change_groups(c)


GROUPS, PROJECTS, USER = (
    Subject(
        name, "group", lambda c, path=f"/{name}": path, many_places, change_places, titled(".path"), other="project"
    )  # type: ignore[misc]  # mypy cannot type a lambda's default
    for name in ("groups", "projects", "user")
)


@dataclass(frozen=True)
class Scene:
    """A stage on which GitLab has changed since Port was filled: `before` is in Port, `after` ought to be."""

    subject: Subject
    company: Company
    stage: Stage
    before: Snapshot
    after: Snapshot
    # From where a clean run was seen to bring Port in step; it would do the same again.
    proved: list[Snapshot] = field(default_factory=list)

    def requests_of(self, page: str) -> Callable[[Recorded], bool]:
        """Pick the requests for the first page of the subject's list, or those for all that follow."""
        subject, rule = self.subject, page_rule(page)
        if subject.later_path is None:
            wanted = subject.path(self.company)
            return lambda request: request.path == wanted and rule(request)
        lone = (subject.path if page == "first" else subject.later_path)(self.company)
        return lambda request: request.path == lone

    def run(self, line: Line, match: Callable[[Recorded], bool]) -> Outcome:
        """Run once while GitLab fails as the line says, and see to it that it does."""
        self.stage.reset()
        asked: list[Recorded] = []

        def fires(request: Recorded) -> bool:
            if not (wanted := match(request)):
                return False
            asked.append(request)
            if line.fault == "token revoked":
                # From now on GitLab itself refuses it.
                self.stage.world.tokens[request.token].revoked = True
                return False
            return wanted and not (line.fault == "too large a page" and dict(request.query)["per_page"] != str(FULL))

        answer = ANSWERS.get(line.fault, faults.revoked)()
        if line.fault == "another shape" and (self.subject.later_path or self.subject is USER):
            answer = reply_json(200, [])
        # Without GraphQL each list of languages is a read of its own.
        self.stage.gitlab.faults.append(Fault("^/api/graphql$", faults.not_found()))
        self.stage.gitlab.faults.append(Fault(fires, answer, times=1 if line.times == "once" else None))
        outcome = self.stage.run(timeout=BRIEF if line.fault == "slow" else 20)
        assert asked
        return outcome

    def check(self, outcome: Outcome, tested: str, other: str) -> None:
        """What must have become of both blueprints; and that one clean run brings Port in step."""
        now = self.stage.port.store.snapshot()
        assert strange(self.before, self.after, now) == []
        for name, wanted in (("tested", tested), ("other", other)):
            expected = gone(self.before, self.after, name) if wanted == "gone" else set()
            assert gone(self.before, now, name) == expected, name
            assert expected or wanted == "held"
        self.check_clean_run()

    def check_clean_run(self) -> None:
        """Without any fault, one run brings Port in step."""
        start = self.stage.port.store.snapshot()
        if start == self.after or start in self.proved:
            return
        self.mend()
        clean = self.stage.run()
        assert clean.code == 0, clean.words
        assert self.stage.port.store.snapshot() == self.after
        self.proved.append(start)

    def check_confirmed(self, outcome: Outcome) -> None:
        """Every change that the run calls written is there, and the report counts no other."""
        now = self.stage.port.store.snapshot()
        seen: set[tuple[str, str]] = set()
        for event in outcome.events:
            if isinstance(event, Written):
                name, identifier = target(event.change)
                assert now[name].get(identifier) == self.after[name].get(identifier)
                assert (name, identifier) not in seen
                seen.add((name, identifier))
        if outcome.report is not None:
            assert writes(total(outcome.report.blueprints.values())) == len(seen)

    def mend(self) -> None:
        """End every fault; what Port holds stays."""
        self.stage.gitlab.faults.clear()
        self.stage.port.faults.clear()
        for token in self.stage.world.tokens.values():
            token.revoked = False


@pytest.fixture(scope="module", autouse=True)
def evaluator() -> Iterator[None]:
    with one_evaluator():
        yield


@pytest.fixture(scope="module")
def scene(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """The scene of one (subject, dialect, secrets)."""
    subject, dialect, tokens = request.param
    found = company()
    subject.fill(found)
    text = titled(".path" if subject.other == "project" else ".title")
    mapping = mapping_of(resource(subject.kind, "tested", **subject.fields), resource(subject.other, "other", **text))
    store = port_with(blueprint("other", text="string"), blueprint("tested", {"of": "other"}, text="string"))
    folder = tmp_path_factory.mktemp("scene")
    with stage(found.world, store, folder, mapping=mapping, tokens=tokens, type=dialect) as on:
        first = on.run()
        assert first.code == 0, first.words
        before = on.port.store.snapshot()
        on.remember()
        subject.change(found)
        for rows in (found.world.merge_requests, found.world.issues):
            del rows[found.three["id"]][0]
        found.world.touch()
        yield Scene(subject, found, on, before, on.fresh())


def page_rule(page: str) -> Callable[[Recorded], bool]:
    """Pick the requests for rows of the first page of a list, or those for all that follow."""

    def picks(request: Recorded) -> bool:
        query = dict(request.query)
        follows = bool({"cursor", "id_after", "id_before", "page_token"} & query.keys())
        return (page == "later") is (follows or (request.page - 1) * int(query.get("per_page", FULL)) >= FULL)

    return picks


def scenes(subjects: Iterable[Subject], dialects: Iterable[str], tokens: Any = "token-of-alice") -> Any:
    """Run a test in these scenes; one that makes all cells of a scene before the next."""
    params = [
        pytest.param((one, dialect, tokens), id=f"{dialect}-{one}")
        for one in subjects
        for dialect in dialects
        if dialect in one.dialects
    ]
    return pytest.mark.parametrize("scene", params, indirect=True, scope="module")


def cells(text: str, start: int = 0) -> Any:
    """Run a test for each line of a table and each page, or for one page a line in turn, from page `start` on."""
    found = [
        pytest.param(page, line, id=f"{page}-{line}")
        for number, line in enumerate(table(text), start)
        for place, page in enumerate(PAGES)
        if SOAK or place == number % len(PAGES)
    ]
    return pytest.mark.parametrize(("page", "line"), found)


def lists_failing(subjects: Iterable[Subject], dialect: str) -> Any:
    """Run a test for each subject, line of ONE_LIST and page that are to meet."""
    found = [
        pytest.param((one, dialect, "token-of-alice"), page, line, id=f"{dialect}-{one}-{page}-{line}")
        for number, one in enumerate(subjects)
        for nth, line in enumerate(table(ONE_LIST), number)
        for place, page in enumerate(PAGES)
        if dialect in one.dialects and (SOAK or nth % 4 == 2 * place)
    ]
    return pytest.mark.parametrize(("scene", "page", "line"), found, indirect=["scene"], scope="module")


def check_one_list(scene: Scene, page: str, line: Line) -> None:
    code, tested, other = line.cells
    match = scene.requests_of(page)
    outcome = scene.run(line, match)
    assert outcome.code == int(code), outcome.words
    assert line.words in outcome.words
    if outcome.code:
        place = f"in {scene.subject.place(page)}, with token 1, kind {scene.subject.kind}: "
        assert ("with token 1: " if line.fault == "token revoked" else place) in outcome.words
    scene.check(outcome, tested, other)


@lists_failing(SUBJECTS, "gitlab-v2")
def test_one_list_fails(scene: Scene, page: str, line: Line) -> None:
    check_one_list(scene, page, line)


@lists_failing(OLDER, "gitlab")
def test_one_list_fails_in_the_older_dialect(scene: Scene, page: str, line: Line) -> None:
    check_one_list(scene, page, line)


@pytest.mark.parametrize("page", PAGES)
@scenes([one for one in SUBJECTS if one.later_path is None], OFTEN)  # the others are no pages
def test_a_page_that_is_too_large_is_asked_for_in_parts(scene: Scene, page: str) -> None:
    scene.check(scene.run(Line("too large a page", "always", (), ""), scene.requests_of(page)), "gone", "gone")


@scenes(SUBJECTS[:1], DIALECTS)
def test_languages_are_names_and_numbers(scene: Scene) -> None:
    outcome = scene.run(Line("maintenance", "always", (), ""), scene.requests_of("first"))
    assert outcome.code == 1
    scene.check(outcome, "held", "gone")


@scenes([one for one in SUBJECTS if one.counted], DIALECTS)  # whose rows GitLab counts
def test_a_page_that_lost_its_rows_is_missed(scene: Scene) -> None:
    outcome = scene.run(Line("no rows", "always", (), ""), scene.requests_of("later"))
    assert outcome.code == 1
    assert "GitLab counts " in outcome.words
    assert f"in {scene.subject.place('later')}, with token 1, kind {scene.subject.kind}: " in outcome.words
    scene.check(outcome, "held", "gone")


@pytest.mark.parametrize("page", PAGES)
@scenes([one for one in SUBJECTS if one.later_path is None], OFTEN)  # the others are no lists
def test_an_empty_list_that_is_not_gitlabs_is_no_list(scene: Scene, page: str) -> None:
    outcome = scene.run(Line("a gateway's list", "always", (), ""), scene.requests_of(page))
    assert outcome.code == 1
    assert "none of the headers that GitLab sends with a list" in outcome.words
    scene.check(outcome, "held", "gone")


@cells(INVENTORY)
@scenes([GROUPS, PROJECTS], OFTEN)
def test_the_inventory_of_the_only_token_fails(scene: Scene, page: str, line: Line) -> None:
    code, _, all_kinds = line.cells
    outcome = scene.run(line, scene.requests_of(page))
    assert outcome.code == int(code), outcome.words
    assert line.words in outcome.words
    assert not outcome.code or "token 1: " in outcome.words
    assert not outcome.code or outcome.written() == 0
    scene.check(outcome, all_kinds, all_kinds)


@cells(INVENTORY, start=1)
@scenes([GROUPS, PROJECTS], SELDOM, tokens=("token-of-alice", "token-of-bob"))
def test_the_inventory_of_one_of_two_tokens_fails(scene: Scene, page: str, line: Line) -> None:
    _, code, all_kinds = line.cells
    match = scene.requests_of(page)
    outcome = scene.run(line, lambda request: request.token == "token-of-alice" and match(request))
    assert outcome.code == int(code), outcome.words
    assert line.words in outcome.words
    assert not outcome.code or "with token 1, kind groups and projects: " in outcome.words
    scene.check(outcome, all_kinds, all_kinds)


@pytest.mark.parametrize("line", table(FIRST_CONTACT), ids=str)
@scenes([USER], OFTEN)
def test_first_contact_fails(scene: Scene, line: Line) -> None:
    code, all_kinds = line.cells
    outcome = scene.run(line, scene.requests_of("first"))
    assert outcome.code == int(code), outcome.words
    assert line.words in outcome.words
    scene.check(outcome, all_kinds, all_kinds)


# The side of Port


def change_everything(c: Company) -> None:
    """More than a batch of new rows, a changed one, and rows of both blueprints that are gone."""
    for n in range(30):
        c.world.add_merge_request(c.two, f"New {n}")
    c.world.merge_requests[c.one["id"]][5] |= {"title": "something else"}
    del c.world.merge_requests[c.one["id"]][10:12]
    c.world.delete_project(c.world.project("alpha/old"))
    c.world.add_project(c.beta, "new")


RELATED = Subject(
    "related", "merge-request", lambda c: "",
    steps(old_project, lambda c: [c.world.add_merge_request(c.one, f"Change {n}") for n in range(20)]),
    change_everything, titled(".title") | {"relations": {"of": '.references.full | split("!")[0]'}}, other="project",
)  # fmt: skip
# Exit codes. Every change that the report counts is in Port; a sign-in, the integration's mapping and the blueprints
# are needed before anything (4), the resync state is only shown (0), the rest is a Problem (1). What halves or asks
# again gets through what comes once.
#
# endpoint          401 403 404 413 422 429 500 502 HTML drop lost late slow
PORT_ONCE = """
sign-in             4   4   4   4   4   0   0   0   4    0    0    0    0
integration         0   0   0   4   4   0   0   0   4    0    0    0    0
blueprints          0   4   4   4   4   0   0   0   4    0    0    0    0
state               0   0   0   0   0   0   0   0   0    0    0    0    0
search              0   1   1   1   1   0   0   0   1    0    0    0    0
upsert              0   1   1   0   0   0   0   0   1    0    0    0    0
owned               0   1   1   1   1   0   0   0   1    0    0    0    0
delete              0   1   0   0   0   0   0   0   1    0    0    0    0
"""
PORT_ALWAYS = """
sign-in             4   4   4   4   4   4   4   4   4    4    4    4    0
integration         0   0   0   4   4   4   4   4   4    4    4    4    4
blueprints          4   4   4   4   4   4   4   4   4    4    4    4    4
state               0   0   0   0   0   -   0   -   0    0    -    -    0
search              1   1   1   1   1   1   1   1   1    1    1    1    1
upsert              1   1   1   1   1   1   1   1   1    1    1    1    1
owned               1   1   1   1   1   1   1   1   1    1    1    1    1
delete              1   1   1   1   1   1   1   1   1    1    1    1    1
"""
ENDPOINTS = {
    "sign-in": "POST /v1/auth/access_token$",
    "integration": "GET /v1/integration/",
    "blueprints": "GET /v1/blueprints$",
    "state": "PATCH .*/resync-state$",
    "search": "POST /v1/blueprints/tested/entities/search$",
    "upsert": "POST /v1/blueprints/tested/entities/bulk$",
    "owned": "POST .*/datasource-entities$",
    "delete": "POST /v1/blueprints/tested/bulk/entities/delete$",
}
# "lost" and "late" are carried out before the connection ends or the 504 comes.
EFFECTS = {
    "401": refuse(401), "403": refuse(403), "404": refuse(404), "413": refuse(413), "422": refuse(422),
    "429": refuse(429, headers=(("Retry-After", "2"),)), "500": refuse(500), "502": html(502), "HTML": html(200),
    "drop": drop(), "lost": drop(applied=True), "late": refuse(504, applied=True), "slow": slow(SLOWER),
}  # fmt: skip


def port_cells() -> Iterator[Any]:
    """(endpoint, effect, how often, exit code) of both tables; "-" is left out: it waits by the clock."""
    for text, times in ((PORT_ONCE, 1), (PORT_ALWAYS, None)):
        for line in text.strip().splitlines():
            endpoint, *codes = line.split()
            for effect, code in zip(EFFECTS, codes, strict=True):
                if code != "-":
                    name = f"{endpoint}-{effect}-{'once' if times else 'always'}"
                    yield pytest.param(endpoint, effect, times, int(code), id=name)


PORT_CELLS = list(port_cells())


def covering() -> list[Any]:
    """Half of the cells: once or always, in turn, so that neither a call nor an effect is missed."""
    endpoints, effects = list(ENDPOINTS), list(EFFECTS)

    def chosen(endpoint: str, effect: str, times: int | None, _: int) -> bool:
        return (endpoints.index(endpoint) + effects.index(effect)) % 2 == (times is None)

    return [cell for cell in PORT_CELLS if SOAK or chosen(*cell.values)]


@pytest.mark.parametrize(("endpoint", "effect", "times", "code"), covering())
@scenes([RELATED], ["gitlab-v2"])
def test_port_fails(scene: Scene, endpoint: str, effect: str, times: int | None, code: int) -> None:
    on = scene.stage
    on.reset()
    asked: list[str] = []

    def picks(request: PortRecorded) -> bool:
        wanted = re.search(ENDPOINTS[endpoint], f"{request.method} {request.path}") is not None
        asked.extend([request.path] * wanted)
        return wanted

    on.port.faults.append(PortFault(picks, EFFECTS[effect], times=times))
    outcome = on.run(timeout=BRIEF if effect == "slow" else 20)
    # What is slow is carried out all the same, after the client has turned away.
    on.wait_until(lambda: len(on.port.calls(ENDPOINTS[endpoint])) >= len(asked) > 0)
    assert outcome.code == code, outcome.words
    scene.check_confirmed(outcome)
    if code == 0:
        assert on.port.store.snapshot() == scene.after
    scene.check_clean_run()


@pytest.mark.parametrize("effect", ["429", "500", "late"])
@scenes([RELATED], ["gitlab-v2"])
def test_port_in_trouble_is_not_a_refusal(scene: Scene, effect: str) -> None:
    scene.stage.reset()
    scene.stage.port.faults.append(PortFault(ENDPOINTS["sign-in"], EFFECTS[effect]))
    outcome = scene.stage.run()
    assert outcome.code == 4
    assert "refused the credentials" not in outcome.words


def test_so_many_combinations() -> None:
    """Run with -s to see the number."""
    lists = sum(len(PAGES) * len(table(ONE_LIST)) * len(one.dialects) for one in EVERY)
    parts = sum(len(PAGES) * len(one.dialects) for one in EVERY if one.later_path is None)
    inventory = 2 * 2 * len(PAGES) * len(DIALECTS) * len(table(INVENTORY))
    counted = sum(len(one.dialects) for one in EVERY if one.counted)
    everything = lists + 2 * parts + counted + inventory + len(DIALECTS) * len(table(FIRST_CONTACT)) + len(PORT_CELLS)
    print(f"\n{everything} combinations with `make soak`")
    assert everything == 2089
