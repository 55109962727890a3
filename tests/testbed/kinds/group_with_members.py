"""What the safety suites know of groups with their members."""

from gitlab_port_export.demo.world import Row
from testbed.company import MANY, a_group, change_groups, first_group, newcomers, of_group, steps, titled
from testbed.oracle_eyes import Eyes, Found, active_groups, people_of, shaped
from testbed.subject import Churn, FailingList, Subject


def _rows(selector: Row, eye: Eyes) -> Found:
    for group in eye.groups(active_groups(selector)):
        yield group["id"], group | {"__members": shaped(eye, people_of(eye.world, group, selector), selector)}


SUBJECT = Subject(
    fields={},
    furnish=lambda world, project, _: project,
    lists=(
        FailingList(
            "group-with-members", "group-with-members", of_group("members"),
            steps(lambda c: newcomers(c, c.alpha, MANY), lambda c: c.world.add_group("old", c.alpha)), change_groups,
            titled('.__members | map(.username) | join(" ")'),
        ),
    ),
    # A group that goes while it is read is a Problem: GitLab answers 404 for what it only hides, too.
    churn=Churn("/groups$", a_group, first_group, code=1),
    rows=_rows,
    denied=None,
)  # fmt: skip
