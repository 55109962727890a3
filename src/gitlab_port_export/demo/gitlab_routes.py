"""The table of the stand-in GitLab's paths: accounts, and what the modules of `gitlab_kinds` serve."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from gitlab_port_export.demo import gitlab_accounts as accounts
from gitlab_port_export.demo import gitlab_invitations as invitations
from gitlab_port_export.demo import gitlab_members as members
from gitlab_port_export.demo import gitlab_people as people
from gitlab_port_export.demo import gitlab_repository as repository
from gitlab_port_export.demo import gitlab_rows as shapes
from gitlab_port_export.demo.gitlab_call import Call
from gitlab_port_export.demo.gitlab_kinds import kind_modules
from gitlab_port_export.demo.gitlab_pages import RefusedError
from gitlab_port_export.demo.gitlab_route import Route
from gitlab_port_export.demo.gitlab_rows import Row, stamp
from gitlab_port_export.demo.gitlab_writes import Change


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
    Route("/groups/:id/members/:number", "members", people.group_member),
    Route("/groups/:id/members/all/:number", "members", people.any_group_member),
    Route("/projects/:id/members/:number", "members", people.project_member),
    Route("/projects/:id/members/all/:number", "members", people.any_project_member),
    Route("/groups/:id/saml_group_links", "saml", accounts.saml_links),
    Route("/groups/:id/enterprise_users", "users", accounts.enterprise_users),
    Route("/groups/:id/billable_members", "members", accounts.billable),
    Route("/groups/:id/billable_members/:number/memberships", "members", accounts.billable_memberships),
    Route("/groups/:id/member_roles", "members", accounts.member_roles),
    Route("/member_roles", "members", accounts.member_roles),
    Route("/users/:number/memberships", "users", accounts.memberships),
    Route("/projects/:id/search", "search", repository.project_search),
    Route("/groups/:id/search", "search", repository.group_search),
    Route("/projects/:id/repository/tree", "tree", repository.tree),
    Route("/projects/:id/repository/files/:path", "files", repository.file),
    Route("/projects/:id/repository/files/:path/raw", "files", repository.raw_file),
    *_of_kinds(),
)


@dataclass(frozen=True)
class WriteRoute:
    """A write: its method, its path, and the function that carries it out and returns status and answer."""

    method: str
    path: str
    write: Callable[[Change], tuple[int, Any]]

    def match(self, method: str, segments: list[str]) -> dict[str, str] | None:
        """The decoded values of the named segments; None when it is another write."""
        if method != self.method:
            return None
        return Route(self.path, "", lambda _: {}).match(segments)


WRITES = (
    WriteRoute("POST", "/groups/:id/members", members.add),
    WriteRoute("PUT", "/groups/:id/members/:number", members.edit),
    WriteRoute("DELETE", "/groups/:id/members/:number", members.remove),
    WriteRoute("POST", "/projects/:id/members", members.add),
    WriteRoute("PUT", "/projects/:id/members/:number", members.edit),
    WriteRoute("DELETE", "/projects/:id/members/:number", members.remove),
    WriteRoute("POST", "/groups/:id/invitations", invitations.invite),
    WriteRoute("PUT", "/groups/:id/invitations/:email", invitations.edit),
    WriteRoute("DELETE", "/groups/:id/invitations/:email", invitations.revoke),
    WriteRoute("POST", "/projects/:id/invitations", invitations.invite),
    WriteRoute("PUT", "/projects/:id/invitations/:email", invitations.edit),
    WriteRoute("DELETE", "/projects/:id/invitations/:email", invitations.revoke),
    WriteRoute("DELETE", "/groups/:id/billable_members/:number", accounts.remove_billable),
    WriteRoute("POST", "/users", accounts.create),
    WriteRoute("POST", "/users/:number/block", accounts.block),
    WriteRoute("POST", "/users/:number/unblock", accounts.unblock),
)


def find_write(method: str, path: str) -> tuple[WriteRoute, dict[str, str]] | None:
    """The write that this is, and its decoded names; None where nothing can be written so."""
    segments = path.strip("/").split("/")
    for route in WRITES:
        if (ids := route.match(method, segments)) is not None:
            return route, ids
    return None


def find_route(path: str) -> tuple[Route, dict[str, str]]:
    """The route of a path below `/api/v4`, still percent-encoded, and its decoded names."""
    segments = path.strip("/").split("/")
    for route in ROUTES:
        if (ids := route.match(segments)) is not None:
            return route, ids
    raise RefusedError(404, {"error": "404 Not Found"})
