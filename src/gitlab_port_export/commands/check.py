"""Looks at everything that a sync needs, reads no data and writes nothing: settings, Port, the mapping, GitLab."""

from collections.abc import Generator, Iterable, Iterator
from collections.abc import Mapping as Dict
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, Literal

from gitlab_port_export.base.clock import Clock, Stopped
from gitlab_port_export.base.errors import ExportError, MachineError, OutOfTime, PortUnavailable, UsageError
from gitlab_port_export.base.parallel import drive
from gitlab_port_export.base.text import Redactor
from gitlab_port_export.gitlab.client import Get, GitLab, ReadFailed
from gitlab_port_export.gitlab.inventory import REPORTER, Patterns
from gitlab_port_export.gitlab.kinds import KINDS
from gitlab_port_export.gitlab.kinds.kind import About
from gitlab_port_export.gitlab.kinds.shared.roles import ROLES
from gitlab_port_export.gitlab.lists import read_list
from gitlab_port_export.jq.pool import Evaluator
from gitlab_port_export.mapping.model import Mapping
from gitlab_port_export.model import Dialect, Problem, Row
from gitlab_port_export.port import integration as integrations
from gitlab_port_export.port.client import Port
from gitlab_port_export.port.integration import Integration
from gitlab_port_export.port.ledger import Blueprint
from gitlab_port_export.report.values import Finding
from gitlab_port_export.settings.settings import Settings, Token
from gitlab_port_export.sync.choose import (
    MORE_TIME,
    Chosen,
    check_blueprints,
    check_jq,
    choose_mapping,
    expected_blueprints,
    read_mapping,
)
from gitlab_port_export.sync.connect import connect_gitlab, connect_port, identifier_of, jq_environ, port_blueprints
from gitlab_port_export.sync.fit import judge

EXPIRY_DAYS = 14
GUEST, PLANNER = 10, 15
EXIT_CODES = {"settings": 2, "mapping": 2, "gitlab": 3, "port": 4}
# Groups that a finding names before it only counts them.
NAMED = 5

Findings = Iterator[Finding]


@dataclass(frozen=True)
class Told:
    """What Port told: the integration, and its blueprints where it gave them."""

    integration: Integration
    blueprints: Dict[str, Blueprint] | None


def exit_code(findings: Iterable[Finding]) -> int:
    """Return 0, or the lowest code that the errors among the findings stand for."""
    return min((EXIT_CODES[finding.area] for finding in findings if finding.level == "error"), default=0)


def faulty_settings(error: ExportError) -> Findings:
    """Yield a finding for each fault that keeps the settings from being used at all."""
    for fault in error.faults:
        where, _, what = fault.partition(": ")
        yield Finding("error", "settings", where if what else "settings", what or where, error.hint)


def check_file(file: Path) -> Findings:
    """Yield what is found about a mapping file alone: with settings that cannot be used nobody can be asked."""
    with closing(Evaluator({})) as evaluator:
        try:
            mapping, problems = read_mapping(file)
        except UsageError as error:
            yield from _faults(error)
        else:
            yield from _alone(mapping, problems, None, evaluator)


def check(settings: Settings, clock: Clock, redactor: Redactor) -> Findings:
    """Yield what is found, one area after the other; a fault in one does not keep the others from being looked at."""
    yield from _settings(settings)
    identifier = identifier_of(settings)
    port = connect_port(settings, clock, identifier, redactor)
    evaluator = Evaluator(jq_environ(settings))
    gitlab: GitLab | None = None
    try:
        told = yield from _port(port, identifier, settings)
        kind = settings.integration_type or (told and told.integration.kind) or settings.default_type
        mapping = yield from _mapping(settings, told, kind, evaluator)
        gitlab = connect_gitlab(settings, clock, kind, identifier, redactor)
        yield from _gitlab(gitlab, settings, kind, mapping)
    except (Stopped, OutOfTime) as ended:
        yield _late(ended, settings, gitlab)
    finally:
        evaluator.close()
        port.http.close()
        if gitlab:
            gitlab.http.close()


def _late(ended: Stopped | OutOfTime, settings: Settings, gitlab: GitLab | None) -> Finding:
    """Return the finding of a deadline that passed: it is the host's that was asked, else the mapping's."""
    what = "the deadline passed before everything was looked at"
    match ended:
        case Stopped(asked=settings.gitlab_url):
            return Finding("error", "gitlab", settings.gitlab_url, what, MORE_TIME)
        case Stopped():
            return Finding("error", "port", settings.port_base_url, what, MORE_TIME)
        case OutOfTime() if gitlab is None:
            return Finding("error", "mapping", "mapping", what, MORE_TIME)
    return Finding("error", "gitlab", settings.gitlab_url, what, MORE_TIME)


