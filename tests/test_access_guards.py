"""Every guard refuses each command that it is for, before anything is written, and lets pass what it is not about."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import pytest

from gitlab_port_export.access.guards import GUARDS
from gitlab_port_export.access.values import Verb
from gitlab_port_export.demo.world import DEVELOPER, OWNER
from testbed.access_bed import AccessBed, access_bed

SOON = (date.today() + timedelta(days=30)).isoformat()
Arrange = Callable[[AccessBed], object]


@dataclass(frozen=True)
class Case:
    """What is arranged so that a guard refuses, and what is wished for."""

    guard: str
    arrange: Arrange
    person: str = "jane"
    path: str = "acme"
    role: str = "reporter"
    admin: bool = False
    more: tuple[tuple[str, Any], ...] = ()
    verbs: tuple[Verb, ...] = ("grant", "revoke")


def nothing(bed: AccessBed) -> None:
    """Arrange nothing."""


def attribute(name: str, value: Any) -> Arrange:
    return lambda bed: setattr(bed, name, value)


def saml(bed: AccessBed) -> None:
    bed.world.rows_of("saml_group_link", bed.acme).append({"name": "devs", "access_level": 30})


def ldap_link(bed: AccessBed) -> None:
    bed.acme["ldap_group_links"] = [{"cn": "devs", "group_access": 30, "provider": "ldapmain"}]


def ldap_member(bed: AccessBed) -> None:
    row = bed.member("jane")
    assert row
    row["override"] = False


def bot(username: str) -> Arrange:
    def arrange(bed: AccessBed) -> None:
        user = bed.world.add_user(username, "Robot", bot=username.startswith("group_"))
        bed.world.add_member(bed.acme, user, DEVELOPER)

    return arrange


def two_accounts(bed: AccessBed) -> None:
    for name in ("kim", "jane"):
        bed.user(name)["public_email"] = "team@example.com"


def found_but_not_shown(bed: AccessBed) -> None:
    # What a search finds proves nothing: here it is the name, elsewhere a second address that nobody is shown.
    row = bed.world.add_member(bed.acme, bed.user("kim"), DEVELOPER)
    row["name"] = "kim@old.example.com"


def admin_account(bed: AccessBed) -> None:
    bed.world.accounts[bed.user("jane")["id"]] = {"is_admin": True}


def owner_jane(bed: AccessBed) -> None:
    row = bed.member("jane")
    assert row
    row["access_level"] = OWNER


def boss_blocked(bed: AccessBed) -> None:
    bed.world.add_member(bed.apps, bed.user("kim"), OWNER)
    for row in (bed.member("boss"), bed.user("boss")):
        assert row
        row["state"] = "blocked"


def jane_blocked(bed: AccessBed) -> None:
    for row in (bed.member("jane"), bed.user("jane")):
        assert row
        row["state"] = "blocked"


def temporary_owner(bed: AccessBed) -> None:
    bed.world.add_member(bed.acme, bed.user("kim"), OWNER, SOON)


def only_bots_besides(bed: AccessBed) -> None:
    bed.gitlab.writes.counts_bots = True


CASES = {
    "no scope is named": Case("scopes", attribute("scopes", ())),
    "another scope is named": Case("scopes", attribute("scopes", ("other/**", "acme/*"))),
    "only what is below is named": Case("scopes", attribute("scopes", ("acme/**",))),
    "a path that moved": Case(
        "place", lambda bed: bed.world.rename_project(bed.web, path="site"), path="acme/apps/web", person="kim"
    ),
    "another group than the catalog's": Case("place", nothing, more=(("expected_place_id", 4711),)),
    "a username that nobody has": Case("unknown", nothing, person="nobody"),
    "an id that nobody has": Case("unknown", nothing, person="id:4711"),
    "an address without account and invitation": Case("unknown", nothing, person="no@example.org", verbs=("revoke",)),
    "an address of two accounts": Case("ambiguous", two_accounts, person="team@example.com"),
    "an address that a search finds and no row shows": Case(
        "ambiguous", found_but_not_shown, person="kim@old.example.com"
    ),
    "a name that another account has now": Case("other-person", nothing, more=(("expected_id", 4711),)),
    "the token's own user": Case("oneself", nothing, person="writer", more=(("allow", frozenset({"bot"})),)),
    "an administrator": Case("administrator", admin_account, admin=True),
    "the user of a group token": Case("bot", bot("group_1_bot_0a1b2c"), person="group_1_bot_0a1b2c"),
    "a service account": Case("bot", bot("service_account_group_1_0a1b"), person="service_account_group_1_0a1b"),
    "the ghost user": Case("bot", bot("ghost"), person="ghost"),
    "a blocked account": Case("blocked", jane_blocked, verbs=("grant",)),
    "a role above the highest": Case("ceiling", attribute("ceiling", "developer"), role="maintainer", verbs=("grant",)),
    "a present role above the highest": Case(
        "ceiling", lambda bed: (owner_jane(bed), attribute("ceiling", "maintainer")(bed))
    ),
    "SAML links": Case("managed", saml),
    "LDAP links": Case("managed", ldap_link),
    "a role that LDAP sets": Case("managed", ldap_member),
    "a lower role below": Case("inherited", nothing, path="acme/apps/web", verbs=("grant",)),
    "a role from the group above": Case("inherited", nothing, path="acme/apps/web", verbs=("revoke",)),
    "the only owner": Case("last-owner", nothing, person="boss"),
    "the only owner, where GitLab counts bots": Case("last-owner", only_bots_besides, person="boss"),
    "the only owner who is not blocked": Case("last-owner", boss_blocked, person="kim", path="acme/apps"),
    "the last owner but for one with an end": Case("last-owner", temporary_owner, person="boss"),
    "an end for the only owner": Case(
        "last-owner", nothing, person="boss", role="owner", more=(("expires", SOON),), verbs=("grant",)
    ),
}


@pytest.mark.parametrize("plan", [False, True], ids=["run", "plan"])
@pytest.mark.parametrize(("name", "verb"), [(name, verb) for name, case in CASES.items() for verb in case.verbs])
def test_a_guard_refuses_before_anything_is_written(name: str, verb: Verb, plan: bool) -> None:
    case = CASES[name]
    with access_bed(admin=case.admin) as bed:
        case.arrange(bed)
        more = dict(case.more) | ({"role": case.role} if verb == "grant" else {})
        outcome = bed.act(verb, case.person, case.path, plan=plan, **more)
        assert (outcome.result, outcome.guard) == ("refused", case.guard), outcome
        assert outcome.why
        assert outcome.hint
        assert bed.writes() == []


def test_every_guard_has_a_case_for_each_of_its_commands() -> None:
    wanted = {(guard.name, verb) for guard in GUARDS for verb in guard.verbs}
    assert wanted == {(case.guard, verb) for case in CASES.values() for verb in case.verbs}


@pytest.fixture
def bed() -> Iterator[AccessBed]:
    with access_bed() as found:
        yield found


def test_what_is_meant_passes_the_guards_that_ask(bed: AccessBed) -> None:
    saml(bed)
    assert bed.grant("jane", "reporter", allow=frozenset({"managed"})).result == "updated"
    bot("service_account_x")(bed)
    both = frozenset({"managed", "bot"})
    assert bed.revoke("service_account_x", allow=both).result == "removed"
    assert bed.grant("boss", "guest", allow=both).guard == "last-owner"


def test_an_owner_goes_when_another_stays(bed: AccessBed) -> None:
    owner_jane(bed)
    assert bed.grant("boss", "guest").result == "updated"
    assert bed.revoke("jane").guard == "last-owner"


def test_an_owner_of_a_group_above_is_owner_enough(bed: AccessBed) -> None:
    bed.world.add_member(bed.apps, bed.user("kim"), OWNER)
    assert bed.revoke("kim", "acme/apps").result == "removed"


def test_owners_of_an_invited_group_do_not_count(bed: AccessBed) -> None:
    friends = bed.world.add_group("friends")
    bed.world.add_member(friends, bed.user("kim"), OWNER)
    bed.world.share_group(bed.acme, friends, OWNER)
    assert bed.revoke("boss").guard == "last-owner"


def test_an_owner_with_a_later_end_is_owner_enough_for_an_earlier_one(bed: AccessBed) -> None:
    temporary_owner(bed)
    assert bed.revoke("kim").result == "removed"


def test_an_owner_whose_end_has_passed_does_not_count(bed: AccessBed) -> None:
    bed.world.add_member(bed.acme, bed.user("kim"), OWNER, "2020-01-01")
    assert bed.revoke("boss").guard == "last-owner"


def test_a_blocked_account_may_lose_its_role(bed: AccessBed) -> None:
    jane_blocked(bed)
    assert bed.revoke("jane").result == "removed"


def test_a_revoke_where_nothing_is_held_needs_no_meant_word(bed: AccessBed) -> None:
    saml(bed)
    assert bed.revoke("kim").result == "unchanged"


def test_all_guards_that_refuse_are_named_at_once(bed: AccessBed) -> None:
    bed.scopes, bed.ceiling = (), "reporter"
    outcome = bed.grant("boss", "maintainer")
    assert outcome.guard == "scopes"
    for part in ("WRITE_SCOPES", "MAX_ROLE", "without an active human owner"):
        assert part in outcome.why


def test_the_role_of_an_invitation_is_bound_by_the_highest_role_too(bed: AccessBed) -> None:
    bed.grant("new@example.org", "owner")
    bed.ceiling = "developer"
    assert bed.grant("new@example.org", "guest").guard == "ceiling"
    assert bed.revoke("new@example.org").guard == "ceiling"


def test_a_project_of_a_group_has_its_owners(bed: AccessBed) -> None:
    bed.world.add_member(bed.web, bed.user("kim"), OWNER)
    assert bed.grant("kim", "maintainer", "acme/apps/web").result == "updated"
