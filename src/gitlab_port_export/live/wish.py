"""Reads what the user wants of the hooks from options and variables; reports every fault at once, and no secret."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from urllib.parse import parse_qsl, urlsplit

from gitlab_port_export.base.errors import UsageError
from gitlab_port_export.live.derive import KINDS, ON_REQUEST
from gitlab_port_export.settings import parse, sources
from gitlab_port_export.settings.settings import Settings
from gitlab_port_export.settings.variables import Given

To = Literal["port", "ci"]
# Variables as `read_environ` spells them.
_CONFIG = "OCEAN__INTEGRATION__CONFIG__"
OVERRIDE, SYSTEM, APP_HOST = f"{_CONFIG}TOKENGROUPHOOKSOVERRIDEMAPPING", f"{_CONFIG}USESYSTEMHOOK", f"{_CONFIG}APPHOST"
BASE_URL = "OCEAN__BASEURL"
TOKEN, SECRET = "OCEAN__EXPORT__HOOKSTOKEN", "OCEAN__EXPORT__HOOKSSECRET"
HEADERS, VARIABLES = "OCEAN__EXPORT__HOOKSHEADERS", "OCEAN__EXPORT__HOOKSURLVARIABLES"
# Of Ocean's gitlab: https://github.com/port-labs/ocean/blob/main/integrations/gitlab/gitlab_integration/gitlab_service.py
OVERRIDE_EVENTS = (
    "push_events", "merge_requests_events", "issues_events", "job_events", "pipeline_events", "releases_events",
    "tag_push_events", "subgroup_events", "confidential_issues_events", "member_events",
)  # fmt: skip
# Which events tell of which kind, for a job that reads the objects again.
FLAGS_OF_KIND: Mapping[str, tuple[str, ...]] = {
    "merge-request": ("merge_requests_events",),
    "issue": ("issues_events", "confidential_issues_events"),
    "pipeline": ("pipeline_events",),
    "job": ("job_events",),
    "project": ("push_events", "project_events"),
    "project-with-members": ("push_events", "project_events", "member_events"),
    "group": ("subgroup_events",),
    "group-with-members": ("subgroup_events", "member_events"),
    "member": ("member_events",),
    "access": ("member_events",),
    "release": ("releases_events",),
    "tag": ("tag_push_events",),
    "branch": ("push_events",),
    "file": ("push_events",),
    "folder": ("push_events",),
    "skill": ("push_events",),
    "plugin": ("push_events",),
    "deployment": ("deployment_events",),
    "environment": ("deployment_events",),
    "milestone": ("milestone_events",),
}
# A job that is started for a job's event makes the next one.
ON_REQUEST_OF_CI = ("pipeline", "job")
SECRET_NAME = re.compile(r"token|secret|password|passwd|key|sig|auth|code", re.IGNORECASE)
MOST_HEADERS = 20


@dataclass(frozen=True)
class Wish:
    """What is wanted: where the events go, of which kinds, from which groups, and with what secrets."""

    to: To
    url: str = ""
    kinds: tuple[str, ...] = ()
    projects: bool = False
    system: bool = False
    # By the alias of a token: paths of groups, and the events of each; none of them means all.
    override: Mapping[str, Mapping[str, frozenset[str]]] = field(default_factory=dict)
    template: str = ""
    token: str = field(default="", repr=False)
    secret: str = field(default="", repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    variables: Mapping[str, str] = field(default_factory=dict, repr=False)
    notes: tuple[str, ...] = ()

    def secrets(self) -> tuple[str, ...]:
        """Return every secret text, for redaction."""
        return tuple(filter(None, (self.token, self.secret, *self.headers.values(), *self.variables.values())))


def load_wish(
    environ: Mapping[str, str],
    settings: Settings,
    *,
    to: To = "port",
    url: str | None = None,
    kinds: Sequence[str] = (),
    projects: bool = False,
    template: Path | None = None,
) -> Wish:
    """Return what is wanted. Raises UsageError with one line for each fault."""
    given = sources.read_environ(environ)
    # A file that was merely found may not say where events go.
    if (file := settings.env_file) and file.is_file():
        given = {**sources.read_env_file(file, given, is_named=True).given, **given}
    faults: list[str] = []
    headers = _texts(given, HEADERS, faults)
    variables = _texts(given, VARIABLES, faults)
    override = _override(given, settings, faults)
    system = _flag(given, SYSTEM, faults)
    if system and len(settings.tokens) > 1 and TOKEN not in given:
        shown = given[SYSTEM].shown
        faults.append(f"{shown}: a system hook needs one token, an administrator's, and {len(settings.tokens)} are set")
    faults += _faults_of_target(to, url or "", variables, headers, template)
    known = KINDS + ON_REQUEST if to == "port" else tuple(FLAGS_OF_KIND)
    faults += (f"--kind: {kind!r} is none of {', '.join(known)}" for kind in kinds if kind not in known)
    text = _template(template, faults)
    if faults:
        raise UsageError(*faults, hint="see docs/live.md")
    return Wish(
        to, url or "", tuple(kinds), projects, system, override, text, _text(given, TOKEN), _text(given, SECRET),
        headers, variables, tuple(_notes(given, to)),
    )  # fmt: skip


def patterns_of(settings: Settings) -> tuple[str, ...]:
    """Return the path patterns of all tokens, each once."""
    return tuple(dict.fromkeys(pattern for token in settings.tokens for pattern in token.patterns))


def _text(given: Mapping[str, Given], key: str) -> str:
    return given[key].text if key in given else ""


def _flag(given: Mapping[str, Given], key: str, faults: list[str]) -> bool:
    text = _text(given, key).lower()
    if text not in ("", "true", "false", "1", "0", "yes", "no", "on", "off"):
        faults.append(f"{given[key].shown}: is not valid; expected true or false")
    return text in ("true", "1", "yes", "on")


def _object(given: Mapping[str, Given], key: str, faults: list[str]) -> Mapping[str, Any]:
    if key not in given:
        return {}
    try:
        return parse.json_object(given[key].text)
    except ValueError as error:
        faults.append(f"{given[key].shown}: {error}; expected a JSON object")
        return {}


def _texts(given: Mapping[str, Given], key: str, faults: list[str]) -> Mapping[str, str]:
    """Return a JSON object of texts; what is wrong is told without the texts, which are secrets."""
    found = _object(given, key, faults)
    for number, (name, value) in enumerate(found.items(), 1):
        if not isinstance(value, str) or not value or not re.fullmatch(r"[A-Za-z0-9_-]+", name):
            faults.append(f"{given[key].shown}: entry {number} is no name with a text")
    return {name: value for name, value in found.items() if isinstance(value, str)}


def _notes(given: Mapping[str, Given], to: To) -> Iterator[str]:
    """Yield what Ocean's settings for live events meant, and what stands in their place."""
    target = "Port itself, so that no server has to run" if to == "port" else "the CI system that --url names"
    for key in (APP_HOST, BASE_URL):
        if key in given:
            yield (
                f"{given[key].shown} was the address of Ocean's own server, to which GitLab sent its events;"
                f" it is not used: hooks send them to {target}"
            )


