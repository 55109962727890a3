"""The integration object in Port: creation, mapping, resync state, examples of rows, default blueprints."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Literal

from gitlab_port_export import __version__
from gitlab_port_export.base.answer import Answer, Unreachable
from gitlab_port_export.base.clock import Stopped
from gitlab_port_export.base.errors import PortUnavailable, UsageError
from gitlab_port_export.base.jsontext import encode, is_deep
from gitlab_port_export.model import Dialect, Row
from gitlab_port_export.port.blueprint import Blueprint
from gitlab_port_export.port.client import Port, PortRefused, advice, segment
from gitlab_port_export.port.masking import masked

EXAMPLES_PER_KIND = 5
# The largest raw row that is sent as an example for Port's mapping editor.
EXAMPLE_BYTES = 4 * 1024 * 1024
READ, WRITE = "read integrations", "create integrations"
# The parts of a blueprint that can name others, in the order in which Port can take them.
LATER = (("relations", "ownership"), ("mirrorProperties", "calculationProperties", "aggregationProperties"))
# A run repeats the state `running` this often. One that has not done so for the longer time has ended.
REFRESH_SECONDS, SILENT_SECONDS = 60.0, 300.0
# Ocean says `running` once, however long it takes:
# https://github.com/port-labs/ocean/blob/main/port_ocean/core/event_listener/base.py
OCEAN_SILENT_SECONDS = 3600.0
State = Literal["running", "completed", "failed", "aborted"]


@dataclass(frozen=True)
class Integration:
    """The integration as Port has it; `accessible` is false where the credentials may not use it.

    `dialect` is its type, gitlab or gitlab-v2. `running_since` is when another run last reported that it is active, if
    one did; `repeats` is whether that run is one that reports it again and again. `incremental` is Ocean's switch for
    reading what changed.
    """

    identifier: str
    dialect: Dialect | None = None
    config: Mapping[str, Any] | None = None
    exists: bool = False
    accessible: bool = True
    running_since: str | None = None
    repeats: bool = False
    incremental: bool = False


def user_agent(dialect: Dialect, identifier: str) -> str:
    """Return the User-Agent, in Ocean's form: Port stores it as the owner of the entities that are written."""
    return f"port-ocean/{dialect}/{__version__}/{identifier}/exporter"


def gitops_agent(dialect: Dialect, identifier: str) -> str:
    """Return the User-Agent for entities of files (GitOps), whose owner is another one than the exporter's."""
    return f"port-ocean/{dialect}/{__version__}/{identifier}/gitops"


def state_agent(dialect: Dialect, identifier: str) -> str:
    """Return the User-Agent for what a run leaves for the next one, which is no entity of GitLab."""
    return f"port-ocean/{dialect}/{__version__}/{identifier}/state"


def fetch(port: Port, identifier: str) -> Integration:
    """Return the integration of that identifier. Raises PortUnavailable."""
    asked = f"Port did not say whether it has the integration {identifier}"
    try:
        answer = port.call("GET", f"/integration/{segment(identifier)}", params=(("byField", "installationId"),))
    except Unreachable as failure:
        raise PortUnavailable(f"{asked}: {failure}", hint=advice(failure, READ)) from None
    if answer.status == 404:
        return Integration(identifier)
    if answer.status in (401, 403):
        return Integration(identifier, accessible=False)
    data = answer.data.get("integration") if isinstance(answer.data, dict) else None
    if answer.status != 200 or not isinstance(data, dict):
        refusal = PortRefused(answer)
        raise PortUnavailable(f"{asked}: {refusal}", hint=advice(refusal, READ))
    kind = str(data.get("installationAppType") or "").lower()
    state = _object(data.get("resyncState"))
    return Integration(
        identifier, "gitlab-v2" if kind == "gitlab-v2" else "gitlab" if kind == "gitlab" else None,
        data.get("config") or None, exists=True, running_since=_running_since(state), repeats=_repeats(state),
        incremental=data.get("incrementalSyncEnabled") is True,
    )  # fmt: skip


