"""What the safety suites know of groups."""

from gitlab_port_export.demo.world import Row
from testbed.company import a_group, change_groups, first_group, titled
from testbed.oracle_eyes import Eyes, Found, active_groups
from testbed.subject import Churn, FailingList, Subject


def _rows(selector: Row, eye: Eyes) -> Found:
    yield from ((g["id"], g) for g in eye.groups(active_groups(selector)))


SUBJECT = Subject(
    fields={},
    furnish=lambda world, project, _: project,
    lists=(
        FailingList(
            "group", "group", lambda _: "/groups", lambda c: c.world.add_group("old", c.alpha), change_groups,
            titled(".path"), other="project", inventory=True,
        ),
    ),
    churn=Churn("/groups$", a_group, first_group),
    rows=_rows,
    denied=None,
)  # fmt: skip
