"""A change that a Port action asked for: its wish comes from the action's run, and the run is told how it went.

The run's page gets the link to the job, a line a step, and one final status on every way out: done, refused, failed,
out of time, a signal, a bug. Only a process that is killed leaves it open.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace

from gitlab_port_export.access.audit import audit_line
from gitlab_port_export.access.codes import exit_code
from gitlab_port_export.access.entity import Meant, meant_by
from gitlab_port_export.access.follow import Follow
from gitlab_port_export.access.inputs import Request, checked
from gitlab_port_export.access.run_words import label_of, label_of_error, plan_of, summary_of, summary_of_error
from gitlab_port_export.access.values import AskedBy, Outcome, ScopeKind, ScopeName, Verb, Wish
from gitlab_port_export.access.wish import NEVER
from gitlab_port_export.base.clock import Stopped
from gitlab_port_export.base.errors import Fault, PortUnavailable, UsageError
from gitlab_port_export.base.text import shown
from gitlab_port_export.model import Problem
from gitlab_port_export.port.client import Port
from gitlab_port_export.port.runs import IN_PROGRESS, ActionRun, End, RunPage, read_action, read_emails, read_run
from gitlab_port_export.sync.prepare import Run

# The commands by the identifier of the action that asks for them; it may go on with `_…`.
ACTIONS: Mapping[str, Verb] = {
    "gitlab_access_grant": "grant",
    "gitlab_access_revoke": "revoke",
    "gitlab_account_block": "block",
    "gitlab_account_unblock": "unblock",
    "gitlab_account_remove": "remove",
}


@dataclass(frozen=True)
class Opened:
    """The run of an action that a command carries out: what Port says of it, where that was read, and its page."""

    page: RunPage | None = None
    asked: ActionRun | None = None


def verb_of(action: str) -> Verb:
    """Return the command of an action: `gitlab_access_grant` or `gitlab_access_grant_…`. Raises UsageError."""
    found = next((ACTIONS[name] for name in ACTIONS if _is_named(action, name)), None)
    if found is None:
        hint = "an action's identifier begins with the command: gitlab_access_grant, gitlab_access_revoke and so on"
        raise UsageError(f"the action {shown(action)} stands for no command", hint=hint)
    return found


def _is_named(action: str, name: str) -> bool:
    return action == name or action.startswith(f"{name}_")


def open_run(port: Port, request: Request, usual: Iterable[str], named: str | None) -> Opened:
    """Return the run that a request names, if any; with inputs of its own it needs no right to read the run.

    It is of the action that is `named`, or of a `usual` one. Raises UsageError unless it is such a run and in progress,
    and PortUnavailable: then it is left alone.
    """
    if not request.run_id:
        return Opened()
    page = RunPage(port, request.run_id)
    try:
        asked = read_run(port, request.run_id)
    except PortUnavailable:
        if request.inputs:
            return Opened(page)
        raise
    fits = asked.action == named if named else any(_is_named(asked.action, one) for one in usual)
    if not fits:
        hint = "name the action with --action where it has another identifier"
        wanted = named or " or ".join(usual)
        raise UsageError(f"--run: {asked.id} is a run of {shown(asked.action)}, not of {wanted}", hint=hint)
    if asked.status != IN_PROGRESS:
        hint = "start the action again; a run is carried out once, after its approval"
        raise UsageError(f"--run: {asked.id} is not in progress: {shown(asked.status)}", hint=hint)
    return Opened(page, asked)


def wish_from(prepared: Run, verb: Verb, request: Request, opened: Opened) -> Wish:
    """Return the wish of a run or of a request. Raises UsageError with every fault of its inputs, PortUnavailable."""
    asked = opened.asked
    # A run says what was asked for and approved; a request may come from anybody who can start the job.
    given = checked(_with_raw(asked) if asked else request.inputs)
    meant = Meant()
    if asked and asked.entity:
        meant = meant_by(prepared, asked.blueprint or read_action(prepared.port, asked.action), asked.entity)
    if faults := tuple(_twice(given, meant)):
        raise UsageError(*faults, hint="take the inputs out of the action's form: its entity tells that already")
    expires = given.get("expires")
    return Wish(
        verb,
        meant.person or given.get("person", ""),
        _scope(given, meant),
        role=given.get("role", ""),
        expires="" if expires and expires.lower() == NEVER else expires,
        reason=given.get("reason", ""),
        below=given.get("below") == "remove",
        asked_by=_asked_by(prepared, asked),
        expected_id=meant.person_id,
        expected_place_id=meant.place_id,
        run=request.run_id,
    )


def _with_raw(asked: ActionRun) -> Mapping[str, object]:
    """Return the inputs of a run; what Port shows only in its raw ones is taken from there."""
    return {**asked.raw, **{name: value for name, value in asked.inputs.items() if value is not None}}


def _twice(given: Mapping[str, str], meant: Meant) -> Iterator[Fault]:
    if meant.person and "person" in given:
        yield Fault("the entity tells the person already", "input person")
    for name in ("group", "project"):
        if meant.path and name in given:
            yield Fault("the entity tells the place already", f"input {name}")
    if "group" in given and "project" in given:
        yield Fault("give one of group and project", "input project")


def _scope(given: Mapping[str, str], meant: Meant) -> ScopeName | None:
    if meant.path and meant.kind:
        return ScopeName(meant.kind, meant.path)
    kinds: tuple[ScopeKind, ...] = ("group", "project")
    return next((ScopeName(kind, given[kind].strip("/")) for kind in kinds if kind in given), None)


def _asked_by(prepared: Run, asked: ActionRun | None) -> AskedBy:
    if asked is None:
        return AskedBy()
    emails = read_emails(prepared.port, frozenset({asked.created_by, asked.impersonated_by} - {""}))
    return AskedBy(*(emails.get(one, one) for one in (asked.created_by, asked.impersonated_by)))


# --- what the run is told


@dataclass
class _Report:
    """What a run is told of one command; `last` is the newest outcome."""

    page: RunPage
    job: str
    redact: Callable[[str], str]
    last: Outcome | None = None

    def say(self, line: str) -> None:
        """Add a line to the log, right before a change. Raises UsageError where somebody ended the run meanwhile."""
        if ended := self.page.ended_as():
            raise UsageError(f"--run: {self.page.id} is not in progress: {ended}", hint="nothing was changed")
        self.page.note(self.redact(line))

    def wrote(self, outcome: Outcome) -> Outcome:
        """Note that GitLab is changed, for an end before the entities are written."""
        self.last = outcome
        return outcome

    def ended(self, outcome: Outcome) -> Outcome:
        """Send the audit line, then the final status; where Port may lack that, the outcome gets a Problem."""
        self.last = outcome
        if self.page.port.http.clock.past_deadline:
            self.page.take_more_time()
        self.page.note(audit_line(outcome, self.job, self.redact))
        try:
            self.page.end(*self.words(outcome))
        except Stopped:
            self.page.end_late(*self.words(outcome))
        except PortUnavailable as failure:
            return replace(outcome, problems=(*outcome.problems, Problem("write", str(failure), failure.hint)))
        return replace(outcome, problems=(*outcome.problems, *self._missed()))

    def _missed(self) -> Iterator[Problem]:
        """Yield a Problem where the run's page does not show how this command ended."""
        if not self.page.ended:
            why = f"the action run {self.page.id} may be open still: the deadline passed"
            yield Problem("write", why, "end it in Port by hand")
        elif self.page.other:
            why = f"the action run {self.page.id} was ended as {self.page.other} by somebody else"
            yield Problem("write", why, "the audit line says what this command did")

    def planned(self, outcome: Outcome) -> None:
        """Add what would be done to the run's log; the run stays open, for the command that does it."""
        self.page.note(self.redact(plan_of(outcome)))

    def words(self, outcome: Outcome) -> tuple[End, str, str]:
        """Return status, label and summary."""
        done = exit_code(outcome, detailed=False) == 0
        return "SUCCESS" if done else "FAILURE", self.redact(label_of(outcome)), self.redact(summary_of(outcome))

    def broken_off(self, error: BaseException) -> None:
        """End the run of a command that something ends early, with what is known of it."""
        if self.last is None:
            self.page.end_late("FAILURE", label_of_error(error), self.redact(summary_of_error(error)))
            return
        why = "it was stopped before all entities were written; the next sync writes them"
        self.page.end_late(*self.words(replace(self.last, problems=(*self.last.problems, Problem("write", why)))))


@contextmanager
def reporting(page: RunPage | None, job: str, redact: Callable[[str], str], *, plan: bool) -> Iterator[Follow]:
    """Yield what follows a command whose run has this page, and end the run on every way out; a plan does not end it.

    `job` is the address of the job's page, `redact` takes secrets out of texts.
    """
    if page is None:
        yield Follow()
        return
    report = _Report(page, job, redact)
    if not plan:
        page.begin("Reading GitLab", job)
    try:
        yield Follow(report.say, report.wrote, report.ended, report.planned)
    except BaseException as error:  # whatever ends the command ends its run
        if not plan:
            report.broken_off(error)
        raise
