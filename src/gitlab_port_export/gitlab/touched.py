"""What an event of GitLab names: one object that is to be read again."""

from dataclasses import dataclass
from typing import Literal

What = Literal[
    "merge-request", "issue", "pipeline", "job", "deployment", "release", "tag", "branch", "files", "project",
    "environment", "milestone", "group", "members", "user",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Touched:
    """One object that is to be read again.

    `key` is the iid of a merge request or issue, the name of a tag, branch or release, else the id; nothing for a
    project, its files and a group, which `project` or `group` (ids) name, and their paths where known. Of members it is
    the id of one person, or nothing for all. A user may be named with a group or project whose member he is.
    `gone` says that the event tells of its end. `files` are the paths that a push changed; None for "any".
    As the payload has it, `at` is when it happened, `made` when the object was made, and `saved` when it was last
    saved: a row with an older `updated_at` is not yet what the event tells of.
    """

    what: What
    project: int | None = None
    project_path: str = ""
    group: int | None = None
    group_path: str = ""
    key: int | str | None = None
    gone: bool = False
    files: frozenset[str] | None = frozenset()
    at: str = ""
    made: str = ""
    saved: str = ""

    @property
    def identity(self) -> tuple[str, int | None, str, int | None, int | str | None]:
        """What two events have in common that tell of one object."""
        path = "" if self.project or self.group else self.project_path or self.group_path
        return self.what, self.project, path, self.group, self.key

    @property
    def shown(self) -> str:
        """The object in words, for messages: `merge-request 7 of acme/web`."""
        name = " ".join(str(part) for part in (self.what, self.key) if part is not None)
        if self.group is not None or self.group_path:
            return f"{name} of group {self.group_path or self.group}"
        if self.project is not None or self.project_path:
            return f"{name} of {self.project_path or self.project}"
        return name
