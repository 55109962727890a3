"""The open invitations of groups and projects: their rows, and the lists that owners and maintainers may read."""

from __future__ import annotations

from typing import Any

from gitlab_port_export.demo.gitlab_access import DEVELOPER, MAINTAINER, OWNER
from gitlab_port_export.demo.gitlab_call import Call, wanted_group, wanted_project
from gitlab_port_export.demo.gitlab_pages import Listing, RefusedError
from gitlab_port_export.demo.gitlab_route import Route
from gitlab_port_export.demo.gitlab_rows import Row, stamp
from gitlab_port_export.demo.gitlab_store import World


def add_invitation(
    world: World, source: Row, email: str, level: int = DEVELOPER, expires_at: str | None = None, **overrides: Any
) -> Row:
    """Add an open invitation to a group or project (`source`)."""
    row = {
        "id": world.new_id("invitation"),
        "invite_email": email,
        "access_level": level,
        "created_at": stamp(world.now),
        "expires_at": expires_at,
        "user_name": "",
        "created_by_name": "",
        "invite_token": "never-to-be-shown-token",
    }
    world.rows_of("invitation", source).append(row | overrides)
    return world.rows_of("invitation", source)[-1]


def _of_group(call: Call) -> Listing:
    group = wanted_group(call)
    return _listing(call, group, call.access.groups.get(group["id"], 0) >= OWNER)


def _of_project(call: Call) -> Listing:
    project = wanted_project(call)
    return _listing(call, project, call.access.projects.get(project["id"], 0) >= MAINTAINER)


def _listing(call: Call, source: Row, may_read: bool) -> Listing:
    if not may_read and not call.access.admin:
        raise RefusedError(403, {"message": "403 Forbidden"})
    wanted = call.text("query").casefold()
    rows = [row for row in call.world.rows_of("invitation", source) if wanted in ("", row["invite_email"].casefold())]
    return Listing(rows)


ROUTES = (
    Route("/groups/:id/invitations", "invitations", _of_group),
    Route("/projects/:id/invitations", "invitations", _of_project),
)


def fill_sample(world: World) -> None:
    """Invite somebody to a group and to a project of the sample."""
    add_invitation(world, world.group("platform"), "eve@example.com", created_by_name="Ada Nwosu")
    add_invitation(world, world.project("platform/gateway"), "sam@example.com", created_by_name="Björn Åkesson")
