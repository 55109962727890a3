"""The catalog follows a change of access: GitLab's fresh rows of the person are compared with Port and written."""

from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Literal

from gitlab_port_export.access.below import MOST_PLACES
from gitlab_port_export.access.gone import WholeRead, delete_lost
from gitlab_port_export.access.values import EntityDone, Outcome, Place, ScopeKind
from gitlab_port_export.base.clock import Stopped
from gitlab_port_export.base.errors import ExportError
from gitlab_port_export.gitlab.again import concerned, seen
from gitlab_port_export.gitlab.client import Get, ReadFailed
from gitlab_port_export.gitlab.contact import first_contact
from gitlab_port_export.gitlab.inventory import Inventory
from gitlab_port_export.gitlab.kinds.kind import api_path
from gitlab_port_export.gitlab.touched import Touched
from gitlab_port_export.mapping.model import Resource
from gitlab_port_export.model import Delete, Ended, Event, Failed, Held, Problem, Scope, Written, target
from gitlab_port_export.port.runs import RunPage
from gitlab_port_export.sync.choose import can_run, expected_blueprints
from gitlab_port_export.sync.follow import Looks, begin
from gitlab_port_export.sync.outcomes import Outcomes
from gitlab_port_export.sync.prepare import Run

# Seconds between looks at what GitLab has changed and does not show yet.
REPLICA_WAITS = (0.5, 1.0, 2.0, 4.0)
LAGS = "GitLab does not show the change yet to the token that reads"
NOTHING_MAPPED = "the mapping reads no accounts, members or roles, so no entity was written"
NO_READER = "there is no token to read with, so no entity was written; set that of the sync"
# The (kind, path, id) of all groups and projects below a group.
Below = Callable[[Place], Iterable[tuple[ScopeKind, str, int]]]


def write_through(run: Run, below: Below, page: RunPage | None) -> Callable[[Outcome], Outcome]:
    """Return what adds to an outcome what was done in Port: entities, and a Problem where they are not right yet.

    `run` is a prepared sync: its mapping, its tokens for reading, and its owner of entities. While the action's run
    (`page`) is in progress, the entities are tied to it.
    """
    return partial(_followed, run, below, page)


@dataclass
class _Told:
    """What became of the entities, as an outcome says it."""

    entities: list[EntityDone] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def take(self, event: Event) -> None:
        """Take in one event of the stages."""
        match event:
            case Written():
                action: Literal["upsert", "delete"] = "delete" if isinstance(event.change, Delete) else "upsert"
                self.entities.append(EntityDone(action, *target(event.change)))
            case Failed():
                self.problems.append(_failed(event))
            case Held():
                self.problems.append(_held(event))
            case Problem():
                self.problems.append(event)


def _failed(event: Failed) -> Problem:
    name, identifier = target(event.change)
    return Problem("write", event.why, event.hint, blueprint=name, field=event.field, sample=identifier)


def _held(event: Held) -> Problem:
    """Return the Problem of an entity that should have gone; a mapping that allows no deletions is no fault."""
    return Problem(
        "delete", f"the entity stays: {event.why}", event.hint, blueprint=event.blueprint,
        sample=event.identifiers[0], count=len(event.identifiers), warning=event.reason == "never",
    )  # fmt: skip


def _followed(run: Run, below: Below, page: RunPage | None, outcome: Outcome) -> Outcome:
    resources = _resources(run, outcome)
    if not resources or not run.settings.tokens:
        note = NOTHING_MAPPED if run.settings.tokens else NO_READER
        return replace(outcome, notes=(*outcome.notes, note))
    action_run = page.id if page and page.in_progress else ""
    told = _written(run, below, outcome, resources, action_run)
    if action_run and told.problems and page and not page.in_progress:
        # Port takes no entity of a run that somebody has ended meanwhile.
        first, told = told, _written(run, below, outcome, resources, "")
        told.entities[:0] = first.entities
    return replace(
        outcome,
        entities=(*outcome.entities, *told.entities),
        problems=(*outcome.problems, *told.problems),
        notes=(*outcome.notes, *told.notes),
    )


def _written(run: Run, below: Below, outcome: Outcome, resources: tuple[Resource, ...], action_run: str) -> _Told:
    """Write the entities and return what became of them; what ends that early is a Problem too."""
    told = _Told()
    try:
        with _threads(run.settings.workers) as executor:
            for event in _events(run, below, action_run, outcome, resources, executor, told):
                told.take(event)
    except ReadFailed as failure:
        told.problems.append(Problem("read", f"not all of the place could be read: {failure.why}", failure.hint))
    except ExportError as error:
        told.problems.append(Problem("write", str(error), error.hint))
    except Stopped:
        why = "the deadline passed before all entities were written"
        told.problems.append(Problem("write", why, "allow more time (--deadline); the next sync writes them"))
    return told


