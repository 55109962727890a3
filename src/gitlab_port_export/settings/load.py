"""From options, environment and files to one frozen `Settings`, or to a UsageError that lists every fault."""

import os
import re
import ssl
from collections import ChainMap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar
from urllib.parse import unquote

from pydantic import BaseModel, SecretStr, ValidationError

from gitlab_port_export.base.errors import Fault, UsageError
from gitlab_port_export.model import Problem
from gitlab_port_export.report.ci import CHOICES
from gitlab_port_export.report.formats import FORMATS
from gitlab_port_export.settings import sources, variables
from gitlab_port_export.settings.parse import is_proxy, parse_address
from gitlab_port_export.settings.settings import (
    GITLAB_COM,
    RESOURCE_NAMES,
    RESOURCES,
    SETTINGS,
    Parts,
    Settings,
    Token,
)
from gitlab_port_export.settings.variables import Given

DOTENV = Path(".env")
_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
_PROXY_NAMES = (*_PROXIES, *map(str.lower, _PROXIES))


def load_settings(
    environ: Mapping[str, str], dotenv: Path | None = DOTENV, *, apart: bool = False, **options: object
) -> Settings:
    """Return the settings; options (by the names of settings, None is not given) win over `environ`, that over a file.

    With `apart` those too that only commands which change GitLab look at; with its token no other one is needed. The
    file is the one that is named, else `dotenv`, which may be missing. Raises UsageError with one line for every
    faulty variable; no line holds a secret.
    """
    found = _sources(environ, dotenv, options, apart=apart)
    given = found.given
    faults = {name: Fault(one.fault, one.shown) for name, one in given.items() if one.fault}
    # The second time without the faulty ones, so that what depends on several is checked as well.
    parts = _checked(Parts, given, faults) or _checked(Parts, given, faults) or Parts()
    for name, why in _joint_faults(parts, given, found.variables):
        faults.setdefault(name, _fault(name, why, given))
    settings = _checked(Settings, given, faults, **_joined(parts, found, in_ci=sources.in_ci(environ)))
    if faults or settings is None:
        raise UsageError(*faults.values(), hint="; ".join((*variables.unknown(given), *found.file_notes)))
    doubts = (*variables.unknown(given), *_warnings(settings, parts), *variables.not_honoured(given))
    warnings = tuple(Problem("settings", why, warning=True) for why in doubts)
    return settings.model_copy(update={"warnings": warnings})


# --- for what must work although other settings are faulty


def report_files(environ: Mapping[str, str], dotenv: Path | None = DOTENV, **options: object) -> dict[str, Path]:
    """Return the report files by format ("markdown", "json", …), also where other settings are faulty.

    Raises UsageError when the file of variables cannot be read.
    """
    return _reports(_sources(environ, dotenv, options).given)


def _reports(given: Mapping[str, Given]) -> dict[str, Path]:
    named = {one.name: given[one.setting] for one in FORMATS.values() if one.setting in given}
    return {name: Path(one.text) for name, one in named.items() if not one.fault}


def input_files(environ: Mapping[str, str], dotenv: Path | None = DOTENV, **options: object) -> dict[str, Path]:
    """Return the files that a run may read, by what they are; no output may replace one.

    Raises UsageError when the file of variables cannot be read.
    """
    found = _sources(environ, dotenv, options)
    given = {name: one for name, one in found.given.items() if not one.fault}
    files = {f"the file of {one.shown}": one.file for one in given.values() if one.file}
    for name, what in (("mapping_file", "the mapping"), ("env_file", "the file of variables"), ("event", "the events")):
        if name in given:
            files[what] = Path(given[name].text)
    if (state := given.get("state")) and state.text != "port":
        files["the state of the last run"] = Path(state.text)
    if dotenv:
        files["the default file of variables"] = dotenv
    folder = Path(given["resources_path"].text) if "resources_path" in given else RESOURCES
    files |= {f"{folder / name}": folder / name for name in RESOURCE_NAMES}
    if bundle := _ca_bundle("", found.variables)[1]:
        files["the CA bundle"] = Path(bundle)
    return files


def ci_choice(environ: Mapping[str, str], dotenv: Path | None = DOTENV, **options: object) -> str:
    """Return which CI system was asked for, "auto" where none was; also where other settings are faulty.

    Raises UsageError when the file of variables cannot be read.
    """
    given = _sources(environ, dotenv, options).given.get("ci")
    return next((one for one in CHOICES if given and one == given.text.lower()), "auto")


# --- what was given


