"""The names of variables: which setting each one sets, and the messages about all other names."""

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from gitlab_port_export.settings.settings import SECRETS, SETTINGS

# Settings of which each has a variable with _FILE at its end, for a file that holds the secret.
SECRET_FILES = tuple(f"{name}_file" for name in SECRETS)
_LIVE_EVENTS = """
    OCEAN__INTEGRATION__CONFIG__APP_HOST OCEAN__INTEGRATION__CONFIG__USE_SYSTEM_HOOK OCEAN__LIVE_EVENTS
    OCEAN__INTEGRATION__CONFIG__TOKEN_GROUP_HOOKS_OVERRIDE_MAPPING OCEAN__BASE_URL OCEAN__PATH_PREFIX
    OCEAN__EXPORT__HOOKS_TOKEN OCEAN__EXPORT__HOOKS_SECRET OCEAN__EXPORT__HOOKS_HEADERS
    OCEAN__EXPORT__HOOKS_URL_VARIABLES
"""
# Ocean's names that have no meaning in a program that runs once; each stands for all names that begin with it.
_NOT_NEEDED = """
    OCEAN__SCHEDULED_RESYNC_INTERVAL OCEAN__METRICS OCEAN__ACTIONS_PROCESSOR OCEAN__STREAMING OCEAN__RUNTIME
    OCEAN__EVENT_LISTENER__ OCEAN__EVENTS_DEBUG_LOGGING OCEAN__MAX_WAIT_SECONDS_BEFORE_SHUTDOWN
    OCEAN__EVENT_WORKERS_COUNT OCEAN__CREATE_PORT_RESOURCES_ORIGIN OCEAN__STATUS_HEARTBEAT_INTERVAL_SECONDS
    OCEAN__MAX_EVENT_PROCESSING_SECONDS OCEAN__CACHING_STORAGE_MODE OCEAN__DELETE_ENTITIES_MAX_BATCH_SIZE
    OCEAN__DISABLE_IP_OUTBOUND_BLOCKER OCEAN__YIELD_ITEMS_TO_PARSE_BATCH_SIZE OCEAN__PROCESS_IN_QUEUE
    OCEAN__PROCESS_EXECUTION_MODE OCEAN__INTEGRATION__INCREMENTAL_SYNC OCEAN__PORT__PORT_APP_CONFIG_CACHE_TTL
    OCEAN__PORT__FEATURE_FLAGS_CACHE_TTL_SECONDS OCEAN__PORT__BLUEPRINT_CACHE_TTL_SECONDS OCEAN__LAKEHOUSE
"""
# Ocean's names that would change a run of Ocean: the values that change nothing, and the warning about any other.
_NOT_HONOURED: dict[str, tuple[tuple[str, ...], str]] = {
    "OCEAN__OAUTH_ACCESS_TOKEN_FILE_PATH": (("",), f"is not read; use {SETTINGS['token'].variable}_FILE"),
    "OCEAN__PROCESSING_MODE": (("ocean-core",), "is not honoured; rows are always mapped by this program"),
}
# Ocean's switch for reading what changed; a run that is asked for that itself needs no word about it.
_INCREMENTAL = "OCEAN__INTEGRATION__INCREMENTAL_SYNC_ENABLED"
_OFF = ("", "false", "0", "no", "off")


@dataclass(frozen=True)
class Given:
    """What was given for one setting: the name that the user knows, its text, the file that held it, or its fault."""

    shown: str
    text: str = field(repr=False)
    file: Path | None = None
    fault: str = ""


def key_of(name: str) -> str:
    """Return one spelling for all of a variable's: upper case, no single _, secrets as configuration."""
    key = "__".join(part.replace("_", "") for part in name.upper().split("__"))
    return re.sub(r"^(OCEAN__)?INTEGRATION__SECRETS(?=__|$)", "OCEAN__INTEGRATION__CONFIG", key)


_VARIABLES = {key_of(setting.variable): setting.variable for setting in SETTINGS.values()}
# By key: the setting; and the keys of the JSON objects that stand for several settings.
FIELDS = {key_of(setting.variable): name for name, setting in SETTINGS.items()}
FIELDS |= {key_of(f"{SETTINGS[name].variable}_FILE"): f"{name}_file" for name in SECRETS}
OBJECTS = {key[: end.start()] for key in FIELDS for end in re.finditer("__", key)}
# Other names of the address of Port's API: those of Port's pages, of its CI jobs and of its Terraform provider.
PORT_NAMES = ("PORT_BASE_URL", "PORT_REGION", "OCEAN__PORT_BASE_URL", "OCEAN__PORT_REGION", "OCEAN__PORT__REGION")
FIELDS |= {key_of(name): "port_base_url" for name in PORT_NAMES}
_LIVE = tuple(map(key_of, _LIVE_EVENTS.split()))
_IGNORED = (*_LIVE, *map(key_of, _NOT_NEEDED.split()), *map(key_of, _NOT_HONOURED))


def unknown(given: Mapping[str, Given]) -> Iterator[str]:
    """Yield a line for each name that neither this program nor Ocean reads, with the nearest one that is read."""
    for key, one in given.items():
        if key not in SETTINGS and key not in OBJECTS and not key.startswith(_IGNORED):
            near = nearest(key)
            yield f"{one.shown} is not known" + (f"; did you mean {near}?" if near else "")


def nearest(key: str) -> str:
    """Return the variable of nearly that name, or nothing: of the same section, where that is one of ours.

    All names of a section share its name, which makes them no more alike.
    """
    section, _, last = key.rpartition("__")
    if section in OBJECTS:
        names = {name.rpartition("__")[2]: name for name in _VARIABLES if name.rpartition("__")[0] == section}
        near = difflib.get_close_matches(last, names, n=1, cutoff=0.85)
        return _VARIABLES[names[near[0]]] if near else ""
    near = difflib.get_close_matches(key, _VARIABLES, n=1, cutoff=0.9)
    return _VARIABLES[near[0]] if near else ""


def not_honoured(given: Mapping[str, Given]) -> Iterator[str]:
    """Yield a line for each of Ocean's names that asks for what this program does not do."""
    wishes = dict(_NOT_HONOURED)
    if "since" not in given:
        wishes[_INCREMENTAL] = (_OFF, f"is for Ocean alone; to read what changed: {SETTINGS['since'].option} last")
    for name, (harmless, why) in wishes.items():
        one = given.get(key_of(name))
        if one and one.text.lower() not in harmless:
            yield f"{one.shown} {why}"


def ignored(given: Mapping[str, Given]) -> Iterator[str]:
    """Yield Ocean's names that are accepted and have no meaning here."""
    for key, one in given.items():
        if key not in SETTINGS and key.startswith(_IGNORED):
            yield f"{one.shown} (live events only)" if key.startswith(_LIVE) else one.shown


def leaks(names: Iterable[str]) -> list[str]:
    """Return the names among them whose text is or holds a secret."""
    secret = [f"{key}__" for key, name in FIELDS.items() if name in SECRETS]
    return [name for name in names if any(key.startswith(f"{key_of(name)}__") for key in secret)]
