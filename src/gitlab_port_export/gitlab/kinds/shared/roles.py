"""Who has which role in a group or project, and where it comes from: own members, groups above, invited groups."""

from collections.abc import Generator, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from gitlab_port_export.base.parallel import All, Job, Once
from gitlab_port_export.gitlab.client import Get, Params, ReadFailed
from gitlab_port_export.gitlab.inventory import Listed
from gitlab_port_export.gitlab.kinds.kind import api_path
from gitlab_port_export.gitlab.kinds.shared.members import members_path
from gitlab_port_export.gitlab.lists import list_key, whole_list
from gitlab_port_export.model import Row, Scope

ROLES = {
    0: "No access",
    5: "Minimal access",
    10: "Guest",
    15: "Planner",
    20: "Reporter",
    25: "Security Manager",
    30: "Developer",
    40: "Maintainer",
    50: "Owner",
}
# Up to here a role counts in its own group alone.
MINIMAL = 5


@dataclass(frozen=True, slots=True)
class Role:
    """What one person may do: the member row it comes from, and the level that counts.

    `origin` is the path of the group or project whose member the person is, None where GitLab does not tell;
    `invited` says that this group was invited.
    """

    row: Row
    level: int
    origin: str | None
    expires_at: str | None
    invited: bool = False


Roles = Mapping[int, Role]


@dataclass(frozen=True)
class Invitation:
    """A group that was invited to another group or project, and the highest role that this gives its members."""

    path: str
    level: int
    expires_at: str | None
    # The members of the invited group by their id, None where they were not read.
    members: Mapping[int, int] | None = None


@dataclass(frozen=True)
class GroupTree:
    """The groups that any token lists, by their path."""

    groups: Mapping[str, Listed]

    @classmethod
    def of(cls, places: Iterable[Listed]) -> "GroupTree":
        """Build the tree from the inventory's groups."""
        return cls({place.scope.path: place for place in places})

    def parent(self, place: Listed) -> Listed | None:
        """Return the group right above a place, None at the top and where no token lists it."""
        return self.groups.get(place.scope.path.rpartition("/")[0])

    def above(self, place: Listed) -> list[Listed]:
        """Return the listed groups above a place, nearest first, up to the first that is hidden."""
        found: list[Listed] = []
        while parent := self.parent(found[-1] if found else place):
            found.append(parent)
        return found

    def inherits(self, place: Listed) -> bool:
        """Whether a group is above it: not so for top-level groups and personal projects."""
        if place.scope.is_group:
            return "/" in place.scope.path
        return (place.row.get("namespace") or {}).get("kind") != "user"

    def asks_all(self, place: Listed) -> bool:
        """Whether only /members/all shows everybody: groups above are hidden, or groups are or may be invited.

        GitLab's list of projects tells the invited groups, its list of groups does not.
        """
        return place.row.get("shared_with_groups") != [] or (self.inherits(place) and self.parent(place) is None)

    def invited(self, place: Listed) -> list[Listed]:
        """Return the groups invited to a project whose members are needed to tell who came with which."""
        shared = place.row.get("shared_with_groups") or ()
        found = [self.groups.get(str(one.get("group_full_path"))) for one in shared if isinstance(one, dict)]
        return [group for group in found if group and not self.inherits(group)] if len(found) > 1 else []

    def keys(self, place: Listed) -> tuple[Hashable, ...]:
        """Return the keys of the lists that tell who has a role in a place."""
        paths = [members_path(place.scope, inherited=False)]
        if self.asks_all(place):
            paths.append(members_path(place.scope, inherited=True))
        return tuple(list_key(place.scope.token, path, ()) for path in paths)


def roles_in(tree: GroupTree, place: Listed, scope: Scope) -> Generator[Any, Any, Roles]:
    """Return everybody's effective role in a place by user id; `scope` has the token that reads. Raises ReadFailed.

    The highest role counts; of equal ones the nearest. What is inherited follows from the groups above, which are
    read once; /members/all is asked only where that is not the whole truth.
    """
    parent = tree.parent(place)
    above: Roles = (yield from _inherited(tree, parent)) if parent else {}
    direct = yield from direct_members(scope)
    everyone: list[Row] = []
    if tree.asks_all(place):
        everyone = _checked((yield from whole_list(scope.token, members_path(scope, inherited=True), counted=False)))
    found = effective(scope.path, direct, above)
    strangers = [row for row in everyone if row["id"] not in found or row["access_level"] > found[row["id"]].level]
    if not strangers:
        return found
    invitations = yield from _invitations(tree, place, scope)
    return with_strangers(found, strangers, invitations, hidden=tree.inherits(place) and parent is None)