def _resources(run: Run, outcome: Outcome) -> tuple[Resource, ...]:
    """Return the resources of the mapping that may have rows of the person, or of an invitation."""
    blueprints = expected_blueprints(run.settings, run.chosen, run.blueprints)
    able = (one for one in run.mapping.resources if can_run(run.mapping, one, blueprints))
    looks = (Touched("members"), *((Touched("user"),) if outcome.person else ()))
    found = tuple(one for one in able if any(concerned((one,), look) for look in looks))
    # Who has no account yet is in no list of members.
    return found if outcome.person else tuple(one for one in found if one.kind == "invitation")


@contextmanager
def _threads(workers: int) -> Iterator[Executor]:
    executor = ThreadPoolExecutor(workers, thread_name_prefix="port")
    try:
        yield executor
    finally:
        executor.shutdown(wait=False, cancel_futures=True)


def _events(
    run: Run,
    below: Below,
    action_run: str,
    outcome: Outcome,
    resources: tuple[Resource, ...],
    executor: Executor,
    told: _Told,
) -> Generator[Event, None, None]:
    """Yield what becomes of the entities, stage by stage. Raises ReadFailed, GitLabUnavailable and Stopped."""
    touched = tuple(_touched(outcome, _places(outcome, below, told)))
    now = first_contact(run.gitlab, tuple(token.alias for token in run.settings.tokens)).now
    looks, outcomes = Looks(run, now, resources, touched), Outcomes()
    found = looks.plan()
    yield from found.plan.inventory.problems
    if not _is_shown(run, found.plan.inventory, outcome):
        yield Problem("read", LAGS, "the next sync writes it", scope=outcome.place.path if outcome.place else "")
    told.notes += _unseen(outcome, touched[0], seen(found.plan.inventory, touched[0]))
    following = begin(outcomes, executor, looks, found, action_run)
    whole: list[WholeRead] = []
    for event in following.first(found, Counter()):
        outcomes.note(event)
        if isinstance(event, Ended) and not event.failure:
            entry = found.plan.reads[event.number]
            whole.append(WholeRead(entry.kind, entry.scope, entry.resources))
        yield event
    yield from delete_lost(run, following.catalog, whole, outcome, action_run)
    told.notes += following.left()


def _places(outcome: Outcome, below: Below, told: _Told) -> list[tuple[ScopeKind, str, int]]:
    """Return (kind, path, id) of the place and, where they are not too many, of all below it. Raises ReadFailed."""
    place = outcome.place
    if place is None:
        return []
    own: list[tuple[ScopeKind, str, int]] = [(place.kind, place.path, place.id)]
    if not place.is_group or outcome.person is None:
        return own
    further = list(below(place))
    if len(further) > MOST_PLACES:
        told.notes.append(f"{len(further)} groups and projects are below {place.path}: they follow with the next sync")
        return own
    return own + further


def _touched(outcome: Outcome, places: Iterable[tuple[ScopeKind, str, int]]) -> Iterator[Touched]:
    """Yield what is read again: the place, then the account, then what is below."""
    key = outcome.person.id if outcome.person else None
    for number, (kind, path, id) in enumerate(places):
        touched = Touched("members", key=key)
        if kind == "group":
            touched = replace(touched, group=id, group_path=path)
        else:
            touched = replace(touched, project=id, project_path=path)
        yield touched
        if number == 0 and key is not None:
            yield replace(touched, what="user")
    if outcome.place is None:
        yield Touched("user", key=key)


def _is_shown(run: Run, inventory: Inventory, outcome: Outcome) -> bool:
    """Wait until GitLab shows the change to the token that reads the place, and say whether it does.

    On a GitLab with replicas of its database, what one user wrote may reach others a moment later:
    https://docs.gitlab.com/administration/postgresql/database_load_balancing/
    """
    person, place = outcome.person, outcome.place
    if person is None or place is None or outcome.result not in ("created", "updated", "removed"):
        return True
    known = inventory.groups() if place.is_group else inventory.projects()
    scope = next((one.scope for one in known if one.scope.id == place.id), None)
    level = outcome.after.role.level if outcome.after else None
    for wait in (*REPLICA_WAITS, None):
        if scope is None or _level(run, scope, person.id) == level:
            return True
        if wait is not None:
            run.gitlab.http.clock.sleep(wait)
    return False


def _level(run: Run, scope: Scope, person: int) -> int | None:
    """Return the level of a person's direct role, None where GitLab shows none. Raises ReadFailed."""
    try:
        answer = run.gitlab.get(Get(scope.token, f"{api_path(scope)}/members/{person}", gives="object"))
    except ReadFailed as failure:
        if failure.reason == "missing":
            return None
        raise
    level: int | None = answer.data.get("access_level")
    return level


def _unseen(outcome: Outcome, touched: Touched, listed: bool) -> Iterator[str]:
    if outcome.place and not listed:
        yield f"{touched.group_path or touched.project_path}: no token of the sync lists it, so it has no entities"
