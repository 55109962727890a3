"""Who may see what in the stand-in GitLab: tokens, and the role of each in every group and project."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gitlab_port_export.demo.gitlab_rows import Row

if TYPE_CHECKING:
    from gitlab_port_export.demo.gitlab_store import World

MINIMAL, GUEST, PLANNER, REPORTER, DEVELOPER, MAINTAINER, OWNER = 5, 10, 15, 20, 30, 40, 50


@dataclass
class Token:
    """An access token; tests may revoke or narrow it while a server runs.

    `denied` names route families (such as "issues") that a fine-grained token may not read.
    """

    secret: str
    user: Row
    id: int
    name: str
    scopes: tuple[str, ...] = ("read_api",)
    admin: bool = False
    revoked: bool = False
    expired: bool = False
    denied: set[str] = field(default_factory=set)
    expires_at: str | None = None


@dataclass(frozen=True)
class Access:
    """What one token may see: its access level in each group and project, inherited ones included."""

    groups: dict[int, int]
    projects: dict[int, int]
    direct_projects: dict[int, int]
    user_id: int
    admin: bool


def access_of(world: World, token: Token) -> Access:
    """Where this token's user is a member, directly or not, and at which level; the highest one wins."""
    user = token.user["id"]
    groups: dict[int, int] = {}
    direct: dict[int, int] = {}
    invited: dict[int, int] = {}
    for kind, id in world.memberships[user]:
        members = world.group_members[id] if kind == "group" else world.project_members[id]
        level = max(row["access_level"] for row in members if row["id"] == user)
        if kind == "project":
            direct[id] = level
        else:
            below = world.family(world.groups[id]) if level > MINIMAL else [world.groups[id]]
            _raise_to(groups, (group["id"] for group in below), level)
            invited[id] = level
    for id, shares in world.group_shares.items():
        for share in shares:
            if (level := min(invited.get(share["group_id"], 0), share["group_access_level"])) > MINIMAL:
                _raise_to(groups, (group["id"] for group in world.family(world.groups[id])), level)
    projects = dict(direct)
    for id, level in groups.items():
        if level <= MINIMAL:
            continue
        _raise_to(projects, world.projects_in.get(id, ()), level)
    for project in world.projects.values():
        for share in project["shared_with_groups"]:
            if level := groups.get(share["group_id"], 0):
                _raise_to(projects, [project["id"]], min(level, share["group_access_level"]))
    return Access(groups, projects, direct, user, token.admin)


def _raise_to(levels: dict[int, int], ids: Iterable[int], level: int) -> None:
    for id in ids:
        levels[id] = max(level, levels.get(id, 0))