@dataclass(frozen=True)
class _Sources:
    """All that was given, highest layer first; the variables that others read too; and lines about files."""

    given: ChainMap[str, Given]
    variables: Mapping[str, str]
    file_notes: tuple[str, ...] = ()


def _sources(
    environ: Mapping[str, str], dotenv: Path | None, options: Mapping[str, object], *, apart: bool = False
) -> _Sources:
    """Read the file that is named, else the one that is found, but in CI no file that is only found.

    Raises UsageError when a file cannot be read.
    """
    layers = sources.read_options(options), sources.read_environ(environ, apart=apart)
    upper = ChainMap(*layers)
    chosen = upper.get("env_file")
    notes: list[str] = []
    is_job = sources.in_ci(environ)
    if chosen and not chosen.fault:
        file = sources.read_env_file(Path(chosen.text), upper, is_named=True, apart=apart)
    elif dotenv and not is_job:
        file = sources.read_env_file(dotenv, upper, is_named=False, apart=apart)
    else:
        file = sources.EnvFile()
        if dotenv and dotenv.is_file():
            notes.append(f"{dotenv} is not read in CI, where others may have put it; to take it: --env-file {dotenv}")
    given = ChainMap(*layers, dict(file.given))
    if is_job and "resources_path" not in given and RESOURCES.is_dir():
        name = SETTINGS["resources_path"].variable
        notes.append(f"{RESOURCES} is not read in CI, where others may have put it; to take it: {name}={RESOURCES}")
    return _Sources(given, {**file.variables, **environ}, tuple(filter(None, (file.notes, *notes))))


_Model = TypeVar("_Model", bound=BaseModel)


def _checked(
    model: type[_Model], given: Mapping[str, Given], faults: dict[str, Fault], **joined: object
) -> _Model | None:
    """Return the model of what was given and is not faulty, or None when there are new faults.

    `faults` is by setting; the first fault of a setting stays.
    """
    texts = {name: given[name].text for name in model.model_fields if name in given and name not in faults}
    try:
        return model(**{**texts, **joined})
    except ValidationError as error:
        for one in error.errors(include_url=False, include_input=False):
            name = str(one["loc"][0])
            own = {"missing": "is not set", "value_error": str(one.get("ctx", {}).get("error"))}
            faults.setdefault(name, _fault(name, own.get(one["type"], "is not valid"), given))
    return None


def _fault(name: str, why: str, given: Mapping[str, Given]) -> Fault:
    if name in SETTINGS:
        shown, expected = SETTINGS[name].variable, SETTINGS[name].expected
    else:  # a variable of other programs too
        shown, expected = name, "http://host:port" if name in _PROXY_NAMES else "a file of CA certificates"
    return Fault(f"{why}; expected {expected}", given[name].shown if name in given else shown)


# --- what several settings make together


def _joined(parts: Parts, found: _Sources, *, in_ci: bool) -> dict[str, object]:
    """Return the fields of `Settings` that are made of several settings, or of where they came from."""
    given, environ = found.given, found.variables
    gitlab_url = next(filter(None, (getattr(parts, name) for name in _addresses(given))), GITLAB_COM)
    files = {name: one.file for name, one in given.items()}
    # In CI others may have made the folder.
    folder: dict[str, object] = {} if "resources_path" in given else {"resources_path": None if in_ci else RESOURCES}
    return {
        "gitlab_url": gitlab_url,
        "tokens": _tokens(parts, given),
        "token_mapping_only": parts.token is None,
        "jq_env": parts.jq_names if parts.jq_access else (),
        "verify_port": parts.check_port and (_ca_bundle("", environ)[1] or True),
        "verify_gitlab": parts.check_gitlab and (_ca_bundle(gitlab_url, environ)[1] or True),
        "reports": _reports(given),
        "ignored": tuple(variables.ignored(given)),
        "file_notes": found.file_notes,
        "logins": _logins(environ),
        "port_client_id_file": files.get("port_client_id"),
        "port_client_secret_file": files.get("port_client_secret"),
        **folder,
    }


def _addresses(given: ChainMap[str, Given]) -> list[str]:
    """Return which of GitLab's two address settings the highest layer sets that sets any."""
    layers = ([name for name in ("host", "url") if name in layer] for layer in given.maps)
    return next(filter(None, layers), [])


