"""What the safety suites know of accounts."""

from gitlab_port_export.demo.world import Row
from testbed.company import MANY, a_member, change_members, first_member, join, newcomers, of_group, titled
from testbed.oracle_eyes import Eyes, Found, is_bot, people_of
from testbed.subject import Churn, FailingList, Subject


def _rows(_: Row, eye: Eyes) -> Found:
    """Everybody with a role in what is listed; minimal access is one too."""
    world = eye.world
    seen: set[int] = set()
    for source in (*eye.groups(), *eye.projects()):
        direct = (world.group_members if "full_path" in source else world.project_members).get(source["id"], [])
        for row in (*direct, *people_of(world, source, {"includeInheritedMembers": True})):
            if row["id"] not in seen and not is_bot(row):
                seen.add(row["id"])
                yield 0, {"id": row["id"], "username": row["username"]}


SUBJECT = Subject(
    fields={"identifier": ".username"},
    furnish=join,
    lists=(
        FailingList(
            "user", "user", of_group("members"), lambda c: newcomers(c, c.alpha, MANY), change_members,
            {"identifier": ".username", **titled(".name")}, alike=True, dialects=("gitlab",),
        ),
    ),
    churn=Churn(
        "/groups/1/members$", a_member, first_member,
        {"identifier": ".username", "selector": {"source": "members"}},
    ),
    rows=_rows,
    denied=None,
    compared={"text": ".username"},
)  # fmt: skip
