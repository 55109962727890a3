"""What kinds share that GitLab lists project by project: which projects, each list once, `__project` in each row."""

from collections.abc import Callable, Hashable, Iterable, Iterator
from functools import partial
from typing import Any

from pydantic import Field

from gitlab_port_export.base.parallel import Job
from gitlab_port_export.gitlab.client import Params
from gitlab_port_export.gitlab.inventory import Active, Listed
from gitlab_port_export.gitlab.kinds.kind import Context, Read, SaysNothing, by_each, each_once, feature_off, scope_read
from gitlab_port_export.gitlab.lists import RowHandler, read_list
from gitlab_port_export.mapping.model import Resource, Selector
from gitlab_port_export.model import Page, Row, Scope

PROJECT_PATH = "the project's `path_with_namespace`"
# Reads one project's rows for a selector: (project, scope, query, handle) → job.
Start = Callable[[Listed, Scope, Any, RowHandler], Job]


class ProjectRowsSelector(Selector):
    """Rows of which projects."""

    include_only_active_projects: bool | None = Field(
        default=None,
        description="true: only of active projects; false: only of archived ones or ones pending deletion; "
        "not set: of all",
    )


def project_reads(
    kind: str,
    resources: tuple[Resource, ...],
    context: Context,
    queries: Callable[[Any], Iterable[Hashable]],
    nothing_there: SaysNothing,
    start: Start,
    *,
    whole_project: bool = False,
) -> Iterator[Read]:
    """Yield one read per project that may hold something and per query; resources with equal queries share it.

    `queries` are those of a selector. `__project` is the project's path alone, or its whole row.
    """

    def of(selector: Any) -> Iterator[tuple[Active, Hashable]]:
        yield from ((selector.include_only_active_projects, query) for query in queries(selector))

    def read(place: Listed, query: Hashable, indexes: tuple[int, ...]) -> Read:
        def job(scope: Scope) -> Job:
            project = place.row if whole_project else {"path_with_namespace": place.scope.path}
            yield from start(place, scope, query, with_owner(kind, indexes, scope, "__project", project))

        return scope_read(kind, place, indexes, job, unless=nothing_there)

    yield from each_once(
        ((place.scope.id, query), partial(read, place, query), indexes)
        for (active, query), indexes in by_each(resources, of).items()
        for place in context.inventory.projects(active)
        if not context.skips(place.row, nothing_there)
    )


def from_list(endpoint: str) -> Start:
    """Return the start that reads one of a project's lists; the query is that of the list."""

    def start(_: Listed, scope: Scope, params: Params, handle: RowHandler) -> Job:
        yield from read_list(scope.token, f"/projects/{scope.id}/{endpoint}", params, handle)

    return start


def with_owner(kind: str, resources: tuple[int, ...], scope: Scope, name: str, owner: Row) -> RowHandler:
    """Return a row handler that adds to each row, under `name`, the group or project that it belongs to."""
    return lambda rows: Page(kind, resources, scope, [{**row, name: owner} for row in rows])


def no_code(row: Row) -> bool:
    """Say whether a project has no repository with anything in it."""
    return bool(row.get("empty_repo")) or feature_off(row, "repository")


def no_deployments(row: Row) -> bool:
    """Say whether a project can have no environments: they need CI, and CI needs the repository."""
    return any(feature_off(row, feature) for feature in ("repository", "builds", "environments"))
