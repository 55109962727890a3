"""The stand-in Port's action runs: read, reported to, logged, approved, and tied to the entities that they changed.

https://docs.port.io/actions-and-automations/reflect-action-progress/ says what is known; `Unknown` has a switch for
each thing that nobody outside knows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from gitlab_port_export.demo.port_actions import send
from gitlab_port_export.demo.port_rules import JsonObject, RefusedError, malformed, not_found

if TYPE_CHECKING:
    from gitlab_port_export.demo.port_call import Call, Reply
    from gitlab_port_export.demo.port_store import PortStore

OPEN, WAITING, DECLINED = "IN_PROGRESS", "WAITING_FOR_APPROVAL", "DECLINED"
ENDS = ("SUCCESS", "FAILURE")
CHANGES = ("status", "statusLabel", "link", "message", "summary", "externalRunId")
LOG_KEYS = ("message", "terminationStatus", "statusLabel")


@dataclass(frozen=True)
class Unknown:
    """What Port may do in one way or another.

    What a change of a run answers that is not in progress: a refusal with `late_status`, a success that changes
    nothing, or the change itself. Whether entities that name such a run are refused, or written untied. Whether an
    input that names an entity comes as its identifier or as an object. Whether a run tells its entity's blueprint.
    """

    late: Literal["refused", "ignored", "taken"] = "refused"
    late_status: int = 422
    late_entities: Literal["refused", "untied"] = "refused"
    entity_inputs: Literal["identifier", "object"] = "identifier"
    tells_blueprint: bool = True


@dataclass(eq=False)
class Runs:
    """Action definitions and runs by identifier, their log lines, and who may be who.

    `readable` says whether the credentials may read runs, `people_readable` whether they may read users. `sent` holds
    what Port handed to a backend: (run, type of the invocation, payload). `affected` are the entities of each run.
    """

    unknown: Unknown = Unknown()
    readable: bool = True
    people_readable: bool = True
    actions: dict[str, JsonObject] = field(default_factory=dict)
    held: dict[str, JsonObject] = field(default_factory=dict)
    logs: dict[str, list[JsonObject]] = field(default_factory=dict)
    people: dict[str, JsonObject] = field(default_factory=dict)
    sent: list[tuple[str, str, Any]] = field(default_factory=list)
    affected: dict[str, list[tuple[str, str]]] = field(default_factory=dict)

    def person(self, email: str) -> str:
        """Return the id of a user of Port, who is added where he is new."""
        known = (number for number, row in self.people.items() if row["email"] == email)
        number = next(known, f"user_{len(self.people) + 1}")
        self.people.setdefault(number, {"id": number, "email": email, "firstName": email.partition("@")[0]})
        return number

    def start(
        self,
        store: PortStore,
        action: str,
        inputs: Mapping[str, Any],
        *,
        by: str = "ada@example.com",
        entity: str | None = None,
        blueprint: str | None = None,
        impersonated: str | None = None,
        approval: bool | JsonObject = False,
    ) -> str:
        """Add a run of an action and return its id; `by` and `impersonated` are e-mail addresses."""
        moment, number = store.now(), f"r_{store.number():08d}"
        run: JsonObject = {
            "id": number, "action": {"identifier": action, "title": action}, "source": "UI",
            "status": WAITING if approval else OPEN, "requiredApproval": approval, "properties": dict(inputs),
            "rawProperties": dict(inputs), "createdBy": self.person(by), "createdAt": moment, "updatedAt": moment,
        }  # fmt: skip
        if entity is not None:
            run["entity"] = {"identifier": entity, "title": entity}
            if blueprint and self.unknown.tells_blueprint:
                run["blueprint"] = {"identifier": blueprint}
        if impersonated is not None:
            run["impersonatedBy"] = self.person(impersonated)
        self.held[number], self.logs[number], self.affected[number] = run, [], []
        return number

    def one(self, number: str) -> JsonObject:
        """Return a run; RefusedError 404 where there is none, 403 where the credentials may not read runs."""
        if not self.readable:
            raise RefusedError(403, "forbidden", "You are not allowed to read action runs")
        if number not in self.held:
            raise not_found("ActionRun", number)
        return self.held[number]

    def tie(self, number: str | None, blueprint: str, identifiers: list[str]) -> None:
        """Note the entities that a call of a run changed."""
        if number in self.held and self.held[number]["status"] == OPEN:
            self.affected[number] += [(blueprint, identifier) for identifier in identifiers]

    def check_tie(self, number: str | None) -> None:
        """Raise RefusedError where entities cannot be tied to the run that a call names."""
        if number is None:
            return
        if number not in self.held:
            raise not_found("ActionRun", number)
        if self.held[number]["status"] != OPEN and self.unknown.late_entities == "refused":
            raise RefusedError(422, "invalid_request", f"Action run {number} is not in progress")

    def shown(self, run: JsonObject) -> JsonObject:
        """Return a run as answers have it."""
        if self.unknown.entity_inputs == "identifier":
            return run
        return run | {"properties": {name: self._input(run, name) for name in run["properties"]}}

    def _input(self, run: JsonObject, name: str) -> Any:
        value = run["properties"][name]
        inputs = self.actions.get(run["action"]["identifier"], {}).get("trigger", {}).get("userInputs", {})
        schema = inputs.get("properties", {}).get(name, {})
        if schema.get("format") != "entity" or not isinstance(value, str):
            return value
        return {"identifier": value, "title": value, "blueprint": schema.get("blueprint")}


def _get(call: Call) -> Reply:
    runs = call.store.runs
    return 200, {"ok": True, "run": runs.shown(runs.one(call.params["run"]))}


def _change(call: Call) -> Reply:
    runs, body = call.store.runs, call.object(CHANGES)
    run = runs.one(call.params["run"])
    _check_texts(body, ("statusLabel", "summary", "externalRunId"))
    if body.get("status", ENDS[0]) not in ENDS:
        raise malformed("body/status must be equal to one of the allowed values")
    link = body.get("link", "")
    if not isinstance(link, str) and not (isinstance(link, list) and all(isinstance(one, str) for one in link)):
        raise malformed("body/link must match exactly one schema in oneOf")
    if _may_change(call, run):
        _take(call, run, body)
    return 200, {"ok": True, "run": runs.shown(run)}


def _may_change(call: Call, run: JsonObject) -> bool:
    """Say whether a change is made to a run; RefusedError where it is refused."""
    unknown = call.store.runs.unknown
    if run["status"] == OPEN or unknown.late == "taken":
        return True
    if unknown.late == "ignored":
        return False
    raise RefusedError(unknown.late_status, "invalid_request", f"Action run is already {run['status']}")


def _take(call: Call, run: JsonObject, body: JsonObject) -> None:
    moment = call.store.now()
    run |= {**body, "updatedAt": moment}
    if body.get("status") in ENDS:
        run["endedAt"] = moment


def _log(call: Call) -> Reply:
    runs, body = call.store.runs, call.object(LOG_KEYS, ("message",))
    run = runs.one(call.params["run"])
    _check_texts(body, ("message", "statusLabel"))
    if body.get("terminationStatus", ENDS[0]) not in ENDS:
        raise malformed("body/terminationStatus must be equal to one of the allowed values")
    line = {
        "id": f"log_{call.store.number()}", "runId": run["id"], "message": body["message"],
        "createdBy": call.author.client, "createdAt": call.store.now(),
    }  # fmt: skip
    if _may_change(call, run):
        runs.logs[run["id"]].append(line)
        status = {"status": body["terminationStatus"]} if "terminationStatus" in body else {}
        _take(call, run, status | {name: body[name] for name in ("statusLabel",) if name in body})
    return 201, {"ok": True, "runLog": line}


def _get_logs(call: Call) -> Reply:
    run = call.store.runs.one(call.params["run"])
    return 200, {"ok": True, "runLogs": call.store.runs.logs[run["id"]]}


def _approve(call: Call) -> Reply:
    runs, body = call.store.runs, call.object(("status", "description"), ("status",))
    run = runs.one(call.params["run"])
    if body["status"] not in ("APPROVE", "DECLINE"):
        raise malformed("body/status must be equal to one of the allowed values")
    if run["status"] != WAITING:
        raise RefusedError(422, "invalid_request", "Action run does not wait for an approval")
    approved = body["status"] == "APPROVE"
    run["status"] = OPEN if approved else DECLINED
    run["approval"] = {"state": "APPROVED" if approved else DECLINED, "userId": call.author.client}
    if approved:
        send(call.store, run)
    return 201, {"ok": True, "run": runs.shown(run)}


def _people(call: Call) -> Reply:
    runs, wanted = call.store.runs, call.many("fields")
    if not runs.people_readable:
        raise RefusedError(403, "forbidden", "You are not allowed to read users")
    rows = [{key: row[key] for key in row if not wanted or key in wanted} for row in runs.people.values()]
    return 200, {"ok": True, "users": rows}


def _check_texts(body: JsonObject, names: tuple[str, ...]) -> None:
    for name in names:
        if not isinstance(body.get(name, ""), str):
            raise malformed(f"body/{name} must be string")


ROUTES = (
    ("GET", "actions/runs/:run", _get),
    ("PATCH", "actions/runs/:run", _change),
    ("POST", "actions/runs/:run/logs", _log),
    ("GET", "actions/runs/:run/logs", _get_logs),
    ("PATCH", "actions/runs/:run/approval", _approve),
    ("GET", "users", _people),
)
