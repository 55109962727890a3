"""Which paths of a repository a pattern means, as each of Ocean's integrations reads it; pure."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

from gitlab_port_export.gitlab.inventory import Patterns
from gitlab_port_export.model import Dialect

WILDCARD = re.compile(r"[*?\[\]]")


@dataclass(frozen=True)
class Glob:
    """A pattern for paths from the repository's root; with `crossing` a `*` matches slashes too."""

    text: str
    crossing: bool = False

    @property
    def is_plain(self) -> bool:
        """Whether it is one path and no pattern."""
        return not WILDCARD.search(self.text)

    @property
    def folder(self) -> str:
        """The deepest folder that surely holds whatever matches; "" is the root."""
        return WILDCARD.split(self.text, maxsplit=1)[0].rpartition("/")[0]

    def matches(self, path: str) -> bool:
        """Whether the pattern means this path."""
        return _matcher(self)(path)


def flags() -> int:
    """Return how wcmatch is to read a pattern of gitlab-v2; case counts on every machine."""
    from wcmatch import glob  # noqa: PLC0415  # most runs have no pattern

    return glob.GLOBSTAR | glob.DOTGLOB | glob.FORCEUNIX


@lru_cache(maxsize=1024)
def _matcher(pattern: Glob) -> Callable[[str], bool]:
    if pattern.crossing:
        return Patterns((pattern.text,)).allows
    from wcmatch import glob  # noqa: PLC0415  # most runs have no pattern

    found = [re.compile(text) for text in glob.translate(pattern.text, flags=flags())[0]]
    return lambda path: any(regular.match(path) for regular in found)


def file_globs(path: str, dialect: Dialect) -> tuple[Glob, ...]:
    """Return the patterns that a file selector's `path` stands for. Raises ValueError when there are too many.

    gitlab: braces are expanded, the whole path has to match and `*` crosses slashes. gitlab-v2: braces mean nothing,
    `*` stays within a folder, `**` does not, and a name without a folder is looked for in every folder.
    """
    if dialect == "gitlab":
        import bracex  # noqa: PLC0415  # most runs have no pattern

        try:
            return tuple(Glob(text, crossing=True) for text in dict.fromkeys(bracex.expand(path)))
        except bracex.ExpansionLimitException:
            raise ValueError(f"{path!r} stands for too many paths") from None
    text = path.removeprefix("./").lstrip("/")
    return (Glob(text if "/" in text else f"**/{text}"),)
