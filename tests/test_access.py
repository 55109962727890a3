"""Roles are granted and revoked as wished: one write, read back, and none where there is nothing to do."""

from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

import pytest

from gitlab_port_export.access.guards import GUARDS
from gitlab_port_export.base.errors import GitLabUnavailable
from gitlab_port_export.demo.world import DEVELOPER, GUEST, MAINTAINER, OWNER
from testbed.access_bed import AccessBed, access_bed

SOON = (date.today() + timedelta(days=30)).isoformat()
LATER = (date.today() + timedelta(days=90)).isoformat()


@pytest.fixture
def bed() -> Iterator[AccessBed]:
    with access_bed() as found:
        yield found


def test_a_grant_makes_a_direct_member_with_one_write(bed: AccessBed) -> None:
    outcome = bed.grant("kim", "reporter")
    assert (outcome.result, bed.role("kim"), len(bed.writes())) == ("created", 20, 1)
    assert (outcome.before, outcome.after and outcome.after.role.name) == (None, "Reporter")
    assert outcome.person
    assert outcome.person.username == "kim"


def test_a_grant_to_a_project_is_a_role_in_that_project_alone(bed: AccessBed) -> None:
    assert bed.grant("kim", "developer", "acme/apps/web").result == "created"
    assert (bed.role("kim", bed.web), bed.role("kim")) == (DEVELOPER, None)


@pytest.mark.parametrize(("role", "level"), [("guest", GUEST), ("maintainer", MAINTAINER), ("Security-Manager", 25)])
def test_another_role_replaces_the_present_one_up_and_down(bed: AccessBed, role: str, level: int) -> None:
    assert bed.grant("jane", role).result == "updated"
    assert (bed.role("jane"), bed.effects) == (level, ["edit"])


def test_the_second_run_writes_nothing(bed: AccessBed) -> None:
    for act in (
        lambda: bed.grant("kim", "planner", expires=SOON),
        lambda: bed.grant("new@example.org", "guest", expires=SOON),
        lambda: bed.revoke("new@example.org"),
        lambda: bed.revoke("kim"),
    ):
        assert act().result != "unchanged"
        bed.freed()
        again = act()
        assert bed.writes() == [], again
        assert again.result in ("unchanged", "refused")  # nobody can tell whom an address without account means


def test_a_revoke_ends_the_direct_role_and_keeps_those_below(bed: AccessBed) -> None:
    bed.world.add_member(bed.web, bed.user("jane"), MAINTAINER)
    outcome = bed.revoke("jane")
    assert (outcome.result, bed.role("jane"), bed.role("jane", bed.web)) == ("removed", None, MAINTAINER)


def test_a_revoke_ends_the_roles_below_where_that_is_asked_for_and_names_them(bed: AccessBed) -> None:
    bed.world.add_member(bed.web, bed.user("jane"), MAINTAINER)
    planned = bed.revoke("jane", below=True, plan=True)
    assert [one.path for one in planned.below] == ["acme/apps/web"]
    outcome = bed.revoke("jane", below=True)
    assert [(one.kind, one.path) for one in outcome.below] == [("project", "acme/apps/web")]
    assert (bed.role("jane"), bed.role("jane", bed.web)) == (None, None)


def test_a_revoke_leaves_the_invitations_below_that_the_person_sent(bed: AccessBed) -> None:
    bed.world.rows_of("invitation", bed.web).append(
        {
            "id": 7,
            "invite_email": "x@example.org",
            "access_level": 10,
            "expires_at": None,
            "created_by_name": "Jane Doe",
        }
    )
    bed.revoke("jane")
    assert len(bed.world.rows_of("invitation", bed.web)) == 1


def test_an_inherited_role_that_suffices_is_enough(bed: AccessBed) -> None:
    outcome = bed.grant("jane", "developer", "acme/apps")
    assert (outcome.result, bed.writes()) == ("unchanged", [])
    assert "the group acme gives this role already" in outcome.notes[0]


def test_a_higher_role_below_is_given_on_top_of_the_inherited_one(bed: AccessBed) -> None:
    outcome = bed.grant("jane", "maintainer", "acme/apps/web")
    assert (outcome.result, bed.role("jane", bed.web)) == ("created", MAINTAINER)
    assert [one.origin for one in outcome.still] == ["acme"]


def test_an_end_is_set_kept_changed_and_taken_away(bed: AccessBed) -> None:
    def end() -> str | None:
        row = bed.member("kim")
        return row["expires_at"] if row else "gone"

    bed.grant("kim", "guest", expires=SOON)
    assert end() == SOON
    bed.grant("kim", "reporter")
    assert end() == SOON
    bed.grant("kim", "reporter", expires=LATER)
    assert end() == LATER
    bed.grant("kim", "reporter", expires="")
    assert end() is None


