"""The reading room: whatever the environment, `.env` and options call a setting, it leaves under one name."""

import difflib
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml
from dotenv import dotenv_values
from pydantic import field_validator
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, InitSettingsSource, SettingsConfigDict
from pydantic_settings import PydanticBaseSettingsSource as Source

from gitlab_port_export.base.errors import UsageError

# Field of `Settings` or of its parts, the variable that sets it, and what is expected of its text.
_TABLE = """\
port_client_id            OCEAN__PORT__CLIENT_ID           the client ID that Port shows under Credentials
port_client_secret        OCEAN__PORT__CLIENT_SECRET       the client secret that Port shows under Credentials
port_base_url             OCEAN__PORT__BASE_URL            an address, for example https://api.us.getport.io
integration_identifier    OCEAN__INTEGRATION__IDENTIFIER   letters, digits and -, for example my-gitlab
integration_type          OCEAN__INTEGRATION__TYPE         gitlab or gitlab-v2
initialize_port_resources OCEAN__INITIALIZE_PORT_RESOURCES true or false
send_raw_data_examples    OCEAN__SEND_RAW_DATA_EXAMPLES    true or false
client_timeout            OCEAN__CLIENT_TIMEOUT            seconds above 0 and up to 3600, for example 60
batch_length    OCEAN__UPSERT_ENTITIES_BATCH_MAX_LENGTH         a whole number from 1 to 20, for example 20
batch_bytes     OCEAN__UPSERT_ENTITIES_BATCH_MAX_SIZE_IN_BYTES  a whole number from 1 to 1048576
resources_path  OCEAN__RESOURCES_PATH                      a folder, for example .port/resources
log_level       APPLICATION__LOG_LEVEL                     DEBUG, INFO, WARNING, ERROR or CRITICAL
workers         OCEAN__EXPORT__WORKERS                     a whole number from 1 to 100, for example 10
deadline        OCEAN__EXPORT__DEADLINE                    a time above 0, for example 1h30m, 25m, 90s or 90
allow_deletes   OCEAN__EXPORT__ALLOW_DELETES               blueprints, for example service,gitlabGroup=20
fail_on         OCEAN__EXPORT__FAIL_ON                     problems, warnings, limit or never
on_overlap      OCEAN__EXPORT__ON_OVERLAP                  run or skip
ci              OCEAN__EXPORT__CI                          auto, github, gitlab, azure, jenkins or none
env_file        OCEAN__EXPORT__ENV_FILE                    a file of NAME=value lines, for example port.env
mapping_file    OCEAN__EXPORT__MAPPING                     a file, for example port-app-config.yml
report_markdown OCEAN__EXPORT__REPORT_MARKDOWN             a file in a folder that exists, for example report.md
report_junit    OCEAN__EXPORT__REPORT_JUNIT                a file in a folder that exists, for example report.xml
report_json     OCEAN__EXPORT__REPORT_JSON                 a file in a folder that exists, for example report.json
report_metrics  OCEAN__EXPORT__REPORT_METRICS              a file in a folder that exists, for example metrics.txt
report_html     OCEAN__EXPORT__REPORT_HTML                 a file in a folder that exists, for example report.html
report_dotenv   OCEAN__EXPORT__REPORT_DOTENV               a file in a folder that exists, for example sync.env
report_annotations OCEAN__EXPORT__REPORT_ANNOTATIONS       a file in a folder that exists, for example links.json
token           OCEAN__INTEGRATION__CONFIG__GITLAB_TOKEN   a group access token with read_api, like glpat-…
token_mapping   OCEAN__INTEGRATION__CONFIG__TOKEN_MAPPING  JSON, for example {"glpat-…": ["my-group/**"]}
host            OCEAN__INTEGRATION__CONFIG__GITLAB_HOST    an address, for example https://gitlab.example.com
url             OCEAN__INTEGRATION__CONFIG__GITLAB_URL     an address, for example https://gitlab.example.com
listener        OCEAN__EVENT_LISTENER__TYPE                nothing (remove it) or {"type":"ONCE"}, as this runs once
jq_names        OCEAN__EXPORT__JQ_ENV                      names of variables, for example REGION,STAGE
jq_access       OCEAN__ALLOW_ENVIRONMENT_VARIABLES_JQ_ACCESS    true or false
check_port      OCEAN__SSL__PORT__VERIFY                   true or false
check_gitlab    OCEAN__SSL__THIRD_PARTY__VERIFY            true or false
strict_port     OCEAN__SSL__PORT__X509__STRICT             true or false
strict_gitlab   OCEAN__SSL__THIRD_PARTY__X509__STRICT      true or false
"""
_ROWS = (row.split(None, 2) for row in _TABLE.splitlines())
VARIABLES = {name: (variable, expected) for name, variable, expected in _ROWS}
SECRETS = ("port_client_id", "port_client_secret", "token", "token_mapping")
_SECRET_FILES = tuple(f"{name}_file" for name in SECRETS)
# Who plants a `.env` must not choose where secrets go, what is trusted, deleted, written or shown to jq. So a file that
# was found and not named does not set these. Doing without the first is safe; in the place of the second another server
# or another mapping would be used than the file asks for, so nothing is done at all.
_LEFT_OUT = {name for name in VARIABLES if name.startswith(("check_", "strict_", "report_"))}
_LEFT_OUT |= {"allow_deletes", "env_file"}
_REFUSED = {"port_base_url", "host", "url", "mapping_file", "resources_path", "jq_names", "jq_access", *_SECRET_FILES}
# Names that a line about a file lists at most.
MAX_NAMES = 20
# What CI systems set in every job: first what most of them share, then the names of those that do not set it.
_CI = """
    CI GITHUB_ACTIONS GITLAB_CI TF_BUILD JENKINS_URL TEAMCITY_VERSION BUILDKITE CIRCLECI TRAVIS APPVEYOR DRONE SEMAPHORE
    BITBUCKET_BUILD_NUMBER CODEBUILD_BUILD_ID BAMBOO_BUILDKEY GO_PIPELINE_NAME HARNESS_BUILD_ID CIRRUS_CI CF_BUILD_ID
    BITRISE_IO GITEA_ACTIONS FORGEJO_ACTIONS WOODPECKER_CI SCREWDRIVER HEROKU_TEST_RUN_ID XCS BUILD_BUILDID
    CM_BUILD_ID SYSTEM_TEAMFOUNDATIONCOLLECTIONURI
"""
_LIVE_EVENTS = """
    OCEAN__INTEGRATION__CONFIG__APP_HOST OCEAN__INTEGRATION__CONFIG__USE_SYSTEM_HOOK OCEAN__LIVE_EVENTS
    OCEAN__INTEGRATION__CONFIG__TOKEN_GROUP_HOOKS_OVERRIDE_MAPPING OCEAN__BASE_URL OCEAN__PATH_PREFIX
    OCEAN__EXPORT__HOOKS_TOKEN OCEAN__EXPORT__HOOKS_SECRET OCEAN__EXPORT__HOOKS_HEADERS
    OCEAN__EXPORT__HOOKS_URL_VARIABLES
"""
# Ocean's names that mean nothing to a program that runs once; each stands for all names that begin with it.
_NOT_NEEDED = """
    OCEAN__SCHEDULED_RESYNC_INTERVAL OCEAN__METRICS OCEAN__ACTIONS_PROCESSOR OCEAN__STREAMING OCEAN__RUNTIME
    OCEAN__EVENT_LISTENER__ OCEAN__EVENTS_DEBUG_LOGGING OCEAN__MAX_WAIT_SECONDS_BEFORE_SHUTDOWN
    OCEAN__EVENT_WORKERS_COUNT OCEAN__CREATE_PORT_RESOURCES_ORIGIN OCEAN__STATUS_HEARTBEAT_INTERVAL_SECONDS
    OCEAN__MAX_EVENT_PROCESSING_SECONDS OCEAN__CACHING_STORAGE_MODE OCEAN__DELETE_ENTITIES_MAX_BATCH_SIZE
    OCEAN__DISABLE_IP_OUTBOUND_BLOCKER OCEAN__YIELD_ITEMS_TO_PARSE_BATCH_SIZE OCEAN__PROCESS_IN_QUEUE
    OCEAN__PROCESS_EXECUTION_MODE OCEAN__INTEGRATION__INCREMENTAL_SYNC OCEAN__PORT__PORT_APP_CONFIG_CACHE_TTL
    OCEAN__PORT__FEATURE_FLAGS_CACHE_TTL_SECONDS OCEAN__PORT__BLUEPRINT_CACHE_TTL_SECONDS OCEAN__LAKEHOUSE
"""
# Ocean's names whose silence would surprise: the value that changes nothing, and what to say of any other.
_NOT_HONOURED = {
    "OCEAN__OAUTH_ACCESS_TOKEN_FILE_PATH": ("", f"is not read; use {VARIABLES['token'][0]}_FILE"),
    "OCEAN__PROCESSING_MODE": ("ocean-core", "is not honoured; rows are always mapped by this program"),
}


