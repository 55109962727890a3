"""What the safety suites know of branches."""

import re

from gitlab_port_export.demo import gitlab_list_rows as lists
from gitlab_port_export.demo.gitlab_list_rows import branch_row
from gitlab_port_export.demo.world import Row
from testbed.company import MANY, Company, change_rows, first_of, of_project, old_project, titled
from testbed.kinds.tag import with_code
from testbed.oracle_eyes import Eyes, Found, with_path, yes
from testbed.subject import Churn, FailingList, Subject


def _change(c: Company) -> None:
    commit = {"title": "something else"}
    lists.add_branch(c.world, c.one, "main", commit=commit)
    c.world.delete_project(c.world.project("alpha/old"))
    c.world.add_project(c.beta, "new")


def _rows(selector: Row, eye: Eyes) -> Found:
    pattern, words = selector.get("regex"), selector.get("search") or ""
    text = words.strip("^$").lower()
    for project in with_code(selector, eye):
        default = project["default_branch"]
        rows = eye.world.branches.get(project["id"]) or [branch_row(project, default)] if default else []
        for row in rows:
            name = row["name"]
            if yes(selector.get("defaultBranchOnly", True)):
                wanted = name == default
            elif pattern:
                wanted = re.search(pattern, name) is not None
            else:
                starts = not words.startswith("^") or name.startswith(text)
                wanted = text in name.lower() and starts and (not words.endswith("$") or name.endswith(text))
            if wanted:
                yield project["id"], row | with_path(project)


SUBJECT = Subject(
    fields={"identifier": '.__project.path_with_namespace + "@" + .name'},
    furnish=lambda world, project, _: lists.add_branch(world, project, project["default_branch"]),
    lists=(
        FailingList(
            "branch", "branch", lambda c: f"/projects/{c.one['id']}/repository/branches/main", old_project,
            _change, {"identifier": ".__project.path_with_namespace", **titled(".commit.title")},
            later_path=lambda c: f"/projects/{c.two['id']}/repository/branches/main",
            in_group=False, dialects=("gitlab",), counted=False,
        ),
        FailingList(
            "branches", "branch", of_project("repository/branches"),
            lambda c: [lists.add_branch(c.world, c.one, f"b{n:03}") for n in range(MANY)],
            change_rows("branches", "merged", lists.add_branch),
            {
                "selector": {"defaultBranchOnly": False}, "identifier": '.__project.path_with_namespace + "@" + .name',
                **titled(".merged | tostring"),
            },
            in_group=False, dialects=("gitlab-v2",), counted=False,
        ),
    ),
    churn=Churn(
        "/branches$", lambda world, _, project, number: lists.add_branch(world, project, f"b{number}"),
        first_of("branches"), {"identifier": ".name", "selector": {"defaultBranchOnly": False}}, page=None,
    ),
    rows=_rows,
    denied={"empty_repo": True, "default_branch": None},
)  # fmt: skip