def _settings(settings: Settings) -> Findings:
    for problem in settings.warnings:
        yield Finding("warning", "settings", "settings", problem.why, problem.hint)
    if not settings.warnings:
        yield Finding("ok", "settings", "settings", "complete and without contradiction")


# --- Port


def _port(port: Port, identifier: str, settings: Settings) -> Generator[Finding, None, Told | None]:
    where = port.http.base_url
    try:
        port.sign_in(first_contact=True)
        yield Finding("ok", "port", where, "takes the credentials")
        integration = integrations.fetch(port, identifier)
    except PortUnavailable as error:
        yield _failed(error, where)
        return None
    yield from _integration(integration, settings)
    try:
        blueprints = port_blueprints(port)
    except PortUnavailable as error:
        yield _failed(error, where)
        return Told(integration, None)
    yield Finding("ok", "port", where, f"shows its blueprints ({len(blueprints)})")
    return Told(integration, blueprints)


def _failed(error: ExportError, where: str) -> Finding:
    return Finding("error", "port", where, "; ".join(error.faults), error.hint)


def _integration(integration: Integration, settings: Settings) -> Findings:
    where = f"integration {integration.identifier}"
    if not integration.accessible:
        yield Finding(
            "warning" if settings.mapping_file else "error",
            "port",
            where,
            "the credentials may not read it, so that whether they may write entities cannot be told either",
            "use credentials of a moderator or administrator"
            + ("" if settings.mapping_file else ", or give a mapping file with --mapping"),
        )
    elif not integration.exists:
        hint = "check OCEAN__INTEGRATION__IDENTIFIER and OCEAN__INTEGRATION__TYPE if there should be one"
        yield Finding("warning", "port", where, "does not exist; the first sync creates it", hint)
    else:
        may = "can be read: the credentials are a moderator's or administrator's, who may write entities"
        yield Finding("ok", "port", where, may)
        if settings.integration_type and integration.kind not in (None, settings.integration_type):
            yield Finding(
                "warning",
                "port",
                where,
                f"has the type {integration.kind} in Port; a sync follows the type {settings.integration_type}",
                "leave OCEAN__INTEGRATION__TYPE out to follow the type in Port",
            )


# --- the mapping


def _mapping(
    settings: Settings, told: Told | None, kind: Dialect, evaluator: Evaluator
) -> Generator[Finding, None, Mapping | None]:
    if settings.mapping_file is None and not (told and told.integration.accessible):
        what = "Port holds the mapping and did not give it, so it was not checked"
        yield Finding("warning", "mapping", "mapping", what, "give a mapping file with --mapping")
        return None
    integration = told.integration if told else Integration(identifier_of(settings))
    blueprints = told.blueprints if told else None
    try:
        chosen = choose_mapping(settings, integration, kind, blueprints or {})
    except UsageError as error:
        yield from _faults(error)
        return None
    mapping = chosen.mapping
    if blueprints is None:
        yield from _alone(mapping, chosen.problems, None, evaluator)
        what = "whether the mapping fits Port's blueprints was not checked: Port did not give them"
        yield Finding("warning", "mapping", mapping.origin, what)
        return mapping
    yield from _missing(settings, chosen, blueprints)
    yield from _alone(mapping, chosen.problems, expected_blueprints(settings, chosen, blueprints), evaluator)
    return mapping


def _alone(
    mapping: Mapping, problems: Iterable[Problem], blueprints: Dict[str, Blueprint] | None, evaluator: Evaluator
) -> Findings:
    """Yield what it maps, what a run would say of it too, and what is no jq; without Port, `blueprints` are None."""
    kinds = ", ".join(dict.fromkeys(resource.kind for resource in mapping.resources))
    if mapping.resources:
        yield Finding("ok", "mapping", mapping.origin, f"can be read; it maps {kinds}")
    of_mapping = [problem for problem in problems if problem.stage == "mapping"]
    found = judge(mapping, of_mapping, blueprints)
    yield from (_doubt(mapping, problem) for problem in found)
    if blueprints is not None and len(found) == len(of_mapping):
        what = "every property and relation that it names exists, as far as can be told without a row"
        yield Finding("ok", "mapping", mapping.origin, what)
    try:
        check_jq(mapping, evaluator)
    except UsageError as error:
        yield from _faults(error)


def _faults(error: ExportError) -> Findings:
    for fault in error.faults:
        if isinstance(error, MachineError):
            yield Finding("error", "settings", "this machine", fault, error.hint)
            continue
        where, _, what = fault.partition(": ")
        yield Finding("error", "mapping", where, what, error.hint)


