"""What the safety suites know of members of groups."""

from gitlab_port_export.demo.world import Row
from testbed.company import MANY, a_member, change_members, first_member, newcomers, of_group, titled
from testbed.oracle_eyes import Eyes, Found, active_groups, people_of
from testbed.subject import Churn, FailingList, Subject


def _rows(selector: Row, eye: Eyes) -> Found:
    for group in eye.groups(active_groups(selector)):
        yield from ((group["id"], row) for row in people_of(eye.world, group, selector))


SUBJECT = Subject(
    fields={"identifier": ".username"},
    furnish=lambda world, project, _: project,
    lists=(
        FailingList(
            "member", "member", of_group("members"), lambda c: newcomers(c, c.alpha, MANY), change_members,
            {"identifier": ".username", **titled(".name")},
        ),
    ),
    churn=Churn("/groups/1/members$", a_member, first_member),
    rows=_rows,
    denied=None,
)  # fmt: skip
