"""The sources of settings: options, the environment and a file of variables, each as {setting: what was given}."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from dotenv import dotenv_values

from gitlab_port_export.base.errors import Fault, UsageError
from gitlab_port_export.report.ci import SYSTEMS
from gitlab_port_export.settings.parse import lines_object, text_fault
from gitlab_port_export.settings.settings import APART, SECRETS, SETTINGS
from gitlab_port_export.settings.variables import FIELDS, OBJECTS, SECRET_FILES, Given, key_of

# A file that was found and not named may come from another person. That person must not choose where
# secrets go, what is trusted, deleted, written or shown to jq. Without a setting that is left out, a run is still safe.
# Without one that is refused, it would use another server or mapping than the file asks for, so nothing is done.
_LEFT_OUT = {name for name, setting in SETTINGS.items() if setting.found_file == "left out"}
_REFUSED = {*(name for name, setting in SETTINGS.items() if setting.found_file == "refused"), *SECRET_FILES}
# How many names a line about a file lists.
MAX_NAMES = 20
# Variables that CI systems set in every job: first the one of many systems, then those of systems that do not set it.
_CI = """
    CI TEAMCITY_VERSION BUILDKITE CIRCLECI TRAVIS APPVEYOR DRONE SEMAPHORE
    BITBUCKET_BUILD_NUMBER CODEBUILD_BUILD_ID BAMBOO_BUILDKEY GO_PIPELINE_NAME HARNESS_BUILD_ID CIRRUS_CI CF_BUILD_ID
    BITRISE_IO GITEA_ACTIONS FORGEJO_ACTIONS WOODPECKER_CI SCREWDRIVER HEROKU_TEST_RUN_ID XCS BUILD_BUILDID
    CM_BUILD_ID SYSTEM_TEAMFOUNDATIONCOLLECTIONURI
"""


def in_ci(environ: Mapping[str, str]) -> bool:
    """Return whether this is a job of a CI system. Others may have put files into its working directory."""
    upper = {name.upper(): text.strip().lower() for name, text in environ.items()}
    signs = (*_CI.split(), *(one.sign.name for one in SYSTEMS.values()))
    return any(upper.get(name, "") not in ("", "0", "false", "no") for name in signs)


# --- options


def read_options(options: Mapping[str, object]) -> dict[str, Given]:
    """Return what the options give, by the names of settings; None gives nothing. TypeError for any other name."""
    given: dict[str, Given] = {}
    for name, value in options.items():
        if name not in SETTINGS:
            raise TypeError(f"no setting {name}")
        setting = SETTINGS[name]
        text = ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
        if value is not None and text.strip():
            given |= _entries(key_of(setting.variable), Given(setting.option or name, text.strip()))
    return given


# --- the environment


def read_environ(environ: Mapping[str, str], *, apart: bool = False) -> dict[str, Given]:
    """Return {setting, or key of a name that sets none: what was given} of our variables.

    Exact names win over JSON objects, CONFIG over SECRETS, the usual spelling over others. Settings that are `apart`
    are left out unless they are asked for, and their files are not opened.
    """
    return _with_files(_of_environ(environ, apart=apart))


def _of_environ(environ: Mapping[str, str], where: str = "", *, apart: bool = False) -> dict[str, Given]:
    ours = re.compile("OCEAN__|INTEGRATION__SECRETS|APPLICATION__LOG_?LEVEL$|PORT_?(BASE_?URL|REGION)$", re.IGNORECASE)
    official = {setting.variable for setting in SETTINGS.values()}
    given: dict[str, Given] = {}
    for name in sorted(
        filter(ours.match, environ),
        key=lambda name: (key_of(name).count("__"), "SECRETS" not in name.upper(), name in official, name),
    ):
        if text := environ[name].strip():
            given |= _entries(key_of(name), Given(name + where, text))
    return given if apart else {name: one for name, one in given.items() if name.removesuffix("_file") not in APART}


def _entries(key: str, given: Given) -> Iterator[tuple[str, Given]]:
    """Yield the variable, or each entry of a JSON object that stands for several variables."""
    fault = text_fault(given.text) if key in FIELDS or key in OBJECTS else ""
    if fault or key not in OBJECTS:
        yield FIELDS.get(key, key), replace(given, fault=fault)
        return
    try:
        entries = {name: _as_text(value) for name, value in lines_object(given.text).items()}
    except (ValueError, RecursionError) as error:
        example = '{"type":"ONCE"}' if key.endswith("LISTENER") else '{"name":"value"}'
        yield key, replace(given, fault=f"{error}; expected a JSON object, for example {example}")
        return
    for number, (name, text) in enumerate(entries.items(), 1):
        inner = key_of(f"{key}__{name}")
        # A name that is not known may be a secret in the wrong place, so its number is shown instead.
        label = name if inner in FIELDS or inner in OBJECTS else f"key {number}"
        if text:
            yield from _entries(inner, replace(given, shown=f"{given.shown} ({label})", text=text))


def _as_text(value: object) -> str:
    if value is None or isinstance(value, str):
        return (value or "").strip()
    return json.dumps(value, ensure_ascii=False)


def _with_files(given: dict[str, Given]) -> dict[str, Given]:
    """Return what was given, with the content of each `_FILE` variable's file as the secret."""
    read = dict(given)
    for name in SECRETS:
        named = read.pop(f"{name}_file", None)
        if named and name in given:
            read[name] = replace(named, fault=f"is set and so is {given[name].shown}; set only one of them")
        elif named:
            read[name] = named if named.fault else _from_file(named)
    return read


