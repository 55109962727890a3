"""What the safety suites know of environments."""

from collections.abc import Iterator

from gitlab_port_export.demo import gitlab_list_rows as lists
from gitlab_port_export.demo.world import Row
from testbed.company import MANY, change_rows, first_of, of_project, titled
from testbed.oracle_eyes import Eyes, Found, active_projects, with_path
from testbed.subject import Churn, FailingList, Subject


def deploying(selector: Row, eye: Eyes) -> Iterator[Row]:
    for project in eye.projects(active_projects(selector)):
        if all(eye.feature(project, name) for name in ("repository", "builds", "environments")):
            yield project


def _rows(selector: Row, eye: Eyes) -> Found:
    states = selector.get("states", ["available", "stopping", "stopped"])
    for project in deploying(selector, eye):
        for row in eye.world.environments.get(project["id"], []):
            if row["state"] in states:
                yield project["id"], row | with_path(project)


SUBJECT = Subject(
    fields={},
    furnish=lambda world, project, _: lists.add_environment(world, project, "review"),
    lists=(
        FailingList(
            "environment", "environment", of_project("environments"),
            lambda c: [lists.add_environment(c.world, c.one, f"review/{n}") for n in range(MANY)],
            change_rows("environments", "tier", lists.add_environment), titled(".tier"),
            in_group=False, alike=True, dialects=("gitlab-v2",),
        ),
    ),
    churn=Churn(
        "/environments$", lambda world, _, project, number: lists.add_environment(world, project, f"e{number}"),
        first_of("environments"), {"identifier": ".name"},
    ),
    rows=_rows,
    denied={"builds_access_level": "disabled"},
)  # fmt: skip
