"""What is added to rows on the way out: texts of files, and whether a search finds something."""

from collections.abc import Generator
from typing import Any

from gitlab_port_export.base.parallel import All, Job, Once
from gitlab_port_export.gitlab.client import ReadFailed
from gitlab_port_export.gitlab.content import Unreadable, text_of
from gitlab_port_export.gitlab.lists import first_page
from gitlab_port_export.gitlab.trees import read_file, readable_ref
from gitlab_port_export.model import Problem, Row, Scope

# Files that are read side by side for one project; so many at most are in memory at once.
AT_ONCE = 8
# Scopes of a search that look into the repository.
IN_REPOSITORY = ("blobs", "commits")


def attempt(job: Generator[Any, Any, Any]) -> Job:
    """Return what the job returns, or the ReadFailed that ended it."""
    try:
        return (yield from job)
    except ReadFailed as failure:
        return failure


def side_by_side(jobs: list[Generator[Any, Any, Any]]) -> Generator[Any, Any, list[Any]]:
    """Return the results of all jobs; when some failed, raise the first failure after all have ended."""
    results: list[Any] = []
    for start in range(0, len(jobs), AT_ONCE):
        results += yield All(tuple(attempt(job) for job in jobs[start : start + AT_ONCE]))
    for result in results:
        if isinstance(result, ReadFailed):
            raise result
    return results


# Files of one ref that a read has asked for, so that it asks for each once.
Known = dict[str, Row | None]


def included(
    scope: Scope, ref: str, paths: tuple[str, ...], known: Known, kind: str = "", dependent: tuple[int, ...] = ()
) -> Generator[Any, Any, Row]:
    """Return the text of each path by the path as it is written; null where there is no file. Raises ReadFailed.

    The `dependent` resources make their entities of these texts.
    """
    jobs = [file_text(scope, path.lstrip("/"), ref, known, kind, dependent) for path in paths]
    texts = yield from side_by_side(jobs)
    return dict(zip(paths, texts, strict=True))


def file_text(scope: Scope, path: str, ref: str, known: Known, kind: str = "", dependent: tuple[int, ...] = ()) -> Job:
    """Return the text of a file, None where there is none or it is no text of at most 1 MiB. Raises ReadFailed.

    What is no such text is told, and holds the deletions of the `dependent` resources, which make their entities of it.
    """
    if not path or ".." in path.split("/"):
        return None
    if path not in known:
        # Whoever asks while the answer is awaited shares it.
        known[path] = yield Once((scope, path, ref), lambda: read_file(scope, path, ref))
    file = known[path]
    if file is None:
        return None
    try:
        return text_of(file)
    except Unreadable as reason:
        yield unreadable(scope, path, str(reason), kind, dependent, holds=bool(dependent))
        return None


def finds(scope: Scope, project: Row, where: str, query: str) -> Generator[Any, Any, bool | None]:
    """Return whether a search in a project finds anything; None, and a warning, where GitLab refuses its scope.

    Raises ReadFailed.
    """
    # GitLab finds nothing in code that it hides; then this raises.
    if where in IN_REPOSITORY and (yield from readable_ref(scope, project)) is None:
        return False
    try:
        path = f"/projects/{scope.id}/search"
        rows = yield from first_page(scope.token, path, (("scope", where), ("search", query)))
    except ReadFailed as failure:
        # GitLab says 400 too where the search engine behind it fails.
        if failure.status != 400 or "scope" not in failure.why.lower():
            raise
        yield Problem("read", f"GitLab refused a search in {where}: {failure.why}", scope=scope.path, warning=True)
        return None
    return bool(rows)


def unreadable(
    scope: Scope, path: str, why: str, kind: str = "", resources: tuple[int, ...] = (), *, holds: bool = False
) -> Problem:
    """Return the warning that a file is left out or comes without its content.

    It is more than a warning, and `holds` deletions, where entities are made of the content.
    """
    return Problem(
        "read",
        f"{path} {why}",
        "make it a readable file, or leave it out with the selector; until then nothing that came of it is deleted"
        if holds
        else "",
        scope=scope.path,
        kind=kind,
        resources=resources,
        warning=not holds,
    )