# --- TOKEN_GROUP_HOOKS_OVERRIDE_MAPPING


def _override(
    given: Mapping[str, Given], settings: Settings, faults: list[str]
) -> Mapping[str, Mapping[str, frozenset[str]]]:
    """Return the events of each group by the alias of its token; tokens are named by their number in messages."""
    content = _object(given, OVERRIDE, faults)
    shown = given[OVERRIDE].shown if OVERRIDE in given else ""
    # One form of Ocean's documents has the tokens one level deeper.
    tokens = content["tokens"] if set(content) == {"tokens"} else content
    aliases = {token.secret.get_secret_value(): token.alias for token in settings.tokens}
    found: dict[str, Mapping[str, frozenset[str]]] = {}
    for number, (secret, entry) in enumerate(tokens.items() if isinstance(tokens, dict) else (), 1):
        where = f"{shown}: token {number}"
        alias = aliases.get(secret)
        if alias is None:
            faults.append(f"{where} is not among the tokens that read GitLab; set it there as well")
        groups = _groups_of(entry)
        if not isinstance(groups, dict) or not groups:
            faults.append(f"{where} has no groups")
            continue
        events = {path.strip("/"): _events(f"{where}: {path}", events, faults) for path, events in groups.items()}
        if alias:
            found[alias] = events
    if content and not isinstance(tokens, dict):
        faults.append(f"{shown}: tokens is no object")
    faults += _nested(shown, [path for groups in found.values() for path in groups])
    return found


