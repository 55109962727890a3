"""Accounts are made, blocked and unblocked by administrators, and lose all their roles in a group; none is deleted."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from gitlab_port_export.access.account_rules import ACCOUNT_GUARDS
from gitlab_port_export.access.values import NewAccount, Outcome, Result, Verb
from gitlab_port_export.demo.gitlab import Edit, Fault, faults
from gitlab_port_export.demo.gitlab_faults import Drop, Lost, Reply
from gitlab_port_export.demo.world import DEVELOPER, MAINTAINER, OWNER, Row
from testbed.access_bed import AccessBed, access_bed

MIA = NewAccount("mia", "Mia Ro")
ADDRESS = "mia@example.org"


@pytest.fixture
def bed() -> Iterator[AccessBed]:
    """A GitLab of one's own, with an administrator's token."""
    with access_bed(admin=True) as found:
        found.scopes = ("**",)
        yield found


@pytest.fixture
def com() -> Iterator[AccessBed]:
    """As on GitLab.com: the token's user is an owner of the group."""
    with access_bed() as found:
        yield found


def create(bed: AccessBed, account: NewAccount = MIA, email: str = ADDRESS, **more: Any) -> Outcome:
    return bed.account("create", email, account=account, **more)


def row(bed: AccessBed, name: str) -> Row:
    return bed.user(name)


def everywhere(bed: AccessBed, name: str) -> list[str]:
    """The places in which somebody has a direct role."""
    world, user = bed.world, bed.user(name)["id"]
    held = [world.groups[id]["full_path"] if kind == "group" else world.projects[id]["path_with_namespace"]
            for kind, id in world.memberships[user]]  # fmt: skip
    return sorted(held)


def with_roles(bed: AccessBed) -> None:
    """Let jane have roles in acme, below it and elsewhere."""
    other = bed.world.add_group("other")
    bed.world.add_member(other, bed.user("boss"), OWNER)
    for place in (bed.web, other):
        bed.world.add_member(place, bed.user("jane"), MAINTAINER)


# --- create


def test_an_account_is_made_with_one_write_and_no_password(bed: AccessBed) -> None:
    outcome = create(bed)
    assert (outcome.result, outcome.person and outcome.person.username) == ("created", "mia")
    assert bed.effects == ["create"]
    (write,) = outcome.writes
    assert write.payload == {"email": ADDRESS, "username": "mia", "name": "Mia Ro", "reset_password": True}
    bed.freed()
    assert (create(bed).result, bed.writes()) == ("unchanged", [])


def test_an_account_with_an_identity_gets_a_password_that_nobody_sees(bed: AccessBed) -> None:
    outcome = create(bed, NewAccount("mia", "Mia Ro", external=True, extern_uid="u-7", provider="saml"))
    assert outcome.result == "created"
    (write,) = outcome.writes
    assert write.payload is not None
    assert write.payload["force_random_password"] is True
    assert "reset_password" not in write.payload
    account = bed.world.accounts[row(bed, "mia")["id"]]
    assert (account["external"], account["identities"]) == (True, [{"provider": "saml", "extern_uid": "u-7"}])


def test_an_account_that_waits_for_approval_is_queued(bed: AccessBed) -> None:
    bed.gitlab.writes.user_cap = True
    outcome = create(bed)
    assert (outcome.result, outcome.why) == ("queued", "the account is blocked_pending_approval")


def test_a_name_that_somebody_takes_meanwhile_is_no_success(bed: AccessBed) -> None:
    bed.fault(faults.reply_json(409, {"message": "Username has already been taken"}))
    looked = iter(range(9))
    taken = Edit(lambda one: "username" in dict(one.query) and next(looked) == 0, lambda: bed.world.add_user("mia"))
    bed.gitlab.edits.append(taken)
    outcome = create(bed)
    assert (outcome.result, bed.effects) == ("failed", [])
    assert "already been taken" in outcome.why


# --- block and unblock


def test_a_block_ends_the_sign_in_and_keeps_the_roles_which_are_listed(bed: AccessBed) -> None:
    with_roles(bed)
    outcome = bed.account("block", "jane")
    assert (outcome.result, outcome.states, row(bed, "jane")["state"]) == ("updated", ("active", "blocked"), "blocked")
    assert [one.path for one in outcome.below] == ["acme", "other", "acme/apps/web"]
    assert everywhere(bed, "jane") == ["acme", "acme/apps/web", "other"]
    bed.freed()
    assert (bed.account("block", "jane").result, bed.writes()) == ("unchanged", [])
    assert bed.account("unblock", "jane").states == ("blocked", "active")


