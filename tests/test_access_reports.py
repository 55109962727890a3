"""Faults that others have reported of tools that change GitLab's members: each is tried here."""

from collections.abc import Iterator
from datetime import date, timedelta

import pytest

from gitlab_port_export.base.errors import GitLabUnavailable
from gitlab_port_export.demo.gitlab import Edit, Fault, faults
from gitlab_port_export.demo.gitlab_faults import Recorded
from gitlab_port_export.demo.world import DEVELOPER, GUEST, MAINTAINER, OWNER, REPORTER
from testbed.access_bed import SECRET, AccessBed, access_bed, is_write

SOON = (date.today() + timedelta(days=30)).isoformat()


@pytest.fixture
def bed() -> Iterator[AccessBed]:
    with access_bed() as found:
        yield found


def overtaken(bed: AccessBed, change: object) -> None:
    """Let somebody else change the world between our look and our write."""
    links = Edit(lambda request: request.path.endswith("/saml_group_links"), change)  # type: ignore[arg-type]  # a callable
    bed.gitlab.edits.append(links)


def test_a_member_who_appears_meanwhile_gets_the_wished_role(bed: AccessBed) -> None:
    """https://github.com/gitlabhq/terraform-provider-gitlab/issues/993 and /pull/266: 409, and the role stays."""
    overtaken(bed, lambda: bed.world.add_member(bed.acme, bed.user("kim"), GUEST))
    outcome = bed.grant("kim", "developer")
    assert (outcome.result, bed.role("kim")) == ("updated", DEVELOPER)
    assert [method for method, _ in bed.writes()] == ["POST", "PUT"]


def test_a_member_who_disappears_meanwhile_is_removed_or_added(bed: AccessBed) -> None:
    """https://github.com/gitlabhq/terraform-provider-gitlab/issues/254 and /pull/267: 404 ends the run."""
    overtaken(bed, lambda: bed.world.remove_member(bed.acme, bed.user("jane")))
    assert bed.revoke("jane").result == "removed"
    bed.world.add_member(bed.acme, bed.user("jane"), GUEST)
    overtaken(bed, lambda: bed.world.remove_member(bed.acme, bed.user("jane")))
    outcome = bed.grant("jane", "reporter")
    assert (outcome.result, bed.role("jane")) == ("created", REPORTER)


def test_a_role_that_others_lower_to_the_last_owner_meanwhile_is_not_written(bed: AccessBed) -> None:
    """The guards are asked again before a second write."""
    bed.world.add_member(bed.acme, bed.user("kim"), OWNER)

    def boss_goes() -> None:
        bed.world.remove_member(bed.acme, bed.user("boss"))
        row = bed.member("kim")
        assert row
        row["expires_at"] = SOON

    overtaken(bed, boss_goes)
    bed.fault(faults.reply_json(409, {"message": "Conflict"}))
    outcome = bed.grant("kim", "guest")
    assert (outcome.result, bed.role("kim")) == ("failed", OWNER)


def test_an_end_can_be_taken_away_and_is_not_lost_by_a_change_of_role(bed: AccessBed) -> None:
    """https://github.com/xanzy/go-gitlab/pull/1579 (lost) and https://github.com/simstudioai/sim/pull/5710 (stays)."""
    bed.grant("kim", "guest", expires=SOON)
    bed.grant("kim", "reporter")
    row = bed.member("kim")
    assert row
    assert row["expires_at"] == SOON
    assert bed.grant("kim", "reporter", expires="").result == "updated"
    assert bed.member("kim") == row | {"expires_at": None}


def test_a_group_with_hundreds_of_members_is_seen_whole(bed: AccessBed) -> None:
    """https://github.com/ansible-collections/community.general/issues/3041: only the first page was read."""
    for number in range(230):
        bed.world.add_member(bed.acme, bed.world.add_user(f"person-{number}"), GUEST)
    late = bed.world.add_user("late-owner")
    bed.world.add_member(bed.acme, late, OWNER)
    assert bed.revoke("person-229").result == "removed"
    # The other owner is on the third page.
    assert bed.revoke("boss").result == "removed"
    assert bed.revoke("late-owner").guard == "last-owner"


