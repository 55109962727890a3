"""One request to the stand-in Port as its routes see it, and what a route answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from gitlab_port_export.demo.port_drafts import Author
from gitlab_port_export.demo.port_faults import Query
from gitlab_port_export.demo.port_rules import JsonObject, malformed
from gitlab_port_export.demo.port_store import PortStore

# The status and the body.
Reply = tuple[int, JsonObject]


@dataclass(frozen=True, slots=True)
class Call:
    """A request whose client is known: path parameters decoded, body parsed."""

    store: PortStore
    params: dict[str, str]
    query: Query
    body: Any
    author: Author

    def one(self, name: str) -> str | None:
        """Return the last value of a query parameter."""
        return next((value for key, value in reversed(self.query) if key == name), None)

    def many(self, name: str) -> list[str]:
        """Return every value of a repeated query parameter."""
        return [value for key, value in self.query if key == name]

    def flag(self, name: str) -> bool:
        """Return a boolean query parameter, false when absent."""
        value = self.one(name)
        if value not in (None, "true", "false", ""):
            raise malformed(f"querystring/{name} must be boolean")
        return value == "true"

    def object(self, allowed: tuple[str, ...] = (), required: tuple[str, ...] = ()) -> JsonObject:
        """Return the body as an object; with `allowed` no other keys may be in it."""
        if not isinstance(self.body, dict):
            raise malformed("body must be object")
        if missing := [name for name in required if name not in self.body]:
            raise malformed(f"body must have required property '{missing[0]}'")
        if allowed and (extra := self.body.keys() - set(allowed)):
            raise malformed(f"body must NOT have additional properties: {', '.join(sorted(extra))}")
        return self.body
