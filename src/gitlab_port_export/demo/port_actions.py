"""The stand-in Port's self-service actions: definitions, runs that people start, and what a backend is sent."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import jq

from gitlab_port_export.demo.port_rules import JsonObject, RefusedError, malformed, not_found

if TYPE_CHECKING:
    from gitlab_port_export.demo.port_call import Call, Reply
    from gitlab_port_export.demo.port_store import PortStore

KEYS = (
    "identifier", "title", "icon", "description", "trigger", "invocationMethod", "requiredApproval",
    "approvalNotification", "publish", "allowAnyoneToViewRuns",
)  # fmt: skip
# The key of what a backend is sent, by the type of the invocation.
PAYLOADS = {
    "GITLAB": "pipelineVariables",
    "WEBHOOK": "body",
    "GITHUB": "workflowInputs",
    "AZURE_DEVOPS": "payload",
}
EXPRESSION = re.compile(r"\{\{(.*?)\}\}")


def _create(call: Call) -> Reply:
    body = call.object(KEYS, ("identifier", "trigger", "invocationMethod"))
    actions = call.store.runs.actions
    if body["identifier"] in actions:
        raise RefusedError(409, "conflict", f'Action "{body["identifier"]}" already exists')
    kind = body["invocationMethod"].get("type")
    if kind not in PAYLOADS:
        raise malformed("body/invocationMethod must match exactly one schema in oneOf")
    actions[body["identifier"]] = body
    return 201, {"ok": True, "action": body}


def _start(call: Call) -> Reply:
    body = call.object(("properties", "entity"), ("properties",))
    number = start(call.store, call.params["action"], body["properties"], entity=body.get("entity"))
    return 202, {"ok": True, "run": call.store.runs.held[number]}


def start(
    store: PortStore, action: str, inputs: Mapping[str, Any], *, entity: str | None = None, by: str = "ada@example.com"
) -> str:
    """Start a run of an action as a person does in Port's form, and return its id. Raises RefusedError."""
    runs = store.runs
    if action not in runs.actions:
        raise not_found("Action", action)
    definition = runs.actions[action]
    trigger = definition["trigger"]
    fields = trigger["userInputs"]
    known, required = fields["properties"], fields.get("required", [])
    if odd := (inputs.keys() - known.keys()) | (set(required) - inputs.keys()):
        raise malformed(f"body/properties: {', '.join(sorted(odd))} is unknown or missing")
    blueprint = trigger.get("blueprintIdentifier")
    if (trigger["operation"] != "CREATE") != (entity is not None):
        raise malformed("body/entity is needed for DAY-2 and DELETE, and for them alone")
    if entity is not None and blueprint:
        store.get(blueprint, entity)
    defaults = {name: field["default"] for name, field in known.items() if "default" in field}
    number = runs.start(
        store, action, defaults | dict(inputs), by=by, entity=entity, blueprint=blueprint,
        approval=definition.get("requiredApproval", False),
    )  # fmt: skip
    if not definition.get("requiredApproval"):
        send(store, runs.held[number])
    return number


def send(store: PortStore, run: JsonObject) -> None:
    """Hand a run to its backend: the payload of the definition with its expressions filled in."""
    definition = store.runs.actions.get(run["action"]["identifier"])
    if definition is None:
        return
    method = definition["invocationMethod"]
    names = {
        "run": {"id": run["id"]},
        "inputs": run["properties"],
        "entity": run.get("entity"),
        "action": run["action"],
        "trigger": {"by": {"user": store.runs.people[run["createdBy"]]}},
    }
    payload = _filled(method.get(PAYLOADS[method["type"]], {}), names)
    store.runs.sent.append((run["id"], method["type"], payload))


def _filled(value: Any, names: Mapping[str, Any]) -> Any:
    if isinstance(value, dict):
        return {key: _filled(one, names) for key, one in value.items()}
    if isinstance(value, list):
        return [_filled(one, names) for one in value]
    if not isinstance(value, str):
        return value
    whole = EXPRESSION.fullmatch(value)
    if whole:
        return jq.compile(whole[1]).input_value(names).first()
    return EXPRESSION.sub(lambda found: str(jq.compile(found[1]).input_value(names).first()), value)


def _get(call: Call) -> Reply:
    if (found := call.store.runs.actions.get(call.params["action"])) is None:
        raise not_found("Action", call.params["action"])
    return 200, {"ok": True, "action": found}


ROUTES = (
    ("POST", "actions", _create),
    ("GET", "actions/:action", _get),
    ("POST", "actions/:action/runs", _start),
)
