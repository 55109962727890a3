"""All routes of the stand-in Port, and those for signing in, blueprints, integrations and the organization."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import unquote

from gitlab_port_export.demo import port_access as access
from gitlab_port_export.demo.port_actions import ROUTES as ACTION_ROUTES
from gitlab_port_export.demo.port_call import Call, Reply
from gitlab_port_export.demo.port_entities import ROUTES as ENTITY_ROUTES
from gitlab_port_export.demo.port_integrations import (
    add_integration,
    change_integration,
    check_integration_access,
    integration,
    set_resync_state,
)
from gitlab_port_export.demo.port_rules import malformed, not_found
from gitlab_port_export.demo.port_runs import ROUTES as RUN_ROUTES
from gitlab_port_export.demo.port_webhooks import ROUTES as WEBHOOK_ROUTES


def log_in(call: Call) -> Reply:
    """Return an access token, the only route that needs none."""
    names = ("clientId", "clientSecret")
    body = call.object(names, names)
    token = access.log_in(call.store, *(body[name] for name in names))
    return 200, {
        "ok": True,
        "accessToken": token,
        "expiresIn": call.store.token_lifetime,
        "tokenType": "Bearer",
    }


def _get_blueprints(call: Call) -> Reply:
    return 200, {"ok": True, "blueprints": list(call.store.blueprints.values())}


def _get_blueprint(call: Call) -> Reply:
    return 200, {"ok": True, "blueprint": call.store.blueprint(call.params["bp"])}


def _create_blueprint(call: Call) -> Reply:
    return 201, {"ok": True, "blueprint": call.store.add_blueprint(call.body, call.author.client)}


def _replace_blueprint(call: Call) -> Reply:
    return _changed_blueprint(call, partial=False)


def _patch_blueprint(call: Call) -> Reply:
    return _changed_blueprint(call, partial=True)


def _changed_blueprint(call: Call, *, partial: bool) -> Reply:
    changed = call.store.change_blueprint(call.params["bp"], call.body, call.author.client, partial=partial)
    return 200, {"ok": True, "blueprint": changed}


def _delete_blueprint(call: Call) -> Reply:
    call.store.delete_blueprint(call.params["bp"])
    return 200, {"ok": True}


def _get_integrations(call: Call) -> Reply:
    check_integration_access(call.store)
    return 200, {"ok": True, "integrations": list(call.store.integrations.values())}


def _get_integration(call: Call) -> Reply:
    return 200, {"ok": True, "integration": integration(call.store, call.params["id"])}


def _create_integration(call: Call) -> Reply:
    body = call.object(required=("installationId", "installationAppType"))
    return 201, {"ok": True, "integration": add_integration(call.store, body)}


def _patch_integration(call: Call) -> Reply:
    changes = {} if call.body is None else call.object()
    return 200, {"ok": True, "integration": change_integration(call.store, call.params["id"], changes)}


def _patch_config(call: Call) -> Reply:
    body = call.object(("config",), ("config",))
    return 200, {"ok": True, "integration": change_integration(call.store, call.params["id"], body)}


def _patch_resync_state(call: Call) -> Reply:
    state = call.object()
    if state.get("status", "running") not in ("running", "completed", "failed", "aborted"):
        raise malformed("body/status must be equal to one of the allowed values")
    return 200, {"ok": True, "integration": set_resync_state(call.store, call.params["id"], state)}


def _add_examples(call: Call) -> Reply:
    integration(call.store, call.params["id"])
    examples = call.object(("examples",), ("examples",))["examples"]
    if not isinstance(examples, list):
        raise malformed("body/examples must be array")
    call.store.examples[call.params["id"], call.params["kind"]] = examples
    return 200, {"ok": True}


def _get_kinds(call: Call) -> Reply:
    integration(call.store, call.params["id"])
    data = {
        kind: {"examples": [{"_id": str(n), "data": example} for n, example in enumerate(examples)]}
        for (identifier, kind), examples in call.store.examples.items()
        if identifier == call.params["id"]
    }
    return 200, {"ok": True, "data": data}


def _get_organization(call: Call) -> Reply:
    flags = list(call.store.feature_flags)
    return 200, {"ok": True, "organization": {"id": call.store.organization, "name": "Demo", "featureFlags": flags}}


Route = Callable[[Call], Reply]
ROUTES: tuple[tuple[str, str, Route], ...] = (
    ("POST", "auth/access_token", log_in),
    ("GET", "blueprints", _get_blueprints),
    ("POST", "blueprints", _create_blueprint),
    ("GET", "blueprints/:bp", _get_blueprint),
    ("PUT", "blueprints/:bp", _replace_blueprint),
    ("PATCH", "blueprints/:bp", _patch_blueprint),
    ("DELETE", "blueprints/:bp", _delete_blueprint),
    ("GET", "integration", _get_integrations),
    ("POST", "integration", _create_integration),
    ("GET", "integration/:id", _get_integration),
    ("PATCH", "integration/:id", _patch_integration),
    ("PATCH", "integration/:id/config", _patch_config),
    ("PATCH", "integration/:id/resync-state", _patch_resync_state),
    ("GET", "integration/:id/kinds", _get_kinds),
    ("POST", "integration/:id/kinds/:kind/examples", _add_examples),
    ("GET", "organization", _get_organization),
    *ENTITY_ROUTES,
    *WEBHOOK_ROUTES,
    *ACTION_ROUTES,
    *RUN_ROUTES,
)


def find_route(method: str, path: str) -> tuple[Route, dict[str, str]]:
    """Return the route of a request and its path parameters. Raises RefusedError (404) where there is none."""
    segments = path.removeprefix("/v1/").split("/") if path.startswith("/v1/") else []
    for verb, template, route in ROUTES:
        params = _match(template.split("/"), segments) if verb == method else None
        if params is not None:
            return route, params
    raise not_found("Route", f"{method} {path}")


def _match(template: list[str], segments: list[str]) -> dict[str, str] | None:
    """Return decoded path parameters, or None; split first: an encoded slash is part of an identifier."""
    if len(template) != len(segments):
        return None
    pairs = list(zip(template, segments, strict=True))
    if any(not name.startswith(":") and name != segment for name, segment in pairs):
        return None
    return {name[1:]: unquote(segment) for name, segment in pairs if name.startswith(":")}