def test_a_group_is_found_by_its_path_among_many_of_like_names(bed: AccessBed) -> None:
    """https://github.com/ansible-collections/community.general/issues/4460: a search by name misses it."""
    for number in range(120):
        bed.world.add_group(f"acme-{number}", name="Acme")
    assert bed.grant("kim", "guest").result == "created"
    assert bed.role("kim") == GUEST


def test_a_person_is_found_by_the_whole_username(bed: AccessBed) -> None:
    """https://github.com/MrBE4R/gitlab-ldap-sync/pull/10: doe gave doej."""
    bed.world.add_user("kimberly")
    outcome = bed.grant("kim", "guest")
    assert outcome.person
    assert outcome.person.username == "kim"
    assert bed.grant("ki", "guest").guard == "unknown"


def test_an_address_within_another_address_is_nobodys(bed: AccessBed) -> None:
    """https://github.com/cognisent/gitlab-slack/issues/5: smith@x.com gave mysmith@x.com."""
    bed.user("kim")["public_email"] = "mysmith@example.com"

    def finds_part(request: Recorded) -> bool:
        return request.path == "/users" and "search" in dict(request.query)

    bed.gitlab.faults.append(Fault(finds_part, faults.reply_json(200, [bed.user("kim")], ("X-Next-Page", ""))))
    assert bed.grant("smith@example.com", "guest").guard == "ambiguous"


def test_an_address_with_a_plus_sign_arrives_as_it_is(bed: AccessBed) -> None:
    """https://github.com/ORCID/orcid-member-services/pull/965: + became a space."""
    assert bed.grant("new+one@example.org", "guest").result == "invited"
    assert bed.grant("new+one@example.org", "reporter").result == "invited"
    (row,) = bed.world.rows_of("invitation", bed.acme)
    assert (row["invite_email"], row["access_level"]) == ("new+one@example.org", REPORTER)
    assert bed.revoke("new+one@example.org").result == "removed"


def test_a_blocked_person_whom_only_the_list_of_members_shows_can_lose_a_role(bed: AccessBed) -> None:
    """https://github.com/gitlabform/gitlabform/issues/912: no user is found by that name, and the tool ends."""
    for row in (bed.user("jane"), bed.member("jane")):
        assert row
        row["state"] = "blocked"
    nobody = faults.reply_json(200, [], ("X-Next-Page", ""))
    bed.gitlab.faults.append(Fault(lambda request: request.path == "/users", nobody))
    assert bed.grant("jane", "guest").guard == "blocked"
    assert (bed.revoke("jane").result, bed.role("jane")) == ("removed", None)


def test_a_service_account_of_any_name_is_known_by_its_own_page(bed: AccessBed) -> None:
    """https://github.com/gitlabform/gitlabform/issues/454 and https://github.com/Adambean/gitlab-ce-ldap-sync/issues/44."""
    robot = bed.world.add_user("deploy", "Deploy", bot=True)
    row = bed.world.add_member(bed.acme, robot, DEVELOPER)
    row.pop("bot", None)
    assert bed.revoke("deploy").guard == "bot"
    assert bed.revoke("deploy", allow=frozenset({"bot"})).result in ("removed", "failed")


def test_a_robot_is_no_owner_of_the_group(bed: AccessBed) -> None:
    """https://gitlab.com/gitlab-org/gitlab/-/issues/504245 and 367510: a bot was the last owner."""
    row = bed.world.add_member(bed.acme, bed.world.add_user("deploy", bot=True), OWNER)
    # GET members says who is a bot, GET members/all does not.
    assert row["bot"] is True
    bed.gitlab.writes.counts_bots = True
    assert bed.revoke("boss").guard == "last-owner"


def test_nobody_lowers_the_own_role_by_adding_oneself(bed: AccessBed) -> None:
    """https://github.com/gitlabhq/gitlabhq/issues/9558: the owner became a developer."""
    assert bed.grant("writer", "developer", allow=frozenset({"bot"})).guard == "oneself"


def test_the_owner_of_a_personal_project_stays(bed: AccessBed) -> None:
    """A personal project has no group above, and its owner cannot go."""
    own = bed.world.add_project(bed.user("jane"), "diary")
    bed.world.add_member(own, bed.writer, MAINTAINER)
    bed.scopes = ("**",)
    outcome = bed.act("revoke", "jane", "jane/diary", kind="project")
    assert outcome.guard == "last-owner"
    assert bed.act("grant", "kim", "jane/diary", kind="project", role="guest").result == "created"


