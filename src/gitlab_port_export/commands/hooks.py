"""The command `hooks`: plans, makes, checks or removes the hooks that keep fields of the catalog live."""

from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from pydantic import SecretStr

from gitlab_port_export.base.answer import Unreachable
from gitlab_port_export.base.clock import Clock, Stopped
from gitlab_port_export.base.errors import GitLabUnavailable, PortUnavailable
from gitlab_port_export.base.text import Redactor
from gitlab_port_export.commands import hooks_output
from gitlab_port_export.commands.session import Session
from gitlab_port_export.gitlab.client import secret_reader
from gitlab_port_export.gitlab.contact import first_contact
from gitlab_port_export.gitlab.inventory import Patterns
from gitlab_port_export.jq.pool import Evaluator
from gitlab_port_export.live import port_webhook
from gitlab_port_export.live.derive import KINDS, Derived, basis, derive
from gitlab_port_export.live.gitlab_hooks import HookApi
from gitlab_port_export.live.hook import SYSTEM_FLAGS
from gitlab_port_export.live.places import MEMBER, Scope, survey
from gitlab_port_export.live.port_webhook import PortStep, PortWebhook
from gitlab_port_export.live.provision import (
    NOT_YET,
    Command,
    HooksReport,
    by_hand,
    carry_out,
    events_for_ci,
    name_for,
    oceans,
    states_of,
    steps_for,
    wanted_hooks,
)
from gitlab_port_export.live.strays import strays
from gitlab_port_export.live.wish import Wish, load_wish, patterns_of
from gitlab_port_export.mapping.model import Mapping as PortMapping
from gitlab_port_export.model import Dialect
from gitlab_port_export.port import integration as integrations
from gitlab_port_export.port.client import Port, PortRefused, advice
from gitlab_port_export.settings.load import load_settings
from gitlab_port_export.settings.settings import Settings, Token
from gitlab_port_export.sync.choose import check_jq, choose_mapping
from gitlab_port_export.sync.connect import connect_gitlab, connect_port, identifier_of, jq_environ, port_blueprints

RIGHT = "read and create webhooks (moderator or administrator)"


@dataclass(frozen=True)
class _Task:
    """What all parts of a command need to know."""

    wish: Wish
    settings: Settings
    port: Port
    api: HookApi
    integration: str
    mapping: PortMapping
    dialect: Dialect
    secret: str

    @property
    def name(self) -> str:
        return name_for(self.integration, self.wish.to)


def run(session: Session, command: Command, wish: Mapping[str, Any], *, detailed: bool = False, **options: Any) -> int:
    """Plan, apply, check or remove the hooks of live updates, and print what was done. Raises ExportError."""
    settings = load_settings(session.environ, **options)
    session.begin(settings)
    wanted = load_wish(session.environ, settings, **wish)
    with session.running(settings.deadline) as clock:
        report = run_hooks(command, wanted, settings, clock, session.redactor, detailed=detailed)
    if session.as_json:
        session.out.stream.write(hooks_output.to_json(report, session.redactor.redact))
    else:
        hooks_output.render(report, session.redactor.redact, session.out.console)
    return report.exit_code


def run_hooks(
    command: Command, wish: Wish, settings: Settings, clock: Clock, redactor: Redactor, *, detailed: bool = False
) -> HooksReport:
    """Plan, apply, check or remove the hooks. Raises UsageError, GitLabUnavailable and PortUnavailable."""
    redactor.learn(*wish.secrets())
    try:
        return replace(_run(command, wish, settings, clock, redactor), detailed=detailed)
    except Stopped:
        hint = "allow more time (--deadline), and run it again: what was done is found again"
        raise GitLabUnavailable("the deadline passed before everything was asked and done", hint=hint) from None


def _run(command: Command, wish: Wish, settings: Settings, clock: Clock, redactor: Redactor) -> HooksReport:
    integration = identifier_of(settings)
    port = connect_port(settings, clock, integration, redactor)
    with closing(port.http):
        port.sign_in(first_contact=True)
        mapping, dialect = _mapping(port, settings, integration, needed=command != "remove")
        with_token = _with_token(settings, wish)
        gitlab = connect_gitlab(with_token, clock, dialect, integration, redactor)
        with closing(gitlab.http):
            first_contact(gitlab, tuple(token.alias for token in with_token.tokens))
            api = HookApi(gitlab, _readers(with_token, redactor), settings.workers)
            secret = wish.secret or port_webhook.secret_for(integration, settings.port_client_secret.get_secret_value())
            redactor.learn(secret)
            task = _Task(wish, with_token, port, api, integration, mapping, dialect, secret)
            least, removes = _least(mapping, dialect), command == "remove"
            scope = survey(api, _patterns(with_token), wish, least, removes=removes)
            return _asked_of_port(partial(_report, task, command, scope, patterns_of(settings)))


def _mapping(port: Port, settings: Settings, integration: str, *, needed: bool) -> tuple[PortMapping, Dialect]:
    """Return the mapping that a sync would use, checked, or an empty one; and the integration's type."""
    found = integrations.fetch(port, integration)
    dialect = settings.integration_type or found.dialect or settings.default_dialect
    port.http.set_user_agent(integrations.user_agent(dialect, integration))
    if not needed:
        return PortMapping(resources=()), dialect
    mapping = choose_mapping(settings, found, dialect, port_blueprints(port)).mapping
    with closing(Evaluator(jq_environ(settings), plain_expressions=settings.plain_expressions)) as evaluator:
        check_jq(mapping, evaluator)
    return mapping, dialect


