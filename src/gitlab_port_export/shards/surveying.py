"""The first step of a sync in shards: reads groups and projects once, and makes in Port what is missing there."""

import secrets
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime

from gitlab_port_export.base.errors import Fault, UsageError
from gitlab_port_export.gitlab.contact import doubtful_clock, first_contact
from gitlab_port_export.mapping.model import Mapping
from gitlab_port_export.model import Problem
from gitlab_port_export.port import integration as integrations
from gitlab_port_export.shards.cuts import find_all_cuts
from gitlab_port_export.shards.slim import secrets_reached, whole_rows
from gitlab_port_export.shards.survey import Survey, tokens_of
from gitlab_port_export.shards.units import searches_of
from gitlab_port_export.sync.choose import blueprints_to_make, can_run, expected_blueprints
from gitlab_port_export.sync.execute import overlap_of, resync_of
from gitlab_port_export.sync.line import inventory_reader
from gitlab_port_export.sync.plan_file import held_mapping
from gitlab_port_export.sync.prepare import Run


def take_survey(run: Run, shards: Callable[[int], int]) -> Survey:
    """Return the survey of a sync, and say in Port that the sync is running.

    `shards` says how many there are for a number of projects.

    Raises UsageError, GitLabUnavailable and PortUnavailable; then Port is told that the sync failed.
    """
    refuse_secrets(run)
    # In whole seconds: this marks a sync that repeats its state, see `integration.SILENT_SECONDS`.
    started = datetime.now(UTC).replace(microsecond=0)
    resync = resync_of(run, started)
    instant = resync.begin()
    try:
        survey = _read(run, shards, started, instant)
    except BaseException:  # whatever ends it, the state in Port must not stay `running`
        resync.end("failed")
        raise
    resync.ends = False
    resync.end("completed")
    return survey


def refuse_secrets(run: Run) -> None:
    """Raise UsageError where the mapping reads secrets of groups or projects, which no file may hold."""
    faults = [
        Fault(f"{kind}: the mapping reads {key}, a secret that no file for shards may hold", run.mapping.origin)
        for kind, key in secrets_reached(run.mapping)
    ]
    if faults:
        raise UsageError(*faults, hint="take it out of the mapping, or sync in one process")


def _without_secrets(mapping: Mapping) -> Iterator[Problem]:
    """Yield a warning where expressions may read whole rows of groups and projects, secrets included."""
    for kind in whole_rows(mapping):
        why = "expressions may read the whole row; in shards it comes without secrets such as runners_token"
        yield Problem("mapping", why, "name the fields in the expressions", kind=kind, warning=True)


def _read(run: Run, shards: Callable[[int], int], started: datetime, instant: str | None) -> Survey:
    mapping, settings = run.mapping, run.settings
    if wanted := blueprints_to_make(settings, run.chosen):
        integrations.create_blueprints(run.port, run.blueprints, wanted)
    contact = first_contact(run.gitlab, tuple(token.alias for token in settings.tokens))
    beside = (overlap_of(run),) if run.overlaps else ()
    problems = (*beside, *doubtful_clock(contact.now), *_without_secrets(mapping))
    inventory = inventory_reader(run.gitlab, settings, run.dialect, mapping)()
    blueprints = expected_blueprints(settings, run.chosen, run.blueprints)
    searches = searches_of(mapping, blueprints)
    survey = Survey(
        run=secrets.token_hex(8),
        shards=shards(len(inventory.projects())),
        started=started,
        instant=instant,
        now=contact.now,
        told=contact.told,
        dialect=run.dialect,
        integration=run.integration.identifier,
        port=settings.port_base_url,
        gitlab=settings.gitlab_url,
        tokens=tokens_of(settings),
        mapping=held_mapping(mapping, given=True, held_by="survey"),
        resources=tuple(one.index for one in mapping.resources if can_run(mapping, one, blueprints)),
        inventory=inventory,
        searches=tuple((index, tuple(sorted(others))) for index, others in searches.items()),
        problems=problems,
        together=settings.together,
    )
    cuts = find_all_cuts(survey, mapping, run.gitlab, settings.workers, run.window)
    return replace(survey, cuts=cuts, requests=(run.gitlab.http.requests, run.port.http.requests))
