"""What a run remembers of the ones before it, and keeps for the next one."""

from collections.abc import Container, Iterator, Mapping
from concurrent.futures import Executor, Future
from dataclasses import dataclass, replace
from datetime import timedelta

from gitlab_port_export.base.answer import Unreachable
from gitlab_port_export.base.errors import UsageError
from gitlab_port_export.gitlab.contact import Contact, users_of
from gitlab_port_export.gitlab.kinds.kind import Context
from gitlab_port_export.incremental.frames import outlines_of
from gitlab_port_export.incremental.key import Basis, key_of
from gitlab_port_export.incremental.memory import Memory, recall
from gitlab_port_export.incremental.places import BLUEPRINT, FilePlace, NotKept, Place, PortPlace
from gitlab_port_export.incremental.state import State, shown
from gitlab_port_export.incremental.takes_part import left_out
from gitlab_port_export.mapping.blueprints import feeding
from gitlab_port_export.model import Problem
from gitlab_port_export.port.catalog import Catalog
from gitlab_port_export.port.client import PortRefused
from gitlab_port_export.report.values import Rhythm
from gitlab_port_export.settings.settings import Settings
from gitlab_port_export.sync.connect import jq_environ
from gitlab_port_export.sync.outcomes import Outcomes
from gitlab_port_export.sync.plan_file import digest_of
from gitlab_port_export.sync.prepare import Run
from gitlab_port_export.sync.recent import Recent, counted, looked_up

NO_DATE = "GitLab's answers do not say when they were given (no Date header)"
NO_USER = "GitLab does not say whose each token is, so that nobody can tell whether it reads the same"
NO_ORGANIZATION = "Port does not say of which organization the credentials are"


@dataclass(frozen=True)
class Recalling:
    """Where the state is kept, and the reading of it, which goes on beside other requests."""

    place: Place
    loading: Future[tuple[State | None, str]]


def start_recalling(run: Run, executor: Executor) -> Recalling | None:
    """Begin to read the state of the last run, where somebody asks for it. Raises UsageError.

    Besides `--since`, naming the place of the state asks for it; and a state that Port has is kept up to date.
    """
    place = place_of(run)
    return Recalling(place, executor.submit(place.load)) if place else None


def recalled(run: Run, contact: Contact, recalling: Recalling | None) -> Memory | None:
    """Return what is known of earlier runs, None where nobody asks for it."""
    if recalling is None:
        return None
    settings = run.settings
    tokens = tuple(token.alias for token in settings.tokens)
    users = users_of(run.gitlab, tokens, contact.users)
    # What Port keeps is of its own organization.
    organization = "" if settings.state == "port" else _organization(run)
    basis = Basis(
        run.integration.identifier,
        run.dialect,
        run.port.http.base_url,
        organization or "",
        run.gitlab.http.base_url,
        digest_of(run.mapping),
        jq_environ(settings),
        {token.alias: token.patterns for token in settings.tokens},
        users,
    )
    doubts = {
        NO_DATE: not contact.told,
        NO_USER: len(users) < len(tokens),
        NO_ORGANIZATION: organization is None,
    }
    doubt = next((why for why, holds in doubts.items() if holds), "")
    spans = timedelta(seconds=settings.full_every), timedelta(seconds=settings.lookback)
    return recall(recalling.place, recalling.loading.result(), key_of(basis), contact.now, doubt, *spans)


def _is_asked(settings: Settings) -> bool:
    return settings.since is not None or "state" in settings.model_fields_set


def _organization(run: Run) -> str | None:
    try:
        return run.port.organization()
    except (PortRefused, Unreachable):
        return None


