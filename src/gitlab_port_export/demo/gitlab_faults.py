"""Ways in which the stand-in GitLab can fail on purpose, as GitLab or a proxy in front of it fails."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import formatdate

Query = tuple[tuple[str, str], ...]
HeaderPairs = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Recorded:
    """A request that arrived; `status` is 0 when it was never answered."""

    method: str
    path: str
    query: Query
    token: str
    user_agent: str
    status: int = 0

    @property
    def page(self) -> int:
        """The page that was asked for."""
        return int(dict(self.query).get("page") or 1)


@dataclass(frozen=True)
class Reply:
    """Answer with this instead; `foreign` comes from a proxy, without the headers of GitLab's own answers."""

    status: int
    body: bytes = b""
    headers: HeaderPairs = ()
    content_type: str = "application/json"
    foreign: bool = False


@dataclass(frozen=True)
class Drop:
    """Close the connection without answering."""


@dataclass(frozen=True)
class Lost:
    """Do what was asked, then answer with something else, or close the connection without answering."""

    instead: Reply | None = None


@dataclass(frozen=True)
class Truncate:
    """Send the head of the right answer and half of its body, then close the connection."""


@dataclass(frozen=True)
class Slow:
    """Wait some seconds, then answer as usual."""

    seconds: float


Answer = Reply | Drop | Lost | Truncate | Slow


@dataclass
class Fault:
    """An answer other than the right one, and the requests that get it.

    `match` is a function of the request, or a regular expression that must be found in its decoded path
    below `/api/v4`; `page` narrows it to one page. `times` is how often it is still given, None for always.
    """

    match: str | Callable[[Recorded], bool]
    answer: Answer
    page: int | None = None
    times: int | None = None

    def hits(self, request: Recorded) -> bool:
        """Whether the request gets this answer."""
        return _hits(self.match, self.page, self.times, request)


@dataclass
class Edit:
    """A change of the world right after a request was answered; `match`, `page` and `times` are those of Fault."""

    match: str | Callable[[Recorded], bool]
    change: Callable[[], object]
    page: int | None = None
    times: int | None = 1

    def hits(self, request: Recorded) -> bool:
        """Whether the change follows this request."""
        return _hits(self.match, self.page, self.times, request)


def _hits(match: str | Callable[[Recorded], bool], page: int | None, times: int | None, request: Recorded) -> bool:
    if times == 0 or (page is not None and request.page != page):
        return False
    return bool(re.search(match, request.path)) if isinstance(match, str) else match(request)


def reply_json(status: int, payload: object, *headers: tuple[str, str]) -> Reply:
    """Any JSON answer."""
    return Reply(status, json.dumps(payload).encode(), headers)


def gateway_list() -> Reply:
    """An empty list that does not come from GitLab: a gateway, a mock or a cache has made it up."""
    return Reply(200, b"[]", foreign=True)


def unauthorized() -> Reply:
    """401 for a token that GitLab does not know."""
    return reply_json(401, {"message": "401 Unauthorized"})


def revoked() -> Reply:
    """401 for a token that was revoked."""
    return _invalid_token("Token was revoked. You have to re-authorize from the user.")


def expired() -> Reply:
    """401 for a token past its date."""
    return _invalid_token("Token is expired. You can either do re-authorization or token refresh.")


def _invalid_token(why: str) -> Reply:
    challenge = f'Bearer realm="The API", error="invalid_token", error_description="{why}"'
    payload = {"error": "invalid_token", "error_description": why}
    return reply_json(401, payload, ("WWW-Authenticate", challenge))


def forbidden() -> Reply:
    """403 for a role that is too low or a feature that is off."""
    return reply_json(403, {"message": "403 Forbidden"})


def insufficient_scope(scopes: str = "api read_api") -> Reply:
    """403 for a token whose scopes do not cover the request."""
    why = "The request requires higher privileges than provided by the access token."
    return reply_json(403, {"error": "insufficient_scope", "error_description": why, "scope": scopes})


def not_found(what: str = "Project ") -> Reply:
    """404 for what is gone or invisible."""
    return reply_json(404, {"message": f"404 {what}Not Found"})


def throttled(retry_after: int | None = 1, limit: int = 60) -> Reply:
    """429 of the throttle for all requests: plain text with every header."""
    reset = int(time.time()) + (retry_after or 0)
    headers = [
        ("RateLimit-Limit", str(limit)),
        ("RateLimit-Name", "throttle_authenticated_api"),
        ("RateLimit-Observed", str(limit + 1)),
        ("RateLimit-Remaining", "0"),
        ("RateLimit-Reset", str(reset)),
        ("RateLimit-ResetTime", formatdate(reset, usegmt=True)),
    ]
    if retry_after is not None:
        headers.append(("Retry-After", str(retry_after)))
    return Reply(429, b"Retry later\n", tuple(headers), "text/plain")


def endpoint_throttled(retry_after: int | None = None) -> Reply:
    """429 of an endpoint's own limit: JSON, and on older servers no hint how long to wait."""
    text = "This endpoint has been requested too many times. Try again later."
    headers = [("Retry-After", str(retry_after))] if retry_after is not None else []
    return reply_json(429, {"message": {"error": text}}, *headers)


def server_error() -> Reply:
    """500 of the application."""
    return reply_json(500, {"message": "500 Internal Server Error"})


def query_timeout() -> Reply:
    """503 of GraphQL whose query took the database too long."""
    text = "Request timed out. Please try a less complex query or a smaller set of records."
    return reply_json(503, {"errors": [{"message": text}]})


def field_timeout(name: str = "Project.pipelines") -> Reply:
    """200 of GraphQL that ended at a field when its time was up."""
    return reply_json(200, {"data": {"projects": None}, "errors": [{"message": f"Timeout on {name}"}]})


def bad_gateway() -> Reply:
    """502 of a proxy: HTML."""
    return Reply(502, b"<html><body><h1>502 Bad Gateway</h1></body></html>", (), "text/html")


def login_page() -> Reply:
    """200 with the HTML of a single sign-on page."""
    return Reply(200, b"<!DOCTYPE html><html><body>Sign in</body></html>", (), "text/html; charset=utf-8")


def not_a_list() -> Reply:
    """200 with a JSON object where a list belongs."""
    return reply_json(200, {"message": "maintenance"})


def redirect(to: str, status: int = 302) -> Reply:
    """A redirect to another address."""
    return Reply(status, b"", (("Location", to),), "text/html")