def _doubt(mapping: Mapping, problem: Problem) -> Finding:
    level: Literal["warning", "error"] = "warning" if problem.warning else "error"
    place = ":".join(str(part) for part in (mapping.origin, problem.line, problem.column) if part is not None)
    where = f"blueprint {problem.blueprint}" if problem.blueprint else place
    owner = f"resource {problem.resources[0]} ({problem.kind}): " if problem.resources else ""
    field = f"{problem.field}: " if problem.field else ""
    return Finding(level, "mapping", where, owner + field + problem.why, problem.hint)


def _missing(settings: Settings, chosen: Chosen, existing: Dict[str, Blueprint]) -> Findings:
    try:
        missing = check_blueprints(settings, chosen, existing)
    except UsageError as error:
        yield from _faults(error)
    else:
        yield from (_doubt(chosen.mapping, problem) for problem in missing)


# --- GitLab


def _gitlab(gitlab: GitLab, settings: Settings, kind: Dialect, mapping: Mapping | None) -> Findings:
    """Yield what is found about GitLab and each token; without a mapping nothing is known of the kinds it maps."""
    users: dict[str, Row] = {}
    for token in settings.tokens:
        try:
            users[token.alias] = gitlab.get(Get(token.alias, "/user", gives="object"), first_contact=True).data
        except ReadFailed as failure:
            if failure.reason in ("network", "shape", "server"):
                yield Finding("error", "gitlab", gitlab.http.base_url, failure.why, failure.hint)
                return
            if failure.reason == "dead token":
                yield Finding("error", "gitlab", token.alias, failure.why, failure.hint)
                continue
            users[token.alias] = {}  # a fine-grained token may not be allowed to read its user
    if users:
        yield Finding("ok", "gitlab", gitlab.http.base_url, f"answers{_version(gitlab, next(iter(users)))}")
    about = (
        {resource.kind: KINDS[resource.kind].about for resource in mapping.resources if resource.known}
        if mapping
        else {}
    )
    today = datetime.now(UTC).date()
    for alias, user in users.items():
        yield from _token(alias, user, _own(gitlab, alias), today, accounts="user" in about)
    tokens = tuple(token for token in settings.tokens if token.alias in users)
    yield from _roles(gitlab, tokens, settings.workers, about, _floor(kind, mapping))


def _version(gitlab: GitLab, token: str) -> str:
    try:
        version = gitlab.get(Get(token, "/version", gives="object")).data.get("version")
    except ReadFailed:
        return ""
    return f" (version {version})" if version else ""


def _own(gitlab: GitLab, token: str) -> Row | None:
    """Return what GitLab says of a token itself, or None: it does so for personal, group and project access tokens."""
    try:
        found: Row = gitlab.get(Get(token, "/personal_access_tokens/self", gives="object")).data
    except ReadFailed:
        return None
    return found


def _token(alias: str, user: Row, own: Row | None, today: date, *, accounts: bool) -> Findings:
    """Yield what is found about one token; `accounts` says that the mapping has a use for an administrator's."""
    who = f", as {user['username']}" if user.get("username") else ""
    if own is None:
        what = f"works{who}; GitLab does not tell its scopes and when it expires"
        yield Finding("warning", "gitlab", alias, what, "use a group access token with the scope read_api")
        return
    where = f"{alias} ({own['name']})" if own.get("name") else alias
    yield Finding("ok", "gitlab", where, f"works{who}")
    scopes = [str(scope) for scope in own.get("scopes") or ()]
    yield from _scopes(where, [scope for scope in scopes if not (accounts and scope == "admin_mode")])
    yield from _expiry(where, own.get("expires_at"), today)
    if user.get("is_admin") and not accounts:
        what = "is an administrator's, which is more than reading needs"
        yield Finding("warning", "gitlab", where, what, "use a group access token with the scope read_api")


def _scopes(where: str, scopes: list[str]) -> Findings:
    if not {"read_api", "api"} & set(scopes) and not any(scope.startswith("granular") for scope in scopes):
        what = f"lacks the scope read_api (it has {', '.join(scopes) or 'none'})"
        yield Finding("error", "gitlab", where, what, "make a new token with the scope read_api")
    surplus = [scope for scope in scopes if not scope.startswith(("read_", "granular")) and scope != "self_rotate"]
    if surplus:
        what = f"may do more than read: {', '.join(surplus)}"
        yield Finding("warning", "gitlab", where, what, "make a new token with the scope read_api alone")


