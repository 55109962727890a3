"""Kind `member`: every member of every group, as GitLab gives it and without a reference to the group."""

from collections.abc import Iterator

from pydantic import Field

from gitlab_port_export.base.parallel import Job
from gitlab_port_export.gitlab.inventory import Listed
from gitlab_port_export.gitlab.kinds.kind import About, Again, Context, Kind, Read, Requests, Since
from gitlab_port_export.gitlab.kinds.shared.again import below_the_group, of_members
from gitlab_port_export.gitlab.kinds.shared.members import MembersQuery, MembersSelector, member_reads, members_of
from gitlab_port_export.mapping.model import Resource
from gitlab_port_export.model import Page, Scope


class MemberSelector(MembersSelector):
    """Which members of which groups."""

    include_only_active_groups: bool | None = Field(default=None, description="as for the kind `group`")


def reads(resources: tuple[Resource, ...], context: Context) -> Iterator[Read]:
    """Yield one read per group; a person in several groups comes several times and the lowest group id wins."""
    yield from member_reads("member", resources, _active, context.inventory.groups, _start)


def _active(selector: MemberSelector) -> bool | None:
    return selector.include_only_active_groups


def _start(_: Listed, resources: tuple[int, ...], query: MembersQuery, scope: Scope) -> Job:
    if rows := (yield from members_of(scope, query)):
        yield Page("member", resources, scope, rows)


KIND = Kind(
    "member",
    MemberSelector,
    reads,
    active_groups=_active,
    about=About(
        "Members of groups; a person in several groups comes once a group.",
        ("GET /groups/:id/members", "GET /groups/:id/members/all"),
        requests=Requests(group=1),
    ),
    again=Again(("group", "members"), of_members(reads), left=below_the_group("inherited members of groups below")),
    repeats=True,
    since=Since("nothing", why="GitLab does not say which members changed"),
)