def place_of(run: Run) -> Place | None:
    """Return where the state is kept, None where nobody asks for it; nothing is asked yet. Raises UsageError."""
    settings = run.settings
    # A run of a part leaves the state as it is.
    is_part = settings.only or settings.kinds
    if is_part or not (_is_asked(settings) or BLUEPRINT in run.blueprints):
        return None
    if file := settings.state_file:
        return FilePlace(file)
    exists, may_make = BLUEPRINT in run.blueprints, settings.initialize_port_resources
    if not (exists or may_make):
        raise UsageError(
            f"--state: Port has no blueprint {BLUEPRINT} for the state of the last run, and "
            "OCEAN__INITIALIZE_PORT_RESOURCES=false lets no run make it",
            hint="keep the state in a file (--state FILE), or create the blueprint in Port",
        )
    return PortPlace(run.port, run.dialect, run.integration.identifier, exists, may_make)


def kept(
    run: Run, memory: Memory, context: Context, recent: Recent | None, outcomes: Outcomes, catalog: Catalog
) -> Iterator[Problem]:
    """Keep the state for the next run, after the last write; yield a warning where that fails.

    A run that nobody asked for it renews a state of its own alone.
    """
    outcomes.rhythm = _told(run, memory, recent, outcomes)
    renews = memory.state is not None and memory.state.key == memory.key
    if not run.writes or not memory.keeps or not (_is_asked(run.settings) or renews):
        return
    left = left_out(run.mapping) if recent is None else recent.aims.left
    unsure = _unsure(run, outcomes, left)
    kinds = dict.fromkeys(one.kind for one in context.resources if one.index not in left)
    state = memory.after(
        recent.outlines if recent else outlines_of(context.inventory),
        kinds,
        _counts(run, catalog, left, recent, outcomes),
        full=recent is None,
        unsure=unsure,
    )
    try:
        memory.place.save(state)
    except NotKept as failure:
        hint = "the next run will be a full one; keep the state in another place with --state FILE"
        yield Problem("integration", str(failure), hint, warning=True)


def _told(run: Run, memory: Memory, recent: Recent | None, outcomes: Outcomes) -> Rhythm | None:
    """Return the rhythm for the report, with what is known only at the end."""
    rhythm = outcomes.rhythm
    if rhythm is None:
        return None
    if recent is None and not run.writes:
        return rhythm
    if recent is None:
        return replace(rhythm, last_full=shown(memory.now), age=0)
    return replace(rhythm, rows_left=sum(recent.unwanted(outcomes).values()))


def _counts(
    run: Run, catalog: Catalog, left: Mapping[int, str], recent: Recent | None, outcomes: Outcomes
) -> dict[str, int]:
    """Return how many entities Port holds of the blueprints that the next run writes to.

    Always by Port's own count, with which the next run compares it.
    """
    if recent:
        return {name: count + outcomes.more[name] for name, count in recent.counts.items()}
    few, whole = looked_up(run, tuple(one for one in run.mapping.resources if one.index not in left))
    return counted(catalog.start_counting((*few, *whole)))


def _unsure(run: Run, outcomes: Outcomes, left: Container[int]) -> frozenset[str]:
    """Return the kinds of which a row may be missing, or of which several rows gave one entity.

    Resources that are `left` to full runs do not count.
    """
    resources = {*outcomes.refused_of, *outcomes.repeated}
    for fault in outcomes.faults:
        if isinstance(fault, Problem) and not fault.warning:
            resources |= _of(run, fault)
    return frozenset(run.mapping.resources[index].kind for index in resources if index >= 0 and index not in left)


def _of(run: Run, problem: Problem) -> frozenset[int]:
    """Return the resources that a Problem is about; all in doubt."""
    every = frozenset(one.index for one in run.mapping.resources)
    if problem.stage in ("delete", "report"):
        return frozenset()
    if problem.holds_all:
        return every
    if problem.resources:
        return every & frozenset(problem.resources)
    if of_kind := frozenset(one.index for one in run.mapping.resources if one.kind == problem.kind):
        return of_kind
    return feeding(run.mapping, problem.blueprint) if problem.blueprint else every
