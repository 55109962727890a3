"""What the safety suites know of invitations."""

from gitlab_port_export.demo.gitlab_access import MAINTAINER, OWNER
from gitlab_port_export.demo.gitlab_kinds.invitation import add_invitation
from gitlab_port_export.demo.world import Row, World
from testbed.company import MANY, change_others, of_group, titled
from testbed.oracle_eyes import Eyes, Found, active_groups, active_projects
from testbed.subject import Churn, FailingList, Subject

IDENTIFIER = {"identifier": '.__scope.full_path + ":" + .invite_email'}


def _rows(selector: Row, eye: Eyes) -> Found:
    """The invitations to what is listed and may be managed."""
    scopes = selector.get("scopes", ["group", "project"])
    for group in eye.groups(active_groups(selector)) if "group" in scopes else []:
        if eye.access.admin or eye.access.groups.get(group["id"], 0) >= OWNER:
            for row in eye.world.rows_of("invitation", group):
                yield -group["id"], _shown(row, group["full_path"])
    for project in eye.projects(active_projects(selector)) if "project" in scopes else []:
        if eye.level(project) >= MAINTAINER:
            for row in eye.world.rows_of("invitation", project):
                yield project["id"], _shown(row, project["path_with_namespace"])


def _shown(row: Row, path: str) -> Row:
    return {name: row[name] for name in row if name != "invite_token"} | {"__scope": {"full_path": path}}


def _furnish(world: World, project: Row, _: Row) -> None:
    """Invite somebody to a project, and to the group that it is in."""
    add_invitation(world, project, f"new@{project['path']}.example.com")
    group = world.groups.get(project["namespace"]["id"])
    if group and not world.rows_of("invitation", group):
        add_invitation(world, group, f"new@{group['path']}.example.com")


def _leave(world: World, group: Row, _: Row) -> None:
    del world.rows_of("invitation", group)[0]


SUBJECT = Subject(
    fields=IDENTIFIER,
    furnish=_furnish,
    lists=(
        FailingList(
            "invitation", "invitation", of_group("invitations"),
            lambda c: [add_invitation(c.world, c.alpha, f"new-{n}@example.com") for n in range(MANY)],
            change_others("invitation", "access_level", lambda world, group, name: add_invitation(
                world, group, f"{name}@example.com"
            ), "alpha"),
            {**IDENTIFIER, **titled(".access_level | tostring")}, alike=True, dialects=("gitlab-v2",),
        ),
    ),
    churn=Churn(
        "/groups/1/invitations$",
        lambda world, group, _, number: add_invitation(world, group, f"late-{number}@example.com"), _leave, IDENTIFIER,
    ),
    rows=_rows,
    denied=None,
    compared={"text": ".invite_email", "number": ".access_level"},
)  # fmt: skip