def _key(name: str) -> str:
    """Return one spelling for all of a name's: upper case, no single _, secrets as configuration."""
    key = "__".join(part.replace("_", "") for part in name.upper().split("__"))
    return re.sub(r"^(OCEAN__)?INTEGRATION__SECRETS(?=__|$)", "OCEAN__INTEGRATION__CONFIG", key)


_FIELDS = {_key(variable): name for name, (variable, _) in VARIABLES.items()}
_FIELDS |= {_key(f"{VARIABLES[name][0]}_FILE"): file for name, file in zip(SECRETS, _SECRET_FILES, strict=True)}
_OBJECTS = {key[: end.start()] for key in _FIELDS for end in re.finditer("__", key)}
_LIVE = tuple(map(_key, _LIVE_EVENTS.split()))
_IGNORED = (*_LIVE, *map(_key, _NOT_NEEDED.split()), *map(_key, _NOT_HONOURED))
_TEXT_FAULTS = {
    r"\$\([\w.-]+\)": "is a $(NAME) that Azure Pipelines did not replace: that variable is not defined in the"
    " pipeline, or not mapped under env: of the step",
    r"\$\{\{.*\}\}": "is a ${{ … }} that GitHub Actions did not replace: that works in the files of a workflow alone",
    r"\$(\w+|\{\w+\})|%\w+%": "is the name of a variable that nothing replaced: it is not defined here, or protected"
    " and this branch is not, or quotes kept the shell from replacing it",
    r"(['\"]).*\1": "is wrapped in quotes, which docker's --env-file keeps; leave them out",
}
# Only of secrets: what logs, settings pages and examples show in their place.
_PLACEHOLDERS = {
    r"(?i)\[?(masked|redacted|filtered|secret|hidden|protected)\]?|(glpat-)?([*•x.]{3,}|…)|<[\w -]+>": "is what"
    " is shown in the place of a secret, not the secret",
}


