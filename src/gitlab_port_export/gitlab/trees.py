"""Reads trees (each once for all that want it) and files; absent is only what GitLab confirms to be absent."""

from collections.abc import Generator, Hashable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal
from urllib.parse import quote

from gitlab_port_export.base.parallel import Job, Once
from gitlab_port_export.gitlab.client import REFUSALS, Get, Params, ReadFailed
from gitlab_port_export.gitlab.globs import Glob
from gitlab_port_export.gitlab.kinds.kind import feature_off, still_says
from gitlab_port_export.gitlab.lists import first_page, list_key, read_keyset
from gitlab_port_export.model import Row, Scope

NO_FILE = "404 File Not Found"
MORE_THAN_A_PATH = ("Project", "Repository", "Commit")
HIDDEN = object()


@dataclass(frozen=True)
class Walk:
    """The entries of one folder of a repository ("" is the root), or with `deep` of all folders below it too."""

    folder: str
    deep: bool

    def holds(self, other: "Walk") -> bool:
        """Whether this walk meets everything that the other one meets."""
        inside = not self.folder or f"{other.folder}/".startswith(f"{self.folder}/")
        return self == other or (self.deep and inside)


# The entries of a repository's root, which tell what lies deeper without asking for it.
ROOT = Walk("", deep=False)


@dataclass(frozen=True)
class Want:
    """Files or folders that somebody wants: those that a pattern means, or without one the children of a folder."""

    type: Literal["blob", "tree"]
    walk: Walk
    glob: Glob | None = None

    def takes(self, row: Row) -> bool:
        """Whether this entry of a tree is wanted."""
        if row.get("type") != self.type:
            return False
        path = str(row.get("path"))
        return self.glob.matches(path) if self.glob else path.rpartition("/")[0] == self.walk.folder


def wanted_files(pattern: Glob) -> Want:
    """Return what a pattern for files wants."""
    return Want("blob", Walk(pattern.folder, deep=not pattern.is_plain), pattern)


def wanted_folders(path: str, *, wildcards: bool) -> Want:
    """Return what a folder selector's path wants: the folders it means, or the children of the one folder it names."""
    pattern = Glob(path)
    if wildcards and not pattern.is_plain:
        return Want("tree", Walk(pattern.folder, deep=True), pattern)
    return Want("tree", Walk(path.removeprefix("./").strip("/"), deep=False))


def fewest(wants: Iterable[Want]) -> tuple[Walk, ...]:
    """Return the walks that meet everything wanted, none of them held by another.

    A plain file is asked for directly, which costs no more than a walk and needs its content anyway.
    """
    walks = dict.fromkeys(want.walk for want in wants if not is_plain_file(want))
    return tuple(walk for walk in walks if not any(other != walk and other.holds(walk) for other in walks))


def is_plain_file(want: Want) -> bool:
    """Say whether one file is wanted whose path is known."""
    return want.type == "blob" and want.glob is not None and want.glob.is_plain


def nothing_there(project: Row) -> bool:
    """Say whether a project's row tells that there is no repository to read.

    GitLab leaves `default_branch` out for who may not read the code: only a null says that there is none, and in a
    row that says as well that the repository is not empty it tells nothing.
    """
    without = project.get("default_branch", HIDDEN) is None and project.get("empty_repo") is not False
    return bool(project.get("empty_repo")) or without or feature_off(project, "repository")


def branch_of(project: Row) -> str:
    """Return a project's default branch. Raises ReadFailed where GitLab hides it, and with it all of the code."""
    if name := project.get("default_branch"):
        return str(name)
    raise ReadFailed(
        "forbidden",
        "GitLab hides the project's default branch",
        "give the token's user a role that may read the code there (Reporter)",
    )


def readable_ref(scope: Scope, project: Row, ref: str = "") -> Generator[Any, Any, str | None]:
    """Return the ref to read, by default the default branch, or None where the project has no code. Raises ReadFailed.

    Nothing is asked where the project's row names its branch. Where it says that there is no code, or contradicts
    itself, the branches are asked for: one row of a listing is no proof.
    """
    named = project.get("default_branch", HIDDEN) is not None
    if not nothing_there(project) and (ref or named):
        return ref or branch_of(project)
    found: str | None = yield Once(("default branch", scope.token, scope.id), partial(_listed_default, scope))
    return found and (ref or found)


def _listed_default(scope: Scope) -> Job:
    """Return the branch that GitLab lists as the default one, None where it lists none or has no repository."""
    names: list[str] = []
    others: list[Row] = []

    def keep(rows: list[Row]) -> None:
        names.extend(str(row["name"]) for row in rows if row.get("default") is True)
        others.extend(rows[:1])

    try:
        yield from read_keyset(scope.token, branches_path(scope), (), keep, until=lambda _: bool(names))
    except ReadFailed as failure:
        if failure.reason in REFUSALS and (yield from still_says(scope, nothing_there)):
            return None
        raise failure from None
    if others and not names:
        raise ReadFailed("incomplete", "GitLab lists branches and none of them as the default one", status=200)
    return names[0] if names else None


