"""The settings room: what was given becomes one frozen `Settings`, or every fault at once."""

import os
import re
import ssl
from collections import ChainMap
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args
from urllib.parse import unquote, urlsplit

from pydantic import AfterValidator, AnyHttpUrl, BeforeValidator, Field, SecretStr, ValidationError

from gitlab_port_export.base.errors import UsageError
from gitlab_port_export.model import Dialect, Problem
from gitlab_port_export.settings import variables as named
from gitlab_port_export.settings.variables import VARIABLES, Given, Layered

GITLAB_COM = "https://gitlab.com"
DOTENV = Path(".env")
RESOURCES = Path(".port/resources")
MAPPING_NAMES = ("port-app-config.yml", "port-app-config.yaml")
RESOURCE_NAMES = (*MAPPING_NAMES, "blueprints.json")
_REPORT = "report_"
_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")

# --- one value each: text in, value out; a ValueError says why not and never repeats the text ---


def parse_duration(text: str) -> float:
    """Return the seconds of `25m`, `90s`, `1h30m` or a plain number; ValueError unless above zero."""
    number = r"([0-9]{1,9}(?:\.[0-9]{1,9})?)"
    clock = f"(?:{number}h)?(?:{number}m)?(?:{number}s)?|{number}"
    found = re.fullmatch(clock, text.lower().replace(" ", ""))
    parts = zip(found.groups(), (3600, 60, 1, 1), strict=True) if found else ()
    if seconds := sum(float(part or 0) * unit for part, unit in parts):
        return seconds
    raise ValueError("is not a time above 0")


def parse_allow_deletes(text: str) -> dict[str, int | None]:
    """Return {blueprint: limit, or None for no limit} of `service,gitlabGroup=20`; else ValueError."""
    allowed: dict[str, int | None] = {}
    for item in filter(None, (part.strip() for part in text.split(","))):
        # Port allows more marks in a blueprint's name than a word has, but no comma, blank or "=".
        found = re.fullmatch(r"([^,=\s]+)(?:=([0-9]{1,9}))?", item)
        if not found:
            raise ValueError("is not a list of BLUEPRINT or BLUEPRINT=NUMBER")
        if found[1] in allowed:
            raise ValueError("names a blueprint twice")
        allowed[found[1]] = int(found[2]) if found[2] else None
    return allowed


def _header_safe(text: str) -> str:
    if not text or " " in text or not (text.isascii() and text.isprintable()):
        raise ValueError("is empty or holds white space or characters that an HTTP header cannot carry")
    return text


def _secret(text: str) -> str:
    if fault := named.secret_fault(text):
        raise ValueError(fault)
    return _header_safe(text)


def _patterns(text: str) -> dict[str, tuple[str, ...]]:
    mapping = named.json_object(text)
    for number, (token, patterns) in enumerate(mapping.items(), 1):
        if fault := named.secret_fault(token):
            raise ValueError(f"has a token {number} that {fault}")
        _header_safe(token)
        if not (isinstance(patterns, list) and patterns and all(p and isinstance(p, str) for p in patterns)):
            raise ValueError(f"has no list of patterns for its token {number}")
    if not mapping:
        raise ValueError("names no token")
    return {token: tuple(patterns) for token, patterns in mapping.items()}


def _address(text: str, api: str = "/api/v4") -> str:
    """Return scheme://host[:port][/path] without the API's own path and whatever makes no difference."""
    bare = re.fullmatch(r"([a-z0-9-]+\.)+[a-z][a-z0-9-]+(:[0-9]+)?(/.*)?", text, re.IGNORECASE)
    try:
        url = AnyHttpUrl(f"https://{text}" if bare else text)
    except ValidationError:
        raise ValueError("is not an address that begins with https:// or http://") from None
    if url.username or url.password or url.query or url.fragment:
        raise ValueError("holds a user name, a password, a ? or a #")
    usual = {"http": 80, "https": 443}[url.scheme]
    port = f":{url.port}" if url.port not in (None, usual) else ""
    path = (url.path or "").rstrip("/").removesuffix(api).rstrip("/")
    return f"{url.scheme}://{url.host}{port}{path}"


