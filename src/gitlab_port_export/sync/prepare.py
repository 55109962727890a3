"""Prepares a run: signs in, reads the integration, chooses and checks the mapping; writes nothing."""

from collections import abc
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from gitlab_port_export.base.clock import Clock, Stopped
from gitlab_port_export.base.errors import OutOfTime, UsageError
from gitlab_port_export.base.text import Redactor
from gitlab_port_export.gitlab.client import GitLab
from gitlab_port_export.gitlab.windows import WINDOW_ROWS
from gitlab_port_export.jq.pool import Evaluator
from gitlab_port_export.mapping.model import Mapping
from gitlab_port_export.model import Dialect, Problem
from gitlab_port_export.port import integration as integrations
from gitlab_port_export.port.blueprint import Blueprint
from gitlab_port_export.port.client import Port
from gitlab_port_export.port.integration import Integration
from gitlab_port_export.settings.settings import Settings
from gitlab_port_export.sync.choose import (
    MORE_TIME,
    Chosen,
    PlannedMapping,
    check_blueprints,
    check_jq,
    choose_mapping,
    expected_blueprints,
    late,
)
from gitlab_port_export.sync.connect import connect_gitlab, connect_port, identifier_of, jq_environ, port_blueprints
from gitlab_port_export.sync.fit import judge, unknown_releases


@dataclass(frozen=True)
class Run:
    """A prepared run. `execute.py` and `line.py` take it apart: each stage gets only what it needs.

    `window` is how many rows a window of a long list has.
    """

    settings: Settings
    port: Port
    gitlab: GitLab
    evaluator: Evaluator
    integration: Integration
    dialect: Dialect
    chosen: Chosen
    blueprints: abc.Mapping[str, Blueprint]
    port_time: str | None
    writes: bool
    redactor: Redactor
    window: int = WINDOW_ROWS

    @property
    def overlaps(self) -> bool:
        """Whether another run on the same integration is active."""
        return integrations.is_active(self.integration, self.port_time)

    @property
    def mapping(self) -> Mapping:
        """The mapping of the run."""
        return self.chosen.mapping

    def close(self) -> None:
        """Close connections and end the worker processes."""
        self.evaluator.close()
        self.port.http.close()
        self.gitlab.http.close()


def prepare(
    settings: Settings,
    clock: Clock,
    *,
    writes: bool,
    redactor: Redactor | None = None,
    planned: PlannedMapping | None = None,
) -> Run:
    """Sign in to Port, choose and check the mapping. Raises UsageError and PortUnavailable; writes nothing.

    `redactor` learns secrets that are read again during the run. `planned` is the mapping of the plan to apply, if any.
    """
    redactor = redactor or Redactor(settings.secrets())
    identifier = identifier_of(settings)
    port = connect_port(settings, clock, identifier, redactor)
    evaluator = Evaluator(jq_environ(settings), plain_expressions=settings.plain_expressions)
    beside = ThreadPoolExecutor(1, thread_name_prefix="port")
    try:
        evaluator.start()
        port_time = integrations.instant_of(port.sign_in(first_contact=True))
        reading = beside.submit(port_blueprints, port)
        integration = integrations.fetch(port, identifier)
        blueprints = reading.result()
        dialect = settings.integration_type or integration.dialect or settings.default_dialect
        port.http.set_user_agent(integrations.user_agent(dialect, identifier))
        chosen = choose_mapping(settings, integration, dialect, blueprints, planned)
        check_jq(chosen.mapping, evaluator)
        missing = check_blueprints(settings, chosen, blueprints)
        chosen = replace(chosen, problems=(*chosen.problems, *missing))
    except BaseException as error:  # whatever ends it, what was started is ended too
        evaluator.close()
        port.http.close()
        if isinstance(error, Stopped):
            raise late(error, settings) from None
        if isinstance(error, OutOfTime):
            # Requests to Port check the deadline themselves.
            raise UsageError("the deadline passed while the mapping was read and checked", hint=MORE_TIME) from None
        raise
    finally:
        # A run that ends here does not wait for Port's answer.
        beside.shutdown(wait=False)
    return Run(
        settings, port, connect_gitlab(settings, clock, dialect, identifier, redactor), evaluator, integration,
        dialect, chosen, blueprints, port_time, writes, redactor,
    )  # fmt: skip


def first_problems(run: Run) -> list[Problem]:
    """Return what is known to be wrong before anything was read."""
    blueprints = expected_blueprints(run.settings, run.chosen, run.blueprints)
    return [
        *run.settings.warnings,
        *_switches(run),
        *unknown_releases(run.settings.allow_deletes, blueprints),
        *judge(run.mapping, run.chosen.problems, blueprints),
    ]


def _switches(run: Run) -> Iterator[Problem]:
    """Yield a warning about what the integration in Port asks of Ocean alone."""
    if run.integration.incremental and not run.settings.since:
        why = f"the integration {run.integration.identifier} has incremental sync switched on, which is for Ocean"
        yield Problem("integration", why, "to read what changed alone: --since last", warning=True)
