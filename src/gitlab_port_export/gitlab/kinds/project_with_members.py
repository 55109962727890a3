"""Kind `project-with-members`: the projects of the inventory, each with its members in `__members`."""

from collections.abc import Callable, Iterator
from typing import Any

from pydantic import Field

from gitlab_port_export.gitlab.inventory import Place
from gitlab_port_export.gitlab.kinds.kind import Context, Kind, Read, by, place_read
from gitlab_port_export.gitlab.kinds.members import MembersSelector, members_of, members_path, shaped
from gitlab_port_export.gitlab.kinds.project import languages_of
from gitlab_port_export.gitlab.lists import list_key
from gitlab_port_export.model import Dialect, Page, Resource, Scope
from gitlab_port_export.parallel import Job


class ProjectWithMembersSelector(MembersSelector):
    """Which projects, and which members of each."""

    include_only_active_projects: bool | None = Field(default=None, description="as for the kind `project`")


def reads(resources: tuple[Resource, ...], context: Context) -> Iterator[Read]:
    """Yield one read per project; Ocean's `gitlab` adds the languages too."""
    selectors = {resource.index: resource.selector for resource in resources}
    for wanted, indexes in by(resources, _wanted).items():
        selector = selectors[indexes[0]]
        for place in context.inventory.projects(wanted[0]):
            path = members_path(place.scope, inherited=wanted[1])
            yield place_read(
                "project-with-members",
                place,
                indexes,
                _start(place, indexes, selector, context.dialect),
                requests=1 + (context.dialect == "gitlab"),
                shares=(list_key(place.scope.token, path, ()),),
            )


def _wanted(selector: Any) -> tuple[bool | None, bool, bool, bool]:
    return (
        selector.include_only_active_projects,
        selector.include_inherited_members,
        selector.include_bot_members,
        selector.include_verbose_member_object,
    )


def _start(place: Place, resources: tuple[int, ...], selector: Any, dialect: Dialect) -> Callable[[Scope], Job]:
    def start(scope: Scope) -> Job:
        members = yield from members_of(scope, selector)
        row = {
            **place.row,
            "__members": shaped(members, dialect, verbose=selector.include_verbose_member_object),
        }
        if dialect == "gitlab":
            row["__languages"] = yield from languages_of(scope, place.row)
        yield Page("project-with-members", resources, scope, [row])

    return start


KIND = Kind(
    "project-with-members",
    ProjectWithMembersSelector,
    reads,
    active_projects=lambda selector: selector.include_only_active_projects,
)
