"""What the stand-in Port recorded of a request, and faults that it can be told to make."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from gitlab_port_export.demo.port_rules import JsonObject

Query = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Recorded:
    """One request as it came; `status` is what was answered, 0 when the connection was closed instead."""

    method: str
    path: str
    query: Query
    body: Any
    user_agent: str
    status: int = 0


@dataclass(frozen=True, slots=True)
class Effect:
    """What a fault does: wait, do or leave what was asked, then answer something else or hang up."""

    delay: float = 0
    reply: tuple[int, bytes, tuple[tuple[str, str], ...], str] | None = None
    hang_up: bool = False
    applied: bool = False


@dataclass(slots=True)
class Fault:
    """An effect for the requests that `match` picks: a pattern for "METHOD /path", or a function.

    `times` says how often it still fires (None: always); it counts down, so a fault is mutable on purpose.
    """

    match: str | Callable[[Recorded], bool]
    effect: Effect
    times: int | None = None

    def picks(self, request: Recorded) -> bool:
        """Return whether this fault is for the request."""
        if callable(self.match):
            return self.match(request)
        return re.search(self.match, f"{request.method} {request.path}") is not None


def refuse(
    status: int,
    body: JsonObject | None = None,
    headers: tuple[tuple[str, str], ...] = (),
    *,
    applied: bool = False,
) -> Effect:
    """Answer with this status; with `applied` only after the request was carried out, as a late 504 is."""
    payload = {"ok": False, "error": "internal_error", "message": "demonstration"} if body is None else body
    content = json.dumps(payload).encode()
    return Effect(reply=(status, content, headers, "application/json"), applied=applied)


def html(status: int = 502, text: str = "<html><body>Bad Gateway</body></html>") -> Effect:
    """Answer as a proxy on the way does."""
    return Effect(reply=(status, text.encode(), (), "text/html"))


def drop(*, applied: bool = False) -> Effect:
    """Close the connection without an answer; with `applied` after the request was carried out."""
    return Effect(hang_up=True, applied=applied)


def slow(seconds: float) -> Effect:
    """Answer as usual, but late."""
    return Effect(delay=seconds)
