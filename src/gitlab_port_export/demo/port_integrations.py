"""The integrations of the stand-in Port: who may see them, and how they are made and changed."""

from __future__ import annotations

from gitlab_port_export.demo.port_rules import (
    JsonObject,
    RefusedError,
    is_installation_identifier,
    malformed,
    not_found,
)
from gitlab_port_export.demo.port_store import PortStore


def integration(store: PortStore, identifier: str) -> JsonObject:
    """Return the integration; RefusedError 403 without the right to see any, 404 when there is none."""
    check_integration_access(store)
    if (found := store.integrations.get(identifier)) is None:
        raise not_found("Integration", identifier)
    return found


def check_integration_access(store: PortStore) -> None:
    """Raise RefusedError (403) when the client may not see integrations."""
    if not store.integration_access:
        raise RefusedError(403, "forbidden", "reading integrations needs the moderator or admin role")


def add_integration(store: PortStore, body: JsonObject) -> JsonObject:
    """Create an integration; RefusedError 409 when it exists, 422 for a wrong identifier."""
    check_integration_access(store)
    identifier = body.get("installationId")
    if not is_installation_identifier(identifier):
        raise malformed("body/installationId must match the installation_id pattern")
    with store.lock:
        if identifier in store.integrations:
            raise RefusedError(409, "conflict", f'Integration "{identifier}" already exists')
        moment = store.now()
        given = {
            "_id": f"integration_{store.number()}",
            "config": {},
            "installationType": "OnPrem",
            **body,
        }
        store.integrations[str(identifier)] = given | {"createdAt": moment, "updatedAt": moment}
        return store.integrations[str(identifier)]


def change_integration(store: PortStore, identifier: str, changes: JsonObject) -> JsonObject:
    """Set fields of an integration and return it."""
    with store.lock:
        changed = {**integration(store, identifier), **changes, "updatedAt": store.now()}
        store.integrations[identifier] = changed
        return changed


def set_resync_state(store: PortStore, identifier: str, state: JsonObject) -> JsonObject:
    """Note the state of a resync; its `updatedAt` in the answer is Port's own clock."""
    with store.lock:
        found = integration(store, identifier)
        resync = {**(found.get("resyncState") or {}), **state, "updatedAt": store.now()}
        store.integrations[identifier] = {**found, "resyncState": resync}
        return store.integrations[identifier]