def _expiry(where: str, text: Any, today: date) -> Findings:
    try:
        days = (date.fromisoformat(str(text)) - today).days
    except ValueError:
        return
    if days < EXPIRY_DAYS:
        left = "today" if days <= 0 else "tomorrow" if days == 1 else f"in {days} days"
        hint = "rotate it in GitLab, and put the new one where the old one is kept"
        yield Finding("warning", "gitlab", where, f"expires {left} ({text})", hint)


def _floor(kind: Dialect, mapping: Mapping | None) -> int:
    """Return the role below which groups and projects are not even listed."""
    listed = kind == "gitlab-v2" and (mapping is None or mapping.visibility.use_min_access_level)
    return (mapping.visibility.min_access_level if mapping else 30) if listed else 0


def _roles(gitlab: GitLab, tokens: tuple[Token, ...], workers: int, about: Dict[str, About], floor: int) -> Findings:
    """Yield where the best token's role is too low, so that GitLab leaves out rows or refuses them."""
    levels = sorted({GUEST, floor, *(entry.role for entry in about.values() if entry.role > floor)} - {0})
    best: dict[str, int] = {}
    failed = False
    for token in tokens:
        patterns, member = Patterns(token.patterns), set[str]()
        try:
            for level in levels:
                paths = {str(row.get("full_path")) for row in _groups(gitlab, token.alias, level, workers)}
                member |= paths
                wanted = (path for path in paths if patterns.allows(path) or patterns.may_allow_below(path))
                best.update((path, level) for path in wanted if level > best.get(path, 0))
        except ReadFailed as failure:
            if failure.status == 400 and floor != PLANNER and any(entry.role == PLANNER for entry in about.values()):
                # Versions of GitLab before 17.7 have no such role; there the next higher one shows what it would.
                older = {
                    kind: replace(entry, role=REPORTER) if entry.role == PLANNER else entry
                    for kind, entry in about.items()
                }
                yield from _roles(gitlab, tokens, workers, older, floor)
                return
            failed = True
            yield Finding("error", "gitlab", token.alias, f"may not list groups: {failure.why}", failure.hint)
            continue
        yield from _patterns(token, member)
    if tokens and not best and not failed:
        what = "no token's user is a member of a group that its patterns allow"
        yield Finding("warning", "gitlab", "groups", what, "invite the token's user, or use a group access token")
        return
    if left_out := [path for path, level in best.items() if level < floor]:
        yield _low(left_out, floor, "they and their projects are not read", "or lower `visibility.minAccessLevel`")
    for (role, effect), kinds in _grouped(about).items():
        if low := [path for path, level in best.items() if floor <= level < role]:
            yield _low(low, role, f"{effect} ({', '.join(kinds)})")
    if best and not any(level < max(levels) for level in best.values()):
        yield Finding("ok", "gitlab", "groups", f"the role is high enough in all groups ({len(best)})")


def _groups(gitlab: GitLab, token: str, level: int, workers: int) -> list[Row]:
    rows: list[Row] = []
    params = (("min_access_level", str(level)), ("order_by", "id"), ("sort", "asc"))
    for _ in drive([read_list(token, "/groups", params, rows.extend)], gitlab.get, Get, workers=workers):
        pass  # the rows were taken as they came
    return rows


def _patterns(token: Token, groups: set[str]) -> Findings:
    for text in token.patterns:
        pattern = Patterns((text,))
        if not text.startswith("*") and not any(
            pattern.allows(path) or pattern.may_allow_below(path) for path in groups
        ):
            what = f"no group of the token's user can hold what the pattern {text!r} is for"
            hint = "correct the pattern in TOKEN_MAPPING; one that matches nothing holds all deletions"
            yield Finding("warning", "gitlab", token.alias, what, hint)


def _grouped(about: Dict[str, About]) -> dict[tuple[int, str], list[str]]:
    found: dict[tuple[int, str], list[str]] = {}
    for kind, entry in about.items():
        if entry.role:
            found.setdefault((entry.role, _below_role(entry)), []).append(kind)
    return found


def _below_role(entry: About) -> str:
    if entry.refuses:
        return f"GitLab refuses {entry.refuses} there, and nothing of them is deleted"
    return f"GitLab silently leaves out {entry.hides} there"


def _low(paths: list[str], role: int, effect: str, other: str = "") -> Finding:
    ordered = sorted(paths)
    more = f" and {len(ordered) - NAMED} more" if len(ordered) > NAMED else ""
    name = ROLES.get(role, str(role))
    what = f"the role is below {name} in {', '.join(ordered[:NAMED])}{more}: {effect}"
    hint = " ".join(filter(None, (f"give the token's user the role {name} there,", other))).rstrip(",")
    return Finding("warning", "gitlab", "groups", what, hint)
