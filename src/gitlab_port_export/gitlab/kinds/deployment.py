"""Kind `deployment`: the deployments of each project, with the project's whole row in `__project`."""

from collections.abc import Iterator
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic.alias_generators import to_camel

from gitlab_port_export.base.parallel import Job
from gitlab_port_export.gitlab.client import Params
from gitlab_port_export.gitlab.inventory import Listed
from gitlab_port_export.gitlab.kinds.kind import About, Again, Context, Kind, Read, Requests, Since, query_params
from gitlab_port_export.gitlab.kinds.pipeline import Instant
from gitlab_port_export.gitlab.kinds.shared.again import at, listed_row
from gitlab_port_export.gitlab.kinds.shared.project_lists import (
    ProjectRowsSelector,
    from_list,
    no_deployments,
    project_reads,
)
from gitlab_port_export.gitlab.lists import RowHandler
from gitlab_port_export.gitlab.touched import Touched
from gitlab_port_export.mapping.model import Resource
from gitlab_port_export.model import Scope


class DeploymentQuery(BaseModel):
    """Which deployments GitLab lists; written in camelCase or in snake_case."""

    model_config = ConfigDict(
        frozen=True, extra="allow", alias_generator=to_camel, populate_by_name=True, coerce_numbers_to_str=True
    )

    environment: str | None = Field(default=None, description="the name of an environment: only deployments to it")
    status: Literal["created", "running", "success", "failed", "canceled", "blocked"] | None = Field(
        default=None, description="only deployments in this state"
    )
    updated_after: Instant | None = Field(default=None, description="only deployments updated at this time or later")
    updated_before: Instant | None = Field(default=None, description="only deployments updated at this time or before")
    finished_after: Instant | None = Field(
        default=None, description="only deployments finished at this time or later; needs `status: success`"
    )
    finished_before: Instant | None = Field(
        default=None, description="only deployments finished at this time or before; needs `status: success`"
    )

    @property
    def windows(self) -> tuple[str, ...]:
        """The times that the query bounds, as GitLab calls them for ordering."""
        finished, updated = self.finished_after or self.finished_before, self.updated_after or self.updated_before
        return (("finished_at",) if finished else ()) + (("updated_at",) if updated else ())

    @model_validator(mode="after")
    def _as_gitlab_wants_it(self) -> "DeploymentQuery":
        if "finished_at" in self.windows and self.status != "success":
            raise ValueError("finishedAfter and finishedBefore need `status: success`")
        if len(self.windows) > 1:
            raise ValueError("GitLab takes bounds of finished or of updated, not of both")
        return self


class DeploymentSelector(ProjectRowsSelector):
    """Which deployments of which projects."""

    api_query_params: DeploymentQuery | None = Field(
        default=None, description="passed on to GitLab's list of deployments"
    )


def reads(resources: tuple[Resource, ...], context: Context) -> Iterator[Read]:
    """Yield one read per project that can have deployments."""

    def start(place: Listed, scope: Scope, params: Params, handle: RowHandler) -> Job:
        if context.changes and place.scope.id not in context.changes.whole:
            lasting = tuple(pair for pair in params if pair[0] not in ("order_by", "sort"))
            # GitLab takes the bound with this order alone.
            params = (*context.changes.later("deployment", lasting), ("order_by", "updated_at"), ("sort", "asc"))
        yield from from_list("deployments")(place, scope, params, handle)

    yield from project_reads(
        "deployment", resources, context, lambda selector: (_params(selector),), no_deployments, start,
        whole_project=True,
    )  # fmt: skip


def _unfit(selector: Any) -> str:
    query: DeploymentQuery | None = selector.api_query_params
    if query is None or "finished_at" not in query.windows:
        return ""
    return "GitLab takes bounds of finished or of updated, not of both"


def _params(selector: Any) -> Params:
    """Return the query; GitLab refuses a window that is not also the order."""
    query: DeploymentQuery | None = selector.api_query_params
    order = (query.windows if query else ()) or ("id",)
    return (*query_params(query), ("order_by", order[0]), ("sort", "asc"))


def _again(resources: tuple[Resource, ...], context: Context, touched: Touched) -> Iterator[Read]:
    """Yield the read of one deployment out of the list, the newest first; no filter takes an id."""

    def start(_: Listed, scope: Scope, params: Params, handle: RowHandler) -> Job:
        newest = (*(pair for pair in params if pair[0] != "sort"), ("sort", "desc"))
        path = f"/projects/{scope.id}/deployments"
        row = yield from listed_row(scope, path, newest, int(touched.key or 0), by_id=("order_by", "id") in params)
        if row:
            yield handle([row])

    return project_reads(
        "deployment", resources, at(context, touched), lambda selector: (_params(selector),), no_deployments, start,
        whole_project=True,
    )  # fmt: skip


KIND = Kind(
    "deployment",
    DeploymentSelector,
    reads,
    active_projects=lambda selector: selector.include_only_active_projects,
    about=About(
        "Deployments to environments.",
        ("GET /projects/:id/deployments",),
        {"__project": "the project's row"},
        role=20,
        refuses="deployments",
        requests=Requests(project=1),
    ),
    again=Again(("deployment",), _again),
    since=Since(
        "of pipelines",
        (("id",), ("__project.path_with_namespace", "iid"), ("__project.id", "iid")),
        unfit=_unfit,
        unseen="deployments that are made without a pipeline",
    ),
)
