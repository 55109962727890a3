"""What the safety suites know of access."""

from gitlab_port_export.demo.world import OWNER, Row
from testbed.company import MANY, Company, a_member, first_member, join, newcomers, of_project, titled
from testbed.oracle_eyes import Eyes, Found, active_groups, active_projects, people_of
from testbed.subject import Churn, FailingList, Subject


def _change(c: Company) -> None:
    members = c.world.project_members[c.one["id"]]
    c.world.remove_member(c.one, c.world.users[members[40]["id"]])
    members[30] |= {"access_level": OWNER}
    newcomers(c, c.one, 1, "newcomer")


def _rows(selector: Row, eye: Eyes) -> Found:
    """Everybody's highest role in each listed group and project."""
    for source in (*eye.groups(active_groups(selector)), *eye.projects(active_projects(selector))):
        scope = {"full_path": source.get("full_path") or source["path_with_namespace"]}
        for row in people_of(eye.world, source, {"includeInheritedMembers": True}):
            # Groups and projects have ids of their own.
            number = -source["id"] if "full_path" in source else source["id"]
            yield number, {name: row[name] for name in ("id", "username", "access_level")} | {"__scope": scope}


SUBJECT = Subject(
    fields={"identifier": '.__scope.full_path + ":" + .username'},
    furnish=join,
    lists=(
        FailingList(
            "access", "access", of_project("members"), lambda c: newcomers(c, c.one, MANY), _change,
            {"identifier": '.__scope.full_path + ":" + .username', **titled(".access_role")},
            in_group=False, dialects=("gitlab-v2",),
        ),
    ),
    churn=Churn(
        "/groups/1/members$", a_member, first_member,
        {"identifier": '"\\(.__scope.id):\\(.username)"', "selector": {"scopes": ["group"]}},
    ),
    rows=_rows,
    denied=None,
    compared={"number": ".access_level"},
)  # fmt: skip
