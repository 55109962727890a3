"""Clients of Port and GitLab, made from the settings."""

import os

from gitlab_port_export.base.answer import Unreachable
from gitlab_port_export.base.clock import Clock
from gitlab_port_export.base.errors import PortUnavailable
from gitlab_port_export.base.http import Http
from gitlab_port_export.base.text import Redactor
from gitlab_port_export.gitlab.client import GitLab, Token, secret_reader
from gitlab_port_export.model import Dialect
from gitlab_port_export.port import integration as integrations
from gitlab_port_export.port.blueprint import Blueprint
from gitlab_port_export.port.catalog import read_blueprints
from gitlab_port_export.port.client import Port, PortRefused, advice
from gitlab_port_export.settings.settings import Settings
from gitlab_port_export.settings.variables import leaks


def jq_environ(settings: Settings) -> dict[str, str]:
    """Return the variables that jq may see: those the user listed, and never one that holds a secret.

    TZ is always there: `strflocaltime` and `localtime` mean nothing without it.
    """
    redact, named = Redactor(settings.secrets()).redact, ("TZ", *settings.jq_env)
    held = leaks(named)
    return {
        name: value for name in named if name not in held and (value := os.environ.get(name)) and redact(value) == value
    }


def identifier_of(settings: Settings) -> str:
    """Return the identifier of the integration: the one that was given, or the one that Ocean uses by default."""
    return settings.integration_identifier or f"my-{settings.integration_type or settings.default_dialect}-integration"


def connect_port(settings: Settings, clock: Clock, identifier: str, redactor: Redactor) -> Port:
    """Return a client of Port; nothing is asked yet."""
    http = Http(
        settings.port_base_url,
        user_agent=integrations.user_agent(settings.integration_type or settings.default_dialect, identifier),
        verify=settings.verify_port,
        strict=settings.strict_port,
        timeout=settings.client_timeout,
        first_timeout=settings.chosen_timeout,
        clock=clock,
        workers=settings.workers,
    )
    client = secret_reader(settings.port_client_id.get_secret_value(), settings.port_client_id_file, redactor.learn)
    secret = secret_reader(
        settings.port_client_secret.get_secret_value(), settings.port_client_secret_file, redactor.learn
    )
    return Port(http, lambda: (client(), secret()))


def connect_gitlab(settings: Settings, clock: Clock, dialect: Dialect, identifier: str, redactor: Redactor) -> GitLab:
    """Return a client of GitLab with all tokens; nothing is asked yet."""
    http = Http(
        settings.gitlab_url,
        user_agent=integrations.user_agent(dialect, identifier),
        verify=settings.verify_gitlab,
        strict=settings.strict_gitlab,
        timeout=settings.client_timeout,
        first_timeout=settings.chosen_timeout,
        clock=clock,
        workers=settings.workers,
        rate=settings.rate,
    )
    tokens = {
        token.alias: Token(token.alias, secret_reader(token.secret.get_secret_value(), token.file, redactor.learn))
        for token in settings.tokens
    }
    return GitLab(http, tokens)


def port_blueprints(port: Port) -> dict[str, Blueprint]:
    """Return Port's blueprints by identifier. Raises PortUnavailable."""
    try:
        return read_blueprints(port)
    except (PortRefused, Unreachable) as failure:
        raise PortUnavailable(
            f"Port did not give its blueprints: {failure}",
            hint=advice(failure, "read blueprints"),
        ) from None
