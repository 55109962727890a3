"""Kind `environment`: the environments of each project, with the project's path in `__project`."""

from collections.abc import Iterator
from typing import Any, Literal, get_args

from pydantic import Field

from gitlab_port_export.gitlab.client import Params
from gitlab_port_export.gitlab.kinds.kind import About, Context, Kind, Read, Requests
from gitlab_port_export.gitlab.kinds.shared.project_lists import (
    PROJECT_PATH,
    ProjectRowsSelector,
    from_list,
    no_deployments,
    project_reads,
)
from gitlab_port_export.mapping.model import Resource

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
)
