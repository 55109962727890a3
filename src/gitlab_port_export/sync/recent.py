"""The part that a run with `--since last` reads: what changed since the last one. It deletes nothing."""

from collections.abc import Container, Iterable, Iterator, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

from gitlab_port_export.base.answer import Unreachable
from gitlab_port_export.base.errors import UsageError
from gitlab_port_export.gitlab.contact import Contact, users_of
from gitlab_port_export.gitlab.kinds import KINDS
from gitlab_port_export.gitlab.kinds.kind import Context
from gitlab_port_export.incremental.key import Basis, key_of
from gitlab_port_export.incremental.limits import Asked, limits
from gitlab_port_export.incremental.memory import Memory, recall
from gitlab_port_export.incremental.mode import why_full_after_all
from gitlab_port_export.incremental.places import BLUEPRINT, FilePlace, NotKept, Place, PortPlace
from gitlab_port_export.incremental.state import State, shown
from gitlab_port_export.incremental.takes_part import left_out
from gitlab_port_export.mapping.blueprints import blueprints_of, feeding
from gitlab_port_export.mapping.model import Resource
from gitlab_port_export.model import Problem
from gitlab_port_export.port.catalog import Catalog
from gitlab_port_export.port.client import PortRefused
from gitlab_port_export.report.values import Rhythm
from gitlab_port_export.sync.connect import jq_environ
from gitlab_port_export.sync.outcomes import Outcomes
from gitlab_port_export.sync.plan_file import digest_of
from gitlab_port_export.sync.prepare import Run

NO_DELETES = "deletions: a run that reads what changed deletes nothing"
NO_DATE = "GitLab's answers do not say when they were given (no Date header)"
NO_USER = "GitLab does not say whose each token is, so that nobody can tell whether it reads the same"
NO_ORGANIZATION = "Port does not say of which organization the credentials are"
NOT_WHOLE = "the last full run had a problem with it, or several of its rows gave one entity"


@dataclass(frozen=True)
class Recent:
    """What is read of a context, and why the other resources (`left`, by index) are left to full runs.

    Of the `few` blueprints only the entities that rows give are looked up, and Port held so many of them (`counts`); of
    the `whole` ones all are read.
    """

    context: Context
    left: Mapping[int, str]
    few: tuple[str, ...]
    whole: tuple[str, ...]
    counts: Mapping[str, int]

    def start(self, catalog: Catalog) -> None:
        """Begin to read what Port holds."""
        catalog.look_up_only(self.few)
        catalog.start((*self.whole, *self.few))

    def words(self, run: Run, outcomes: Outcomes) -> Iterator[str]:
        """Yield what is left to full runs, for people."""
        yield NO_DELETES
        yield from dict.fromkeys(f"{run.mapping.resources[index].kind}: {why}" for index, why in self.left.items())
        if run.mapping.spec_paths:
            yield "specPath: entities that stand in files"
        for kind, count in self.unwanted(outcomes).items():
            rows = "1 changed row that no selector wants" if count == 1 else f"{count} changed rows no selector wants"
            yield f"{kind}: {rows}; if Port holds the entities, a full run deletes them"

    def unwanted(self, outcomes: Outcomes) -> dict[str, int]:
        """Return by kind how many rows changed and no selector wants them."""
        found = dict(outcomes.unwanted)
        for resource in self.context.resources:
            count = outcomes.left_by_query[resource.index]
            if count and not _reads_all(resource):
                found[resource.kind] = found.get(resource.kind, 0) + count
        return found


def recalled(run: Run, contact: Contact) -> Memory | None:
    """Return what is known of earlier runs, None where nobody asks for it. Raises UsageError.

    Besides `--since`, naming the place of the state asks for it; and a state that Port has is kept up to date.
    """
    settings = run.settings
    asked = settings.since is not None or "state" in settings.model_fields_set
    if not asked and BLUEPRINT not in run.blueprints:
        return None
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
    return recall(_place(run), key_of(basis), contact.now, doubt, *spans)


def _organization(run: Run) -> str | None:
    try:
        return run.port.organization()
    except (PortRefused, Unreachable):
        return None


def _place(run: Run) -> Place:
    settings = run.settings
    if settings.state != "port":
        return FilePlace(Path(settings.state))
    exists, may_make = BLUEPRINT in run.blueprints, settings.initialize_port_resources
    if not (exists or may_make):
        raise UsageError(
            f"--since: Port has no blueprint {BLUEPRINT} for the state of the last run, and "
            "OCEAN__INITIALIZE_PORT_RESOURCES=false lets no run make it",
            hint="keep the state in a file (--state FILE), or create the blueprint in Port",
        )
    return PortPlace(run.port, run.dialect, run.integration.identifier, exists, may_make)


def may_be_recent(run: Run, memory: Memory | None) -> bool:
    """Say whether a run may turn out to read what changed alone."""
    return memory is not None and run.settings.since is not None and not memory.why


