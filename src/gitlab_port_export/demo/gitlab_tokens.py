"""What the stand-in GitLab asks of a token: that it is good, and has the scope for what is asked."""

from __future__ import annotations

import json

from gitlab_port_export.demo import gitlab_faults as faults
from gitlab_port_export.demo.gitlab_access import Token
from gitlab_port_export.demo.gitlab_faults import Reply
from gitlab_port_export.demo.gitlab_pages import RefusedError
from gitlab_port_export.demo.gitlab_route import Route
from gitlab_port_export.demo.gitlab_store import World

# What each family of routes asks of a token's scopes; all others want one of the last two.
SCOPES: dict[str, tuple[str, ...]] = {
    "user": ("read_user", "api", "read_api"),
    "users": ("read_user", "api", "read_api"),
    "version": ("read_user", "api", "read_api"),
    "token": (),
    "files": ("read_repository", "api", "read_api"),
}


def refused(reply: Reply) -> RefusedError:
    """The error whose answer this is."""
    return RefusedError(reply.status, json.loads(reply.body), reply.headers)


def authenticated(world: World, secret: str) -> Token:
    """The token of that text; RefusedError with 401 when it is none that is good."""
    token = world.tokens.get(secret)
    if token is None:
        raise refused(faults.unauthorized())
    if token.revoked:
        raise refused(faults.revoked())
    if token.expired:
        raise refused(faults.expired())
    return token


def authorize(token: Token, route: Route) -> None:
    """Refuse with 403 what the token has no scope for."""
    wanted = SCOPES.get(route.family, ("api", "read_api"))
    if (wanted and not set(wanted) & set(token.scopes)) or route.family in token.denied:
        raise refused(faults.insufficient_scope(" ".join(wanted)))
