"""What kinds share that GitLab lists for groups and for projects: which of them, and a read of each list."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Literal, NamedTuple

from pydantic import Field

from gitlab_port_export.base.parallel import Job
from gitlab_port_export.gitlab.client import Params
from gitlab_port_export.gitlab.inventory import Active, Listed
from gitlab_port_export.gitlab.kinds.kind import (
    Context,
    Read,
    SaysNothing,
    Wanted,
    api_path,
    each_once,
    feature_off,
    scope_read,
)
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


class WantedScopes(NamedTuple):
    """Which groups and projects a ScopedSelector wants."""

    groups: bool
    projects: bool
    active_groups: Active
    active_projects: Active


def wanted_scopes(selector: Any) -> WantedScopes:
    """Return which groups and projects a ScopedSelector wants; equal ones can share their reads."""
    return WantedScopes(
        "group" in selector.scopes,
        "project" in selector.scopes,
        selector.include_only_active_groups,
        selector.include_only_active_projects,
    )


def scoped_reads(
    kind: str,
    endpoint: str,
    resources: tuple[Resource, ...],
    context: Context,
    query: QueryOf,
    nothing_there: SaysNothing | None = None,
) -> Iterator[Read]:
    """Yield one read per group, then one per project; rows get `__group` (full_path) or `__project`.

    Projects whose row says that there is nothing (`nothing_there`) are not asked.
    """

    def wanted() -> Iterator[Wanted]:
        for resource in resources:
            for place in scopes_of(wanted_scopes(resource.selector), context, nothing_there):
                params = query(resource.selector, place.scope.is_group)
                key = (place.scope.is_group, place.scope.id, params)
                yield key, partial(_read, kind, endpoint, place, params, nothing_there), (resource.index,)

    yield from each_once(wanted())


def scopes_of(wanted: WantedScopes, context: Context, nothing_there: SaysNothing | None = None) -> Iterator[Listed]:
    """Yield the wanted groups, then the wanted projects, but none whose row says that there is nothing."""
    if wanted.groups:
        yield from context.inventory.groups(wanted.active_groups)
    if wanted.projects:
        for place in context.inventory.projects(wanted.active_projects):
            if nothing_there is None or not context.skips(place.row, nothing_there):
                yield place


def no_issues_or_merge_requests(row: Row) -> bool:
    """Say whether both are off: GitLab then has no labels and milestones, which serve only them."""
    return feature_off(row, "issues") and feature_off(row, "merge_requests")


def _read(
    kind: str,
    endpoint: str,
    place: Listed,
    params: Params,
    nothing_there: SaysNothing | None,
    resources: tuple[int, ...],
) -> Read:
    path = place.scope.path
    name, owner = (
        ("__group", {"full_path": path}) if place.scope.is_group else ("__project", {"path_with_namespace": path})
    )

    def start(scope: Scope) -> Job:
        handle = with_owner(kind, resources, scope, name, owner)
        yield from read_list(scope.token, f"{api_path(scope)}/{endpoint}", params, handle)

    return scope_read(kind, place, resources, start, unless=None if place.scope.is_group else nothing_there)
