"""A check of live updates: that the webhook in Port follows the mapping that a sync would use."""

from gitlab_port_export.base.answer import Unreachable
from gitlab_port_export.commands.checks.facts import Facts, Look
from gitlab_port_export.commands.checks.finding import Finding
from gitlab_port_export.live import port_webhook
from gitlab_port_export.live.derive import basis
from gitlab_port_export.live.wish import patterns_of
from gitlab_port_export.port.client import PortRefused


def webhook_follows_mapping(facts: Facts) -> Look:
    """Yield whether Port's webhook is made of this mapping; nothing where there is none, or it cannot be read."""
    if facts.mapping is None or not facts.signed_in:
        return None
    identifier = port_webhook.identifier_for(facts.identifier)
    try:
        found = port_webhook.read(facts.port, identifier).webhook
    except (PortRefused, Unreachable):
        return None
    if found is None:
        return None
    where = f"webhook {identifier}"
    if port_webhook.basis_of(found) == basis(facts.mapping, facts.dialect, patterns_of(facts.settings)):
        yield Finding("ok", "port", where, "live updates follow this mapping")
    else:
        what = "live updates follow another mapping, or other tokens' paths, than a sync would"
        yield Finding("warning", "port", where, what, "run gitlab-port-export hooks apply")
    return None