# --- what the rest of the program sees ---


def _from_text(parse: Callable[[str], object]) -> BeforeValidator:
    return BeforeValidator(lambda value: parse(value) if isinstance(value, str) else value)


_Secret = Annotated[SecretStr, _from_text(_secret)]
Ci = Literal["auto", "github", "gitlab", "azure", "jenkins", "none"]
_LogLevel = Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"]
_Identifier = Annotated[str, _from_text(str.lower), Field(pattern="^[a-z0-9-]+$")]
_GitLabAddress = Annotated[str, AfterValidator(_address)]


@dataclass(frozen=True)
class Token:
    """A GitLab token under an alias that may be shown, and the path patterns that it serves.

    `file` is set when a file holds this token alone, so that it can be read again after a rotation.
    """

    alias: str
    secret: SecretStr
    patterns: tuple[str, ...]
    file: Path | None = None


class Settings(Layered):
    """Everything that a run is told from outside, checked; `repr` shows no secret."""

    port_client_id: _Secret
    port_client_secret: _Secret
    port_client_id_file: Path | None = None
    port_client_secret_file: Path | None = None
    port_base_url: Annotated[str, AfterValidator(partial(_address, api="/v1"))] = "https://api.getport.io"
    gitlab_url: _GitLabAddress = GITLAB_COM
    tokens: tuple[Token, ...] = ()
    token_mapping_only: bool = False
    integration_identifier: _Identifier | None = None
    integration_type: Annotated[Dialect | None, _from_text(str.lower)] = None
    initialize_port_resources: bool = True
    send_raw_data_examples: bool = True
    client_timeout: float = Field(default=60.0, gt=0, le=3600, description="seconds")
    batch_length: int = Field(default=20, ge=1, le=20)
    batch_bytes: int = Field(default=1_048_576, ge=1, le=1_048_576)
    jq_env: tuple[str, ...] = ()
    resources_path: Path | None = RESOURCES
    verify_port: bool | str = True
    verify_gitlab: bool | str = True
    strict_port: bool = True
    strict_gitlab: bool = True
    log_level: Annotated[_LogLevel, _from_text(str.upper)] = "INFO"
    workers: int = Field(default=10, ge=1, le=100)
    deadline: Annotated[float | None, _from_text(parse_duration)] = Field(default=None, description="seconds")
    allow_deletes: Annotated[dict[str, int | None], _from_text(parse_allow_deletes)] = Field(default={})
    fail_on: Annotated[Literal["problems", "warnings", "limit", "never"], _from_text(str.lower)] = "problems"
    on_overlap: Annotated[Literal["run", "skip"], _from_text(str.lower)] = "run"
    ci: Annotated[Ci, _from_text(str.lower)] = "auto"
    env_file: Path | None = None
    mapping_file: Path | None = None
    report_markdown: Path | None = None
    report_junit: Path | None = None
    report_json: Path | None = None
    report_metrics: Path | None = None
    report_html: Path | None = None
    report_dotenv: Path | None = None
    report_annotations: Path | None = None
    warnings: tuple[Problem, ...] = ()
    ignored: tuple[str, ...] = ()
    said: tuple[str, ...] = ()
    logins: tuple[SecretStr, ...] = ()

    @property
    def default_type(self) -> Dialect:
        """The integration's type where neither the user nor Port names one."""
        return "gitlab" if self.token_mapping_only else "gitlab-v2"

    @property
    def chosen_timeout(self) -> float | None:
        """The seconds that the user allows for an answer, also the first one of a host; None where nobody said."""
        return self.client_timeout if "client_timeout" in self.model_fields_set else None

    def secrets(self) -> tuple[str, ...]:
        """Return every secret text, for redaction."""
        tokens = (token.secret for token in self.tokens)
        held = (self.port_client_id, self.port_client_secret, *tokens, *self.logins)
        return tuple(dict.fromkeys(secret.get_secret_value() for secret in held))


