"""One endpoint of the stand-in GitLab: its path, the family that a token's scopes name, and what answers it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import unquote

from gitlab_port_export.demo.gitlab_call import Call
from gitlab_port_export.demo.gitlab_pages import Listing, Raw
from gitlab_port_export.demo.gitlab_rows import Row

Result = Listing | Row | Raw


@dataclass(frozen=True)
class Route:
    """A path pattern whose `:name` segments match anything, and the function that answers it."""

    pattern: str
    family: str
    answer: Callable[[Call], Result]

    def match(self, segments: list[str]) -> dict[str, str] | None:
        """The decoded values of the named segments; None when the path is another one."""
        expected = self.pattern.strip("/").split("/")
        if len(expected) != len(segments):
            return None
        named: dict[str, str] = {}
        for pattern, segment in zip(expected, segments, strict=True):
            if pattern.startswith(":"):
                named[pattern[1:]] = unquote(segment)
            elif pattern != segment:
                return None
        return named
