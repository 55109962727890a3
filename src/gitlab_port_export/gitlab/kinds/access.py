"""Kind `access`: one row per person and group or project: the effective role, where it comes from, when it ends."""

from collections.abc import Generator, Iterator
from functools import partial
from typing import Any, Literal, NamedTuple

from pydantic import Field

from gitlab_port_export.base.parallel import Job
from gitlab_port_export.gitlab.inventory import Active, Listed
from gitlab_port_export.gitlab.kinds.kind import (
    About,
    Again,
    Context,
    Kind,
    Read,
    Requests,
    Since,
    by,
    pages,
    scope_read,
)
from gitlab_port_export.gitlab.kinds.shared.again import below_the_group, of_members
from gitlab_port_export.gitlab.kinds.shared.members import is_bot
from gitlab_port_export.gitlab.kinds.shared.roles import (
    ROLES,
    GroupTree,
    Role,
    Roles,
    direct_members,
    effective,
    group_roles,
    roles_in,
    roles_key,
)
from gitlab_port_export.mapping.model import Resource, Selector
from gitlab_port_export.model import Row, Scope


class AccessSelector(Selector):
    """Whose access to which groups and projects."""

    scopes: tuple[Literal["group", "project"], ...] = Field(
        default=("group", "project"), description="access to groups, to projects, or to both (the default)"
    )
    include_inherited_members: bool = Field(
        default=True,
        description="true: everybody who has a role, also through a group above or an invited group, with the highest "
        "one; false: only the members of the group or project itself, with the role that they have as such",
    )
    include_bot_members: bool = Field(default=False, description="also the users of project and group access tokens")
    include_only_active_groups: bool | None = Field(default=None, description="as for the kind `group`")
    include_only_active_projects: bool | None = Field(default=None, description="as for the kind `project`")


class AccessQuery(NamedTuple):
    """What a selector asks for; resources with equal queries share their reads."""

    groups: bool
    projects: bool
    active_groups: Active
    active_projects: Active
    inherited: bool
    bots: bool


def reads(resources: tuple[Resource, ...], context: Context) -> Iterator[Read]:
    """Yield one read per group and project; what a group gives to everything below it is read once."""
    tree = GroupTree.of(context.inventory.all_groups())
    for query, indexes in by(resources, _query).items():
        places: list[Listed] = []
        places += context.inventory.groups(query.active_groups) if query.groups else ()
        places += context.inventory.projects(query.active_projects) if query.projects else ()
        for place in places:
            job = partial(_start, tree, place, indexes, query)
            lists = tree.keys(place) if query.inherited else tree.keys(place)[:1]
            givers = [*tree.above(place), *([place] if place.scope.is_group else [])] if query.inherited else []
            needs = [roles_key(group, group.scope.token) for group in givers]
            needs += [tree.keys(group)[0] for group in tree.invited(place)] if query.inherited else []
            yield scope_read("access", place, indexes, job, requests=len(lists), shares=lists, needs=tuple(needs))


def _query(selector: Any) -> AccessQuery:
    return AccessQuery(
        "group" in selector.scopes,
        "project" in selector.scopes,
        selector.include_only_active_groups,
        selector.include_only_active_projects,
        selector.include_inherited_members,
        selector.include_bot_members,
    )


def _start(tree: GroupTree, place: Listed, resources: tuple[int, ...], query: AccessQuery, scope: Scope) -> Job:
    found = yield from _roles(tree, place, query, scope)
    rows = [row_of(found[person], scope) for person in sorted(found) if query.bots or not is_bot(found[person].row)]
    yield from pages("access", resources, scope, rows)


def _roles(tree: GroupTree, place: Listed, query: AccessQuery, scope: Scope) -> Generator[Any, Any, Roles]:
    if not query.inherited:
        return effective(scope.path, (yield from direct_members(scope)), {})
    if scope.is_group:
        return (yield from group_roles(tree, place, scope.token))
    return (yield from roles_in(tree, place, scope))


def row_of(role: Role, scope: Scope) -> Row:
    """Return the row of one person's role in a scope: the member as GitLab gives it, with the role that counts."""
    return {
        **role.row,
        "access_level": role.level,
        "access_role": ROLES.get(role.level, f"Level {role.level}"),
        "expires_at": role.expires_at,
        "__scope": {"kind": "group" if scope.is_group else "project", "id": scope.id, "full_path": scope.path},
        "__membership": _membership(role, scope),
        "__inherited_from": None if role.origin == scope.path else role.origin,
    }


def _membership(role: Role, scope: Scope) -> str:
    if role.invited:
        return "invited"
    if role.origin is None:
        return "indirect"
    return "direct" if role.origin == scope.path else "inherited"


KIND = Kind(
    "access",
    AccessSelector,
    reads,
    active_groups=lambda selector: selector.include_only_active_groups,
    active_projects=lambda selector: selector.include_only_active_projects,
    about=About(
        "Who has which role where: one row for each person and each group or project.",
        (
            "GET /groups/:id/members",
            "GET /groups/:id/members/all",
            "GET /projects/:id/members",
            "GET /projects/:id/members/all",
        ),
        {
            "__scope": "the group or project: `kind` (`group` or `project`), `id` and `full_path`",
            "__membership": "`direct`, `inherited`, `invited`, or `indirect` where GitLab does not tell which",
            "__inherited_from": "the path of the group that gives the role; null for direct members",
        },
        requests=Requests(group=2, project=1),
    ),
    again=Again(
        ("group", "project", "members"),
        of_members(reads),
        above=True,
        left=below_the_group("the access to what is below the group"),
    ),
    since=Since("nothing", why="GitLab does not say which members changed"),
)