@pytest.mark.parametrize("state", ["blocked", "ldap_blocked", "banned", "blocked_pending_approval"])
def test_who_cannot_sign_in_needs_no_block(bed: AccessBed, state: str) -> None:
    row(bed, "jane")["state"] = state
    assert (bed.account("block", "jane").result, bed.writes()) == ("unchanged", [])


# --- remove


def test_a_removal_ends_all_roles_in_the_group_and_below_and_none_elsewhere(com: AccessBed) -> None:
    with_roles(com)
    planned = com.account("remove", "jane", "acme", plan=True)
    assert [(one.kind, one.path) for one in planned.below] == [("group", "acme"), ("project", "acme/apps/web")]
    assert com.writes() == []
    outcome = com.account("remove", "jane", "acme")
    assert (outcome.result, len(com.writes()), everywhere(com, "jane")) == ("removed", 1, ["other"])
    assert [one.path for one in outcome.below] == ["acme", "acme/apps/web"]
    com.freed()
    assert (com.account("remove", "jane", "acme").result, com.writes()) == ("unchanged", [])


def test_a_removal_reaches_who_is_only_in_a_project(com: AccessBed) -> None:
    com.world.add_member(com.web, com.user("kim"), DEVELOPER)
    assert com.account("remove", "kim", "acme").result == "removed"
    assert everywhere(com, "kim") == []


def test_a_removal_that_takes_minutes_is_queued_and_found_done_later(com: AccessBed) -> None:
    com.gitlab.writes.slow_removal = True
    outcome = com.account("remove", "jane", "acme")
    assert (outcome.result, outcome.below, len(com.writes())) == ("queued", (), 1)
    com.gitlab.writes.finish()
    com.freed()
    assert (com.account("remove", "jane", "acme").result, com.writes()) == ("unchanged", [])


def test_without_the_list_of_billable_members_the_membership_goes_with_all_below(com: AccessBed) -> None:
    with_roles(com)
    com.gitlab.faults.append(Fault("billable_members", faults.not_found("")))
    outcome = com.account("remove", "jane", "acme")
    assert (outcome.result, everywhere(com, "jane")) == ("removed", ["other"])
    assert com.writes() == [("DELETE", f"/groups/{com.acme['id']}/members/{com.user('jane')['id']}")]


# --- guards


@dataclass(frozen=True)
class Case:
    """What is arranged so that a guard refuses, and what is asked for."""

    guard: str
    verbs: tuple[Verb, ...]
    arrange: Callable[[AccessBed], object] = lambda bed: None  # nothing is arranged
    person: str = "jane"
    more: tuple[tuple[str, Any], ...] = ()
    group: str = "acme"
    admin: bool = True


def state_of(name: str, state: str) -> Callable[[AccessBed], object]:
    return lambda bed: bed.user(name).update(state=state)


def no_list_and_no_role_on_top(bed: AccessBed) -> None:
    bed.gitlab.faults.append(Fault("billable_members", faults.not_found("")))
    bed.world.add_member(bed.web, bed.user("kim"), DEVELOPER)


ALL: tuple[Verb, ...] = ("block", "unblock", "remove")
CASES = {
    "no administrator's token": Case("rights", ("create", "block", "unblock"), admin=False),
    "a part of the instance": Case("scopes", ("create", *ALL), lambda bed: setattr(bed, "scopes", ("acme",))),
    "a group below": Case("place", ("remove",), group="acme/apps"),
    "nobody of that name": Case("unknown", ALL, person="nobody"),
    "nobody with that address": Case("unknown", ALL, person="no@example.org"),
    "a username that is taken": Case("taken", ("create",), more=(("account", NewAccount("kim", "Kim Two")),)),
    "an address that is taken": Case("taken", ("create",), person="kim@example.com"),
    "another account than the catalog's": Case("other-person", ALL, more=(("expected_id", 4711),)),
    "the token's own user": Case("oneself", ALL, person="writer", more=(("allow", frozenset({"bot"})),)),
    "an administrator": Case(
        "administrator", ALL, lambda bed: bed.world.accounts.update({bed.user("jane")["id"]: {"is_admin": True}})
    ),
    "a bot": Case("bot", ALL, lambda bed: bed.world.bots.add(bed.user("jane")["id"])),
    "a deactivated account": Case("state", ("unblock",), state_of("jane", "deactivated")),
    "an account that LDAP blocks": Case("state", ("unblock",), state_of("jane", "ldap_blocked")),
    "a role above the highest": Case("ceiling", ("block", "remove"), lambda bed: setattr(bed, "ceiling", "guest")),
    "a group that SAML fills": Case(
        "managed", ("remove",), lambda bed: bed.world.rows_of("saml_group_link", bed.acme).append({"name": "devs"})
    ),
    "roles below that one request cannot end": Case("reach", ("remove",), no_list_and_no_role_on_top, person="kim"),
    "the only owner": Case("last-owner", ("block", "remove"), person="boss"),
}


