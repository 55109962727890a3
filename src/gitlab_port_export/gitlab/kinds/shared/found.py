"""What `skill` and `plugin` share: the root of a repository first, then only what it shows to be there."""

from collections.abc import Generator
from typing import Any, NamedTuple

from gitlab_port_export.base.parallel import All
from gitlab_port_export.gitlab.additions import AT_ONCE, attempt
from gitlab_port_export.gitlab.client import ReadFailed
from gitlab_port_export.gitlab.content import Unreadable, text_of
from gitlab_port_export.gitlab.kinds.shared.repository import AT_ROOT, Tree, needed
from gitlab_port_export.gitlab.trees import ROOT, Walk, fewest, is_plain_file, read_file, walked
from gitlab_port_export.model import Row, Scope


def present(kind: str, tree: Tree, scope: Scope) -> Generator[Any, Any, list[str]]:
    """Return the paths of the files that this kind wants and that are there, or may be: reading tells.

    Raises ReadFailed.
    """
    walks = fewest(tree.wants)
    first = next(walk for walk in walks if walk.holds(ROOT))
    rows: list[Row] = list((yield from walked(scope, tree.ref, first, tree.wants)))
    folders = {row["path"] for row in rows if row["type"] == "tree"}

    def reached(walk: Walk) -> bool:
        return not walk.folder or walk.folder.partition("/")[0] in folders

    wants = [wish.want for wish in tree.of(kind) if wish.want not in AT_ROOT]
    told = [first]
    for walk in needed(tree.of(kind), walks):
        if walk != first:
            told.append(walk)
            rows += (yield from walked(scope, tree.ref, walk, tree.wants)) if reached(walk) else ()
    there = {str(row["path"]) for row in rows if any(want.takes(row) for want in wants)}
    for want in wants:
        if is_plain_file(want) and want.glob and reached(want.walk) and not any(walk.holds(want.walk) for walk in told):
            there.add(want.glob.text)
    return sorted(there)


class Texts(NamedTuple):
    """Files by their path: the texts of those that are there, why others are none, and the first failure if any.

    What an unreadable one would say is not known, so nothing that came of it is gone.
    """

    found: dict[str, str]
    unread: dict[str, str]
    failure: ReadFailed | None


def texts(tree: Tree, scope: Scope, paths: list[str]) -> Generator[Any, Any, Texts]:
    """Read these files; one that fails or is no text costs no other one its text."""
    found: dict[str, str] = {}
    unread: dict[str, str] = {}
    failures: list[ReadFailed] = []
    for start in range(0, len(paths), AT_ONCE):
        batch = paths[start : start + AT_ONCE]
        files = yield All(tuple(attempt(read_file(scope, path, tree.ref)) for path in batch))
        for path, file in zip(batch, files, strict=True):
            if isinstance(file, ReadFailed):
                failures.append(file)
            elif file is not None:
                try:
                    found[path] = text_of(file)
                except Unreadable as reason:
                    unread[path] = str(reason)
    return Texts(found, unread, failures[0] if failures else None)
