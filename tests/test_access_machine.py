"""Random grants, revokes, invitations, ends and lost answers: GitLab is as decided or untouched, and keeps an owner."""

from contextlib import ExitStack
from datetime import date, timedelta

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from gitlab_port_export.access.values import Outcome, Wish
from gitlab_port_export.demo.gitlab import faults
from gitlab_port_export.demo.gitlab_faults import Drop, Lost
from gitlab_port_export.demo.world import OWNER, Row
from testbed.access_bed import AccessBed, access_bed

# The address of kim, which the token is not shown.
HIDDEN = "kim@example.com"
PEOPLE = ("boss", "jane", "kim", HIDDEN, "new@example.org", "writer", "group_1_bot_0a1b")
PLACES = ("acme", "acme/apps", "acme/apps/web")
ROLES = ("guest", "reporter", "developer", "maintainer", "owner")
ENDS = (None, "", *((date.today() + timedelta(days=days)).isoformat() for days in (10, 40)))
# What becomes of the next write: nothing special, or one of these.
TROUBLE: dict[str, faults.Answer] = {
    "no answer, after the effect": Lost(),
    "no answer, before the effect": Drop(),
    "502": faults.bad_gateway(),
    "429": faults.throttled(0),
    "403 after the effect": Lost(faults.forbidden()),
    "201 with an error": faults.reply_json(201, {"status": "error", "message": {"a": "Already invited"}}),
    "409": faults.reply_json(409, {"message": "Member already exists"}),
}

people, places, roles = st.sampled_from(PEOPLE), st.sampled_from(PLACES), st.sampled_from(ROLES)
trouble = st.one_of(st.none(), st.none(), st.sampled_from(tuple(TROUBLE)))
State = dict[tuple[str, str], tuple[int, str | None]]


class Access(RuleBasedStateMachine):
    """One GitLab, changed by commands and by people."""

    def __init__(self) -> None:
        super().__init__()
        self.stack = ExitStack()
        self.bed: AccessBed = self.stack.enter_context(access_bed())
        self.last: Wish | None = None

    def teardown(self) -> None:
        self.stack.close()

    @initialize(counts_bots=st.booleans())
    def begin(self, counts_bots: bool) -> None:
        self.bed.gitlab.writes.counts_bots = counts_bots
        bot = self.bed.world.add_user("group_1_bot_0a1b", bot=True)
        self.bed.world.add_member(self.bed.acme, bot, OWNER)

    # --- what is there

    def place(self, path: str) -> Row:
        return {"acme": self.bed.acme, "acme/apps": self.bed.apps, "acme/apps/web": self.bed.web}[path]

    def state(self) -> State:
        found: State = {}
        for path in PLACES:
            place = self.place(path)
            held = self.bed.world.group_members if "full_path" in place else self.bed.world.project_members
            for row in held[place["id"]]:
                found[path, row["username"]] = row["access_level"], row["expires_at"]
            for row in self.bed.world.rows_of("invitation", place):
                found[path, row["invite_email"]] = row["access_level"], row["expires_at"]
        return found

    # --- commands

    def act(self, wish: Wish, what: str | None) -> Outcome:
        """Carry out a wish, and check what came of it."""
        self.bed.freed()
        if what:
            self.bed.fault(TROUBLE[what])
        before = self.state()
        outcome = self.bed.carry_out(wish)
        after = self.state()
        changed = {key for key in {*before, *after} if before.get(key) != after.get(key)}
        assert len(self.bed.effects) <= 1, "nothing takes effect twice"
        assert len(changed) <= 1, "nobody else is touched"
        if outcome.result in ("refused", "unchanged", "failed", "queued"):
            assert not changed, outcome
        else:
            self.check(outcome, after)
            self.last = wish
        return outcome

    def check(self, outcome: Outcome, after: State) -> None:
        """What is told is what stands there."""
        assert outcome.place
        name = outcome.person.username if outcome.person else outcome.wish.person
        there = after.get((outcome.place.path, name))
        if outcome.result == "removed":
            assert there is None
            return
        assert outcome.after
        assert there == (outcome.after.role.level, outcome.after.expires)
        assert outcome.after.role.name.lower() == outcome.wish.role

    @rule(person=people, path=places, role=roles, end=st.sampled_from(ENDS), what=trouble)
    def grant(self, person: str, path: str, role: str, end: str | None, what: str | None) -> None:
        self.act(self.bed.wish("grant", person, path, role=role, expires=end), what)

    @rule(person=people, path=places, what=trouble)
    def revoke(self, person: str, path: str, what: str | None) -> None:
        self.act(self.bed.wish("revoke", person, path), what)

    @rule(person=people, path=places, role=roles)
    def plan(self, person: str, path: str, role: str) -> None:
        self.bed.freed()
        before = self.state()
        self.bed.carry_out(self.bed.wish("grant", person, path, role=role), plan=True)
        assert (self.bed.writes(), self.state()) == ([], before)

    @precondition(lambda self: self.last is not None)
    @rule()
    def again(self) -> None:
        wish, self.last = self.last, None
        assert wish is not None
        outcome = self.act(wish, None)
        if wish.person == HIDDEN and wish.verb == "grant":
            # GitLab shows nobody that the account with this address has the role.
            assert "name the person by username" in outcome.hint
            return
        # Nobody can tell whom an address means once its invitation is gone.
        assert outcome.result == "unchanged" or outcome.guard == "unknown", outcome
        assert self.bed.writes() == []

    # --- what people do in GitLab's pages

    @rule(name=st.sampled_from(("jane", "kim")), path=places, level=st.sampled_from((10, 30, 50)))
    def somebody_adds(self, name: str, path: str, level: int) -> None:
        place, user = self.place(path), self.bed.user(name)
        if self.bed.member(name, place) is None:
            self.bed.world.add_member(place, user, level)
        self.last = None

    @rule(name=st.sampled_from(("jane", "kim")), path=places)
    def somebody_removes(self, name: str, path: str) -> None:
        place = self.place(path)
        row = self.bed.member(name, place)
        others = self.owners() - {name}
        if row and (others or path != "acme"):
            self.bed.world.remove_member(place, row)
        self.last = None

    # --- what always holds

    def owners(self) -> set[str]:
        held = self.bed.world.group_members[self.bed.acme["id"]]
        return {
            row["username"] for row in held
            if row["access_level"] == OWNER and row["id"] not in self.bed.world.bots and row["expires_at"] is None
        }  # fmt: skip

    @invariant()
    def acme_has_a_human_owner_without_an_end(self) -> None:
        assert self.owners()

    @invariant()
    def the_token_and_the_bots_keep_their_roles(self) -> None:
        for name in ("writer", "group_1_bot_0a1b"):
            row = self.bed.member(name)
            assert row is None or row["access_level"] == OWNER


TestAccess = Access.TestCase
TestAccess.settings = settings(
    max_examples=15, stateful_step_count=20, deadline=None, suppress_health_check=list(HealthCheck)
)
