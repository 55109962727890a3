"""The commands `access` and `account`: roles and accounts in GitLab, shown or changed."""

from collections.abc import Mapping
from contextlib import ExitStack, closing
from dataclasses import replace
from functools import partial
from typing import Any

from pydantic import SecretStr

from gitlab_port_export.access.account import carry_out_account
from gitlab_port_export.access.api import WRITER, Api
from gitlab_port_export.access.below import places_below
from gitlab_port_export.access.catalog import write_through
from gitlab_port_export.access.codes import exit_code
from gitlab_port_export.access.follow import Follow
from gitlab_port_export.access.guards import Limits
from gitlab_port_export.access.inputs import read_request
from gitlab_port_export.access.line import carry_out
from gitlab_port_export.access.roles import LEVELS
from gitlab_port_export.access.show import show
from gitlab_port_export.access.values import Outcome, Role, Verb, Wish
from gitlab_port_export.access.wish import ACCESS
from gitlab_port_export.base.clock import Clock
from gitlab_port_export.base.errors import UsageError
from gitlab_port_export.base.text import Redactor
from gitlab_port_export.commands import access_output
from gitlab_port_export.commands.asked import Asked, following, opened_run, requested_wish, tell_of_settings, typed_wish
from gitlab_port_export.commands.changes import Change
from gitlab_port_export.commands.session import Session
from gitlab_port_export.gitlab.client import GitLab, secret_reader
from gitlab_port_export.gitlab.inventory import Patterns
from gitlab_port_export.gitlab.kinds.shared.roles import ROLES
from gitlab_port_export.port.runs import RunPage
from gitlab_port_export.settings.load import load_settings
from gitlab_port_export.settings.settings import SETTINGS, Settings, Token
from gitlab_port_export.sync.connect import connect_gitlab, identifier_of
from gitlab_port_export.sync.prepare import Run, prepare


def run(
    session: Session,
    verb: Verb,
    given: Mapping[str, Any],
    change: Change | None = None,
    **options: Any,
) -> int:
    """Show or change a role or an account, or plan it, and print what came of it. Raises ExportError."""
    how = change or Change()
    try:
        settings = load_settings(session.environ, apart=True, **options)
    except UsageError as error:
        if not how.plan:
            tell_of_settings(session, verb, options, error)
        raise
    session.begin(settings)
    for warning in settings.warnings:
        session.say(f"warning: {warning.why}", "yellow")
    with session.running(settings.deadline) as clock:
        outcome = run_access(Asked(verb, given, how), settings, clock, session)
    code = exit_code(outcome, detailed=how.detailed)
    access_output.write(outcome, code, session)
    return code


def run_access(asked: Asked, settings: Settings, clock: Clock, session: Session) -> Outcome:
    """Return what came of one call. Raises UsageError, GitLabUnavailable and PortUnavailable."""
    request = read_request(settings.run, settings.request)
    with ExitStack() as stack:
        # The run of an action is told of everything that comes after this.
        opened = opened_run(asked, request, settings, clock, session, stack)
        follow = stack.enter_context(following(asked, opened, session))
        asked = asked.as_action_says(opened)
        typed = typed_wish(asked, request, session)
        if asked.writes:
            check_write_token(settings)
        if not (asked.writes or request):
            return _act(asked, typed, settings, clock, session, follow)
        # Port is asked first: what cannot be told to the catalog is not changed in GitLab.
        prepared = prepare(settings, clock, writes=asked.writes, redactor=session.redactor)
        stack.callback(prepared.close)
        wish = requested_wish(asked, request, opened, prepared, session) if request else typed
        return _act(asked, wish, settings, clock, session, follow, (prepared, opened.page))


def _act(
    asked: Asked,
    wish: Wish,
    settings: Settings,
    clock: Clock,
    session: Session,
    follow: Follow,
    catalog: tuple[Run, RunPage | None] | None = None,
) -> Outcome:
    gitlab = connect(settings, clock, session.redactor)
    with closing(gitlab.http):
        api = api_for(gitlab, settings, wish, session.redactor)
        if asked.verb == "show":
            return show(wish, api)
        if catalog and asked.writes:
            prepared, page = catalog
            note, through = follow.wrote, write_through(prepared, partial(places_below, api), page)
            follow = replace(follow, wrote=lambda outcome: through(note(outcome)))
        act = carry_out if asked.verb in ACCESS else carry_out_account
        outcome = act(wish, limits_of(settings), api, plan=asked.change.plan, follow=follow)
        if asked.change.plan:
            follow.planned(outcome)
        return outcome


def check_write_token(settings: Settings) -> None:
    """Return where there is a token to write with. Raises UsageError."""
    if settings.write_token is None:
        hint = "make a token with the scope api for it; the token that reads is never used to write"
        raise UsageError(f"{SETTINGS['write_token'].variable} is not set", hint=hint)


def connect(settings: Settings, clock: Clock, redactor: Redactor) -> GitLab:
    """Return a client of GitLab with the tokens of a sync and, where it is set, the write token."""
    writer = (Token(WRITER, settings.write_token, ("**",)),) if settings.write_token else ()
    with_writer = settings.model_copy(update={"tokens": (*settings.tokens, *writer)})
    dialect = settings.integration_type or settings.default_dialect
    return connect_gitlab(with_writer, clock, dialect, identifier_of(settings), redactor)


def api_for(gitlab: GitLab, settings: Settings, wish: Wish, redactor: Redactor) -> Api:
    """Return GitLab as the write token shows it; where there is none, which only reads, as a token of the sync does."""
    if settings.write_token:
        return Api(gitlab, WRITER, settings.write_token.get_secret_value, settings.workers)
    path = wish.scope.path if wish.scope else ""
    fitting = [one for one in settings.tokens if Patterns(one.patterns).allow_at_or_above(path)]
    token = next(iter(fitting or settings.tokens))
    secret: SecretStr = token.secret
    read = secret_reader(secret.get_secret_value(), token.file, redactor.learn)
    return Api(gitlab, token.alias, read, settings.workers)


def limits_of(settings: Settings) -> Limits:
    """Return what the settings allow to change."""
    level = LEVELS[settings.max_role]
    return Limits(Patterns(settings.write_scopes), Role(level, ROLES[level]))
