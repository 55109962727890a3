"""Kind `branch`: the default branch of each project, or more branches, with the project's path in `__project`."""

from collections.abc import Generator, Iterator
from typing import Any
from urllib.parse import quote

from pydantic import Field

from gitlab_port_export.base.parallel import Job
from gitlab_port_export.gitlab.client import Get, Params, ReadFailed
from gitlab_port_export.gitlab.inventory import Listed
from gitlab_port_export.gitlab.kinds.kind import About, Again, Context, Kind, Read, Requests, Since, Vanished
from gitlab_port_export.gitlab.kinds.shared.again import at, named_like, of_project, one_row
from gitlab_port_export.gitlab.kinds.shared.project_lists import PROJECT_PATH, ProjectRowsSelector, project_reads
from gitlab_port_export.gitlab.lists import RowHandler, read_keyset
from gitlab_port_export.gitlab.touched import Touched
from gitlab_port_export.gitlab.trees import branches_path, nothing_there, readable_ref
from gitlab_port_export.mapping.model import Resource
from gitlab_port_export.model import Row, Scope


class BranchSelector(ProjectRowsSelector):
    """Which branches of which projects."""

    default_branch_only: bool = Field(
        default=True, description="only the default branch of each project; `regex` and `search` then do nothing"
    )
    regex: str | None = Field(default=None, description="only branches whose name matches this RE2 expression")
    search: str | None = Field(
        default=None,
        description="only branches whose name holds this text; `^text` begins with it, `text$` ends with it; "
        "ignored beside `regex`",
    )


def reads(resources: tuple[Resource, ...], context: Context) -> Iterator[Read]:
    """Yield one read per project that has code and a default branch."""
    yield from project_reads("branch", resources, context, _queries, nothing_there, _start)


def _queries(selector: Any) -> tuple[Params | None]:
    """Return the query of the list; None asks for the default branch alone."""
    if selector.default_branch_only:
        return (None,)
    if selector.regex:
        return ((("regex", selector.regex),),)
    return ((("search", selector.search),),) if selector.search else ((),)


def _start(place: Listed, scope: Scope, query: Params | None, handle: RowHandler) -> Job:
    if query is None:
        if row := (yield from _default_branch(place, scope)):
            yield handle([row])
    else:
        # GitLab gives everything that a filter leaves at once; a link then leads to the same page again.
        yield from read_keyset(scope.token, branches_path(scope), query, handle, linked=not query)


def _default_branch(place: Listed, scope: Scope) -> Generator[Any, Any, Row | None]:
    """Return the default branch, or None when the repository turns out to be empty. Raises ReadFailed."""
    name = yield from readable_ref(scope, place.row)
    if name is None:
        return None
    try:
        answer = yield Get(scope.token, f"{branches_path(scope)}/{quote(name, safe='')}", gives="object")
    except ReadFailed as failure:
        if failure.reason == "missing" and (yield from _is_empty(scope)):
            return None
        raise
    row: Row = answer.data
    if row.get("name") != name:
        raise ReadFailed("shape", "answered 200 with something else than the branch that was asked for", status=200)
    return row


def _is_empty(scope: Scope) -> Generator[Any, Any, bool]:
    """Ask the project whether its repository is empty; it may have been emptied since it was listed."""
    try:
        answer = yield Get(scope.token, f"/projects/{scope.id}", gives="object")
    except ReadFailed:
        return False
    return bool(answer.data.get("empty_repo"))


def _again(resources: tuple[Resource, ...], context: Context, touched: Touched) -> Iterator[Read]:
    """Yield the read of one branch; only GitLab can tell whether a filter would list it."""

    def start(place: Listed, scope: Scope, query: Params | None, handle: RowHandler) -> Job:
        if query is None:
            row = yield from _default_branch(place, scope)
            yield from (handle([row]) for _ in range(1) if row and row["name"] == touched.key)
        elif query:
            named = _named(handle, touched)
            yield from read_keyset(scope.token, branches_path(scope), query, named, linked=False)
        elif row := (yield from one_row(scope, f"{branches_path(scope)}/{quote(str(touched.key), safe='')}")):
            yield handle([row])

    return project_reads("branch", resources, at(context, touched), _queries, nothing_there, start)


def _named(handle: RowHandler, touched: Touched) -> RowHandler:
    def named(rows: list[Row]) -> Any:
        kept = [row for row in rows if row.get("name") == touched.key]
        return handle(kept) if kept else None

    return named


VANISHED = Vanished("repository/branches/{}", "repository/branches", "name", of_project("name"), named_like)

KIND = Kind(
    "branch",
    BranchSelector,
    reads,
    active_projects=lambda selector: selector.include_only_active_projects,
    about=About(
        "Branches: the default one of each project, or more.",
        ("GET /projects/:id/repository/branches/:branch", "GET /projects/:id/repository/branches"),
        {"__project": PROJECT_PATH},
        role=20,
        refuses="branches of private projects",
        requests=Requests(project=1),
    ),
    again=Again(("branch",), _again, vanished=VANISHED),
    since=Since(
        "of active projects",
        (("__project.path_with_namespace", "name"), ("web_url",)),
        unseen="whether a branch is protected or merged",
    ),
)
