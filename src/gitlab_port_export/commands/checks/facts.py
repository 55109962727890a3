"""What the checks pass on to each other: the settings, the clients, and what was learned so far."""

from collections import abc
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field

from gitlab_port_export.commands.checks.finding import Finding
from gitlab_port_export.gitlab.client import GitLab
from gitlab_port_export.gitlab.kinds import KINDS
from gitlab_port_export.gitlab.kinds.kind import About
from gitlab_port_export.jq.pool import Evaluator
from gitlab_port_export.mapping.model import Mapping
from gitlab_port_export.model import Dialect, Row
from gitlab_port_export.port.blueprint import Blueprint
from gitlab_port_export.port.client import Port
from gitlab_port_export.port.integration import Integration
from gitlab_port_export.settings.settings import Settings
from gitlab_port_export.sync.choose import Chosen


@dataclass(frozen=True)
class Facts:
    """The settings and clients of a check, and what the looks so far have learned; None where that is not known."""

    settings: Settings
    identifier: str
    evaluator: Evaluator
    port: Port
    connect_gitlab: Callable[[Dialect], GitLab]
    signed_in: bool = False
    integration: Integration | None = None
    blueprints: abc.Mapping[str, Blueprint] | None = None
    chosen: Chosen | None = None
    gitlab: GitLab | None = None
    # The user of each token that GitLab takes, by the token's alias.
    users: abc.Mapping[str, Row] = field(default_factory=dict)

    @property
    def dialect(self) -> Dialect:
        """The integration's type: the one that was set, Port's, or the default."""
        known = self.integration.dialect if self.integration else None
        return self.settings.integration_type or known or self.settings.default_dialect

    @property
    def mapping(self) -> Mapping | None:
        """The mapping that a sync would use."""
        return self.chosen.mapping if self.chosen else None

    @property
    def kinds(self) -> dict[str, About]:
        """What is known of the kinds that the mapping reads; nothing without a mapping."""
        resources = self.mapping.resources if self.mapping else ()
        return {resource.kind: KINDS[resource.kind].about for resource in resources if resource.known}


Findings = Iterator[Finding]
# A look yields findings, and returns the facts with what it learned, or None where it learned nothing.
Look = Generator[Finding, None, Facts | None]
