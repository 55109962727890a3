"""Decides on a change of access: what is there and what is wished for → nothing, or one write. Pure."""

from dataclasses import dataclass
from typing import Any, Literal

from gitlab_port_export.access.api import quoted
from gitlab_port_export.access.guards import Facts
from gitlab_port_export.access.values import Held, Result, Role, Wish, Write


@dataclass(frozen=True)
class Decision:
    """The write, None where nothing is to be done; what stands there after it, and what the result is called then.

    `subject` says which part of the state the write is about.
    """

    write: Write | None
    after: Held | None
    result: Result
    note: str = ""
    subject: Literal["direct", "invitation"] = "direct"


def decide(facts: Facts) -> Decision:
    """Return what is to be done for a wish that no guard refuses."""
    known = facts.found.person is not None
    if facts.wish.verb == "revoke":
        return _revoke(facts)
    return _grant(facts) if known else _invite(facts)


def _grant(facts: Facts) -> Decision:
    state, wish, role = facts.state, facts.wish, _role(facts)
    if state.direct is None:
        if _suffices(state.inherited, role):
            return Decision(None, None, "unchanged", _from_elsewhere(state.inherited, wish))
        after = Held(role, wish.expires or None, "direct", facts.place.path)
        return Decision(_add(facts, role), after, "created", _beside(state.inherited, role))
    after = Held(role, _end(state.direct, wish), "direct", facts.place.path)
    if _same(state.direct, after):
        return Decision(None, state.direct, "unchanged")
    return Decision(_change(facts, role, after), after, "updated", _beside(state.inherited, role))


def _suffices(inherited: Held | None, role: Role) -> bool:
    return inherited is not None and inherited.membership == "inherited" and inherited.role == role


def _from_elsewhere(inherited: Held | None, wish: Wish) -> str:
    if inherited is None:
        return ""
    end = f"until {inherited.expires}" if inherited.expires else "without an end"
    differs = wish.expires is not None and (wish.expires or None) != inherited.expires
    return f"the group {inherited.origin} gives this role already{f', {end}' if differs else ''}"


def _beside(inherited: Held | None, role: Role) -> str:
    """Return what stays of a higher role that an invited group gives: the higher one counts."""
    if inherited is None or inherited.membership != "invited" or inherited.role.level < role.level:
        return ""
    return f"an invited group gives {inherited.role.name} as well, and the higher role counts"


def _invite(facts: Facts) -> Decision:
    """An invitation is sent, or changed where it is open; without a visible account nobody can be made a member."""
    there, wish, role = facts.state.invitation, facts.wish, _role(facts)
    after = Held(role, _end(there, wish), "invitation", facts.place.path)
    if there and _same(there, after):
        return Decision(None, there, "unchanged", "the invitation is open, and not yet accepted", "invitation")
    payload = {**_payload(role, after.expires, there), "email": facts.found.email}
    if there and role.custom is None:
        path = f"{facts.place.api}/invitations/{quoted(facts.found.email)}"
        write = Write("PUT", path, "change the invitation", payload=_payload(role, after.expires, there))
    else:
        write = Write("POST", f"{facts.place.api}/invitations", "invite", payload=payload)
    return Decision(write, after, "invited", subject="invitation")


def _revoke(facts: Facts) -> Decision:
    state, place, person = facts.state, facts.place, facts.found.person
    if person and state.direct:
        # Without this GitLab ends the memberships below as well:
        # https://docs.gitlab.com/api/group_members/#remove-a-member-from-a-group
        params = (("skip_subresources", str(not facts.wish.below).lower()),) if place.is_group else ()
        write = Write("DELETE", f"{place.api}/members/{person.id}", "end the membership", params=params)
        note = "an invitation is open too; the same command again ends it" if state.invitation else ""
        return Decision(write, None, "removed", note)
    if state.invitation:
        path = f"{place.api}/invitations/{quoted(facts.found.email)}"
        return Decision(Write("DELETE", path, "end the invitation"), None, "removed", subject="invitation")
    return Decision(None, None, "unchanged")


def _add(facts: Facts, role: Role) -> Write:
    person = facts.found.person
    payload = {"user_id": person.id if person else None, **_payload(role, facts.wish.expires or None, None)}
    return Write("POST", f"{facts.place.api}/members", "add a member", payload=payload)


def _change(facts: Facts, role: Role, after: Held) -> Write:
    """A custom role that is left out would end, so the whole membership is sent."""
    person = facts.found.person
    path = f"{facts.place.api}/members/{person.id if person else 0}"
    return Write("PUT", path, "change the member", payload=_payload(role, after.expires, facts.state.direct))


def _payload(role: Role, expires: str | None, there: Held | None) -> dict[str, Any]:
    found: dict[str, Any] = {"access_level": role.level}
    if expires or (there and there.expires):
        found["expires_at"] = expires or ""
    if role.custom is not None:
        found["member_role_id"] = role.custom
    return found


def _end(there: Held | None, wish: Wish) -> str | None:
    """Return the date that is to stand there: without a wish for one the present one stays."""
    if wish.expires is None:
        return there.expires if there else None
    return wish.expires or None


def same(one: Held | None, other: Held | None) -> bool:
    """Return whether two roles are the same, with the same end."""
    if one is None or other is None:
        return one is other
    return _same(one, other)


def _same(one: Held, other: Held) -> bool:
    return (one.role.level, one.role.custom, one.expires) == (other.role.level, other.role.custom, other.expires)


def _role(facts: Facts) -> Role:
    if facts.role is None:
        raise TypeError("a grant without a role")
    return facts.role