def group_roles(tree: GroupTree, group: Listed, token: str) -> Generator[Any, Any, Roles]:
    """Return the roles in a group, read once for itself and for everything below it. Raises ReadFailed."""

    def start() -> Job:
        try:
            return (yield from roles_in(tree, group, replace(group.scope, token=token)))
        except ReadFailed as failure:
            # Handed on as a value, so that what is below the group does not ask again each time.
            return failure

    found = yield Once(roles_key(group, token), start)
    if isinstance(found, ReadFailed):
        raise ReadFailed(found.reason, found.why, found.hint, found.status)
    roles: Roles = found
    return roles


def roles_key(group: Listed, token: str) -> Hashable:
    """Return the key under which a group's roles are read once."""
    return ("roles", group.scope.id, token)


def _inherited(tree: GroupTree, parent: Listed) -> Generator[Any, Any, Roles]:
    """Return what the group above gives, as the first of its tokens that may tells. Raises ReadFailed."""
    failures: list[ReadFailed] = []
    for token in parent.tokens:
        try:
            return (yield from group_roles(tree, parent, token))
        except ReadFailed as failure:
            failures.append(failure)
    last = failures[-1]
    raise ReadFailed(last.reason, f"members of the group {parent.scope.path}: {last.why}", last.hint, last.status)


def direct_members(scope: Scope) -> Generator[Any, Any, list[Row]]:
    """Return the members of the group or project itself. Raises ReadFailed."""
    return _checked((yield from whole_list(scope.token, members_path(scope, inherited=False))))


def _checked(rows: list[Row]) -> list[Row]:
    for row in rows:
        if not isinstance(row.get("id"), int) or not isinstance(row.get("access_level"), int):
            raise ReadFailed("shape", "answered 200 with members that have no id or no access level", status=200)
    return rows


def effective(path: str, direct: Sequence[Row], above: Roles) -> dict[int, Role]:
    """Return the roles that direct members have and those that groups above give."""
    found = {person: role for person, role in above.items() if role.level > MINIMAL}
    for row in direct:
        if row["id"] not in found or row["access_level"] >= found[row["id"]].level:
            found[row["id"]] = Role(row, row["access_level"], path, row.get("expires_at"))
    return found


def with_strangers(
    found: dict[int, Role], strangers: Sequence[Row], invitations: Sequence[Invitation], *, hidden: bool
) -> Roles:
    """Add the roles that only /members/all shows: given to invited groups, or (`hidden`) by groups above.

    Some versions of GitLab list an invited group's members with the role they have there, above what the invitation
    allows.
    """
    for row in strangers:
        role = Role(row, row["access_level"], None, row.get("expires_at"))
        fitting = [one for one in invitations if one.members is None or row["id"] in one.members]
        if fitting and not hidden:
            role = _invited(row, fitting)
        if row["id"] not in found or role.level > found[row["id"]].level:
            found[row["id"]] = role
    return found


def _invited(row: Row, fitting: Sequence[Invitation]) -> Role:
    def level(invitation: Invitation) -> int:
        listed: int = row["access_level"]
        there = listed if invitation.members is None else invitation.members[row["id"]]
        return min(listed, there, invitation.level)

    best = max(level(one) for one in fitting)
    first, *others = [one for one in fitting if level(one) == best]
    if others and not all(one.members is not None for one in (first, *others)):
        return Role(row, best, None, row.get("expires_at"), invited=True)
    ends = [date for date in (row.get("expires_at"), first.expires_at) if date]
    return Role(row, best, first.path, min(ends, default=None), invited=True)


def _invitations(tree: GroupTree, place: Listed, scope: Scope) -> Generator[Any, Any, list[Invitation]]:
    shared = place.row.get("shared_with_groups")
    if not isinstance(shared, list):
        params: Params = (("with_projects", "false"),) if scope.is_group else ()
        answer = yield Get(scope.token, api_path(scope), params, gives="object")
        shared = answer.data.get("shared_with_groups") or []
    found = [
        Invitation(one["group_full_path"], one["group_access_level"], one.get("expires_at"))
        for one in shared
        if isinstance(one, dict) and one.get("group_full_path") and isinstance(one.get("group_access_level"), int)
    ]
    if len(found) < 2:
        return found
    # Several groups may have brought a person in: their own members tell which one did.
    members = yield All(tuple(_members_at(tree, one.path) for one in found))
    return [replace(one, members=known) for one, known in zip(found, members, strict=True)]


def _members_at(tree: GroupTree, path: str) -> Generator[Any, Any, Mapping[int, int] | None]:
    group = tree.groups.get(path)
    if group is None or tree.inherits(group):
        return None
    try:
        rows = yield from direct_members(group.scope)
    except ReadFailed as failure:
        # Only a refusal is the same in the next run.
        if failure.reason not in ("forbidden", "missing", "scope"):
            raise
        return None
    return {row["id"]: row["access_level"] for row in rows}
