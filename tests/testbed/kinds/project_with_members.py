"""What the safety suites know of projects with their members."""

from gitlab_port_export.demo.world import Row
from testbed.company import (
    MANY,
    a_project,
    change_projects,
    first_project,
    join,
    newcomers,
    of_project,
    old_project,
    steps,
    titled,
)
from testbed.oracle_eyes import Eyes, Found, active_projects, languages_of, people_of, shaped
from testbed.subject import Churn, FailingList, Subject


def _rows(selector: Row, eye: Eyes) -> Found:
    for project in eye.projects(active_projects(selector)):
        row = project | {"__members": shaped(eye, people_of(eye.world, project, selector), selector)}
        yield project["id"], row | ({"__languages": languages_of(eye, project)} if eye.v1 else {})


SUBJECT = Subject(
    fields={},
    furnish=join,
    lists=(
        FailingList(
            "project-with-members", "project-with-members", of_project("members"),
            steps(lambda c: newcomers(c, c.one, MANY), old_project),
            steps(change_projects, lambda c: newcomers(c, c.one, 1, "newcomer")),
            titled('.__members | map(.username) | join(" ")'), in_group=False,
        ),
    ),
    churn=Churn("/projects$", a_project, first_project, page=None),
    rows=_rows,
    denied=None,
)  # fmt: skip
