"""Every odd answer of GitLab: what is read back decides, and nothing is written twice."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from gitlab_port_export.access.follow import Follow
from gitlab_port_export.access.once import MOST_WRITES
from gitlab_port_export.access.values import Outcome, Result, Verb
from gitlab_port_export.base.alarm import alarm
from gitlab_port_export.base.clock import Clock
from gitlab_port_export.base.errors import GitLabUnavailable, Interrupted
from gitlab_port_export.demo.gitlab import Edit, Fault, faults
from gitlab_port_export.demo.gitlab_faults import Drop, Lost, Recorded, Reply, Slow
from gitlab_port_export.demo.world import DEVELOPER, MAINTAINER, OWNER
from testbed.access_bed import AccessBed, access_bed, is_write

QUEUED = {"message": {"name": "Request queued for administrator approval."}}
INVITE_ERROR = {"status": "error", "message": {"new@example.org": "Already invited"}}


@dataclass(frozen=True)
class Wanted:
    """A wish, how many direct members or invitations it makes, and what it is called when it works."""

    verb: Verb
    person: str
    result: Result
    more: dict[str, Any] = field(default_factory=dict)


WISHES = {
    "add": Wanted("grant", "kim", "created", {"role": "developer"}),
    "change": Wanted("grant", "jane", "updated", {"role": "maintainer"}),
    "invite": Wanted("grant", "new@example.org", "invited", {"role": "developer"}),
    "remove": Wanted("revoke", "jane", "removed"),
    "uninvite": Wanted("revoke", "old@example.org", "removed"),
}


def ready(bed: AccessBed) -> None:
    bed.grant("old@example.org", "guest")
    bed.freed()


def act(bed: AccessBed, wish: Wanted, **more: Any) -> Outcome:
    return bed.act(wish.verb, wish.person, **wish.more, **more)


def state(bed: AccessBed) -> list[tuple[str, int]]:
    """Who has what in acme, directly or by invitation."""
    members = [(row["username"], row["access_level"]) for row in bed.world.group_members[bed.acme["id"]]]
    invited = [(row["invite_email"], row["access_level"]) for row in bed.world.rows_of("invitation", bed.acme)]
    return sorted(members + invited)


each_wish = pytest.mark.parametrize("wish", WISHES.values(), ids=WISHES)


@each_wish
@pytest.mark.parametrize(
    "lost",
    [Lost(), Drop(), faults.bad_gateway(), faults.server_error(), faults.throttled(0), faults.endpoint_throttled(0)],
    ids=["after the effect", "before the effect", "502", "500", "429", "429 of the endpoint"],
)
def test_a_write_without_an_answer_takes_effect_once(wish: Wanted, lost: faults.Answer) -> None:
    with access_bed() as bed:
        ready(bed)
        bed.fault(lost)
        outcome = act(bed, wish)
        assert outcome.result == wish.result, outcome
        assert len(bed.effects) == 1
        assert len(bed.writes()) == (1 if lost == Lost() else 2)
        bed.freed()
        assert act(bed, wish).result in ("unchanged", "refused")
        assert bed.writes() == []


@each_wish
def test_a_write_that_gets_no_answer_three_times_fails_and_changed_nothing(wish: Wanted) -> None:
    with access_bed() as bed:
        ready(bed)
        before = state(bed)
        bed.fault(Drop(), times=None)
        outcome = act(bed, wish)
        assert (outcome.result, len(bed.writes()), state(bed)) == ("failed", MOST_WRITES, before)
        assert "GitLab does not show the change" in outcome.why


REFUSALS: dict[str, Reply] = {
    "403": faults.forbidden(),
    "404": faults.not_found(""),
    "405 membership lock": faults.reply_json(405, {"message": "405 Method Not Allowed"}),
    "409 already": faults.reply_json(409, {"message": "Member already exists"}),
    "400 inherited": faults.reply_json(
        400, {"message": {"access_level": ["should be greater than or equal to Owner inherited membership"]}}
    ),
    "401": faults.unauthorized(),
    "422": faults.reply_json(422, {"message": "422 Unprocessable Entity"}),
    "201 with an error": faults.reply_json(201, INVITE_ERROR),
    "201 with a text": faults.reply_json(201, {"status": "error", "message": "Too many users specified"}),
}


@each_wish
@pytest.mark.parametrize("refusal", REFUSALS.values(), ids=REFUSALS)
def test_a_refusal_is_told_in_gitlabs_words_and_not_tried_again(wish: Wanted, refusal: Reply) -> None:
    with access_bed() as bed:
        ready(bed)
        before = state(bed)
        bed.fault(refusal, times=None)
        outcome = act(bed, wish)
        assert (outcome.result, len(bed.writes()), state(bed)) == ("failed", 1, before)
        assert "GitLab answered" in outcome.why


@each_wish
@pytest.mark.parametrize("refusal", REFUSALS.values(), ids=REFUSALS)
def test_what_stands_there_counts_more_than_a_refusal(wish: Wanted, refusal: Reply) -> None:
    """Somebody else did it in the same moment, or GitLab did it and answered otherwise."""
    with access_bed() as bed:
        ready(bed)
        bed.fault(Lost(refusal))
        outcome = act(bed, wish)
        assert (outcome.result, len(bed.effects), len(bed.writes())) == (wish.result, 1, 1)


@pytest.mark.parametrize("name", ["add", "change", "invite"])
def test_a_role_that_waits_for_approval_is_queued(name: str) -> None:
    with access_bed() as bed:
        ready(bed)
        before = state(bed)
        bed.gitlab.writes.approval = True
        outcome = act(bed, WISHES[name])
        assert (outcome.result, state(bed), len(bed.writes())) == ("queued", before, 1)
        assert "administrator" in outcome.why


def test_a_removal_that_takes_a_while_is_waited_for() -> None:
    with access_bed() as bed:
        bed.fault(Reply(204))
        looked = iter(range(10))

        def third(request: Recorded) -> bool:
            return request.path.endswith(f"/members/{bed.user('jane')['id']}") and next(looked) == 2

        bed.gitlab.edits.append(Edit(third, lambda: bed.world.remove_member(bed.acme, bed.user("jane"))))
        outcome = bed.revoke("jane")
        assert (outcome.result, len(bed.writes())) == ("removed", 1)


def test_a_removal_that_is_answered_and_not_seen_is_queued() -> None:
    with access_bed() as bed:
        bed.fault(Reply(204))
        outcome = bed.revoke("jane")
        assert (outcome.result, len(bed.writes())) == ("queued", 1)
        assert outcome.after is not None


@pytest.mark.parametrize("name", ["add", "change", "invite"])
def test_a_change_that_is_answered_and_not_seen_failed(name: str) -> None:
    with access_bed() as bed:
        ready(bed)
        bed.fault(faults.reply_json(201, {"status": "success"}))
        outcome = act(bed, WISHES[name])
        assert (outcome.result, len(bed.writes())) == ("failed", 1)
        assert "does not show it" in outcome.why


def test_a_replica_that_lags_behind_is_waited_for() -> None:
    with access_bed() as bed:
        old = Fault(lambda request: bool(bed.writes()) and "/members/" in request.path, faults.not_found(""), times=5)
        bed.gitlab.faults.append(old)
        outcome = bed.grant("kim", "guest")
        assert (outcome.result, len(bed.writes())) == ("created", 1)


def test_a_sign_in_rule_that_swallows_an_invitation_is_seen() -> None:
    with access_bed() as bed:
        bed.gitlab.writes.sso = True
        outcome = bed.grant("new@example.org", "guest")
        assert outcome.result == "failed"
        assert "not linked to a SAML account" in outcome.why


def test_a_scope_that_saml_locks_is_told_as_a_reason_for_403() -> None:
    with access_bed() as bed:
        bed.gitlab.writes.locked.add(bed.acme["id"])
        outcome = bed.grant("kim", "guest")
        assert outcome.result == "failed"
        assert "SAML or LDAP locks" in outcome.hint


def test_a_project_whose_members_are_locked_by_its_group() -> None:
    with access_bed() as bed:
        bed.acme["membership_lock"] = True
        outcome = bed.grant("kim", "guest", "acme/apps/web")
        assert outcome.result == "failed"
        assert "membership lock" in outcome.hint


@pytest.mark.parametrize("role", [MAINTAINER, DEVELOPER])
def test_a_token_whose_role_is_too_low_is_told_so(role: int) -> None:
    with access_bed() as bed:
        row = bed.member("writer")
        assert row
        row["access_level"] = role
        outcome = bed.grant("kim", "guest")
        assert (outcome.result, bed.role("kim")) == ("failed", None)
        assert "Owner of the group" in outcome.hint


def test_when_somebody_else_changes_the_role_meanwhile_it_is_decided_anew() -> None:
    with access_bed() as bed:
        boss, kim = bed.user("boss"), bed.user("kim")
        bed.world.add_member(bed.acme, kim, OWNER)
        bed.fault(faults.bad_gateway())

        def looked_at_again(request: Recorded) -> bool:
            return request.path.endswith(f"/members/{boss['id']}") and bool(bed.writes())

        bed.gitlab.edits.append(Edit(looked_at_again, lambda: bed.world.remove_member(bed.acme, kim)))
        outcome = bed.revoke("boss")
        # The first look saw two owners. The write got no answer, and the second look sees one.
        assert (outcome.result, bed.role("boss"), len(bed.writes())) == ("failed", OWNER, 1)
        assert "without an active human owner" in outcome.why


# --- time and signals


class Ended(Clock):
    """A clock whose deadline passes as soon as the write was sent."""

    def __init__(self, bed: AccessBed) -> None:
        super().__init__()
        self._bed = bed

    @property
    def past_deadline(self) -> bool:
        return any(map(is_write, self._bed.gitlab.requests))


@pytest.mark.parametrize(("answer", "result"), [(Lost(), "created"), (Drop(), "failed")])
def test_after_the_deadline_what_was_sent_is_still_read_back(answer: faults.Answer, result: Result) -> None:
    with access_bed() as bed:
        bed.clock = Ended(bed)
        bed.fault(answer)
        outcome = bed.grant("kim", "guest")
        assert (outcome.result, len(bed.writes())) == (result, 1)


def test_the_alarm_of_the_deadline_does_not_end_the_reading_back() -> None:
    with access_bed() as bed:
        bed.clock = Clock(deadline=0.8)
        bed.fault(Lost())
        slow = Fault(lambda request: bool(bed.writes()) and not is_write(request), Slow(1.5), times=2)
        bed.gitlab.faults.append(slow)
        with alarm(bed.clock):
            outcome = bed.grant("kim", "guest")
        assert (outcome.result, bed.role("kim"), len(bed.writes())) == ("created", 10, 1)


def test_a_deadline_before_the_write_changes_nothing() -> None:
    with access_bed() as bed:
        bed.clock = Clock(deadline=0)
        with pytest.raises(GitLabUnavailable, match="nothing was changed"):
            bed.grant("kim", "guest")
        assert bed.writes() == []


def test_a_gitlab_that_cannot_be_read_again_leaves_no_doubt_that_something_was_sent() -> None:
    with access_bed() as bed:
        seen: Callable[[Recorded], bool] = lambda request: any(map(is_write, bed.gitlab.requests))  # noqa: E731  # short
        bed.gitlab.faults.append(Fault(seen, faults.bad_gateway()))
        outcome = bed.grant("kim", "guest")
        assert (outcome.result, bed.role("kim")) == ("failed", 10)
        assert "a change was sent, and GitLab could not be read again" in outcome.why
        assert outcome.after is None


@pytest.mark.parametrize("path", ["/user", "/groups/acme", "/users", "/members/", "/invitations", "/saml_group_links"])
def test_a_read_that_fails_ends_the_command_before_anything_is_written(path: str) -> None:
    with access_bed() as bed:
        bed.gitlab.faults.append(Fault(lambda request: path in request.path, faults.bad_gateway()))
        person = "new@example.org" if path == "/invitations" else "jane"
        with pytest.raises(GitLabUnavailable):
            bed.grant(person, "guest")
        assert bed.writes() == []


def test_a_signal_after_the_write_is_told_before_the_command_ends() -> None:
    with access_bed() as bed:
        told: list[Outcome] = []

        def ended(outcome: Outcome) -> Outcome:
            told.append(outcome)
            return outcome

        def stop() -> None:
            raise Interrupted(15)

        with bed.api() as api:
            send = api.gitlab.http.send

            def interrupted(method: str, *given: Any, **more: Any) -> Any:
                if method == "GET":
                    return send(method, *given, **more)
                return stop()

            api.gitlab.http.send = interrupted  # type: ignore[method-assign]  # as if a signal came there
            from gitlab_port_export.access.line import carry_out  # noqa: PLC0415  # beside the bed's own

            with pytest.raises(Interrupted):
                carry_out(bed.wish("grant", "kim", role="guest"), bed.limits, api, follow=Follow(ended=ended))
        (outcome,) = told
        assert outcome.result == "failed"
        assert "whether the change was made is not known" in outcome.why


def test_a_bug_after_the_write_is_told_before_the_command_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> None:
        raise ZeroDivisionError

    with access_bed() as bed:
        told: list[Outcome] = []
        monkeypatch.setattr("gitlab_port_export.access.line.judge", broken)
        follow = Follow(ended=lambda outcome: told.append(outcome) or outcome)
        with pytest.raises(ZeroDivisionError):
            bed.carry_out(bed.wish("grant", "kim", role="guest"), follow=follow)
        (outcome,) = told
        assert (outcome.result, bed.role("kim")) == ("failed", 10)
        assert outcome.why.startswith("a bug in the exporter")


def test_a_member_without_a_role_is_no_answer_of_gitlabs() -> None:
    with access_bed() as bed:
        odd = faults.reply_json(200, {"id": 7, "username": "kim"})
        bed.gitlab.faults.append(Fault(lambda request: bool(bed.writes()) and "/members/" in request.path, odd))
        outcome = bed.grant("kim", "guest")
        assert outcome.result == "failed"
        assert "no access level" in outcome.why
