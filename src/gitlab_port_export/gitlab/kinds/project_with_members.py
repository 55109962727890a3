"""Kind `project-with-members`: the projects of the inventory, each with its members in `__members`."""

from collections.abc import Hashable, Iterator

from pydantic import Field

from gitlab_port_export.base.parallel import Job
from gitlab_port_export.gitlab.inventory import Listed
from gitlab_port_export.gitlab.kinds.kind import About, Again, Context, Kind, Read, Requests, Since, by
from gitlab_port_export.gitlab.kinds.shared.again import below_the_group, of_scope
from gitlab_port_export.gitlab.kinds.shared.members import (
    MembersQuery,
    MembersSelector,
    member_reads,
    members_of,
    shaped,
)
from gitlab_port_export.gitlab.languages import batches, languages_of, shares
from gitlab_port_export.mapping.model import Resource
from gitlab_port_export.model import Page, Scope


class ProjectWithMembersSelector(MembersSelector):
    """Which projects, and which members of each."""

    include_only_active_projects: bool | None = Field(default=None, description="as for the kind `project`")


def reads(resources: tuple[Resource, ...], context: Context) -> Iterator[Read]:
    """Yield one read per project; Ocean's `gitlab` adds the languages too."""
    languages = context.dialect == "gitlab"
    actives = by(resources, _active) if languages else ()
    together = batches(place for active in actives for place in context.inventory.projects(active))

    def start(place: Listed, indexes: tuple[int, ...], query: MembersQuery, scope: Scope) -> Job:
        members = yield from members_of(scope, query)
        row = {**place.row, "__members": shaped(members, context.dialect, verbose=query.verbose)}
        if languages:
            row["__languages"] = yield from languages_of(scope, place.row, together.get(scope.id))
        yield Page("project-with-members", indexes, scope, [row])

    places = context.inventory.projects

    def also(place: Listed) -> tuple[Hashable, ...]:
        return shares(place.scope, together.get(place.scope.id)) if languages else ()

    yield from member_reads("project-with-members", resources, _active, places, start, also)


def _active(selector: ProjectWithMembersSelector) -> bool | None:
    return selector.include_only_active_projects


KIND = Kind(
    "project-with-members",
    ProjectWithMembersSelector,
    reads,
    active_projects=_active,
    about=About(
        "Projects, each with its members.",
        ("GET /projects", "GET /projects/:id/members", "GET /projects/:id/members/all"),
        {
            "__members": "the members: in gitlab-v2 email, username, name, access_level and id of each, "
            "in gitlab id, username and email, or with `includeVerboseMemberObject` all that GitLab says",
            "__languages": "the share of each language in percent, by name; in integration type gitlab",
        },
        requests=Requests(project=1),
    ),
    again=Again(("project", "members"), of_scope(reads), left=below_the_group("inherited members of projects below")),
    since=Since("nothing", why="GitLab does not say which members changed"),
)
