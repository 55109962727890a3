"""Kind `group-with-members`: the groups of the inventory, each with its members in `__members`."""

from collections.abc import Iterator

from gitlab_port_export.base.parallel import Job
from gitlab_port_export.gitlab.inventory import Listed
from gitlab_port_export.gitlab.kinds.kind import About, Again, Context, Kind, Read, Requests, Since
from gitlab_port_export.gitlab.kinds.member import MemberSelector
from gitlab_port_export.gitlab.kinds.shared.again import below_the_group, of_scope
from gitlab_port_export.gitlab.kinds.shared.members import MembersQuery, member_reads, members_of, shaped
from gitlab_port_export.mapping.model import Resource
from gitlab_port_export.model import Page, Scope


class GroupWithMembersSelector(MemberSelector):
    """Which groups, and which members of each."""


def reads(resources: tuple[Resource, ...], context: Context) -> Iterator[Read]:
    """Yield one read per group."""

    def start(place: Listed, indexes: tuple[int, ...], query: MembersQuery, scope: Scope) -> Job:
        members = yield from members_of(scope, query)
        row = {**place.row, "__members": shaped(members, context.dialect, verbose=query.verbose)}
        yield Page("group-with-members", indexes, scope, [row])

    yield from member_reads("group-with-members", resources, _active, context.inventory.groups, start)


def _active(selector: GroupWithMembersSelector) -> bool | None:
    return selector.include_only_active_groups


KIND = Kind(
    "group-with-members",
    GroupWithMembersSelector,
    reads,
    active_groups=_active,
    about=About(
        "Groups, each with its members.",
        ("GET /groups", "GET /groups/:id/members", "GET /groups/:id/members/all"),
        {
            "__members": "the members: in gitlab-v2 email, username, name, access_level and id of each, "
            "in gitlab id, username and email, or with `includeVerboseMemberObject` all that GitLab says",
        },
        requests=Requests(group=1),
    ),
    again=Again(("group", "members"), of_scope(reads), left=below_the_group("inherited members of groups below")),
    since=Since("nothing", why="GitLab does not say which members changed"),
)