def test_a_role_through_an_invited_group_is_told_as_such(bed: AccessBed) -> None:
    """https://github.com/matrix-org/matrix-hookshot/issues/538: such roles were taken for none."""
    friends = bed.world.add_group("friends")
    bed.world.add_member(friends, bed.user("kim"), MAINTAINER)
    bed.world.share_group(bed.acme, friends, DEVELOPER)
    shown = bed.show("kim", "acme")
    assert [(one.membership, one.role.name) for one in shown.still] == [("invited", "Developer")]
    assert bed.revoke("kim").guard == "inherited"
    lower = bed.grant("kim", "guest")
    assert (lower.result, bed.role("kim")) == ("created", GUEST)
    assert "an invited group gives Developer as well" in lower.notes[0]


def test_an_invitation_shows_its_end_as_a_date(bed: AccessBed) -> None:
    """GitLab shows the end of an invitation as a moment, and that of a member as a date."""
    bed.grant("new@example.org", "guest", expires=SOON)
    (row,) = bed.world.rows_of("invitation", bed.acme)
    row["expires_at"] = f"{SOON}T00:00:00.000Z"
    bed.freed()
    assert (bed.grant("new@example.org", "guest", expires=SOON).result, bed.writes()) == ("unchanged", [])


def test_an_owner_who_only_waits_for_a_seat_does_not_count(bed: AccessBed) -> None:
    """On free plans a member beyond the limit is `awaiting` and has no access."""
    bed.world.add_member(bed.acme, bed.user("kim"), OWNER, membership_state="awaiting")
    assert bed.revoke("boss").guard == "last-owner"


def test_a_removal_in_a_group_leaves_the_memberships_below(bed: AccessBed) -> None:
    """https://github.com/gitlabhq/terraform-provider-gitlab/issues/1194: they went too, unasked."""
    bed.world.add_member(bed.apps, bed.user("jane"), MAINTAINER)
    assert bed.revoke("jane").result == "removed"
    assert bed.role("jane", bed.apps) == MAINTAINER
    (removal,) = [one for one in bed.gitlab.requests if one.method == "DELETE"]
    assert removal.query == (("skip_subresources", "true"),)


@pytest.mark.parametrize("path", ["acme/../other", "acme//apps", "https://gitlab.example.com/acme", "acme%2Fapps"])
def test_an_odd_path_names_nothing(bed: AccessBed, path: str) -> None:
    """A path is sent as one part of the address, so that it cannot lead elsewhere."""
    bed.world.add_group("other")
    bed.scopes = ("**",)
    with pytest.raises(GitLabUnavailable, match="GitLab shows no group"):
        bed.act("grant", "kim", path, kind="group", role="guest")
    assert not list(filter(is_write, bed.gitlab.requests))


def test_a_group_that_is_owned_alone_may_lose_others(bed: AccessBed) -> None:
    """https://github.com/gitlabhq/gitlabhq/pull/6503: with one owner nobody could be removed."""
    assert bed.revoke("jane").result == "removed"


def test_a_token_of_one_project_may_end_an_owners_role_there(bed: AccessBed) -> None:
    """The owners of the group above are hidden from it, and rule the project all the same."""
    bed.world.remove_member(bed.acme, bed.writer)
    for name in ("writer", "kim"):
        bed.world.add_member(bed.web, bed.user(name), OWNER)
    assert bed.grant("jane", "maintainer", "acme/apps/web").result == "created"
    assert bed.revoke("kim", "acme/apps/web").result == "removed"


def test_a_token_that_can_only_read_is_told_what_it_lacks(bed: AccessBed) -> None:
    """GitLab says `insufficient_scope` for it, and 403 alone for a role that is too low."""
    bed.world.tokens[SECRET].scopes = ("read_api",)
    outcome = bed.grant("kim", "guest")
    assert (outcome.result, outcome.hint) == ("failed", "the write token needs the scope api")


def test_an_administrator_without_admin_mode_is_told_what_the_token_lacks() -> None:
    """Without the scope `admin_mode` GitLab answers 403 to what only administrators may."""
    with access_bed(admin=True) as bed:
        bed.scopes = ("**",)
        bed.fault(faults.forbidden())
        assert "admin_mode" in bed.account("block", "jane").hint
