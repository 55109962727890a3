"""The exporter's webhook in Port: as wanted, as found, and the calls that create, change and delete it."""

import hashlib
import hmac
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from gitlab_port_export.base.answer import Unreachable
from gitlab_port_export.live.derive import Derived
from gitlab_port_export.model import Row
from gitlab_port_export.port.client import Port, PortRefused, documented, segment

TITLE = "GitLab live updates"
# Port takes identifiers of 30 signs at most.
PREFIX, DIGITS = "gpe-", 16
# Since this version GitLab sends Idempotency-Key.
MARKED_SINCE = (17, 4)


@dataclass(frozen=True)
class PortWebhook:
    """A webhook of Port, as wanted or as found."""

    identifier: str
    description: str
    mappings: Sequence[Mapping[str, Any]]
    secret: str = field(repr=False)
    marked: bool = True

    def body(self) -> Row:
        """Return what Port is sent. GitLab sends the token as it is, which Port calls `plain`.

        Where deliveries are `marked`, `Idempotency-Key` is the same when one is sent again.
        https://docs.gitlab.com/user/project/integrations/webhooks/#delivery-headers
        """
        return {
            "identifier": self.identifier,
            "title": TITLE,
            "description": self.description,
            "icon": "GitLab",
            "enabled": True,
            "mappings": list(self.mappings),
            "security": {
                "secret": self.secret,
                "signatureHeaderName": "x-gitlab-token",
                "signatureAlgorithm": "plain",
                "signaturePrefix": "",
                "requestIdentifierPath": '.headers."idempotency-key"' if self.marked else None,
            },
        }


@dataclass(frozen=True)
class There:
    """What Port has: a webhook or none, where the credentials may see it."""

    webhook: Mapping[str, Any] | None
    readable: bool = True


@dataclass(frozen=True)
class PortStep:
    """What has to be done with the webhook in Port, and why; `url` is where its events go, where it exists."""

    action: Literal["create", "update", "delete", "unchanged", "unknown"]
    why: tuple[str, ...] = ()
    url: str = ""


def identifier_for(integration: str) -> str:
    """Return the identifier of the webhook of an integration."""
    return PREFIX + hashlib.sha256(integration.encode()).hexdigest()[:DIGITS]


def secret_for(integration: str, client_secret: str) -> str:
    """Return the token that GitLab sends and Port checks: made from what is kept already, so that nothing is stored."""
    label = f"gitlab-port-export webhook {integration}"
    return hmac.new(client_secret.encode(), label.encode(), hashlib.sha256).hexdigest()


def wanted(integration: str, derived: Derived, basis: str, secret: str, version: tuple[int, ...]) -> PortWebhook:
    """Return the webhook that an integration shall have.

    The description tells of a change of the secret, and of the mapping (`basis`, see `derive.basis`).
    """
    seal = hmac.new(secret.encode(), derived.digest.encode(), hashlib.sha256).hexdigest()[:16]
    description = f"{integration[:100]}: mapping {derived.digest} of {basis}, seal {seal}"
    # Without the header all deliveries would be taken for one.
    return PortWebhook(identifier_for(integration), description, derived.items, secret, version >= MARKED_SINCE)


def read(port: Port, identifier: str) -> There:
    """Return the webhook as Port has it. Raises PortRefused and Unreachable."""
    answer = port.call("GET", f"/webhooks/{segment(identifier)}")
    if answer.status == 404:
        return There(None)
    if answer.status in (401, 403):
        return There(None, readable=False)
    if answer.status != 200:
        raise PortRefused(answer)
    return There(_webhook(answer.data))


def _webhook(data: Any) -> Mapping[str, Any]:
    """Return the webhook of an answer, which stands under `integration`."""
    with documented("the webhook"):
        found = data["integration"]
        if not isinstance(found, dict) or not isinstance(found["url"], str):
            raise TypeError("no webhook")
        return found


def basis_of(webhook: Mapping[str, Any]) -> str:
    """Return the mapping that a webhook was made for, as `derive.basis` names it; nothing where it does not say so."""
    found = re.search(r": mapping \w+ of (\w+)", str(webhook.get("description")))
    return found[1] if found else ""


def blueprints_of(webhook: Mapping[str, Any]) -> frozenset[str]:
    """Return the blueprints into which a webhook writes."""
    items = webhook.get("mappings") or ()
    return frozenset(str(item.get("blueprint")) for item in items if isinstance(item, dict))


def step(hook: PortWebhook | None, there: There) -> PortStep:
    """Return what has to be done; `hook` None means that none is wanted."""
    found = there.webhook
    if not there.readable:
        return PortStep("unknown", ("reading webhooks takes credentials of a moderator or administrator",))
    if found is None:
        return PortStep("unchanged" if hook is None else "create")
    url = str(found["url"])
    if hook is None:
        return PortStep("delete", url=url)
    why = tuple(differences(hook, found))
    return PortStep("update" if why else "unchanged", why, url)


def differences(hook: PortWebhook, found: Mapping[str, Any]) -> Iterator[str]:
    """Yield in what the webhook is not what is wanted; Port may hide the secret, so the description tells of it."""
    body = hook.body()
    for key in ("title", "description", "enabled"):
        if found.get(key) != body[key]:
            yield _changed(hook, found) if key == "description" else key
    if not _holds(found.get("mappings") or [], body["mappings"]):
        yield "mappings"
    security = found.get("security") or {}
    for key, value in body["security"].items():
        if key != "secret" and (security.get(key) or "") != (value or ""):
            yield f"security.{key}"


def _changed(hook: PortWebhook, found: Mapping[str, Any]) -> str:
    """Return what the description tells to have changed."""
    same = basis_of(found) == basis_of({"description": hook.description})
    return "the secret or the events changed" if same else "the mapping changed"


def _holds(found: Any, wanted: Any) -> bool:
    """Return whether all that is wanted is there; Port may show more keys, and operations in their longer form."""
    if isinstance(wanted, dict):
        return isinstance(found, dict) and all(_holds(found.get(key), value) for key, value in wanted.items())
    if isinstance(wanted, list):
        return isinstance(found, list) and len(found) == len(wanted) and all(map(_holds, found, wanted))
    return bool(found == wanted or (isinstance(found, dict) and found.get("type") == wanted))


def write(port: Port, hook: PortWebhook, *, exists: bool) -> Mapping[str, Any]:
    """Create or change the webhook and return it as Port then has it. Raises PortRefused and Unreachable."""
    if not exists:
        found = _webhook(port.ask("POST", "/webhooks", payload=hook.body()))
    else:
        body = {key: value for key, value in hook.body().items() if key != "identifier"}
        found = _webhook(port.ask("PATCH", f"/webhooks/{segment(hook.identifier)}", payload=body))
    return read(port, hook.identifier).webhook or found


def delete(port: Port, identifier: str) -> None:
    """Delete the webhook; one that is gone is fine. Raises PortRefused and Unreachable."""
    answer = port.call("DELETE", f"/webhooks/{segment(identifier)}")
    if answer.status not in (200, 204, 404):
        raise PortRefused(answer)


def failures(port: Port, identifier: str) -> list[str]:
    """Return what Port could not do with the newest events; nothing where it does not say."""
    params = (("webhookId", identifier), ("status", "FAILURE"), ("limit", "20"))
    try:
        found = port.ask("GET", "/audit-log", params=params)
    except (PortRefused, Unreachable):
        return []
    audits = found.get("audits")
    texts = (str(one.get("message") or one.get("status")) for one in audits or () if isinstance(one, dict))
    return list(dict.fromkeys(texts))