def _from_file(given: Given) -> Given:
    path = Path(given.text)
    try:
        text = path.read_text(encoding="utf-8").strip()
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or "not UTF-8 text"
        return replace(given, fault=f"names a file that cannot be read ({why})")
    return replace(given, text=text, file=path, fault="" if text else "names a file that is empty")


# --- a file of variables


@dataclass(frozen=True)
class EnvFile:
    """What a file of variables gives: our settings, all its variables where it may set them, and a line about it."""

    given: Mapping[str, Given] = field(default_factory=dict)
    variables: Mapping[str, str] = field(default_factory=dict, repr=False)
    notes: str = ""


def read_env_file(path: Path, upper: Mapping[str, Given], *, is_named: bool, apart: bool = False) -> EnvFile:
    """Return what the file adds to `upper`, which wins over it; `apart` is as of `read_environ`.

    A file that was not named (by --env-file) may not set everything. Raises UsageError when it cannot be read.
    """
    variables = _dotenv(path) if is_named or path.is_file() else {}
    where = f" in {path.name}"
    found = _of_environ(variables, where, apart=apart)
    added = {name: one for name, one in found.items() if not _is_set(name, upper)}
    if is_named:
        return EnvFile(_with_files(added), variables, _names(f"{path} sets", added, where))
    left = {name: added.pop(name) for name in _LEFT_OUT & added.keys()}
    fault = f"is not taken from a file that was found and not named; to take it: --env-file {path}"
    given = {name: replace(one, fault=fault) if name in _REFUSED else one for name, one in added.items()}
    taken = {name: one for name, one in given.items() if name not in _REFUSED}
    notes = [
        _names(f"{path} sets", taken, where),
        _names(f"{path}, not named by --env-file, cannot set", left, where),
    ]
    return EnvFile(_with_files(given), notes="; ".join(filter(None, notes)))


def _is_set(name: str, upper: Mapping[str, Given]) -> bool:
    """Return whether what wins over a file sets this setting, also under its other name."""
    others = {"host": "url", "url": "host"} | dict(zip(SECRET_FILES, SECRETS, strict=True))
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
        raise UsageError(Fault(f"cannot be read: {why}", str(path))) from None
    return {name: text for name, text in read.items() if text}