@dataclass(frozen=True)
class Given:
    """One variable: the name its giver knows, its text, the file that held it, or why it cannot be used."""

    shown: str
    text: str = field(repr=False)
    file: Path | None = None
    fault: str = ""


class _Layer(Source):
    """One layer of settings; it gives no text but `Given`, as PYDANTIC_SETTINGS_DEBUG logs what it gives."""

    def __init__(self, model: type[BaseSettings], given: Mapping[str, Given]) -> None:
        super().__init__(model)
        self._given = given

    def get_field_value(self, _field: FieldInfo, field_name: str) -> tuple[Given | None, str, bool]:
        """Return what was given for the field, the field's name, and that there is no JSON left to read."""
        return self._given.get(field_name), field_name, False

    def __call__(self) -> dict[str, Any]:
        return {name: self._given[name] for name in self.settings_cls.model_fields if name in self._given}


class Layered(BaseSettings):
    """Settings made of their fields as keywords, then of the keyword `layers` (of `Given`, highest first)."""

    model_config = SettingsConfigDict(frozen=True, hide_input_in_errors=True)

    @classmethod
    def settings_customise_sources(
        cls, settings_cls: type[BaseSettings], init_settings: Source, *_: Source, **_others: Source
    ) -> tuple[Source, ...]:
        """Return our layers in the place of what pydantic-settings would read from the process itself."""
        values = init_settings()
        layers = values.pop("layers", ())
        return InitSettingsSource(settings_cls, values), *(_Layer(settings_cls, layer) for layer in layers)

    @field_validator("*", mode="before")
    @classmethod
    def _text_of(cls, value: object) -> object:
        return value.text if isinstance(value, Given) else value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(pairs)) < len(pairs):
        raise ValueError("has the same key twice")
    return dict(pairs)


def json_object(text: str) -> dict[str, Any]:
    """Return the object that the JSON text holds; ValueError says why not and repeats none of it."""
    try:
        content = json.loads(text, object_pairs_hook=_unique)
    except json.JSONDecodeError as error:
        raise ValueError(f"is not JSON (line {error.lineno}, column {error.colno})") from None
    except RecursionError:
        raise ValueError("is nested too deeply") from None
    if not isinstance(content, dict):
        raise ValueError("is not a JSON object")
    return content


def lines_object(text: str) -> dict[str, Any]:
    """Return the object of `name: value` lines, as ocean-sail's input `config` has them, or of JSON.

    Values stay the texts that they are: a token of digits is no number. ValueError says why not.
    """
    try:
        return json_object(text)
    except ValueError:
        if text.startswith("{"):
            raise
        try:
            content = yaml.load(text, Loader=yaml.BaseLoader)  # noqa: S506  # makes nothing but text, lists and objects
        except (yaml.YAMLError, RecursionError):
            content = None
        if not isinstance(content, dict):
            raise
        return {str(name): value for name, value in content.items()}