def branches_path(scope: Scope) -> str:
    """Return the path of a project's branches."""
    return f"/projects/{scope.id}/repository/branches"


def walk_key(scope: Scope, ref: str, walk: Walk, wants: tuple[Want, ...]) -> Hashable:
    """Return the key under which a walk is shared by all that want the same of it."""
    return list_key(scope.token, tree_path(scope), _params(ref, walk)), wants


def tree_path(scope: Scope) -> str:
    """Return the path of a project's tree."""
    return f"/projects/{scope.id}/repository/tree"


def _params(ref: str, walk: Walk) -> Params:
    folder: Params = (("path", walk.folder),) if walk.folder else ()
    return (("ref", ref), *folder, *((("recursive", "true"),) if walk.deep else ()))


def walked(
    scope: Scope, ref: str, walk: Walk, wants: tuple[Want, ...], proved: set[str] | None = None
) -> Generator[Any, Any, list[Row]]:
    """Return the wanted entries of a walk, each path once; all that ask for it with equal `wants` share one reading.

    Pages follow each other by the path of the last entry, so a commit in between moves nothing out of sight. A
    folder that is not there has no entries; a ref that is not there is a failure, as everything else. `proved` are
    the refs that are known to be there, which a read keeps. Raises ReadFailed.
    """

    def start() -> Job:
        found: list[Row] = []

        def keep(rows: list[Row]) -> None:
            found.extend(row for row in rows if any(want.takes(row) for want in wants))

        try:
            yield from read_keyset(scope.token, tree_path(scope), _params(ref, walk), keep, key=_path_of)
        except ReadFailed as failure:
            known = ref in (proved or ()) and _may_mean_a_path(failure)
            if not walk.folder or not (known or (yield from _is_absence(scope, ref, failure))):
                raise
            found = []
        if proved is not None:
            proved.add(ref)
        return found

    rows: list[Row] = yield Once(walk_key(scope, ref, walk, wants), start)
    return rows


def _path_of(row: Row) -> Hashable:
    # The id of an entry is that of its content, which equal files share.
    path = row.get("path")
    if not isinstance(path, str):
        raise ReadFailed("shape", "answered 200 with entries of a tree that have no path", status=200)
    return path


def read_file(scope: Scope, path: str, ref: str) -> Generator[Any, Any, Row | None]:
    """Return a file as the API gives it, or None where GitLab proves that there is none. Raises ReadFailed."""
    where = f"/projects/{scope.id}/repository/files/{quote(path, safe='')}"
    try:
        answer = yield Get(scope.token, where, (("ref", ref),), gives="object")
    except ReadFailed as failure:
        if NO_FILE in failure.why or (yield from _is_unlisted(scope, ref, path, failure)):
            return None
        raise ReadFailed(failure.reason, f"{path}: {failure.why}", failure.hint, failure.status) from None
    if not isinstance(answer.data.get("content"), str):
        raise ReadFailed("shape", f"{path}: answered 200 with a file that has no content", status=200)
    found: Row = answer.data
    return found


def _is_unlisted(scope: Scope, ref: str, path: str, failure: ReadFailed) -> Generator[Any, Any, bool]:
    """Say whether a 404 in other words than GitLab's for files means the file: its folder does not list it."""
    if not _may_mean_a_path(failure):
        return False
    listed: list[Row] = []
    walk = Walk(path.rpartition("/")[0], deep=False)
    try:
        yield from read_keyset(scope.token, tree_path(scope), _params(ref, walk), listed.extend, key=_path_of)
    except ReadFailed as missing:
        return bool(walk.folder) and (yield from _is_absence(scope, ref, missing))
    return all(row["path"] != path or row.get("type") != "blob" for row in listed)


def _may_mean_a_path(failure: ReadFailed) -> bool:
    """Say whether a failure may be about a path alone.

    A 404 without words comes from a proxy: some refuse paths with an encoded slash. A project, repository or commit
    that is not found means more than the path.
    """
    worded = failure.reason == "missing" and failure.why != "404"
    return worded and not any(word in failure.why for word in MORE_THAN_A_PATH)


def _is_absence(scope: Scope, ref: str, failure: ReadFailed) -> Generator[Any, Any, bool]:
    """Say whether a 404 means the path alone: the root of the same ref can be listed."""
    if not _may_mean_a_path(failure):
        return False
    try:
        yield from first_page(scope.token, tree_path(scope), (("ref", ref), ("per_page", "1")))
    except ReadFailed:
        return False
    return True


def has_ref(scope: Scope, ref: str) -> Generator[Any, Any, bool]:
    """Say whether a ref exists; False only when GitLab lists the repository's default branch and does not find this.

    Raises ReadFailed where it cannot be told.
    """
    try:
        yield Get(scope.token, tree_path(scope), (("ref", ref), ("per_page", "1")))
    except ReadFailed as failure:
        if not (yield from _is_absence(scope, "HEAD", failure)):
            raise
        return False
    return True
