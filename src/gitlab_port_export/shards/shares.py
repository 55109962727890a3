"""Prepares the runs of shards and of the last step: with the mapping of the survey, whatever else there is by now."""

from gitlab_port_export.base.clock import Clock
from gitlab_port_export.base.errors import Fault, UsageError
from gitlab_port_export.base.text import Redactor
from gitlab_port_export.settings.settings import Settings
from gitlab_port_export.shards.survey import Survey
from gitlab_port_export.sync.prepare import Run, prepare


def prepare_share(settings: Settings, clock: Clock, survey: Survey, redactor: Redactor | None = None) -> Run:
    """Return a prepared run of one of the steps after the survey.

    Raises UsageError, also where the job is about another integration than the survey, and PortUnavailable.
    """
    # A mapping file may have changed since the survey.
    settings = settings.model_copy(update={"mapping_file": None})
    run = prepare(settings, clock, writes=True, redactor=redactor, planned=survey.mapping)
    held = {"integration": survey.integration, "type": survey.dialect}
    given = {"integration": run.integration.identifier, "type": run.dialect}
    faults = [
        Fault(f"the survey was made for {held[name]}, this job has {given[name]}", name)
        for name in held
        if held[name] != given[name]
    ]
    if faults:
        run.close()
        raise UsageError(*faults, hint="give all jobs of a sync the same settings")
    return run
