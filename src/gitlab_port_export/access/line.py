"""A change of access, in order: look → guards → decide → write once → read back. Read this first.

    wish → person, place, state → guards → decision → (a plan ends here) → write → read back → outcome

GitLab's status codes do not tell whether a write worked, so the state that is read back decides. A write without an
answer is not repeated: the state is read, and decided on anew.
"""

from dataclasses import dataclass, replace
from datetime import date
from functools import partial

from gitlab_port_export.access.api import Api
from gitlab_port_export.access.below import roles_below
from gitlab_port_export.access.decide import Decision, decide
from gitlab_port_export.access.follow import SILENT, Follow, before_a_write, change, refused, told
from gitlab_port_export.access.guards import Facts, Limits, refusals
from gitlab_port_export.access.once import LOOK, Step, Verdict, write_once
from gitlab_port_export.access.person import find_person
from gitlab_port_export.access.read_back import judge, who_became
from gitlab_port_export.access.roles import find_role
from gitlab_port_export.access.scope import find_place
from gitlab_port_export.access.state import Look, State, read_state
from gitlab_port_export.access.values import Ended, Outcome, Person, Wish
from gitlab_port_export.access.write import OVER
from gitlab_port_export.gitlab.client import ReadFailed
from gitlab_port_export.model import Problem


@dataclass(frozen=True)
class _Task:
    """A wish with all that was found of it, and the direct roles below that end with the one in the place."""

    api: Api
    facts: Facts
    by_user: str
    below: tuple[Ended, ...] = ()

    @property
    def outcome(self) -> Outcome:
        """The outcome as far as it is known before anything is decided."""
        facts, state = self.facts, self.facts.state
        there = state.direct or state.invitation
        return Outcome(
            f"access {facts.wish.verb}", "unchanged", facts.wish, facts.found.person, facts.place, there, there,
            still=(state.inherited,) if state.inherited else (), by_user=self.by_user,
        )  # fmt: skip


def carry_out(wish: Wish, limits: Limits, api: Api, *, plan: bool = False, follow: Follow = SILENT) -> Outcome:
    """Grant or revoke as wished, or say what would be done. Raises UsageError and GitLabUnavailable before a write."""
    with before_a_write():
        task = _look(wish, limits, api, plan=plan)
    if found := tuple(refusals(task.facts)):
        return refused(replace(task.outcome, plan=plan), found, follow)
    decision = decide(task.facts)
    planned = replace(_planned(task, decision), plan=plan)
    if plan:
        return planned
    if decision.write is None:
        return told(planned, follow)
    return change(lambda: _change(task, decision, planned), planned, follow)


# --- look


def _look(wish: Wish, limits: Limits, api: Api, *, plan: bool) -> _Task:
    own = api.own_user()
    if wish.scope is None:
        raise TypeError("a wish without a scope")
    place = find_place(api, wish.scope)
    found = find_person(api, wish.person, place)
    role = find_role(api, wish.role, place) if wish.verb == "grant" else None
    facts = Facts(wish, limits, own["id"], found, place, role, State(), date.today())
    facts = replace(facts, state=_state(api, facts, lenient=plan))
    below = roles_below(api, place, found.person) if wish.below and found.person and place.is_group else ()
    return _Task(api, facts, str(own.get("username") or ""), below)


def _state(api: Api, facts: Facts, *, lenient: bool = False) -> State:
    found = facts.found
    if found.doubt:
        return State()
    look = Look(everybody=facts.wish.verb == "grant", lenient=lenient)
    return read_state(api, facts.place, found.person, found.email, look)


def _planned(task: _Task, decision: Decision) -> Outcome:
    writes = (decision.write,) if decision.write else ()
    notes = (*((decision.note,) if decision.note else ()), *task.facts.state.unseen)
    below = task.below if decision.write else ()
    return replace(task.outcome, result=decision.result, after=decision.after, writes=writes, notes=notes, below=below)


# --- write, and read back


def _change(task: _Task, decision: Decision, planned: Outcome) -> Outcome:
    """Send the write and return what it came to."""

    def step_for(state: State) -> Step[State]:
        facts = replace(task.facts, state=state)
        if found := tuple(refusals(facts)):
            # Nobody refused at first, so something has changed meanwhile.
            why = Verdict("failed", "; ".join(one.why for one in found))
            return Step(None, partial(judge, decision, task.facts.state), why)
        anew = decide(facts)
        # Without a write somebody else did it meanwhile, or the write that got no answer did.
        return Step(anew.write, partial(judge, anew, task.facts.state), Verdict(decision.result))

    seen = write_once(task.api, task.facts.state, step_for, partial(_state, task.api, task.facts))
    return _finished(task, planned, seen.state, seen.verdict)


def _finished(task: _Task, planned: Outcome, state: State | None, verdict: Verdict) -> Outcome:
    """Return the outcome by what was read back."""
    result = verdict.result or "failed"
    if state is None:
        return replace(planned, result=result, after=None, why=verdict.why, hint=verdict.hint)
    after = state.direct or state.invitation
    still = (state.inherited,) if state.inherited else ()
    outcome = replace(planned, result=result, after=after, still=still, why=verdict.why, hint=verdict.hint)
    try:
        if planned.person is None and result in ("created", "updated"):
            return _became_member(task, outcome, state)
        return replace(outcome, below=_ended(task, outcome)) if planned.below else outcome
    except (ReadFailed, *OVER) as failure:
        reason = failure.why if isinstance(failure, ReadFailed) else "the deadline passed"
        why = f"the change was made, and GitLab could not tell all of it: {reason}"
        return replace(outcome, problems=(Problem("read", why, LOOK),))


def _ended(task: _Task, outcome: Outcome) -> tuple[Ended, ...]:
    """Return which of the roles below are gone now."""
    person = outcome.person
    if person is None or outcome.result == "failed":
        return ()
    left = {(one.kind, one.path) for one in roles_below(task.api, task.facts.place, person)}
    return tuple(one for one in task.below if (one.kind, one.path) not in left)


def _became_member(task: _Task, outcome: Outcome, state: State) -> Outcome:
    """Return the outcome of an invitation that reached an account whose address the token cannot see."""
    before = task.facts.state.members
    number = who_became(decide(task.facts), task.facts.state, state)
    row = (task.api.one(f"/users/{number}") or {}) if number else {}
    person = Person(
        number or 0, str(row.get("username") or ""), str(row.get("name") or ""), str(row.get("state") or "")
    )
    was, now = before.get(number or 0), state.members.get(number or 0)
    note = f"the address belongs to {person.username} (id:{person.id}), who is a member at once"
    problems: tuple[Problem, ...] = ()
    if was and now and was.role.level > now.role.level:
        why = f"the address belongs to {person.username}, who had {was.role.name} and has {now.role.name} now"
        hint = f"if that was not meant: access grant {person.username} --role {was.role.name.lower()}"
        problems = (Problem("write", why, hint),)
    return replace(outcome, person=person, before=was, after=now, notes=(note,), problems=problems)
