"""What kinds share whose rows belong to a group or to a project: each is read where it belongs."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Literal

from pydantic import Field

from gitlab_port_export.base.parallel import Job
from gitlab_port_export.gitlab.client import Params
from gitlab_port_export.gitlab.inventory import Listed
from gitlab_port_export.gitlab.kinds.kind import Context, Read, Wanted, api_path, each_once, feature_off, scope_read
from gitlab_port_export.gitlab.kinds.shared.project_lists import PROJECT_PATH, with_owner
from gitlab_port_export.gitlab.lists import read_list
from gitlab_port_export.mapping.model import Resource, Selector
from gitlab_port_export.model import Row, Scope

OWNER = {
    "__group": "the group's `full_path`; only where it belongs to a group",
    "__project": f"{PROJECT_PATH}; only where it belongs to a project",
}
# The query of a selector's lists: (selector, whether of groups) → parameters.
QueryOf = Callable[[Any, bool], Params]


class ScopedSelector(Selector):
    """Rows of which groups and projects."""

    scopes: tuple[Literal["group", "project"], ...] = Field(
        default=("group", "project"),
        description="where to look: groups (one request for each), projects (one request for each), or both",
    )
    include_only_active_groups: bool | None = Field(
        default=None,
        description="true: only of active groups; false: only of archived ones or ones pending deletion; "
        "not set: of all",
    )
    include_only_active_projects: bool | None = Field(
        default=None,
        description="true: only of active projects; false: only of archived ones or ones pending deletion; "
        "not set: of all",
    )


def scoped_reads(
    kind: str, endpoint: str, resources: tuple[Resource, ...], context: Context, query: QueryOf
) -> Iterator[Read]:
    """Yield one read per group, then one per project; rows get `__group` (full_path) or `__project`."""
    yield from each_once(entry for resource in resources for entry in _wanted(kind, endpoint, resource, context, query))


def _wanted(kind: str, endpoint: str, resource: Resource, context: Context, query: QueryOf) -> Iterator[Wanted]:
    selector: Any = resource.selector
    places: list[Listed] = []
    if "group" in selector.scopes:
        places += context.inventory.groups(selector.include_only_active_groups)
    if "project" in selector.scopes:
        active = selector.include_only_active_projects
        places += [
            place for place in context.inventory.projects(active) if not context.skips(place.row, _nothing_there)
        ]
    for place in places:
        params = query(selector, place.scope.is_group)
        key = (place.scope.is_group, place.scope.id, params)
        yield key, partial(_read, kind, endpoint, place, params), (resource.index,)


def _nothing_there(row: Row) -> bool:
    """Labels and milestones serve issues and merge requests; GitLab has none where both are off."""
    return feature_off(row, "issues") and feature_off(row, "merge_requests")


def _read(kind: str, endpoint: str, place: Listed, params: Params, resources: tuple[int, ...]) -> Read:
    path = place.scope.path
    name, owner = (
        ("__group", {"full_path": path}) if place.scope.is_group else ("__project", {"path_with_namespace": path})
    )

    def start(scope: Scope) -> Job:
        handle = with_owner(kind, resources, scope, name, owner)
        yield from read_list(scope.token, f"{api_path(scope)}/{endpoint}", params, handle)

    return scope_read(kind, place, resources, start, unless=None if place.scope.is_group else _nothing_there)