def recent_of(
    run: Run, memory: Memory | None, context: Context, catalog: Catalog, outcomes: Outcomes, executor: Executor
) -> Recent | None:
    """Return what a run reads that was asked for what changed, or None where it is a full one; the report says why."""
    if memory is None or run.settings.since is None:
        return None
    state = memory.state
    if memory.why or state is None:
        outcomes.rhythm = _full(memory, memory.why)
        return None
    left = {**_not_whole(context, state), **left_out(run.mapping)}
    resources = tuple(one for one in context.resources if one.index not in left)
    few, whole = _blueprints(run, resources)
    counting = {name: executor.submit(catalog.count, name) for name in few}
    new, inventory = memory.suspects(context.inventory), context.inventory
    suspects = new | memory.unsettled.within(inventory)
    counts = {name: count for name, asked in counting.items() if (count := asked.result()) is not None}
    if why := why_full_after_all(
        len(new.projects), len(suspects.projects), len(inventory.projects()), _lost(state, counts)
    ):
        outcomes.rhythm = _full(memory, why)
        return None
    kinds = tuple(dict.fromkeys(one.kind for one in resources))
    since = {kind: state.kinds[kind] - memory.lookback for kind in kinds}
    changes = limits(Asked(run.gitlab, run.settings.workers), inventory, resources, since, suspects)
    outcomes.rhythm = _rhythm(memory, state, kinds)
    outcomes.part = f"what changed since {outcomes.rhythm.since}"
    return Recent(replace(context, resources=resources, changes=changes), left, few, whole, counts)


def _full(memory: Memory, why: str) -> Rhythm:
    return Rhythm("full", why, last_full=shown(memory.state.last_full) if memory.state else "")


def _lost(state: State, counts: Mapping[str, int]) -> dict[str, tuple[int, int]]:
    """Return how many entities the last run left and Port holds, where that are fewer."""
    pairs = {name: (before, counts.get(name, before)) for name, before in state.counts.items()}
    return {name: (before, found) for name, (before, found) in pairs.items() if found < before}


def _rhythm(memory: Memory, state: State, kinds: Iterable[str]) -> Rhythm:
    earliest = min((state.kinds[kind] for kind in kinds), default=state.last_run)
    return Rhythm(
        "incremental",
        since=shown(earliest),
        lookback=memory.lookback.total_seconds(),
        last_full=shown(state.last_full),
        age=(memory.now - state.last_full).total_seconds(),
        kinds=tuple(kinds),
    )


def _not_whole(context: Context, state: State) -> dict[int, str]:
    return {one.index: NOT_WHOLE for one in context.resources if one.kind not in state.kinds}


def _blueprints(run: Run, resources: tuple[Resource, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the blueprints of which a few entities are looked up, and those that are read whole."""
    names = blueprints_of(run.mapping, [one.index for one in resources])
    whole = set(blueprints_of(run.mapping, [one.index for one in resources if _reads_all(one)]))
    return tuple(name for name in names if name not in whole), tuple(name for name in names if name in whole)


def _reads_all(resource: Resource) -> bool:
    since = KINDS[resource.kind].since
    return since is not None and since.taken == "all"


def kept(
    run: Run, memory: Memory, context: Context, recent: Recent | None, outcomes: Outcomes, catalog: Catalog
) -> Iterator[Problem]:
    """Keep the state for the next run, after the last write; yield a warning where that fails.

    A run that nobody asked for it renews a state of its own alone.
    """
    settings = run.settings
    asked = settings.since is not None or "state" in settings.model_fields_set
    renews = memory.state is not None and memory.state.key == memory.key
    outcomes.rhythm = _told(memory, recent, outcomes)
    if not run.writes or not memory.keeps or not (asked or renews):
        return
    left = left_out(run.mapping) if recent is None else recent.left
    unsure = _unsure(run, outcomes, left)
    kinds = dict.fromkeys(one.kind for one in context.resources if one.index not in left)
    counts = recent.counts if recent else _held(run, catalog, left)
    state = memory.after(
        context.inventory,
        kinds,
        {name: count + outcomes.more[name] for name, count in counts.items()},
        full=recent is None,
        unsure=unsure,
    )
    try:
        memory.place.save(state)
    except NotKept as failure:
        hint = "the next run will be a full one; keep the state in another place with --state FILE"
        yield Problem("integration", str(failure), hint, warning=True)


def _told(memory: Memory, recent: Recent | None, outcomes: Outcomes) -> Rhythm | None:
    """Return the rhythm for the report, with what is known only at the end."""
    rhythm = outcomes.rhythm
    if rhythm is None:
        return None
    if recent is None:
        return replace(rhythm, last_full=shown(memory.now), age=0)
    return replace(rhythm, rows_left=sum(recent.unwanted(outcomes).values()))


def _held(run: Run, catalog: Catalog, left: Mapping[int, str]) -> dict[str, int]:
    """Return how many entities Port held of the blueprints that the next run may look up in."""
    taking = [one for one in run.mapping.resources if one.index not in left]
    few, _ = _blueprints(run, tuple(one for one in taking if one.known))
    return {name: ledger.held for name, ledger in catalog.ledgers.items() if name in few}


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
