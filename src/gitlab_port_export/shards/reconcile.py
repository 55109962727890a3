"""The line of the last step: joins the evidence of all shards, deletes what none produced, and keeps the state."""

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from functools import partial

from gitlab_port_export.base.answer import Unreachable
from gitlab_port_export.base.errors import Fault, UsageError
from gitlab_port_export.gitlab.contact import Contact
from gitlab_port_export.gitlab.plan import SyncPlan
from gitlab_port_export.gitlab.specs import read_specs
from gitlab_port_export.mapping.blueprints import constant_blueprints, feeding, fixed_fields
from gitlab_port_export.model import Event, Planned, Problem, Unnamed
from gitlab_port_export.port.catalog import Catalog
from gitlab_port_export.port.client import PortRefused
from gitlab_port_export.port.integration import gitops_agent
from gitlab_port_export.port.keys import entity_key
from gitlab_port_export.report.values import Report
from gitlab_port_export.shards.collect import Collected
from gitlab_port_export.shards.evidence import PRODUCED, TARGETS, Evidence, Lack, distinct_faults
from gitlab_port_export.shards.produced import Doubles, Produced, distinct, merged
from gitlab_port_export.shards.survey import Survey
from gitlab_port_export.shards.units import digest_of
from gitlab_port_export.sync.delete_stage import delete_gone
from gitlab_port_export.sync.diff import Differ
from gitlab_port_export.sync.gitops import beside_rows, held_by_port, write_entities, write_files
from gitlab_port_export.sync.line import inventory_reader
from gitlab_port_export.sync.merge import Unread
from gitlab_port_export.sync.outcomes import Outcomes
from gitlab_port_export.sync.prepare import Run
from gitlab_port_export.sync.remembered import kept, recalled, start_recalling
from gitlab_port_export.sync.resync import Resync
from gitlab_port_export.sync.through import Stages
from gitlab_port_export.sync.write import Sink, carried_out, make_catalog, make_searches, sink_of, write

# So many entities that two shards produced are named.
MOST_NAMED = 3
_KEEP_TOGETHER = "give survey the option --together with the kind, so that one shard reads all of it"


def reconcile_line(
    survey: Survey, collected: Collected
) -> Callable[[Run, Outcomes, Resync, Executor], Generator[Event, None, None]]:
    """Return the line of the last step."""

    def line(run: Run, outcomes: Outcomes, resync: Resync, executor: Executor) -> Generator[Event, None, None]:
        resync.begin()
        # A sync that lacks evidence leaves the state as it is.
        recalling = start_recalling(run, executor) if collected.is_whole else None
        outcomes.plan, shares = survey.cut(run.mapping)
        _check_cut(outcomes.plan, shares, collected.evidence)
        _take_over(outcomes, survey, collected.evidence)
        yield from (*survey.problems, *survey.inventory.problems, *collected.problems)
        yield Planned(outcomes.plan.requests())
        last = _Last.of(run, survey, outcomes, executor, collected.evidence)
        yield from last.write_rest()
        yield from last.doubles(collected.evidence)
        if collected.is_whole:
            yield from last.delete()
        # What changed since the survey is read by the next run, although shards may have read it.
        memory = recalled(run, Contact(survey.now, survey.told), recalling)
        yield from kept(run, memory, survey.context(run.mapping), None, outcomes, last.catalog) if memory else ()

    return line


def _check_cut(plan: SyncPlan, shares: Sequence[Sequence[int]], evidence: Sequence[Evidence]) -> None:
    """Raise UsageError where a shard did not read what the survey gave it: the reads must be each in one shard."""
    faults = [
        Fault(f"read another part of the plan than this survey gives {one.shard}", str(one.file.path))
        for one in evidence
        if digest_of(plan, shares[one.shard.number - 1]) != one.found.reads
    ]
    if faults:
        raise UsageError(*faults, hint="let all jobs use the same image of the program")


def _take_over(outcomes: Outcomes, survey: Survey, evidence: Sequence[Evidence]) -> None:
    """Take what the shards found for found by this run."""
    gitlab, port = survey.requests
    outcomes.reports.append(
        Report("sync", 0, survey.started.isoformat(), 0.0, gitlab_requests=gitlab, port_requests=port)
    )
    known = set(survey.inventory.problems)
    faults = [fault for one in evidence for fault in one.found.faults if fault not in known]
    outcomes.faults += _joined(distinct_faults(faults))
    for one in evidence:
        outcomes.reports.append(one.report)
        outcomes.left += one.report.left
        outcomes.counted += one.found.counted
        outcomes.refused |= one.found.refused
        outcomes.refused_of |= one.found.refused_of
        outcomes.repeated |= one.found.repeated


def _joined(faults: Sequence[Lack]) -> Iterator[Lack]:
    """Yield faults, one for all rows without an identifier of the same entity mapping."""
    rows: dict[tuple[int, int | None, str], Unnamed] = {}
    for fault in faults:
        if not isinstance(fault, Unnamed):
            yield fault
            continue
        key = (fault.resource, fault.part, fault.field)
        known = rows.get(key)
        rows[key] = (
            replace(fault, count=fault.count + known.count, every=fault.every and known.every) if known else fault
        )
    yield from rows.values()


