"""Who may use the stand-in Port: access tokens that are given for a client id and its secret."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING

from gitlab_port_export.demo.port_rules import RefusedError

if TYPE_CHECKING:
    from gitlab_port_export.demo.port_store import PortStore


def log_in(store: PortStore, client: object, secret: object) -> str:
    """Return a new access token; RefusedError (401) for a wrong pair."""
    if not isinstance(client, str) or client not in store.credentials or store.credentials[client] != secret:
        raise RefusedError(401, "invalid_credentials", "The client id or the client secret is wrong")
    with store.lock:
        expires = store.clock() + store.token_lifetime
        # Clients read claims of the token, so it has to look like a JWT.
        claims = {"sub": client, "isMachine": True, "exp": int(expires), "jti": store.number()}
        if store.organization_in_token:
            claims["orgId"] = store.organization
        token = ".".join((_encoded({"alg": "none", "typ": "JWT"}), _encoded(claims), "stand-in"))
        store.tokens[token] = client, expires
        return token


def client_of(store: PortStore, token: str) -> str | None:
    """Return the client id of a token that is still good, or None."""
    client, expires = store.tokens.get(token, (None, 0.0))
    return client if store.clock() < expires else None


def _encoded(part: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=")
