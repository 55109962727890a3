"""The table of the stand-in GitLab's paths: accounts, and what the modules of `gitlab_kinds` serve."""

from __future__ import annotations

from gitlab_port_export.demo import gitlab_people as people
from gitlab_port_export.demo import gitlab_repository as repository
from gitlab_port_export.demo import gitlab_rows as shapes
from gitlab_port_export.demo.gitlab_call import Call
from gitlab_port_export.demo.gitlab_kinds import kind_modules
from gitlab_port_export.demo.gitlab_pages import RefusedError
from gitlab_port_export.demo.gitlab_route import Route
from gitlab_port_export.demo.gitlab_rows import Row, stamp


def _user(call: Call) -> Row:
    user = shapes.own_user_row(call.token.user, call.token.user["id"] in call.world.bots, call.world.now)
    return user | {"is_admin": True} if call.token.admin else user


def _token(call: Call) -> Row:
    return {
        "id": call.token.id,
        "name": call.token.name,
        "revoked": False,
        "created_at": stamp(call.world.ago(days=100)),
        "description": "",
        "scopes": list(call.token.scopes),
        "user_id": call.token.user["id"],
        "last_used_at": stamp(call.world.now),
        "active": True,
        "expires_at": call.token.expires_at,
    }


def _version(_: Call) -> Row:
    return {"version": "18.5.1-ee", "revision": "0a1b2c3d4e5"}


def _of_kinds() -> tuple[Route, ...]:
    """The routes of every module of `gitlab_kinds`."""
    return tuple(route for module in kind_modules() for route in module.ROUTES)


ROUTES = (
    Route("/user", "user", _user),
    Route("/users", "users", people.users),
    Route("/users/:number", "users", people.one_user),
    Route("/personal_access_tokens/self", "token", _token),
    Route("/version", "version", _version),
    Route("/groups/:id/members", "members", people.group_members),
    Route("/groups/:id/members/all", "members", people.all_group_members),
    Route("/projects/:id/members", "members", people.project_members),
    Route("/projects/:id/members/all", "members", people.all_project_members),
    Route("/projects/:id/search", "search", repository.project_search),
    Route("/groups/:id/search", "search", repository.group_search),
    Route("/projects/:id/repository/tree", "tree", repository.tree),
    Route("/projects/:id/repository/files/:path", "files", repository.file),
    Route("/projects/:id/repository/files/:path/raw", "files", repository.raw_file),
    *_of_kinds(),
)


def find_route(path: str) -> tuple[Route, dict[str, str]]:
    """The route of a path below `/api/v4`, still percent-encoded, and its decoded names."""
    segments = path.strip("/").split("/")
    for route in ROUTES:
        if (ids := route.match(segments)) is not None:
            return route, ids
    raise RefusedError(404, {"error": "404 Not Found"})