@dataclass(frozen=True)
class _Last:
    """What the last step works with: a catalog that knows what the shards produced."""

    run: Run
    survey: Survey
    outcomes: Outcomes
    sink: Sink
    catalog: Catalog
    differ: Differ
    stages: Stages
    unread: Unread
    evidence: Sequence[Evidence]
    twice: Mapping[str, Doubles]
    executor: Executor

    @classmethod
    def of(
        cls, run: Run, survey: Survey, outcomes: Outcomes, executor: Executor, evidence: Sequence[Evidence]
    ) -> "_Last":
        """Join the evidence."""
        mapping = run.mapping
        produced, twice = merged_keys(evidence)
        sink = sink_of(run.port, mapping, run.settings, executor, writes=run.writes)
        catalog = make_catalog(
            run.port, mapping, run.blueprints, run.blueprints, executor, narrow=True, elsewhere=produced
        )
        catalog.start(dict.fromkeys((*constant_blueprints(mapping), *produced)))
        catalog.start_owned(run.integration.identifier)
        searches = make_searches(sink, mapping, catalog)
        differ = Differ(
            catalog.ledger, searches, partial(fixed_fields, mapping), targets=targets_of(evidence, produced),
            unresolved=set().union(*(one.found.unresolved for one in evidence)),
            searched=set().union(*(one.found.searched for one in evidence)),
        )  # fmt: skip
        unread = Unread(mapping, outcomes.faults, catalog.holds)
        written = partial(carried_out, sink, catalog=catalog, searches=searches)
        stages = Stages(mapping, run.evaluator, unread, written, narrow=catalog)
        return cls(run, survey, outcomes, sink, catalog, differ, stages, unread, evidence, twice, executor)

    def write_rest(self) -> Iterator[Event]:
        """Write the entities of files, and the rows whose target another shard wrote."""
        run, mapping = self.run, self.run.mapping
        agent = gitops_agent(run.dialect, run.integration.identifier)
        make = partial(make_catalog, run.port, mapping, run.blueprints, run.blueprints, self.executor)
        write_found = partial(write_entities, self.sink.named(agent), mapping, make)
        specs = read_specs(
            run.gitlab, self.survey.inventory, mapping.spec_paths, mapping.branch or "", run.dialect,
            run.settings.workers,
        ) if mapping.spec_paths else ()  # fmt: skip
        held = partial(held_by_port, self.catalog, mapping)
        files = yield from write_files(specs, run.blueprints.keys(), write_found, held)
        self.differ.targets.update(files.keys)
        self.unread.settle()
        yield from write_found((yield from beside_rows(files, mapping, self.catalog, self.unread.resources)))
        later = [change for one in self.evidence for change in one.found.later]
        yield from write(self.sink, later, run.blueprints)

    def doubles(self, evidence: Sequence[Evidence]) -> Iterator[Event]:
        """Yield a Problem for each blueprint of which two shards produced one entity: which row wins is not known."""
        if not any(one.count for one in self.twice.values()):
            return
        names = self._named()
        for blueprint, found in self.twice.items():
            if found.count:
                yield _double(self.run, blueprint, found, names, evidence)

    def _named(self) -> dict[int, str]:
        """Return the identifiers of these entities by key, as far as Port lists them as owned."""
        keys = {key for found in self.twice.values() for key in found.some}
        try:
            owned = [(entity_key(*one), one[1]) for one in self.catalog.owned(self.run.integration.identifier)]
        except (PortRefused, Unreachable):
            return {}
        return {key: identifier for key, identifier in owned if key in keys}

    def delete(self) -> Iterator[Event]:
        """Delete what no shard produced, after the second look."""
        run = self.run
        yield from delete_gone(
            run, self.outcomes, self.survey.context(run.mapping), self.catalog, self.stages, self.differ,
            inventory_reader(run.gitlab, run.settings, run.dialect, run.mapping), self.survey.instant,
        )  # fmt: skip


def merged_keys(evidence: Sequence[Evidence]) -> tuple[dict[str, Produced], dict[str, Doubles]]:
    """Return by blueprint the keys that the shards produced, and those that two of them did."""
    found = {
        name: merged([one.file.keys(f"{PRODUCED}{name}") for one in evidence])
        for name in dict.fromkeys(name for one in evidence for name in one.blueprints)
    }
    return {name: keys for name, (keys, _) in found.items()}, {name: twice for name, (_, twice) in found.items()}


def targets_of(evidence: Sequence[Evidence], produced: Mapping[str, Produced]) -> set[int]:
    """Return the keys that something relates to and no shard produced: others are not deleted anyway."""
    every = distinct([one.file.keys(TARGETS) for one in evidence])
    return {key for key in every if not any(key in keys for keys in produced.values())}


def _double(
    run: Run, blueprint: str, found: Doubles, names: Mapping[int, str], evidence: Sequence[Evidence]
) -> Problem:
    some = frozenset(found.some)
    shards = [
        str(one.shard.number) for one in evidence if any(key in some for key in one.file.keys(f"{PRODUCED}{blueprint}"))
    ]
    resources = tuple(sorted(feeding(run.mapping, blueprint)))
    kinds = ", ".join(dict.fromkeys(run.mapping.resources[index].kind for index in resources))
    many = "1 entity was" if found.count == 1 else f"{found.count} entities were"
    return Problem(
        "diff", f"{many} produced by several shards ({', '.join(shards)}), so which row wins is by chance",
        _KEEP_TOGETHER, kind=kinds, resources=resources, blueprint=blueprint, count=found.count,
        sample=", ".join(names[key] for key in found.some[:MOST_NAMED] if key in names),
    )  # fmt: skip
