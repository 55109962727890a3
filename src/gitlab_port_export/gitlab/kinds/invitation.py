"""Kind `invitation`: open invitations to groups and projects; people who have not accepted yet and have no role."""

from collections.abc import Iterator
from functools import partial

from gitlab_port_export.base.parallel import Job
from gitlab_port_export.gitlab.inventory import Listed
from gitlab_port_export.gitlab.kinds.kind import (
    About,
    Again,
    Context,
    Kind,
    Read,
    Requests,
    Since,
    Wanted,
    api_path,
    each_once,
    scope_read,
)
from gitlab_port_export.gitlab.kinds.shared.again import of_scope
from gitlab_port_export.gitlab.kinds.shared.roles import ROLES
from gitlab_port_export.gitlab.kinds.shared.scoped_lists import ScopedSelector, scopes_of, wanted_scopes
from gitlab_port_export.gitlab.lists import read_list
from gitlab_port_export.mapping.model import Resource
from gitlab_port_export.model import Page, Row, Scope

# Who has this can accept the invitation in the other's place.
WITHHELD = "invite_token"


class InvitationSelector(ScopedSelector):
    """Invitations to which groups and projects."""


def reads(resources: tuple[Resource, ...], context: Context) -> Iterator[Read]:
    """Yield one read per group and per project."""

    def wanted() -> Iterator[Wanted]:
        for resource in resources:
            for place in scopes_of(wanted_scopes(resource.selector), context):
                yield (place.scope.is_group, place.scope.id), partial(_read, place), (resource.index,)

    yield from each_once(wanted())


def _read(place: Listed, resources: tuple[int, ...]) -> Read:
    def start(scope: Scope) -> Job:
        def handle(rows: list[Row]) -> Page:
            return Page("invitation", resources, scope, [row_of(row, scope) for row in rows])

        yield from read_list(scope.token, f"{api_path(scope)}/invitations", (), handle)

    return scope_read("invitation", place, resources, start)


def row_of(row: Row, scope: Scope) -> Row:
    """Return the row of an invitation: as GitLab gives it without its secret, with the role's name and the place."""
    kept = {name: value for name, value in row.items() if name != WITHHELD}
    level = row.get("access_level")
    return {
        **kept,
        "access_role": ROLES.get(level, f"Level {level}") if isinstance(level, int) else None,
        "__scope": {"kind": "group" if scope.is_group else "project", "id": scope.id, "full_path": scope.path},
    }


KIND = Kind(
    "invitation",
    InvitationSelector,
    reads,
    active_groups=lambda selector: selector.include_only_active_groups,
    active_projects=lambda selector: selector.include_only_active_projects,
    about=About(
        "Open invitations by e-mail: who was invited to a group or project and has not accepted yet.",
        ("GET /groups/:id/invitations", "GET /projects/:id/invitations"),
        {
            "access_role": "the name of the role that the invitation gives, such as `Developer`",
            "__scope": "the group or project: `kind` (`group` or `project`), `id` and `full_path`",
        },
        role=50,
        refuses="open invitations of groups; those of projects take the role Maintainer",
        requests=Requests(group=1, project=1),
    ),
    # Whoever accepts an invitation becomes a member; of the invitation itself GitLab sends no event.
    again=Again(("members",), of_scope(reads)),
    since=Since("nothing", why="GitLab does not say which invitations changed"),
)
