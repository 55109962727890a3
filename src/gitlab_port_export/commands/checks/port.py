"""Checks of Port: that it takes the credentials, and shows the integration and the blueprints."""

from collections.abc import Sequence
from dataclasses import replace

from gitlab_port_export.base.errors import ExportError, PortUnavailable
from gitlab_port_export.commands.checks.facts import Facts, Findings, Look
from gitlab_port_export.commands.checks.finding import Finding
from gitlab_port_export.model import Dialect
from gitlab_port_export.port import integration as integrations
from gitlab_port_export.port.integration import Integration
from gitlab_port_export.settings.settings import Settings
from gitlab_port_export.sync.connect import port_blueprints

# A hint names so many integrations.
MAX_NAMES = 10


def port_takes_credentials(facts: Facts) -> Look:
    """Yield whether Port answers and takes the credentials."""
    where = facts.port.http.base_url
    try:
        facts.port.sign_in(first_contact=True)
    except PortUnavailable as error:
        yield _failed(error, where)
        return None
    yield Finding("ok", "port", where, "takes the credentials")
    return replace(facts, signed_in=True)


def port_shows_integration(facts: Facts) -> Look:
    """Yield whether the integration is there and may be read. Learns the integration."""
    if not facts.signed_in:
        return None
    try:
        integration = integrations.fetch(facts.port, facts.identifier)
    except PortUnavailable as error:
        yield _failed(error, facts.port.http.base_url)
        return None
    there = integrations.others(facts.port) if integration.accessible and not integration.exists else []
    yield from _integration(integration, facts.settings, there)
    return replace(facts, integration=integration)


def port_shows_blueprints(facts: Facts) -> Look:
    """Yield whether Port shows its blueprints. Learns the blueprints."""
    if facts.integration is None:
        return None
    where = facts.port.http.base_url
    try:
        blueprints = port_blueprints(facts.port)
    except PortUnavailable as error:
        yield _failed(error, where)
        return None
    yield Finding("ok", "port", where, f"shows its blueprints ({len(blueprints)})")
    return replace(facts, blueprints=blueprints)


def _failed(error: ExportError, where: str) -> Finding:
    return Finding("error", "port", where, str(error), error.hint)


def _integration(integration: Integration, settings: Settings, there: Sequence[tuple[str, Dialect]] = ()) -> Findings:
    """Yield what is found about the integration; `there` are those of the organisation where it does not exist."""
    where = f"integration {integration.identifier}"
    if not integration.accessible:
        yield Finding(
            "warning" if settings.mapping_file else "error",
            "port",
            where,
            "the credentials may not read it, so that whether they may write entities cannot be told either",
            "use credentials of a moderator or administrator"
            + ("" if settings.mapping_file else ", or give a mapping file with --mapping"),
        )
    elif not integration.exists:
        yield Finding("warning", "port", where, "does not exist; the first sync creates it", _instead(there))
    else:
        may = "can be read: the credentials are a moderator's or administrator's, who may write entities"
        yield Finding("ok", "port", where, may)
        if settings.integration_type and integration.dialect not in (None, settings.integration_type):
            yield Finding(
                "warning",
                "port",
                where,
                f"has the type {integration.dialect} in Port; a sync follows the type {settings.integration_type}",
                "leave OCEAN__INTEGRATION__TYPE out to follow the type in Port",
            )


def _instead(there: Sequence[tuple[str, Dialect]]) -> str:
    """Return what to do where the integration should exist: name one of those that do."""
    if not there:
        return "check OCEAN__INTEGRATION__IDENTIFIER if there should be one: Port shows no GitLab integration"
    names = [f"{identifier} ({dialect})" for identifier, dialect in there]
    more = f" and {len(names) - MAX_NAMES} more" if len(names) > MAX_NAMES else ""
    return (
        f"Port has {', '.join(names[:MAX_NAMES])}{more}; to go on with one of them set "
        f"OCEAN__INTEGRATION__IDENTIFIER={there[0][0] if len(there) == 1 else '<identifier>'}"
    )
