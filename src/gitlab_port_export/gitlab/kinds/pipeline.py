"""Kind `pipeline`: the pipelines of each project, with the project in `__project`."""

from collections.abc import Generator, Iterator, Mapping, Set
from functools import partial
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from gitlab_port_export.base.parallel import Job
from gitlab_port_export.gitlab.client import Params
from gitlab_port_export.gitlab.inventory import Listed
from gitlab_port_export.gitlab.kinds.kind import (
    About,
    Again,
    Context,
    Kind,
    Read,
    Requests,
    Since,
    Wanted,
    by,
    each_once,
    feature_off,
    query_params,
    scope_read,
)
from gitlab_port_export.gitlab.kinds.shared.again import at, listed_row, one_row
from gitlab_port_export.gitlab.kinds.shared.project_lists import with_owner
from gitlab_port_export.gitlab.lists import RowHandler, list_key, read_list, whole_list
from gitlab_port_export.gitlab.touched import Touched
from gitlab_port_export.mapping.model import Resource, Selector
from gitlab_port_export.model import Dialect, Row, Scope

OLD_WINDOW_DAYS = 14.0
ISO_WITH_ZONE = r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d+)?(Z|[+-]\d{2}:?\d{2})$"
Instant = Annotated[str, Field(pattern=ISO_WITH_ZONE)]
Status = Literal[
    "created", "waiting_for_resource", "preparing", "pending", "running", "success", "failed", "canceled", "skipped",
    "manual", "scheduled",
]  # fmt: skip
Source = Literal[
    "api", "chat", "external", "external_pull_request_event", "merge_request_event", "ondemand_dast_scan",
    "ondemand_dast_validation", "parent_pipeline", "pipeline", "push", "schedule", "security_orchestration_policy",
    "trigger", "web", "webide",
]  # fmt: skip


class PipelineQuery(BaseModel):
    """Which pipelines GitLab lists; written in snake_case, as the API has them."""

    model_config = ConfigDict(frozen=True, extra="allow", coerce_numbers_to_str=True)

    name: str | None = None
    scope: Literal["running", "pending", "finished", "branches", "tags"] | None = None
    status: Status | None = None
    source: Source | None = None
    ref: str | None = None
    sha: str | None = None
    yaml_errors: bool | None = None
    username: str | None = None
    updated_after: Instant | None = None
    updated_before: Instant | None = None
    created_after: Instant | None = None
    created_before: Instant | None = None


class PipelineSelector(Selector):
    """Which pipelines of which projects."""

    include_only_active_projects: bool | None = Field(default=None, description="as for the kind `project`")
    api_query_params: PipelineQuery | None = Field(default=None, description="passed on to GitLab's pipeline list")


def reads(resources: tuple[Resource, ...], context: Context) -> Iterator[Read]:
    """Yield one read per project that has pipelines switched on."""
    shared = {
        pipeline_params(getattr(resource.selector, "pipeline_query_params", None), context)
        for resource in context.resources
        if resource.kind == "job" and context.dialect == "gitlab-v2"
    }
    yield from each_once(_wanted(by(resources, lambda selector: _query(selector, context)), context, shared))


def _wanted(
    wants: Mapping[tuple[bool | None, Params], tuple[int, ...]], context: Context, shared: Set[Params]
) -> Iterator[Wanted]:
    for (active, query), indexes in wants.items():
        for place in context.inventory.projects(active):
            if not context.skips(place.row, no_pipelines):
                params = changed_pipelines("pipeline", query, context, place)
                make = partial(_read, place, params, context.dialect, query in shared)
                yield (place.scope.id, params), make, indexes


def changed_pipelines(kind: str, params: Params, context: Context, place: Listed) -> Params:
    """Return the query of a project's pipelines, in an incremental run of those that changed."""
    changes = context.changes
    return params if changes is None or place.scope.id in changes.whole else changes.later(kind, params)


def newest_alone(query: PipelineQuery | None) -> str:
    """Return why pipelines of a query are left to full runs, or nothing."""
    if query is None or query.scope not in ("branches", "tags"):
        return ""
    return f"with scope {query.scope} a pipeline leaves the list because another one came"


