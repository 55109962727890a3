"""Kind `member`: every member of every group, as GitLab gives it and without a reference to the group."""

from collections.abc import Iterator
from typing import Any

from pydantic import Field

from gitlab_port_export.gitlab.kinds.kind import Context, Kind, Read, by, place_read
from gitlab_port_export.gitlab.kinds.members import MembersSelector, members_of, members_path
from gitlab_port_export.gitlab.lists import list_key
from gitlab_port_export.model import Page, Resource, Scope
from gitlab_port_export.parallel import Job


class MemberSelector(MembersSelector):
    """Which members of which groups."""

    include_only_active_groups: bool | None = Field(default=None, description="as for the kind `group`")


def reads(resources: tuple[Resource, ...], context: Context) -> Iterator[Read]:
    """Yield one read per group; a person in several groups comes several times and the lowest group id wins."""
    selectors = {resource.index: resource.selector for resource in resources}
    for wanted, indexes in by(resources, _wanted).items():
        selector = selectors[indexes[0]]
        for place in context.inventory.groups(wanted[0]):
            path = members_path(place.scope, inherited=wanted[1])
            yield place_read(
                "member",
                place,
                indexes,
                _start(indexes, selector),
                shares=(list_key(place.scope.token, path, ()),),
            )


def _wanted(selector: Any) -> tuple[bool | None, bool, bool]:
    return (
        selector.include_only_active_groups,
        selector.include_inherited_members,
        selector.include_bot_members,
    )


def _start(resources: tuple[int, ...], selector: Any) -> Any:
    def start(scope: Scope) -> Job:
        rows = yield from members_of(scope, selector)
        if rows:
            yield Page("member", resources, scope, rows)

    return start


KIND = Kind("member", MemberSelector, reads, active_groups=lambda selector: selector.include_only_active_groups)