def _groups_of(entry: Any) -> Any:
    """Return the groups of a token with the events of each; Ocean once took the paths alone, for all events."""
    if isinstance(entry, list) and all(isinstance(path, str) for path in entry):
        return {path: {"events": []} for path in entry}
    return entry.get("groups", entry) if isinstance(entry, dict) else None


def _events(where: str, entry: Any, faults: list[str]) -> frozenset[str]:
    events = entry.get("events") if isinstance(entry, dict) else None
    if not isinstance(events, list):
        faults.append(f"{where} has no list of events")
        return frozenset()
    wrong = [str(event)[:40] for event in events if event not in OVERRIDE_EVENTS]
    faults += (f"{where}: {event!r} is none of {', '.join(OVERRIDE_EVENTS)}" for event in wrong)
    return frozenset(str(event) for event in events)


def _nested(shown: str, paths: list[str]) -> Iterator[str]:
    for path in dict.fromkeys(path for path in paths if paths.count(path) > 1):
        yield f"{shown}: {path} stands under two tokens"
    for path in paths:
        for other in paths:
            if other.startswith(f"{path}/"):
                yield f"{shown}: {other} is below {path}, whose hook sends its events too; leave one of them out"


# --- --to, --url, --template


def _faults_of_target(
    to: To, url: str, variables: Mapping[str, str], headers: Mapping[str, str], template: Path | None
) -> Iterator[str]:
    if to == "port":
        if url or template or headers or variables:
            yield "--to port: Port names the address itself; --url, --template, headers and URL variables are for ci"
        return
    if not url:
        yield "--to ci: needs --url, the address that starts a job"
        return
    try:
        parts = urlsplit(url)
        fine = parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        fine = False
    if not fine:
        yield "--url: is not an address that begins with https:// or http://"
        return
    names = set(re.findall(r"\{([A-Za-z0-9_-]+)\}", url))
    if missing := sorted(names - variables.keys()):
        yield f"--url: has {{{missing[0]}}} in it, and OCEAN__EXPORT__HOOKS_URL_VARIABLES has no {missing[0]}"
    if unused := sorted(variables.keys() - names):
        yield f"OCEAN__EXPORT__HOOKS_URL_VARIABLES: --url has no {{{unused[0]}}} in it"
    bare = [name for name, value in parse_qsl(parts.query) if SECRET_NAME.search(name) and not value.startswith("{")]
    if parts.username or parts.password or bare:
        what = bare[0] if bare else "the password"
        yield (
            f"--url: holds a secret; write {{{what.replace(' ', '-')}}} in its place, and the secret into"
            " OCEAN__EXPORT__HOOKS_URL_VARIABLES, which GitLab does not show"
        )
    if len(headers) > MOST_HEADERS:
        yield f"OCEAN__EXPORT__HOOKS_HEADERS: GitLab takes {MOST_HEADERS} headers at most"


def _template(file: Path | None, faults: list[str]) -> str:
    if file is None:
        return ""
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        faults.append(f"{file}: cannot be read as UTF-8 text")
        return ""