def _query(selector: Any, context: Context) -> tuple[bool | None, Params]:
    return selector.include_only_active_projects, pipeline_params(selector.api_query_params, context)


def pipeline_params(query: BaseModel | None, context: Context) -> Params:
    """Return the query of a project's pipeline list; Ocean's `gitlab` looks back 14 days."""
    found = query_params(query)
    if context.dialect == "gitlab" and not any(name.startswith(("created_", "updated_")) for name, _ in found):
        found += (("created_after", context.days_ago(OLD_WINDOW_DAYS)),)
    return (*found, ("order_by", "id"), ("sort", "asc"))


def no_pipelines(project: Row) -> bool:
    """Say whether a project's row tells that pipelines are switched off."""
    return feature_off(project, "builds")


def pipelines_path(scope: Scope) -> str:
    """Return the path of a project's pipelines."""
    return f"/projects/{scope.id}/pipelines"


def _read(place: Listed, params: Params, dialect: Dialect, shared: bool, resources: tuple[int, ...]) -> Read:
    """Return the read of one project's pipelines; jobs of the same pipelines share the list."""

    def start(scope: Scope) -> Job:
        handle = _handler(place, dialect, resources, scope)
        path = pipelines_path(scope)
        if not shared:
            yield from read_list(scope.token, path, params, handle)
        elif rows := (yield from whole_list(scope.token, path, params)):
            yield handle(rows)

    shares = (list_key(place.scope.token, pipelines_path(place.scope), params),) if shared else ()
    return scope_read("pipeline", place, resources, start, unless=no_pipelines, shares=shares)


def _handler(place: Listed, dialect: Dialect, resources: tuple[int, ...], scope: Scope) -> RowHandler:
    project = place.row if dialect == "gitlab" else {"path_with_namespace": place.scope.path}
    return with_owner("pipeline", resources, scope, "__project", project)


def _again(resources: tuple[Resource, ...], context: Context, touched: Touched) -> Iterator[Read]:
    narrow = at(context, touched)
    for (active, params), indexes in by(resources, lambda selector: _query(selector, context)).items():
        for place in narrow.inventory.projects(active):
            start = partial(_one, place, params, context.dialect, touched, indexes)
            yield scope_read("pipeline", place, indexes, start, unless=no_pipelines)


def _one(
    place: Listed, params: Params, dialect: Dialect, touched: Touched, resources: tuple[int, ...], scope: Scope
) -> Job:
    if row := (yield from listed_pipeline(scope, params, touched.key)):
        yield _handler(place, dialect, resources, scope)([row])


def listed_pipeline(scope: Scope, params: Params, number: Any) -> Generator[Any, Any, Row | None]:
    """Return a pipeline out of the list of a query, or None where that leaves it out, as it does child pipelines.

    By its number GitLab gives it in another shape. The list takes no number, but the commit, of which there are few
    pipelines; with a scope of branches or tags it has the newest of each alone.
    """
    path = pipelines_path(scope)
    found = yield from one_row(scope, f"{path}/{number}")
    if found is None:
        return None
    named = dict(params)
    if named.setdefault("sha", found["sha"]) != found["sha"]:
        return None
    if named.get("scope") in ("branches", "tags"):
        named = dict(params)
    newest = tuple((named | {"sort": "desc"}).items())
    return (yield from listed_row(scope, path, newest, int(number)))


KIND = Kind(
    "pipeline",
    PipelineSelector,
    reads,
    active_projects=lambda selector: selector.include_only_active_projects,
    about=About(
        "Pipelines.",
        ("GET /projects/:id/pipelines",),
        {"__project": "the project's row; in gitlab-v2 its `path_with_namespace` alone"},
        role=20,
        refuses="pipelines that are not public",
        requests=Requests(project=1),
    ),
    again=Again(("pipeline",), _again),
    since=Since(
        "of pipelines",
        (("id",), ("web_url",), ("project_id", "iid"), ("__project.path_with_namespace", "iid")),
        unfit=lambda selector: newest_alone(selector.api_query_params),
    ),
)
