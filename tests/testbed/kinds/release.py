"""What the safety suites know of releases."""

from datetime import UTC, datetime, timedelta

from gitlab_port_export.demo import gitlab_list_rows as lists
from gitlab_port_export.demo.world import Row, World
from testbed.company import MANY, change_rows, first_of, of_project, titled
from testbed.oracle_eyes import Eyes, Found, active_projects, with_path
from testbed.subject import Churn, FailingList, Subject


def _add(world: World, _: Row, project: Row, number: int) -> object:
    when = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=number)
    return lists.add_release(world, project, f"v{number}", when=when)


def _rows(selector: Row, eye: Eyes) -> Found:
    for project in eye.projects(active_projects(selector)):
        if eye.feature(project, "releases") and eye.feature(project, "repository"):
            rows = eye.world.releases.get(project["id"], [])
            yield from ((project["id"], row | with_path(project)) for row in rows)


SUBJECT = Subject(
    fields={"identifier": '.__project.path_with_namespace + "@" + .tag_name'},
    furnish=lambda world, project, user: lists.add_release(world, project, "v1", user),
    lists=(
        FailingList(
            "release", "release", of_project("releases"),
            lambda c: [lists.add_release(c.world, c.one, f"v{n:03}") for n in range(MANY)],
            change_rows("releases", "name", lists.add_release), {"identifier": ".tag_name", **titled(".name")},
            in_group=False, dialects=("gitlab",),
        ),
    ),
    churn=Churn("/releases$", _add, first_of("releases"), {"identifier": ".tag_name"}),
    rows=_rows,
    denied={"releases_access_level": "disabled"},
)  # fmt: skip
