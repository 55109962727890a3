"""The command `check`: looks at everything that a sync needs, in the order of CHECKS; it writes nothing.

To add a finding, write a look in the file of its area in commands/checks/, and name it in CHECKS.
"""

from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from shlex import quote
from typing import Any, Literal

from gitlab_port_export.base.clock import Clock, Stopped
from gitlab_port_export.base.errors import OutOfTime, UsageError
from gitlab_port_export.base.text import Redactor
from gitlab_port_export.commands import check_output as output
from gitlab_port_export.commands.checks.facts import Facts, Findings, Look
from gitlab_port_export.commands.checks.finding import Finding
from gitlab_port_export.commands.checks.gitlab import gitlab_answers, gitlab_tokens
from gitlab_port_export.commands.checks.live import webhook_follows_mapping
from gitlab_port_export.commands.checks.mapping import (
    check_file,
    mapping_can_be_read,
    mapping_fits_blueprints,
    mapping_is_jq,
)
from gitlab_port_export.commands.checks.port import (
    port_shows_blueprints,
    port_shows_integration,
    port_takes_credentials,
)
from gitlab_port_export.commands.checks.roles import gitlab_roles
from gitlab_port_export.commands.checks.settings import faulty_settings, settings_are_complete
from gitlab_port_export.commands.session import Session
from gitlab_port_export.gitlab.client import GitLab
from gitlab_port_export.jq.pool import Evaluator
from gitlab_port_export.model import Dialect
from gitlab_port_export.settings.load import load_settings
from gitlab_port_export.settings.settings import SETTINGS, Settings
from gitlab_port_export.sync.choose import MORE_TIME
from gitlab_port_export.sync.connect import connect_gitlab, connect_port, identifier_of, jq_environ

Area = Literal["settings", "mapping", "gitlab", "port"]

# What `check` looks at, in the order in which it is shown. A look whose facts are missing yields nothing: the look
# that did not find them has said why.
CHECKS: tuple[tuple[Area, Callable[[Facts], Look]], ...] = (
    ("settings", settings_are_complete),
    ("port", port_takes_credentials),
    ("port", port_shows_integration),
    ("port", port_shows_blueprints),
    ("mapping", mapping_can_be_read),
    ("mapping", mapping_fits_blueprints),
    ("mapping", mapping_is_jq),
    ("port", webhook_follows_mapping),
    ("gitlab", gitlab_answers),
    ("gitlab", gitlab_tokens),
    ("gitlab", gitlab_roles),
)

# Options that the next command needs too.
REPEATED = ("mapping_file", "env_file")
# The exit code of an error in an area, as a sync would end.
EXIT_CODES: dict[Area, int] = {"settings": 2, "mapping": 2, "gitlab": 3, "port": 4}


def run(session: Session, **options: Any) -> int:
    """Print what is found and return the exit code of `exit_code`; never raises ExportError."""
    found = [_redacted(finding, session.redactor) for finding in _found(session, options)]
    code = exit_code(found)
    following = _following(code, options)
    if session.as_json:
        session.out.stream.write(output.to_json(found, code, following))
    else:
        output.render(found, code, following, session.out.console)
    return code


def _following(code: int, options: dict[str, Any]) -> str:
    """Return the next command to run, with the options of this one that it needs as well."""
    repeated = (f" {SETTINGS[name].option} {quote(str(options[name]))}" for name in REPEATED if options.get(name))
    return f"gitlab-port-export {'check' if code else 'plan'}{''.join(repeated)}"


def _found(session: Session, options: dict[str, Any]) -> list[Finding]:
    """Return the findings; where the settings cannot be used, those of the settings and of a mapping file alone."""
    try:
        settings = load_settings(session.environ, **options)
    except UsageError as error:
        file = options.get("mapping_file")
        return [*faulty_settings(error), *(check_file(Path(file)) if file else ())]
    session.begin(settings)
    with session.running(settings.deadline) as clock:
        return list(check(settings, clock, session.redactor))


def _redacted(finding: Finding, redactor: Redactor) -> Finding:
    redact = redactor.redact
    return replace(finding, where=redact(finding.where), what=redact(finding.what), hint=redact(finding.hint))


def exit_code(findings: Iterable[Finding]) -> int:
    """Return 0, or the lowest code that the errors among the findings stand for."""
    return min((EXIT_CODES[finding.area] for finding in findings if finding.level == "error"), default=0)


def check(settings: Settings, clock: Clock, redactor: Redactor) -> Findings:
    """Yield what each of CHECKS finds; an error in one does not keep the others from being looked at."""
    identifier = identifier_of(settings)
    with ExitStack() as stack:

        def connect(dialect: Dialect) -> GitLab:
            gitlab = connect_gitlab(settings, clock, dialect, identifier, redactor)
            stack.callback(gitlab.http.close)
            return gitlab

        port = connect_port(settings, clock, identifier, redactor)
        stack.callback(port.http.close)
        evaluator = Evaluator(jq_environ(settings), plain_expressions=settings.plain_expressions)
        stack.callback(evaluator.close)
        facts = Facts(settings, identifier, evaluator, port, connect)
        for area, look in CHECKS:
            try:
                facts = (yield from look(facts)) or facts
            except (Stopped, OutOfTime):
                yield _late(area, settings)
                return


def _late(area: Area, settings: Settings) -> Finding:
    """Return the finding of a deadline that passed during a look at an area."""
    where = {"gitlab": settings.gitlab_url, "port": settings.port_base_url}.get(area, area)
    return Finding("error", area, where, "the deadline passed before everything was looked at", MORE_TIME)
