"""A change of an account, in order: look → guards → decide → write once → read back, as in line.py."""

from dataclasses import replace
from functools import partial

from gitlab_port_export.access.account_rules import (
    RESULTS,
    AccountFacts,
    AccountState,
    done,
    is_done,
    judge,
    refusals,
    write_for,
)
from gitlab_port_export.access.api import Api
from gitlab_port_export.access.below import direct_roles, places_below, roles_anywhere, roles_of_seat
from gitlab_port_export.access.follow import SILENT, Follow, before_a_write, change, refused, told
from gitlab_port_export.access.guards import Limits
from gitlab_port_export.access.once import Step, Verdict, write_once
from gitlab_port_export.access.person import find_person
from gitlab_port_export.access.roles import OWNER, role_of
from gitlab_port_export.access.scope import find_place
from gitlab_port_export.access.state import read_owners, read_sources
from gitlab_port_export.access.values import Ended, Outcome, Person, Place, Wish
from gitlab_port_export.gitlab.client import REFUSALS, ReadFailed


def carry_out_account(wish: Wish, limits: Limits, api: Api, *, plan: bool = False, follow: Follow = SILENT) -> Outcome:
    """Create, block, unblock or remove, or say what would be done. Raises GitLabUnavailable before a write."""
    with before_a_write():
        own = api.own_user()
        facts = _look(wish, limits, api, own["id"], is_admin=own.get("is_admin") is True)
    outcome = _outcome(facts, str(own.get("username") or ""), plan=plan)
    if found := tuple(refusals(facts)):
        return refused(outcome, found, follow)
    write = write_for(facts, facts.state)
    if write is None:
        return outcome if plan else told(outcome, follow)
    planned = replace(outcome, writes=(write,), result=RESULTS[wish.verb])
    return planned if plan else change(lambda: _change(api, facts, planned), planned, follow)


# --- look


def _look(wish: Wish, limits: Limits, api: Api, own: int, *, is_admin: bool) -> AccountFacts:
    place = find_place(api, wish.scope) if wish.scope else None
    found = find_person(api, wish.person, place)
    facts = AccountFacts(wish, limits, own, is_admin, found, AccountState(found.person), place)
    if wish.verb == "create":
        name = wish.account.username if wish.account else ""
        return replace(facts, namesake=find_person(api, name, None).person)
    if found.person is None:
        return facts
    facts = replace(facts, billable=wish.verb == "remove" and _has_billable(api, facts))
    roles = _roles(api, facts, found.person) if wish.verb == "remove" or is_admin else ()
    sources = read_sources(api, place) if place and wish.verb == "remove" else ()
    ownerless = _ownerless(api, roles, found.person) if wish.verb != "unblock" else ()
    return replace(facts, state=AccountState(found.person, roles), sources=sources, ownerless=ownerless)


def _roles(api: Api, facts: AccountFacts, person: Person) -> tuple[Ended, ...]:
    """Return the direct roles in the group and below, or wherever the person has one."""
    place = facts.place
    if place is None:
        return roles_anywhere(api, person)[0]
    if facts.billable and (listed := roles_of_seat(api, place, person)) is not None:
        return listed
    row = api.one(f"{place.api}/members/{person.id}")
    here = (Ended(place.kind, place.path, role_of(row), place.id),) if row else ()
    return (*here, *direct_roles(api, places_below(api, place), person))


def _ownerless(api: Api, roles: tuple[Ended, ...], person: Person) -> tuple[str, ...]:
    """Return the groups that have no other owner than this person."""
    owned = [one for one in roles if one.kind == "group" and one.role.level >= OWNER]
    places = [Place("group", one.id, one.path, one.path) for one in owned]
    return tuple(place.path for place in places if set(read_owners(api, place)) == {person.id})


def _has_billable(api: Api, facts: AccountFacts) -> bool:
    """Return whether GitLab lists who takes a seat in the group, and so can end all roles at once (paid)."""
    person = facts.found.person
    if facts.place is None or person is None:
        return False
    try:
        api.rows(f"{facts.place.api}/billable_members", (("search", person.username),))
    except ReadFailed as failure:
        if failure.reason in (*REFUSALS, "refused"):
            return False
        raise
    return True


# --- write, and read back


def _change(api: Api, facts: AccountFacts, outcome: Outcome) -> Outcome:
    verb = facts.wish.verb

    def step_for(state: AccountState) -> Step[AccountState]:
        otherwise = done(verb, state) if is_done(verb, state) else Verdict("failed", "the account is gone")
        return Step(write_for(facts, state), partial(judge, verb), otherwise)

    seen = write_once(api, facts.state, step_for, partial(_read, api, facts))
    verdict, state = seen.verdict, seen.state
    outcome = replace(outcome, result=verdict.result or "failed", why=verdict.why, hint=verdict.hint)
    if state is None:
        return outcome
    person = state.person or outcome.person
    before = outcome.states[0] if outcome.states else ""
    left = {(one.kind, one.path) for one in state.roles}
    gone = tuple(one for one in outcome.below if (one.kind, one.path) not in left)
    below = gone if verb == "remove" else outcome.below
    return replace(outcome, person=person, states=(before, person.state if person else ""), below=below)


def _read(api: Api, facts: AccountFacts) -> AccountState:
    person = facts.found.person
    if facts.wish.verb == "create":
        return AccountState(_made(api, facts.wish))
    if person is None:
        return AccountState(None)
    if facts.wish.verb == "remove":
        return AccountState(person, _roles(api, facts, person))
    return AccountState(find_person(api, f"id:{person.id}", None).person, facts.state.roles)


def _made(api: Api, wish: Wish) -> Person | None:
    """Return the account with both the address and the username, None where there is none."""
    found = find_person(api, wish.account.username if wish.account else "", None).person
    return found if found and str(found.row.get("email") or "").casefold() == wish.person.casefold() else None


def _outcome(facts: AccountFacts, by_user: str, *, plan: bool) -> Outcome:
    person, verb = facts.found.person, facts.wish.verb
    states = (person.state, person.state) if person else None
    notes: tuple[str, ...] = ()
    if verb == "block" and facts.state.roles:
        notes = ("a blocked account keeps its roles and takes no seat; unblocking gives all of them back",)
    return Outcome(
        f"account {verb}", "unchanged", facts.wish, person, facts.place, below=facts.state.roles, states=states,
        notes=notes, by_user=by_user, plan=plan,
    )  # fmt: skip
