"""Where a command that changes GitLab is told what to do: by options, a request, or a run of a Port action."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from gitlab_port_export.access.audit import audit_line, ci_job, ci_user
from gitlab_port_export.access.follow import Follow
from gitlab_port_export.access.inputs import Request, read_request
from gitlab_port_export.access.run import ACTIONS, Opened, open_run, reporting, verb_of, wish_from
from gitlab_port_export.access.run_words import label_of_error, summary_of_error
from gitlab_port_export.access.values import AskedBy, Outcome, Verb, Wish
from gitlab_port_export.access.wish import ACCESS, ALLOWED, check_wish, wish_of
from gitlab_port_export.base.clock import Clock, Stopped
from gitlab_port_export.base.errors import ExportError, UsageError
from gitlab_port_export.commands.changes import Change
from gitlab_port_export.commands.session import Session
from gitlab_port_export.settings.load import load_settings
from gitlab_port_export.settings.settings import SETTINGS, Settings
from gitlab_port_export.sync.connect import connect_port, identifier_of
from gitlab_port_export.sync.prepare import Run

# The verb of `access run`, which does what a run's action says.
ANY = "run"
SAID_TWICE = "what is asked for comes from the run or request, and from the command line as well"
# What variables begin with that a client of Port is made of.
OF_PORT = ("OCEAN__PORT", "OCEAN__SSL", "OCEAN__INTEGRATION__IDENTIFIER", "HTTP", "ALL_PROXY", "NO_PROXY", "PORT_")
TELLING_SECONDS = 10.0
NO_RUN = "access run: no run is named"


@dataclass(frozen=True)
class Asked:
    """One call of a command: what is typed, and how it is to be done."""

    verb: Verb
    given: Mapping[str, Any]
    change: Change

    @property
    def writes(self) -> bool:
        """Whether something may be changed."""
        return self.verb != "show" and not self.change.plan

    def as_action_says(self, opened: Opened) -> "Asked":
        """Return the call with the verb of the run's action, where any will do. Raises UsageError."""
        if self.verb != ANY:
            return self
        if opened.asked is None:
            raise UsageError(NO_RUN, hint="give --run ID, or a --request that holds the id of a run alone")
        return replace(self, verb=verb_of(opened.asked.action))


def tell_of_settings(session: Session, verb: Verb, options: Mapping[str, Any], error: UsageError) -> None:
    """End the run of a command whose settings are faulty, as far as those of Port are right; else nothing is done.

    Port would show it as in progress for good.
    """
    # Only these are looked at, and any token of GitLab will do: GitLab is not asked.
    known = {name: text for name, text in session.environ.items() if name.upper().startswith(OF_PORT)}
    token = {SETTINGS["write_token"].variable: "not-used"}
    wanted = (
        options.get(name) or session.environ.get(SETTINGS[name].variable) for name in ("run", "request", "action")
    )
    run, file, action = wanted
    if not (run or file):
        return
    try:
        settings = load_settings(known | token, dotenv=None, apart=True, action=action)
        session.redactor.learn(*settings.secrets())
        request = read_request(run, Path(file) if file else None)
        with ExitStack() as stack:
            asked = Asked(verb, {}, Change())
            opened = opened_run(asked, request, settings, Clock(deadline=TELLING_SECONDS), session, stack)
            if opened.page:
                words = label_of_error(error), session.redactor.redact(summary_of_error(error))
                opened.page.end_late("FAILURE", *words)
    except (ExportError, Stopped):
        session.note("the run of the action, if there is one, could not be told of it")


def typed_wish(asked: Asked, request: Request, session: Session) -> Wish:
    """Return what is asked for on the command line. Raises UsageError with all its faults."""
    by = AskedBy(ci_user(session.environ))
    typed = wish_of(asked.verb, asked.given, asked.change.reason, asked.change.allow, by)
    if not request:
        check_wish(typed or Wish(asked.verb, ""))
    elif typed or asked.given.get("below"):
        raise UsageError(SAID_TWICE, hint="leave out PERSON and all options that say what is asked for")
    return typed or Wish(asked.verb, "")


def opened_run(
    asked: Asked, request: Request, settings: Settings, clock: Clock, session: Session, stack: ExitStack
) -> Opened:
    """Return the run of an action that a request names, with a client of Port of its own: it is told of everything.

    Raises UsageError and PortUnavailable.
    """
    if any(session.redactor.redact(text) != text for text in (request.run_id, *map(str, request.inputs.values()))):
        # Azure Pipelines replaces $(NAME) in what a webhook sends, also by a secret; nothing of it goes into a URL.
        raise UsageError("the run or request holds a secret", hint="see who can start this job, and change the secret")
    if not request.run_id:
        return Opened()
    port = connect_port(settings, clock, identifier_of(settings), session.redactor)
    stack.callback(port.http.close)
    port.sign_in(first_contact=True)
    noun = "access" if asked.verb in ACCESS else "account"
    usual = tuple(ACTIONS) if asked.verb == ANY else (f"gitlab_{noun}_{asked.verb}",)
    return open_run(port, request, usual, settings.action)


@contextmanager
def following(asked: Asked, opened: Opened, session: Session) -> Iterator[Follow]:
    """Yield what follows: lines on standard error, the audit line last, and all of that for the run."""
    job, redact = ci_job(session.environ), session.redactor.redact
    with reporting(opened.page, job, redact, plan=asked.change.plan) as told:

        def say(line: str) -> None:
            session.note(line)
            told.say(line)

        def ended(outcome: Outcome) -> Outcome:
            # First here, as the run may take a while to answer.
            session.audit(audit_line(outcome, job, redact))
            return told.ended(outcome)

        yield replace(told, say=say, ended=ended)


def requested_wish(asked: Asked, request: Request, opened: Opened, prepared: Run, session: Session) -> Wish:
    """Return what a run or request asks for; what stops no guard is the command line's alone. Raises UsageError."""
    wish = wish_from(prepared, asked.verb, request, opened)
    by = wish.asked_by if opened.asked else AskedBy(ci_user(session.environ))
    wish = replace(wish, asked_by=by, allow=frozenset(one for one in ALLOWED if one in asked.change.allow))
    check_wish(wish)
    return wish