def _tokens(parts: Parts, given: Mapping[str, Given]) -> tuple[Token, ...]:
    """Return the tokens in order, each secret once."""
    single = parts.token.get_secret_value() if parts.token else ""
    tokens: dict[str, Token] = {}
    if single:
        held = given["token"]
        tokens[single] = Token("token 1", SecretStr(single), ("**",), held.file, held.shown)
    for number, (secret, patterns) in enumerate(parts.token_mapping.items(), 1):
        source = f"{given['token_mapping'].shown}, entry {number}"
        token = tokens.get(secret) or Token(f"token {len(tokens) + 1}", SecretStr(secret), (), source=source)
        tokens[secret] = replace(token, patterns=tuple(dict.fromkeys(token.patterns + patterns)))
    return tuple(tokens.values())


def _logins(environ: Mapping[str, str]) -> tuple[SecretStr, ...]:
    """Return the secret part of each proxy's login, as it is written and decoded."""
    found: dict[str, None] = {}
    for name in _PROXY_NAMES:
        login, at, _ = environ.get(name, "").rpartition("@")
        user, _, password = login.rpartition("//")[2].partition(":")
        if at and (text := password or user):
            found |= dict.fromkeys((text, unquote(text)))
    return tuple(map(SecretStr, found))


def _ca_bundle(gitlab_url: str, environ: Mapping[str, str]) -> tuple[str, str]:
    """Return (variable, path) of the CA bundle to use for that GitLab, or empty texts; "" stands for Port."""
    usual = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE")
    # The file of GitLab's runner is for the job's own GitLab alone, and is not there in a container that a job starts.
    job_ca = "CI_SERVER_TLS_CA_FILE"
    is_own = gitlab_url and _ci_server(environ) in ("", gitlab_url)
    names = (*usual, job_ca) if is_own and os.path.isfile(environ.get(job_ca, "")) else usual
    return next(((name, path) for name in names if (path := environ.get(name, "").strip())), ("", ""))


def _ci_server(environ: Mapping[str, str]) -> str:
    try:
        return parse_address(environ.get("CI_SERVER_URL", "").strip())
    except ValueError:
        return ""


def _has_certificates(path: str) -> bool:
    try:
        return bool(ssl.create_default_context(cafile=path))
    except (OSError, ValueError):
        return False


# --- what is wrong or risky only together


def _joint_faults(parts: Parts, given: ChainMap[str, Given], environ: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield (setting or variable, why) for what is wrong only together with something else."""
    yield from _token_faults(parts, given, environ)
    if len(_addresses(given)) == 2 and parts.host and parts.url and parts.host != parts.url:
        yield "host", f"is another address than {given['url'].shown}; set only one of them"
    if not _addresses(given) and _ci_server(environ) not in ("", GITLAB_COM):
        assignment = f"{SETTINGS['host'].variable}=$CI_SERVER_URL"
        yield "host", f"is not set, while this job runs on another GitLab; to read that one set {assignment}"
    bundle, path = _ca_bundle("", environ)
    if path and not os.path.exists(path):
        yield bundle, "names a file that does not exist"
    elif os.path.isfile(path) and not _has_certificates(path):
        yield bundle, "names a file without certificates"
    for name in _PROXY_NAMES:
        if not is_proxy(environ.get(name, "")):
            yield name, "is not the address of a proxy; write odd characters of a password as %XX"


def _token_faults(parts: Parts, given: Mapping[str, Given], environ: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    if not given.keys() & {"token", "token_mapping", "write_token"}:
        yield "token", f"is not set, nor is {SETTINGS['token_mapping'].variable}"
    single = [parts.token.get_secret_value()] if parts.token else []
    for name, secrets in (("token", single), ("token_mapping", list(parts.token_mapping))):
        if any(secret == environ.get("CI_JOB_TOKEN") or secret.startswith("glcbt-") for secret in secrets):
            yield name, "holds a CI_JOB_TOKEN, which may not list groups and projects"


def _warnings(settings: Settings, parts: Parts) -> Iterator[str]:
    """Yield what is allowed but should be looked at."""
    jq_access, jq_names = SETTINGS["jq_access"].variable, SETTINGS["jq_names"].variable
    gitlab = ("GitLab", settings.gitlab_url, settings.verify_gitlab)
    for who, url, verify in (gitlab, ("Port", settings.port_base_url, settings.verify_port)):
        if re.match(r"http://(?!(127\.[0-9.]+|localhost|\[::1\])(:|/|$))", url):
            yield f"{who} is reached over http://, so that others can read secrets on the way; use https://"
        if verify is False:
            yield f"the certificate of {who} is not verified, so that secrets can be stolen; name a CA bundle"
    if parts.jq_access != bool(parts.jq_names):
        yield f"mappings see no environment variable unless {jq_access} is true and {jq_names} names it"
    if leaked := variables.leaks(settings.jq_env):
        yield f"{jq_names} names {', '.join(leaked)}: who edits the mapping can copy that secret into Port"