class _Parts(Layered):
    """What makes a setting only together with something else; each is checked alone here."""

    token: _Secret | None = None
    token_mapping: Annotated[dict[str, tuple[str, ...]], _from_text(_patterns)] = Field(default={})
    host: _GitLabAddress | None = None
    url: _GitLabAddress | None = None
    listener: Annotated[Literal["ONCE"], _from_text(str.upper)] = "ONCE"
    jq_access: bool = False
    jq_names: Annotated[tuple[str, ...], _from_text(lambda text: tuple(re.findall(r"[^,\s]+", text)))] = ()
    check_port: bool = True
    check_gitlab: bool = True


# --- deciding: `faults` gathers {field: line}; the first fault of a field stays ---

_Model = TypeVar("_Model", bound=Layered)


def _line(name: str, why: str, given: Mapping[str, Given]) -> str:
    other = "http://host:port" if name.upper() in _PROXIES else "a file of CA certificates"
    variable, expected = VARIABLES.get(name, (name, other))
    return f"{given[name].shown if name in given else variable}: {why}; expected {expected}"


def _checked(
    model: type[_Model], given: ChainMap[str, Given], faults: dict[str, str], **resolved: object
) -> _Model | None:
    """Return the model made of the layers but their faulty texts, or None when there are new faults."""
    layers = [{name: one for name, one in layer.items() if name not in faults} for layer in given.maps]
    values: dict[str, Any] = {**resolved, "layers": layers}
    try:
        return model(**values)
    except ValidationError as error:
        for one in error.errors(include_url=False, include_input=False):
            name = str(one["loc"][0])
            own = {"missing": "is not set", "value_error": str(one.get("ctx", {}).get("error"))}
            faults.setdefault(name, _line(name, own.get(one["type"], "is not valid"), given))
    return None


def _addresses(given: ChainMap[str, Given]) -> list[str]:
    """Return which of GitLab's two address fields the highest layer sets that sets any."""
    layers = ([name for name in ("host", "url") if name in layer] for layer in given.maps)
    return next(filter(None, layers), [])


def _tokens(parts: _Parts, file: Path | None) -> tuple[Token, ...]:
    """Return the tokens in order, each secret once."""
    single = parts.token.get_secret_value() if parts.token else ""
    tokens = {single: Token("token 1", SecretStr(single), ("**",), file)} if single else {}
    for secret, patterns in parts.token_mapping.items():
        token = tokens.get(secret) or Token(f"token {len(tokens) + 1}", SecretStr(secret), ())
        tokens[secret] = replace(token, patterns=tuple(dict.fromkeys(token.patterns + patterns)))
    return tuple(tokens.values())


def _ci_server(environ: Mapping[str, str]) -> str:
    try:
        return _address(environ.get("CI_SERVER_URL", "").strip())
    except ValueError:
        return ""


def _ca_bundle(gitlab_url: str, environ: Mapping[str, str]) -> tuple[str, str]:
    """Return (variable, path) of the CA bundle to use for that GitLab, or empty texts; "" stands for Port."""
    usual = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE")
    # GitLab's runner vouches for the job's own GitLab alone, and its file does not follow into a container.
    job_ca = "CI_SERVER_TLS_CA_FILE"
    is_own = gitlab_url and _ci_server(environ) in ("", gitlab_url)
    names = (*usual, job_ca) if is_own and os.path.isfile(environ.get(job_ca, "")) else usual
    return next(((name, path) for name in names if (path := environ.get(name, "").strip())), ("", ""))


def _has_certificates(path: str) -> bool:
    try:
        return bool(ssl.create_default_context(cafile=path))
    except (OSError, ValueError):
        return False


def _is_address(text: str) -> bool:
    """Whether a proxy's address, with or without scheme and login, names a host; an empty one names no proxy."""
    try:
        parts = urlsplit(text if "://" in text else f"//{text}")
        return not text.strip() or bool(parts.hostname and parts.port != 0)
    except ValueError:
        return False