def others(port: Port) -> list[tuple[str, Dialect]]:
    """Return (identifier, type) of each GitLab integration of the organisation; none where Port does not say."""
    try:
        rows = port.ask("GET", "/integration").get("integrations")
    except (PortRefused, Unreachable):
        return []
    types: dict[str, Dialect] = {"gitlab": "gitlab", "gitlab-v2": "gitlab-v2"}
    return [
        (str(row.get("installationId")), types[kind])
        for row in map(_object, rows if isinstance(rows, list) else ())
        if (kind := str(row.get("installationAppType") or "").lower()) in types
    ]


def _object(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _running_since(state: Mapping[str, Any]) -> str | None:
    moment = state.get("updatedAt") or state.get("lastResyncStart")
    return str(moment) if moment and state.get("status") == "running" else None


def _repeats(state: Mapping[str, Any]) -> bool:
    """Return whether the state is of this exporter, which repeats it: it starts at a whole second, Ocean does not."""
    try:
        return datetime.fromisoformat(str(state.get("lastResyncStart"))).microsecond == 0
    except ValueError:
        return False


def is_active(integration: Integration, now: str | None) -> bool:
    """Return whether another run is active: it has reported its state lately. `now` is the time by Port's clock."""
    if integration.running_since is None:
        return False
    try:
        since = datetime.fromisoformat(integration.running_since)
        until = datetime.fromisoformat(now) if now else datetime.now(UTC)
        silent = SILENT_SECONDS if integration.repeats else OCEAN_SILENT_SECONDS
        return (until - since).total_seconds() < silent
    except (ValueError, TypeError):  # no instant, or one without a zone
        return False


def create(port: Port, identifier: str, dialect: Dialect, config: Mapping[str, Any]) -> bool:
    """Create the integration object; false where the credentials may not. One that exists meanwhile is fine.

    Raises PortUnavailable.
    """
    payload = {
        "installationId": identifier,
        "installationAppType": dialect,
        "version": __version__,
        "changelogDestination": {},
        "config": dict(config),
        "actionsProcessingEnabled": False,
    }
    failed = f"the integration {identifier} could not be created in Port"
    try:
        answer = port.call("POST", "/integration", payload=payload)
    except Unreachable as failure:
        raise PortUnavailable(f"{failed}: {failure}", hint=advice(failure, WRITE)) from None
    if answer.status in (200, 201, 409):
        return True
    if answer.status in (401, 403):
        return False
    refusal = PortRefused(answer)
    raise PortUnavailable(f"{failed}: {refusal}", hint=advice(refusal, WRITE, "create the integration in Port"))


def store_config(port: Port, identifier: str, config: Mapping[str, Any]) -> bool:
    """Give an integration without a mapping its first one; false where Port refuses or does not answer."""
    try:
        answer = port.call("PATCH", f"/integration/{segment(identifier)}", payload={"config": dict(config)})
    except Unreachable:
        return False
    return answer.status == 200


def set_state(port: Port, identifier: str, state: State, started: datetime) -> str | None:
    """Report the state of the run to Port; return the time of the answer by Port's clock, or None if refused."""
    ended = None if state == "running" else _iso(datetime.now(UTC))
    payload = {
        "status": state,
        "lastResyncStart": _iso(started),
        "lastResyncEnd": ended,
        "nextResync": None,
        "intervalInMinuets": None,  # Port's spelling
    }
    try:
        answer = port.call("PATCH", f"/integration/{segment(identifier)}/resync-state", payload=payload)
    except Unreachable:
        return None
    if answer.status != 200 or not isinstance(answer.data, dict):
        return None
    instant = _object(_object(answer.data.get("integration")).get("resyncState")).get("updatedAt")
    return str(instant) if instant else instant_of(answer)


def instant_of(answer: Answer) -> str | None:
    """Return when Port answered, by its Date header: whole seconds, so never later than it was."""
    try:
        return _iso(parsedate_to_datetime(answer.headers["date"]))
    except (KeyError, ValueError):
        return None


def _iso(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def send_examples(port: Port, identifier: str, examples: Mapping[str, Sequence[Row]]) -> None:
    """Send a few raw rows a kind for Port's mapping editor, secrets and e-mail addresses masked; refusals are fine.

    Rows that nest too deeply or are very large are left out.
    """
    for kind, rows in examples.items():
        payload = {"examples": [masked(row) for row in rows[:EXAMPLES_PER_KIND] if _is_fit_to_show(row)]}
        try:
            port.call("POST", f"/integration/{segment(identifier)}/kinds/{segment(kind)}/examples", payload=payload)
        except (Unreachable, Stopped, PortUnavailable):
            return


def _is_fit_to_show(row: Row) -> bool:
    return not is_deep(row) and len(encode(row)) <= EXAMPLE_BYTES


def is_half_made(held: Blueprint | None, data: Mapping[str, Any]) -> bool:
    """Return whether a default blueprint in Port lacks parts because the run that created it ended early.

    It has exactly the properties, and nothing yet of what a later step adds to it.
    """
    wanted = Blueprint.of(data)
    if held is None or held.computed or _types(held) != _types(wanted):
        return False
    return bool(wanted.computed if held.relations == wanted.relations else not held.relations)


def _types(blueprint: Blueprint) -> dict[str, Any]:
    return {name: schema.get("type") for name, schema in blueprint.properties.items()}


def unfit(existing: Mapping[str, Blueprint], defaults: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return why existing blueprints cannot hold what the default mapping writes; empty when they can.

    Those that an earlier run left half-made will be completed.
    """
    faults = []
    for data in defaults:
        wanted = Blueprint.of(data)
        held = existing.get(wanted.identifier)
        if held is None or is_half_made(held, data):
            continue
        for name, schema in wanted.properties.items():
            kind = (held.properties.get(name) or {}).get("type")
            if kind != schema.get("type"):
                has = f"has type {kind}" if kind else "is missing"
                needs = f"the default mapping needs {schema.get('type')}"
                faults.append(f"blueprint {wanted.identifier}: property {name} {has}; {needs}")
        for name, relation in wanted.relations.items():
            other = held.relations.get(name)
            if other is None or (other.target, other.many) != (relation.target, relation.many):
                many = "many " if relation.many else ""
                faults.append(f"blueprint {wanted.identifier}: needs a {many}relation {name} to {relation.target}")
    return faults


def create_blueprints(
    port: Port, existing: Mapping[str, Blueprint], defaults: Sequence[Mapping[str, Any]]
) -> list[str]:
    """Create the default blueprints that Port lacks, and complete half-made ones; others stay untouched.

    All are made bare first, then get their relations, then what reads along relations: a run that ends in between is
    taken up by the next one. Returns the identifiers created or completed. Raises UsageError when an existing one
    cannot hold the default mapping, before anything is written, and PortUnavailable when Port refuses or does not
    answer.
    """
    if faults := unfit(existing, defaults):
        raise UsageError(
            *faults,
            hint="use your own mapping (--mapping FILE), or add what is missing to the blueprint in Port",
        )
    missing = [data for data in defaults if data["identifier"] not in existing]
    try:
        created = [data for data in missing if _create_bare(port, data)]
        created += [data for data in defaults if is_half_made(existing.get(data["identifier"]), data)]
        for names in LATER:
            for data in created:
                if payload := {name: data[name] for name in names if data.get(name)}:
                    port.ask("PATCH", f"/blueprints/{segment(data['identifier'])}", payload=payload)
    except (PortRefused, Unreachable) as failure:
        raise PortUnavailable(
            f"the default blueprints could not be created in Port: {failure}",
            hint=advice(
                failure, "create blueprints, or create them yourself and set OCEAN__INITIALIZE_PORT_RESOURCES=false"
            ),
        ) from None
    return [data["identifier"] for data in created]


def _create_bare(port: Port, data: Mapping[str, Any]) -> bool:
    """Create a blueprint without the parts that name others; false when it has just been created by another run."""
    bare = {key: value for key, value in data.items() if not any(key in names for names in LATER)}
    answer = port.call("POST", "/blueprints", params=(("create_catalog_page", "true"),), payload=bare)
    if answer.status not in (200, 201, 409):
        raise PortRefused(answer)
    return answer.status != 409
