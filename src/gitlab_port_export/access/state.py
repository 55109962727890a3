"""Reads what counts for a decision: the roles and the invitation of one person in one place, and its owners."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from gitlab_port_export.access.api import Api, quoted
from gitlab_port_export.access.person import is_machine
from gitlab_port_export.access.roles import MINIMAL, OWNER, role_of
from gitlab_port_export.access.values import Held, Membership, Person, Place
from gitlab_port_export.gitlab.client import REFUSALS, ReadFailed
from gitlab_port_export.model import Row


@dataclass(frozen=True)
class State:
    """What a person has in a place: the role given there, the highest one from elsewhere, and an open invitation.

    `owners` are the people who keep the place from being without owner, by id, with the dates when their roles end.
    `members` are the direct roles of everybody by id; both are read only where they matter. `unseen` says what the
    token is not shown.
    """

    direct: Held | None = None
    inherited: Held | None = None
    invitation: Held | None = None
    owners: Mapping[int, str | None] = field(default_factory=dict)
    members: Mapping[int, Held] = field(default_factory=dict)
    sources: tuple[str, ...] = ()
    unseen: tuple[str, ...] = ()


@dataclass(frozen=True)
class Look:
    """What is read: also all direct members, the owners where the person is one, and whether gaps are let pass.

    Only what writes nothing may let them pass: an invitation that nobody has seen must not be changed.
    """

    everybody: bool = False
    owners: bool = True
    lenient: bool = False


def read_state(api: Api, place: Place, person: Person | None, email: str, look: Look) -> State:
    """Return the state for one person or address. Raises ReadFailed."""
    invitation, unseen = _invitation(api, place, email, look) if email else (None, ())
    if person is None:
        members = _members(api, place) if look.everybody else {}
        return State(invitation=invitation, members=members, unseen=unseen)
    row = api.one(f"{place.api}/members/{person.id}")
    direct = held(row, "direct", place.path) if row else None
    inherited = _from_elsewhere(api, place, person, direct)
    owners = read_owners(api, place) if look.owners and direct and direct.role.level == OWNER else {}
    return State(direct, inherited, invitation, owners, sources=read_sources(api, place), unseen=unseen)


def held(row: Row, membership: Membership, origin: str | None) -> Held:
    """Return the role of a member or invitation by its row; LDAP's has `override` false until somebody overrides it."""
    expires = row.get("expires_at")
    date = str(expires)[:10] if expires else None
    return Held(role_of(row), date, membership, origin, managed=row.get("override") is False)


def _invitation(api: Api, place: Place, email: str, look: Look) -> tuple[Held | None, tuple[str, ...]]:
    """Return the open invitation of an address, or that the token may not see whether there is one."""
    try:
        rows = api.rows(f"{place.api}/invitations", (("query", email),))
    except ReadFailed as failure:
        if not look.lenient or failure.reason not in REFUSALS:
            raise
        return None, ("open invitations are not shown to this token; owners and maintainers see them",)
    row = next((row for row in rows if str(row.get("invite_email", "")).casefold() == email.casefold()), None)
    return held(row, "invitation", place.path) if row else None, ()


def _members(api: Api, place: Place) -> Mapping[int, Held]:
    return {int(row["id"]): held(row, "direct", place.path) for row in api.rows(f"{place.api}/members")}


def _from_elsewhere(api: Api, place: Place, person: Person, direct: Held | None) -> Held | None:
    """Return the highest role that groups above or invited groups give, the nearest of equal ones."""
    above = [held(row, "inherited", path) for path, row in _in_groups_above(api, place, person)]
    best = max((one for one in above if one.role.level > MINIMAL), key=lambda one: one.role.level, default=None)
    everything = api.one(f"{place.api}/members/all/{person.id}")
    known = max((one.role.level for one in (direct, best) if one), default=0)
    effective = held(everything, "invited", None) if everything else None
    return effective if effective and effective.role.level > known else best


def _in_groups_above(api: Api, place: Place, person: Person) -> Iterator[tuple[str, Row]]:
    for path in place.above:
        if row := api.one(f"/groups/{quoted(path)}/members/{person.id}"):
            yield path, row


def read_sources(api: Api, place: Place) -> tuple[str, ...]:
    """Return what sets the members of a group instead of people: links to groups of SAML or LDAP. Raises ReadFailed."""
    if not place.is_group:
        return ()
    saml = ["SAML group links"] if api.rows_or_none(f"{place.api}/saml_group_links") else []
    ldap = ["LDAP group links"] if place.row.get("ldap_group_links") or place.row.get("ldap_cn") else []
    return (*saml, *ldap)


def read_owners(api: Api, place: Place) -> Mapping[int, str | None]:
    """Return the active human owners of a place and of the groups above, with the dates when their roles end.

    Owners that only an invited group brings do not count: GitLab leaves them out too
    (https://gitlab.com/gitlab-org/gitlab/-/merge_requests/103686). Raises ReadFailed.
    """
    rows = api.rows(f"{place.api}/members")
    for path in place.above:
        rows = [*rows, *api.rows_or_none(f"/groups/{quoted(path)}/members")]
    if not place.is_group:
        # The groups above may be hidden from a token of the project alone; their owners rule the project all the same.
        rows = [*rows, *api.rows(f"{place.api}/members/all")]
    found: dict[int, str | None] = {}
    for row in rows:
        active = row.get("state") == "active" and row.get("membership_state", "active") == "active"
        if role_of(row).level >= OWNER and active and not is_machine(row):
            found[row["id"]] = _later(found.get(row["id"], ""), row.get("expires_at"))
    return found


def _later(one: str | None, other: str | None) -> str | None:
    """Return the later of two ends, of which None is never."""
    return None if one is None or other is None else max(one, str(other)[:10])