def _joint_faults(parts: _Parts, given: ChainMap[str, Given], environ: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield (field, why) for what is wrong only beside something else."""
    if not given.keys() & {"token", "token_mapping"}:
        yield "token", f"is not set, nor is {VARIABLES['token_mapping'][0]}"
    single = [parts.token.get_secret_value()] if parts.token else []
    for name, secrets in (("token", single), ("token_mapping", list(parts.token_mapping))):
        if any(secret == environ.get("CI_JOB_TOKEN") or secret.startswith("glcbt-") for secret in secrets):
            yield name, "holds a CI_JOB_TOKEN, which may not list groups and projects"
    if len(_addresses(given)) == 2 and parts.host and parts.url and parts.host != parts.url:
        yield "host", f"is another address than {given['url'].shown}; set only one of them"
    if not _addresses(given) and _ci_server(environ) not in ("", GITLAB_COM):
        assignment = f"{VARIABLES['host'][0]}=$CI_SERVER_URL"
        yield "host", f"is not set, while this job runs on another GitLab; to read that one set {assignment}"
    bundle, path = _ca_bundle("", environ)
    if path and not os.path.exists(path):
        yield bundle, "names a file that does not exist"
    elif os.path.isfile(path) and not _has_certificates(path):
        yield bundle, "names a file without certificates"
    for name in (*_PROXIES, *map(str.lower, _PROXIES)):
        if not _is_address(environ.get(name, "")):
            yield name, "is not the address of a proxy; write odd characters of a password as %XX"


def _warnings(settings: Settings, parts: _Parts) -> Iterator[str]:
    """Yield what is allowed but should be looked at."""
    jq_access, jq_names = VARIABLES["jq_access"][0], VARIABLES["jq_names"][0]
    gitlab = ("GitLab", settings.gitlab_url, settings.verify_gitlab)
    for who, url, verify in (gitlab, ("Port", settings.port_base_url, settings.verify_port)):
        if re.match(r"http://(?!(127\.[0-9.]+|localhost|\[::1\])(:|/|$))", url):
            yield f"{who} is spoken to over http://, so that secrets can be read on the way; use https://"
        if verify is False:
            yield f"the certificate of {who} is not verified, so that secrets can be stolen; name a CA bundle"
    if parts.jq_access != bool(parts.jq_names):
        yield f"mappings see no environment variable unless {jq_access} is true and {jq_names} names it"
    if leaked := named.leaks(settings.jq_env):
        yield f"{jq_names} names {', '.join(leaked)}: who edits the mapping can copy that secret into Port"


@dataclass(frozen=True)
class _Sources:
    """All that was given, highest layer first; the variables that others read too; and what files gave or did not."""

    given: ChainMap[str, Given]
    variables: Mapping[str, str]
    said: tuple[str, ...] = ()


def _sources(environ: Mapping[str, str], dotenv: Path | None, options: Mapping[str, object]) -> _Sources:
    """Read the file that is named, else the one that is found, but nothing that is merely found in CI.

    Raises UsageError when a file cannot be read.
    """
    layers = named.read_options(options), named.read_environ(environ)
    upper = ChainMap(*layers)
    chosen = upper.get("env_file")
    said: list[str] = []
    is_job = named.in_ci(environ)
    if chosen and not chosen.fault:
        file = named.read_env_file(Path(chosen.text), upper, is_named=True)
    elif dotenv and not is_job:
        file = named.read_env_file(dotenv, upper, is_named=False)
    else:
        file = named.EnvFile()
        if dotenv and dotenv.is_file():
            said.append(f"{dotenv} is not read in CI, where others may have put it; to take it: --env-file {dotenv}")
    given = ChainMap(*layers, dict(file.given))
    if is_job and "resources_path" not in given and RESOURCES.is_dir():
        name = VARIABLES["resources_path"][0]
        said.append(f"{RESOURCES} is not read in CI, where others may have put it; to take it: {name}={RESOURCES}")
    return _Sources(given, {**file.variables, **environ}, tuple(filter(None, (file.said, *said))))


def report_files(environ: Mapping[str, str], dotenv: Path | None = DOTENV, **options: object) -> dict[str, Path]:
    """Return the report files by form ("markdown", "json", …), also where other settings are faulty.

    Raises UsageError when the file of variables cannot be read.
    """
    given = _sources(environ, dotenv, options).given
    return {
        name.removeprefix(_REPORT): Path(given[name].text)
        for name in Settings.model_fields
        if name.startswith(_REPORT) and name in given and not given[name].fault
    }


def input_files(environ: Mapping[str, str], dotenv: Path | None = DOTENV, **options: object) -> dict[str, Path]:
    """Return the files that a run may read, by what they are; no output may take the place of one.

    Raises UsageError when the file of variables cannot be read.
    """
    sources = _sources(environ, dotenv, options)
    given = {name: one for name, one in sources.given.items() if not one.fault}
    found = {f"the file of {one.shown}": one.file for one in given.values() if one.file}
    for name, what in (("mapping_file", "the mapping"), ("env_file", "the file of variables")):
        if name in given:
            found[what] = Path(given[name].text)
    if dotenv:
        found["the default file of variables"] = dotenv
    folder = Path(given["resources_path"].text) if "resources_path" in given else RESOURCES
    found |= {f"{folder / name}": folder / name for name in RESOURCE_NAMES}
    if bundle := _ca_bundle("", sources.variables)[1]:
        found["the CA bundle"] = Path(bundle)
    return found


def ci_choice(environ: Mapping[str, str], dotenv: Path | None = DOTENV, **options: object) -> Ci:
    """Return which CI system was asked for, "auto" where none was; also where other settings are faulty.

    Raises UsageError when the file of variables cannot be read.
    """
    given = _sources(environ, dotenv, options).given.get("ci")
    chosen: Ci = next((one for one in get_args(Ci) if given and one == given.text.lower()), "auto")
    return chosen


def _logins(variables: Mapping[str, str]) -> tuple[SecretStr, ...]:
    """Return the secret part of each proxy's login, as it is written and as it is meant."""
    found: dict[str, None] = {}
    for name in (*_PROXIES, *map(str.lower, _PROXIES)):
        login, at, _ = variables.get(name, "").rpartition("@")
        user, _, password = login.rpartition("//")[2].partition(":")
        if at and (text := password or user):
            found |= dict.fromkeys((text, unquote(text)))
    return tuple(map(SecretStr, found))


def load_settings(environ: Mapping[str, str], dotenv: Path | None = DOTENV, **options: object) -> Settings:
    """Return the settings; options (by field name, None is not given) win over `environ`, that over a file.

    The file is the one that is named, else `dotenv`, which may be missing. Raises UsageError with one line for every
    faulty variable; no line holds a secret.
    """
    sources = _sources(environ, dotenv, options)
    given, variables = sources.given, sources.variables
    faults = {name: f"{one.shown}: {one.fault}" for name, one in given.items() if one.fault}
    # The second time without the faulty ones, so that what depends on several is checked as well.
    parts = _checked(_Parts, given, faults) or _checked(_Parts, given, faults) or _Parts()
    for name, why in _joint_faults(parts, given, variables):
        faults.setdefault(name, _line(name, why, given))
    gitlab_url = next(filter(None, (getattr(parts, name) for name in _addresses(given))), GITLAB_COM)
    files = {name: one.file for name, one in given.items()}
    found_folder = None if named.in_ci(environ) else RESOURCES
    resolved: dict[str, object] = {} if "resources_path" in given else {"resources_path": found_folder}
    settings = _checked(
        Settings,
        given,
        faults,
        gitlab_url=gitlab_url,
        tokens=_tokens(parts, files.get("token")),
        token_mapping_only=parts.token is None,
        jq_env=parts.jq_names if parts.jq_access else (),
        verify_port=parts.check_port and (_ca_bundle("", variables)[1] or True),
        verify_gitlab=parts.check_gitlab and (_ca_bundle(gitlab_url, variables)[1] or True),
        ignored=tuple(named.ignored(given)),
        said=sources.said,
        logins=_logins(variables),
        port_client_id_file=files.get("port_client_id"),
        port_client_secret_file=files.get("port_client_secret"),
        **resolved,
    )
    if faults or settings is None:
        raise UsageError(*faults.values(), hint="; ".join((*named.unknown(given), *sources.said)))
    said = (*named.unknown(given), *_warnings(settings, parts), *named.not_honoured(given))
    warnings = tuple(Problem("settings", why, warning=True) for why in said)
    return settings.model_copy(update={"warnings": warnings})
