"""What the safety suites know of tags."""

from collections.abc import Iterator

from gitlab_port_export.demo import gitlab_list_rows as lists
from gitlab_port_export.demo.world import Row
from testbed.company import MANY, change_rows, first_of, of_project, titled
from testbed.oracle_eyes import Eyes, Found, active_projects, with_path
from testbed.subject import Churn, FailingList, Subject


def with_code(selector: Row, eye: Eyes) -> Iterator[Row]:
    """Projects with a repository that holds something."""
    for project in eye.projects(active_projects(selector)):
        if not project["empty_repo"] and eye.feature(project, "repository"):
            yield project


def _rows(selector: Row, eye: Eyes) -> Found:
    for project in with_code(selector, eye):
        yield from ((project["id"], row | with_path(project)) for row in eye.world.tags.get(project["id"], []))


SUBJECT = Subject(
    fields={"identifier": '.__project.path_with_namespace + "@" + .name'},
    furnish=lambda world, project, _: lists.add_tag(world, project, "v1"),
    lists=(
        FailingList(
            "tag", "tag", of_project("repository/tags"),
            lambda c: [lists.add_tag(c.world, c.one, f"v{n:03}") for n in range(MANY)],
            change_rows("tags", "message", lists.add_tag), {"identifier": ".name", **titled(".message")},
            in_group=False, alike=True, dialects=("gitlab-v2",), counted=False,
        ),
    ),
    churn=Churn(
        "/tags$", lambda world, _, project, number: lists.add_tag(world, project, f"v{number}"), first_of("tags"),
        {"identifier": ".name"}, page=None,
    ),
    rows=_rows,
    denied={"empty_repo": True},
)  # fmt: skip