@pytest.mark.parametrize("plan", [False, True], ids=["run", "plan"])
@pytest.mark.parametrize(("name", "verb"), [(name, verb) for name, case in CASES.items() for verb in case.verbs])
def test_a_guard_refuses_before_anything_is_written(name: str, verb: Verb, plan: bool) -> None:
    case = CASES[name]
    with access_bed(admin=case.admin) as bed:
        bed.scopes = ("**",)
        case.arrange(bed)
        person = ADDRESS if verb == "create" and case.person == "jane" else case.person
        account = {"account": MIA} if verb == "create" else {}
        group = case.group if verb == "remove" else ""
        outcome = bed.account(verb, person, group, plan=plan, **(account | dict(case.more)))
        assert (outcome.result, outcome.guard) == ("refused", case.guard), outcome
        assert outcome.why
        assert outcome.hint
        assert bed.writes() == []


def test_every_guard_has_a_case_for_each_of_its_commands() -> None:
    wanted = {(guard.name, verb) for guard in ACCOUNT_GUARDS for verb in guard.verbs}
    assert wanted == {(case.guard, verb) for case in CASES.values() for verb in case.verbs}


def test_the_page_lists_the_guards_as_the_code_has_them() -> None:
    page = (Path(__file__).parent.parent / "docs" / "access.md").read_text("utf-8")
    rows = [f"| `{guard.name}` | {guard.refuses} | {guard.way_out} |" for guard in ACCOUNT_GUARDS]
    assert page.count("\n".join(rows)) == 1


# --- answers


ACTS: dict[str, tuple[Callable[[AccessBed], Outcome], Result]] = {
    "create": (create, "created"),
    "block": (lambda bed: bed.account("block", "jane"), "updated"),
    "unblock": (lambda bed: bed.account("unblock", "kim"), "updated"),
    "remove": (lambda bed: bed.account("remove", "jane", "acme"), "removed"),
}
each_act = pytest.mark.parametrize("name", ACTS)


@each_act
@pytest.mark.parametrize(
    "answer", [Lost(), Drop(), faults.bad_gateway(), Lost(faults.forbidden())], ids=["after", "before", "502", "403"]
)
def test_a_write_takes_effect_once_whatever_is_answered(bed: AccessBed, name: str, answer: faults.Answer) -> None:
    act, result = ACTS[name]
    bed.user("kim")["state"] = "blocked"
    bed.fault(answer)
    outcome = act(bed)
    assert outcome.result == result, outcome
    assert len(bed.effects) == 1
    bed.freed()
    assert (act(bed).result, bed.writes()) == ("unchanged", [])


@each_act
@pytest.mark.parametrize(
    "refusal", [faults.forbidden(), faults.not_found("User "), Reply(400, b'{"error":"no"}')], ids=["403", "404", "400"]
)
def test_a_refusal_is_told_and_changes_nothing(bed: AccessBed, name: str, refusal: Reply) -> None:
    act, _ = ACTS[name]
    bed.user("kim")["state"] = "blocked"
    bed.fault(refusal, times=None)
    outcome = act(bed)
    assert (outcome.result, len(bed.writes()), bed.effects) == ("failed", 1, [])
    assert "GitLab answered" in outcome.why


def test_no_password_is_in_what_is_sent_or_told(bed: AccessBed) -> None:
    outcome = create(bed, plan=True)
    assert 'password": "' not in json.dumps([one.payload for one in outcome.writes])