def _as_text(value: object) -> str:
    if value is None or isinstance(value, str):
        return (value or "").strip()
    return json.dumps(value, ensure_ascii=False)


def _fault(text: str, faults: Mapping[str, str]) -> str:
    return next((why for form, why in faults.items() if re.fullmatch(form, text, re.DOTALL)), "")


def secret_fault(text: str) -> str:
    """Return why the text cannot be the secret that it stands for, or nothing; no server could say it."""
    path = r"(~|/(run|var|tmp|builds|etc|home|root|mnt|opt|secrets?))/\S+|[A-Za-z]:\\\S+"
    if re.fullmatch(path, text) or os.path.isfile(text):
        return "is the path of a file; to read the secret from there add _FILE to the name of the variable"
    return _fault(text, _TEXT_FAULTS) or _fault(text, _PLACEHOLDERS)


def _leaves(key: str, given: Given) -> Iterator[tuple[str, Given]]:
    """Yield the variable, or each entry of the JSON object that stands for several of them."""
    fault = _fault(given.text, _TEXT_FAULTS) if key in _FIELDS or key in _OBJECTS else ""
    if fault or key not in _OBJECTS:
        yield _FIELDS.get(key, key), replace(given, fault=fault)
        return
    try:
        entries = {name: _as_text(value) for name, value in lines_object(given.text).items()}
    except (ValueError, RecursionError) as error:
        example = '{"type":"ONCE"}' if key.endswith("LISTENER") else '{"name":"value"}'
        yield key, replace(given, fault=f"{error}; expected a JSON object, for example {example}")
        return
    for number, (name, text) in enumerate(entries.items(), 1):
        inner = _key(f"{key}__{name}")
        # A name that we do not know may be a secret in the wrong place, so it is shown by its number.
        label = name if inner in _FIELDS or inner in _OBJECTS else f"key {number}"
        if text:
            yield from _leaves(inner, replace(given, shown=f"{given.shown} ({label})", text=text))


def _from_file(given: Given) -> Given:
    path = Path(given.text)
    try:
        text = path.read_text(encoding="utf-8").strip()
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or "not UTF-8 text"
        return replace(given, fault=f"names a file that cannot be read ({why})")
    return replace(given, text=text, file=path, fault="" if text else "names a file that is empty")


def _with_files(given: dict[str, Given]) -> dict[str, Given]:
    """Put what the `_FILE` variables point to in the place of their secrets."""
    read = dict(given)
    for name in SECRETS:
        named = read.pop(f"{name}_file", None)
        if named and name in given:
            read[name] = replace(named, fault=f"is set and so is {given[name].shown}; set only one of them")
        elif named:
            read[name] = named if named.fault else _from_file(named)
    return read


def in_ci(environ: Mapping[str, str]) -> bool:
    """Say whether this is a job of a CI system, whose working directory others may have filled."""
    upper = {name.upper(): text.strip().lower() for name, text in environ.items()}
    return any(upper.get(name, "") not in ("", "0", "false", "no") for name in _CI.split())


def _of_environ(environ: Mapping[str, str], where: str = "") -> dict[str, Given]:
    ours = re.compile("OCEAN__|INTEGRATION__SECRETS|APPLICATION__LOG_?LEVEL$", re.IGNORECASE)
    official = {variable for variable, _ in VARIABLES.values()}
    given: dict[str, Given] = {}
    for name in sorted(
        filter(ours.match, environ),
        key=lambda name: (_key(name).count("__"), "SECRETS" not in name.upper(), name in official, name),
    ):
        if text := environ[name].strip():
            given |= _leaves(_key(name), Given(name + where, text))
    return given


def read_environ(environ: Mapping[str, str]) -> dict[str, Given]:
    """Return {field, or key of a name that sets none: what was given} of our variables.

    Exact names win over JSON objects, CONFIG over SECRETS, the usual spelling over others.
    """
    return _with_files(_of_environ(environ))


def read_options(options: Mapping[str, object]) -> dict[str, Given]:
    """Return the options, known by the names of fields, that have a value; TypeError for any other name."""
    given: dict[str, Given] = {}
    for option, value in options.items():
        name = {"gitlab_url": "host", "jq_env": "jq_names"}.get(option, option)
        if name not in VARIABLES:
            raise TypeError(f"no setting {option}")
        text = ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
        if value is not None and text.strip():
            shown = "--" + option.removesuffix("_file").replace("_", "-")
            given |= _leaves(_key(VARIABLES[name][0]), Given(shown, text.strip()))
    return given


