"""The part that a run with `--since last` reads: what changed since the last one. It deletes nothing."""

from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, replace

from gitlab_port_export.gitlab.kinds import KINDS
from gitlab_port_export.gitlab.kinds.kind import Context
from gitlab_port_export.incremental.frames import Moved, Outline, outlines_of
from gitlab_port_export.incremental.limits import Asked, limits
from gitlab_port_export.incremental.memory import Memory
from gitlab_port_export.incremental.mode import why_full_after_all
from gitlab_port_export.incremental.state import State, shown
from gitlab_port_export.incremental.takes_part import left_out
from gitlab_port_export.mapping.blueprints import blueprints_of
from gitlab_port_export.mapping.model import Resource
from gitlab_port_export.port.catalog import Catalog
from gitlab_port_export.report.values import Rhythm
from gitlab_port_export.sync.outcomes import Outcomes
from gitlab_port_export.sync.prepare import Run

NO_DELETES = "deletions: a run that reads what changed deletes nothing"
NOT_WHOLE = "the last full run had a problem with it, or several of its rows gave one entity"


@dataclass(frozen=True)
class Aims:
    """What an incremental run would read, before anything is listed: `left` are the resources that it leaves.

    Of the `few` blueprints entities are looked up one by one, and Port is asked how many it holds; the `whole` ones are
    being read.
    """

    left: Mapping[int, str]
    few: tuple[str, ...]
    whole: tuple[str, ...]
    counting: Mapping[str, Future[int | None]]


@dataclass(frozen=True)
class Recent:
    """What is read of a context, with the outlines of its groups and projects, and how many entities Port held."""

    context: Context
    outlines: tuple[Outline, ...]
    aims: Aims
    counts: Mapping[str, int]

    def start(self, catalog: Catalog) -> None:
        """Begin to look up what Port holds."""
        catalog.look_up_only(self.aims.few)
        catalog.start(self.aims.few)

    def words(self, run: Run, outcomes: Outcomes) -> Iterator[str]:
        """Yield what is left to full runs, for people."""
        yield NO_DELETES
        yield from dict.fromkeys(f"{run.mapping.resources[index].kind}: {why}" for index, why in self.aims.left.items())
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


def aims_of(run: Run, memory: Memory | None, catalog: Catalog) -> Aims | None:
    """Return the aims of a run that may turn out to read what changed alone, None for any other run."""
    if memory is None or memory.state is None or memory.why or run.settings.since is None:
        return None
    left = left_out(run.mapping)
    for one in run.mapping.resources:
        if one.kind not in memory.state.kinds:
            left.setdefault(one.index, NOT_WHOLE)
    few, whole = looked_up(run, tuple(one for one in run.mapping.resources if one.index not in left))
    catalog.start(whole)
    # Also of the whole ones, for projects in which nothing changed may give no entity to compare.
    return Aims(left, few, whole, catalog.start_counting((*few, *whole)))


def recent_of(
    run: Run, memory: Memory | None, aims: Aims | None, context: Context, outcomes: Outcomes
) -> Recent | None:
    """Return what a run reads that was asked for what changed, or None where it is a full one; the report says why."""
    if memory is None or run.settings.since is None:
        return None
    state = memory.state
    if aims is None or state is None:
        outcomes.rhythm = _full(memory, memory.why)
        return None
    resources = tuple(one for one in context.resources if one.index not in aims.left)
    inventory, outlines = context.inventory, outlines_of(context.inventory)
    new = memory.suspects(outlines)
    suspects = new | (memory.unsettled & Moved.of(outlines))
    counts = counted(aims.counting)
    if why := why_full_after_all(
        len(new.projects), len(suspects.projects), len(inventory.projects()), _lost(state, counts)
    ):
        outcomes.rhythm = _full(memory, why)
        return None
    kinds = tuple(dict.fromkeys(one.kind for one in resources))
    since = {kind: state.kinds[kind] - memory.lookback for kind in kinds}
    changes = limits(Asked(run.gitlab, run.settings.workers), inventory, outlines, resources, since, suspects)
    outcomes.rhythm = _rhythm(memory, state, kinds)
    outcomes.part = f"what changed since {outcomes.rhythm.since}"
    return Recent(replace(context, resources=resources, changes=changes), outlines, aims, counts)


def counted(counting: Mapping[str, Future[int | None]]) -> dict[str, int]:
    """Return how many entities Port holds of each blueprint of which it says so."""
    return {name: count for name, asked in counting.items() if (count := asked.result()) is not None}


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


def looked_up(run: Run, resources: tuple[Resource, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the blueprints of which a few entities are looked up, and those that are read whole."""
    names = blueprints_of(run.mapping, [one.index for one in resources])
    whole = set(blueprints_of(run.mapping, [one.index for one in resources if _reads_all(one)]))
    return tuple(name for name in names if name not in whole), tuple(name for name in names if name in whole)


def _reads_all(resource: Resource) -> bool:
    since = KINDS[resource.kind].since
    return since is not None and since.taken == "all"
