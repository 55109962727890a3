"""Kind `environment`: the environments of each project, with the project's path in `__project`."""

from collections.abc import Iterator
from typing import Any, Literal, get_args

from pydantic import Field

from gitlab_port_export.base.parallel import Job
from gitlab_port_export.gitlab.client import Params
from gitlab_port_export.gitlab.inventory import Listed
from gitlab_port_export.gitlab.kinds.kind import About, Again, Context, Kind, Read, Requests, Since
from gitlab_port_export.gitlab.kinds.shared.again import at, one_row
from gitlab_port_export.gitlab.kinds.shared.project_lists import (
    PROJECT_PATH,
    ProjectRowsSelector,
    from_list,
    no_deployments,
    project_reads,
)
from gitlab_port_export.gitlab.lists import RowHandler
from gitlab_port_export.gitlab.touched import Touched
from gitlab_port_export.mapping.model import Resource
from gitlab_port_export.model import Scope

State = Literal["available", "stopping", "stopped"]
STATES: tuple[State, ...] = get_args(State)


class EnvironmentSelector(ProjectRowsSelector):
    """Which environments of which projects."""

    states: tuple[State, ...] = Field(
        default=STATES, description="environments in these states; stopped ones are often old review apps"
    )


def reads(resources: tuple[Resource, ...], context: Context) -> Iterator[Read]:
    """Yield one read per project that can have environments, and per state unless all are wanted."""
    yield from project_reads("environment", resources, context, _queries, no_deployments, from_list("environments"))


def _queries(selector: Any) -> tuple[Params, ...]:
    if set(selector.states) == set(STATES):
        return ((),)
    return tuple((("states", state),) for state in selector.states)


def _again(resources: tuple[Resource, ...], context: Context, touched: Touched) -> Iterator[Read]:
    """Yield the reads of one environment: by its id it comes in another shape than in the list, which takes a name."""

    def start(place: Listed, scope: Scope, params: Params, handle: RowHandler) -> Job:
        if row := (yield from one_row(scope, f"/projects/{scope.id}/environments/{touched.key}")):
            named = (*params, ("name", str(row.get("name"))))
            yield from from_list("environments")(place, scope, named, handle)

    return project_reads("environment", resources, at(context, touched), _queries, no_deployments, start)


KIND = Kind(
    "environment",
    EnvironmentSelector,
    reads,
    active_projects=lambda selector: selector.include_only_active_projects,
    about=About(
        "Environments that a project deploys to.",
        ("GET /projects/:id/environments",),
        {"__project": PROJECT_PATH},
        role=20,
        refuses="environments",
        requests=Requests(project=1),
    ),
    again=Again(("environment",), _again),
    since=Since(
        "of pipelines",
        (("id",), ("__project.path_with_namespace", "name"), ("__project.path_with_namespace", "slug")),
        unseen="environments that are changed without a pipeline",
    ),
)