def test_a_custom_role_is_kept_when_only_the_end_changes(bed: AccessBed) -> None:
    roles = bed.world.rows_of("member_role", bed.acme)
    roles.append({"id": 12, "name": "Auditor", "base_access_level": 20, "group_id": bed.acme["id"]})
    assert bed.grant("kim", "custom:12").after is not None
    row = bed.member("kim")
    assert row
    assert row["member_role"]["id"] == 12
    outcome = bed.grant("kim", "custom:12", expires=SOON)
    row = bed.member("kim")
    assert (outcome.result, row and row["member_role"]["id"], row and row["expires_at"]) == ("updated", 12, SOON)
    assert bed.grant("kim", "reporter").result == "updated"
    row = bed.member("kim")
    assert row
    assert "member_role" not in row


def test_an_address_without_account_is_invited(bed: AccessBed) -> None:
    outcome = bed.grant("new@example.org", "developer")
    assert (outcome.result, outcome.person) == ("invited", None)
    assert outcome.after
    assert outcome.after.membership == "invitation"
    changed = bed.grant("New@Example.org", "guest")
    (row,) = bed.world.rows_of("invitation", bed.acme)
    assert (changed.result, row["access_level"]) == ("invited", GUEST)
    assert bed.revoke("new@example.org").result == "removed"
    assert bed.world.rows_of("invitation", bed.acme) == []


def test_a_public_address_finds_the_account_which_becomes_a_member(bed: AccessBed) -> None:
    bed.user("kim")["public_email"] = "kim@example.com"
    outcome = bed.grant("KIM@example.com", "developer")
    assert (outcome.result, outcome.person and outcome.person.username) == ("created", "kim")


def test_an_address_that_reaches_a_hidden_account_is_told_as_what_happened(bed: AccessBed) -> None:
    outcome = bed.grant("kim@example.com", "developer")
    assert (outcome.result, outcome.person and outcome.person.username) == ("created", "kim")
    assert "member at once" in outcome.notes[0]


def test_a_role_that_an_invitation_lowered_by_surprise_is_a_problem(bed: AccessBed) -> None:
    outcome = bed.grant("jane@example.com", "guest")
    assert (outcome.result, bed.role("jane")) == ("updated", GUEST)
    (problem,) = outcome.problems
    assert "jane, who had Developer and has Guest now" in problem.why


def test_a_plan_says_what_would_be_done_and_writes_nothing(bed: AccessBed) -> None:
    outcome = bed.grant("jane", "maintainer", plan=True)
    assert (outcome.plan, outcome.result, bed.writes(), bed.role("jane")) == (True, "updated", [], DEVELOPER)
    (write,) = outcome.writes
    assert (write.method, write.payload) == ("PUT", {"access_level": MAINTAINER})
    assert outcome.before
    assert outcome.after
    assert (outcome.before.role.name, outcome.after.role.name) == ("Developer", "Maintainer")


def test_show_tells_role_origin_end_and_invitation(bed: AccessBed) -> None:
    shown = bed.show("jane", "acme/apps/web")
    assert (shown.before, [one.origin for one in shown.still]) == (None, ["acme"])
    bed.grant("new@example.org", "guest", expires=SOON)
    bed.freed()
    invited = bed.show("new@example.org", "acme")
    assert invited.before
    assert (invited.before.membership, invited.before.expires) == ("invitation", SOON)
    everywhere = bed.show("boss")
    assert [(one.path, one.role.name) for one in everywhere.below] == [("acme", "Owner")]
    assert bed.writes() == []


def test_a_token_that_sees_no_invitations_can_show_and_plan_and_says_so(bed: AccessBed) -> None:
    row = bed.member("writer")
    assert row
    row["access_level"] = DEVELOPER
    bed.user("jane")["public_email"] = "jane@example.com"
    for outcome in (bed.show("jane@example.com", "acme"), bed.grant("new@example.org", "guest", plan=True)):
        assert outcome.result != "failed"
        assert "invitations are not shown to this token" in outcome.notes[-1]
    with pytest.raises(GitLabUnavailable):
        bed.grant("new@example.org", "guest")
    assert bed.writes() == []


def test_an_owner_may_be_made_where_the_ceiling_allows_it(bed: AccessBed) -> None:
    assert bed.grant("kim", "owner").result == "created"
    assert bed.role("kim") == OWNER
    # Now boss is not the last one.
    assert bed.revoke("boss").result == "removed"


def test_the_page_lists_the_guards_as_the_code_has_them() -> None:
    page = (Path(__file__).parent.parent / "docs" / "access.md").read_text("utf-8")
    rows = [f"| `{guard.name}` | {guard.refuses} | {guard.way_out} |" for guard in GUARDS]
    assert page.count("\n".join(rows)) == 1