@dataclass(frozen=True)
class EnvFile:
    """What a file of variables gives: our settings, all its variables where it may set them, and what to say of it."""

    given: Mapping[str, Given] = field(default_factory=dict)
    variables: Mapping[str, str] = field(default_factory=dict, repr=False)
    said: str = ""


def read_env_file(path: Path, upper: Mapping[str, Given], *, is_named: bool) -> EnvFile:
    """Return what the file adds to `upper`, which goes before it.

    A file that was not named (by --env-file) may not set everything. Raises UsageError when it cannot be read.
    """
    variables = _dotenv(path) if is_named or path.is_file() else {}
    where = f" in {path.name}"
    added = {name: one for name, one in _of_environ(variables, where).items() if not _is_set(name, upper)}
    if is_named:
        return EnvFile(_with_files(added), variables, _names(f"{path} sets", added, where))
    left = {name: added.pop(name) for name in _LEFT_OUT & added.keys()}
    fault = f"is not taken from a file that was found and not named; to take it: --env-file {path}"
    given = {name: replace(one, fault=fault) if name in _REFUSED else one for name, one in added.items()}
    taken = {name: one for name, one in given.items() if name not in _REFUSED}
    said = [_names(f"{path} sets", taken, where), _names(f"{path}, not named by --env-file, cannot set", left, where)]
    return EnvFile(_with_files(given), said="; ".join(filter(None, said)))


def _is_set(name: str, upper: Mapping[str, Given]) -> bool:
    """Say whether what goes before a file sets this field, also under its other name."""
    others = {"host": "url", "url": "host"} | dict(zip(_SECRET_FILES, SECRETS, strict=True))
    return name in upper or others.get(name) in upper


def _names(begin: str, given: Mapping[str, Given], where: str) -> str:
    """Return a line that lists the variables, or nothing without any."""
    names = list(dict.fromkeys(one.shown.replace(where, "") for one in given.values()))
    more = f" and {len(names) - MAX_NAMES} more" if len(names) > MAX_NAMES else ""
    return f"{begin} {', '.join(names[:MAX_NAMES])}{more}" if names else ""


def _dotenv(path: Path) -> dict[str, str]:
    """Return the variables of a file; a $ in a value is no reference. Raises UsageError."""
    try:
        with path.open(encoding="utf-8") as stream:
            read = dotenv_values(stream=stream, interpolate=False)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or "expected lines of NAME=value in UTF-8"
        raise UsageError(f"{path}: cannot be read: {why}") from None
    return {name: text for name, text in read.items() if text}


def unknown(given: Mapping[str, Given]) -> Iterator[str]:
    """Yield a line for each name that nobody knows, with the nearest one that sets something."""
    for key, one in given.items():
        if key not in VARIABLES and key not in _OBJECTS and not key.startswith(_IGNORED):
            near = nearest(key)
            yield f"{one.shown} is not known" + (f"; did you mean {near}?" if near else "")


def nearest(key: str) -> str:
    """Return the variable of nearly that name: of the same section, where that is one of ours.

    The section is the same for all of them, so it is no likeness.
    """
    known = {_key(variable): variable for variable, _ in VARIABLES.values()}
    section, _, last = key.rpartition("__")
    if section in _OBJECTS:
        names = {name.rpartition("__")[2]: name for name in known if name.rpartition("__")[0] == section}
        near = difflib.get_close_matches(last, names, n=1, cutoff=0.85)
        return known[names[near[0]]] if near else ""
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.9)
    return known[near[0]] if near else ""


def not_honoured(given: Mapping[str, Given]) -> Iterator[str]:
    """Yield a line for each of Ocean's names that asks for what this program does not do."""
    for name, (harmless, why) in _NOT_HONOURED.items():
        one = given.get(_key(name))
        if one and one.text.lower() != harmless:
            yield f"{one.shown} {why}"


def ignored(given: Mapping[str, Given]) -> Iterator[str]:
    """Yield Ocean's names that are accepted and mean nothing here."""
    for key, one in given.items():
        if key not in VARIABLES and key.startswith(_IGNORED):
            yield f"{one.shown} (live events only)" if key.startswith(_LIVE) else one.shown


def leaks(names: Iterable[str]) -> list[str]:
    """Return the names among them whose text is or holds a secret."""
    secret = [f"{key}__" for key, name in _FIELDS.items() if name in SECRETS]
    return [name for name in names if any(key.startswith(f"{_key(name)}__") for key in secret)]