def _with_token(settings: Settings, wish: Wish) -> Settings:
    """Return the settings with the token for hooks in the place of those for reading, for what they all read."""
    if not wish.token:
        return settings
    token = Token("the token for hooks", SecretStr(wish.token), patterns_of(settings))
    return settings.model_copy(update={"tokens": (token,)})


def _patterns(settings: Settings) -> dict[str, Patterns]:
    return {token.alias: Patterns(token.patterns) for token in settings.tokens}


def _readers(settings: Settings, redactor: Redactor) -> Mapping[str, Callable[[], str]]:
    return {
        token.alias: secret_reader(token.secret.get_secret_value(), token.file, redactor.learn)
        for token in settings.tokens
    }


def _least(mapping: PortMapping, dialect: Dialect) -> int:
    """Return the role from which on a sync reads groups and projects."""
    narrowed = dialect == "gitlab-v2" and mapping.visibility.use_min_access_level
    return mapping.visibility.min_access_level if narrowed else MEMBER


def _asked_of_port(ask: Callable[[], HooksReport]) -> HooksReport:
    try:
        return ask()
    except (PortRefused, Unreachable) as failure:
        raise PortUnavailable(f"Port's webhooks: {failure}", hint=advice(failure, RIGHT)) from None


def _report(task: _Task, command: Command, scope: Scope, patterns: tuple[str, ...]) -> HooksReport:
    wish = task.wish
    found = _to_port(task, command, scope, patterns) if wish.to == "port" else _to_ci(task, command, scope)
    return replace(found, notes=(*wish.notes, *oceans(scope)), gaps=scope.gaps)


def _to_ci(task: _Task, command: Command, scope: Scope) -> HooksReport:
    flags = events_for_ci(task.mapping, task.wish)
    report = HooksReport(command, "ci", task.integration)
    return _with_hooks(report, task, scope, flags, task.wish.url)


def _to_port(task: _Task, command: Command, scope: Scope, patterns: tuple[str, ...]) -> HooksReport:
    """Plan or make Port's webhook and the hooks; Port's is made first, as it has the address, and deleted last."""
    derived = _derived(task, scope, patterns)
    version = task.api.version(task.settings.tokens[0].alias)
    made_for = basis(task.mapping, task.dialect, patterns)
    hook = port_webhook.wanted(task.integration, derived, made_for, task.secret, version)
    there = port_webhook.read(task.port, hook.identifier)
    step = port_webhook.step(None if command == "remove" else hook, there)
    fields = () if command in ("remove", "status") else derived.fields
    report = HooksReport(command, "port", task.integration, fields=fields, port=step)
    if command == "apply":
        report = replace(report, port=_written(task.port, hook, step))
    url = (report.port.url if report.port else "") or NOT_YET
    report = _with_hooks(report, task, scope, derived.flags, url)
    if command == "remove" and step.action == "delete" and all(done.state == "done" for done in report.steps):
        port_webhook.delete(task.port, hook.identifier)
    if command == "status" and there.webhook:
        unowned = strays(task.port, port_webhook.blueprints_of(there.webhook), task.integration)
        failures = tuple(port_webhook.failures(task.port, hook.identifier))
        report = replace(report, port_failures=failures, strays=tuple(unowned))
    return report


def _derived(task: _Task, scope: Scope, patterns: tuple[str, ...]) -> Derived:
    system = task.wish.system
    events = frozenset(event for events in scope.wanted.values() for event in events)
    everywhere = all(scope.wanted.values())
    flags = frozenset(SYSTEM_FLAGS) if system else events if events and everywhere else None
    return derive(
        task.mapping,
        task.dialect,
        patterns,
        kinds=(*KINDS, *task.wish.kinds),
        prefixes=scope.roots if system else None,
        flags=flags,
    )


def _written(port: Port, hook: PortWebhook, step: PortStep) -> PortStep:
    """Create or change the webhook in Port, and return the step with the keys that Port did not keep."""
    if step.action not in ("create", "update"):
        return step
    found = port_webhook.write(port, hook, exists=step.action == "update")
    stuck = tuple(port_webhook.differences(hook, found))
    why = tuple(f"Port did not keep {key}" for key in stuck) or step.why
    return PortStep("unknown" if stuck else step.action, why, str(found["url"]))


def _with_hooks(report: HooksReport, task: _Task, scope: Scope, flags: frozenset[str], url: str) -> HooksReport:
    removes = report.command == "remove"
    wanted = [] if removes else wanted_hooks(scope, flags, task.wish, task.name, url, task.secret)
    steps = steps_for(wanted, scope, task.name, url)
    hand = () if removes else tuple(by_hand(scope, flags, task.wish, url))
    # Without its address nothing is made, and what is there stays as it is.
    if report.command == "remove" or (report.command == "apply" and url != NOT_YET):
        steps = tuple(carry_out(task.api, steps))
    states = tuple(states_of(task.api, steps)) if report.command == "status" else ()
    return replace(report, steps=steps, by_hand=hand, states=states)
