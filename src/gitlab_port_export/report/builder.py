"""The fold: events of a run become one report, and the report's findings become one exit code."""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from gitlab_port_export.model import (
    Began,
    Create,
    Delete,
    Ended,
    Entity,
    Event,
    Failed,
    Held,
    Page,
    Problem,
    ReadAgain,
    Skipped,
    Unchanged,
    Unnamed,
    Update,
    Write,
    Written,
    target,
)
from gitlab_port_export.report.exit_code import Command, FailOn, exit_code
from gitlab_port_export.report.values import Counts, KindCounts, ReadCounts, Report, Span, total, writes

# What a report keeps at most: changes in all and of each sort of a blueprint, identifiers of deletions held for one
# reason, reads that were complete and reads that were not.
MAX_CHANGES = 10_000
MAX_OF_A_SORT = 2_000
MAX_HELD = 1_000
MAX_READS = 5_000
# So many different problems are told apart; what comes on top is only counted, by what it is about.
MAX_PROBLEMS = 1_000
FURTHER = "further problems, each in other words"
MAX_SAMPLES = 3
_VERBS: dict[type[Write], str] = {Create: "created", Update: "updated", Delete: "deleted"}


@dataclass(slots=True)
class _Group:
    """Problems that say the same of different places."""

    first: Problem
    count: int = 0
    one_scope: bool = True
    one_entity: bool = True
    cases: dict[tuple[str, str, str], None] = field(default_factory=dict)

    def add(self, problem: Problem) -> None:
        self.count += problem.count
        self.one_scope &= problem.scope == self.first.scope
        self.one_entity &= problem.entity == self.first.entity
        if len(self.cases) < MAX_SAMPLES:
            self.cases[problem.scope, problem.entity, problem.sample] = None

    def fold(self) -> Problem:
        """Return one problem: what all share stays in its field, what differs moves into the sample."""
        samples = (
            " ".join(filter(None, ("" if self.one_scope else scope, "" if self.one_entity else entity, sample)))
            for scope, entity, sample in self.cases
        )
        return replace(
            self.first,
            scope=self.first.scope if self.one_scope else "",
            entity=self.first.entity if self.one_entity else "",
            count=self.count,
            sample="; ".join(filter(None, samples)),
        )


def _alike(problem: Problem) -> Problem:
    """Return what all problems of a group share."""
    return replace(problem, scope="", entity="", sample="", count=1)


def _further(problem: Problem) -> Problem:
    """Return a problem that stands for many others of its sort, with the words of this one as a sample."""
    return Problem(
        problem.stage,
        FURTHER,
        kind=problem.kind,
        resources=problem.resources,
        blueprint=problem.blueprint,
        holds_all=problem.holds_all,
        warning=problem.warning,
        count=problem.count,
        sample=problem.why,
    )


class ReportBuilder:
    """Counts the events of one run as they pass and keeps only what the report shows.

    `kinds` names the kind of each resource of the mapping, by index. `redact` is applied once, here, to every
    text that may quote an answer or an expression, so that no renderer has to think of secrets. `clock` gives
    seconds; the timeline counts from now on. Call `add` from one thread only.
    """

    def __init__(
        self,
        command: Command,
        kinds: Sequence[str] = (),
        redact: Callable[[str], str] = str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._command: Command = command
        self._kinds = kinds
        self._redact = redact
        self._clock, self._zero = clock, clock()
        self._spans: dict[str, tuple[float, float]] = {}
        self._under_way: dict[int, float] = {}
        self._reads: list[ReadCounts] = []
        self._entities: Counter[tuple[str, str]] = Counter()
        self._kind_sums: Counter[tuple[str, str]] = Counter()
        self._problems: dict[Problem, _Group] = {}
        self._held: dict[Held, list[str]] = {}
        self._more: Counter[Held] = Counter()
        self._changes: dict[tuple[str, str], list[Write]] = {}
        self._kept: Counter[str] = Counter()
        # Writes that Port refused: the row that beats such a one makes the change after all.
        self._refused: dict[tuple[str, str], type[Create | Update]] = {}

    def add(self, event: Event) -> None:
        """Take one event into account."""
        match event:
            case Unchanged():
                self._entities[event.blueprint, "unchanged"] += event.count
            case Written():
                self._change(event.change)
            case Create() | Update() | Delete():
                # In a sync an intended change counts only once Port has confirmed it.
                if self._command == "plan":
                    self._change(event)
            case Began():
                self._begin(event)
            case Page() | ReadAgain():
                self._page(event)
            case Ended():
                self._end(event)
            case Skipped():
                self._kind_sums[self._kind(event.resource), "skipped"] += event.count
            case Unnamed():
                self._kind_sums[self._kind(event.resource), "unnamed"] += event.count
            case Problem():
                self._problem(event)
            case Failed():
                self._failed(event)
            case Held():
                self._hold(event)

    def finish(  # noqa: PLR0913  # what a report says of the run besides its events
        self,
        *,
        started: str,
        seconds: float,
        mapping_origin: str = "",
        integration: str = "",
        gitlab_requests: int = 0,
        port_requests: int = 0,
        plan: Sequence[str] = (),
        detailed: bool = False,
        fail_on: FailOn = "problems",
        code: int | None = None,
        skipped: bool = False,
    ) -> Report:
        """Return the report; `code` is given when something ended the run before its time."""
        problems = tuple(group.fold() for group in self._problems.values())
        held = tuple(replace(one, identifiers=tuple(found), more=self._more[one]) for one, found in self._held.items())
        blueprints = {name: self._counts(name) for name in sorted({name for name, _ in self._entities})}
        sums = total(blueprints.values())
        reached = exit_code(
            problems,
            held,
            writes(sums),
            sums.failed,
            command=self._command,
            detailed=detailed,
            fail_on=fail_on,
        )
        return Report(
            command=self._command,
            exit_code=reached if code is None else code,
            started=started,
            seconds=seconds,
            mapping_origin=mapping_origin,
            integration=integration,
            blueprints=blueprints,
            kinds={name: self._kind_counts(name) for name in sorted({name for name, _ in self._kind_sums})},
            problems=problems,
            held=held,
            # Deletes matter most, so they are the last to be dropped.
            changes=tuple(sorted(self._sample(), key=target)),
            gitlab_requests=gitlab_requests,
            port_requests=port_requests,
            plan=tuple(map(self._redact, plan)),
            skipped=skipped,
            timeline=tuple(Span(name, round(start, 3), round(end, 3)) for name, (start, end) in self._spans.items()),
            reads=tuple(sorted(self._reads, key=lambda read: (read.kind, read.scope))),
        )

    def _now(self) -> float:
        return round(self._clock() - self._zero, 3)

    def _mark(self, name: str, start: float | None = None) -> None:
        """Note that something of that name is under way now."""
        now = self._clock() - self._zero
        first, _ = self._spans.get(name, (now if start is None else start, now))
        self._spans[name] = first, now

    def _begin(self, began: Began) -> None:
        if not self._spans:
            self._mark("inventory", 0.0)
        self._mark(began.kind)
        self._under_way[began.number] = self._now()

    def _page(self, page: Page | ReadAgain) -> None:
        if isinstance(page, ReadAgain):
            self._mark("second look")
            return
        self._mark(page.kind)
        self._kind_sums[page.kind, "pages"] += 1
        self._kind_sums[page.kind, "rows"] += len(page.rows)

    def _end(self, ended: Ended) -> None:
        self._mark(ended.kind)
        self._kind_sums[ended.kind, "reads"] += 1
        self._kind_sums[ended.kind, "failed"] += bool(ended.failure)
        self._kind_sums[ended.kind, "requests"] += ended.requests
        seconds = round(self._now() - self._under_way.pop(ended.number, self._now()), 3)
        sort = "failed" if ended.failure else "complete"
        if self._kept[sort] < MAX_READS:
            self._kept[sort] += 1
            scope, failure = self._redact(ended.scope), self._redact(ended.failure)
            self._reads.append(ReadCounts(ended.kind, scope, ended.rows, ended.requests, seconds, failure))

    def _sample(self) -> list[Write]:
        deletes_first = sorted(self._changes, key=lambda key: key[1] != "deleted")
        return [change for key in deletes_first for change in self._changes[key]][:MAX_CHANGES]

    def _change(self, change: Write) -> None:
        if isinstance(change, Update) and change.again:
            # An entity counts once, whichever of its rows came first, unless Port refused that one.
            first = self._refused.pop(target(change), None)
            if first is None:
                return
            change = Create(change.entity) if first is Create else Update(change.entity, change.fields)
        key = target(change)[0], _VERBS[type(change)]
        self._entities[key] += 1
        sort = "delete" if isinstance(change, Delete) else "write"
        if self._command == "sync":
            self._mark(sort)
        kept = self._changes.setdefault(key, [])
        if len(kept) < MAX_OF_A_SORT and self._kept[sort] < MAX_CHANGES:
            self._kept[sort] += 1
            kept.append(self._shown(change))

    def _shown(self, change: Write) -> Write:
        if isinstance(change, Delete):
            return replace(change, identifier=self._redact(change.identifier))
        entity = change.entity
        shown = Entity.of(entity.blueprint, self._redact(str(entity.identifier)), {}, entity.resource, entity.order)
        return Create(shown) if isinstance(change, Create) else Update(shown, change.fields)

    def _problem(self, problem: Problem) -> None:
        texts = asdict(problem).items()
        safe: dict[str, Any] = {name: self._redact(text) for name, text in texts if isinstance(text, str)}
        problem = replace(problem, **safe)
        key = _alike(problem)
        if len(self._problems) >= MAX_PROBLEMS and key not in self._problems:
            problem = _further(problem)
            key = _alike(problem)
        self._problems.setdefault(key, _Group(problem)).add(problem)

    def _failed(self, failed: Failed) -> None:
        blueprint, identifier = target(failed.change)
        again = isinstance(failed.change, Update) and failed.change.again
        if not (again and (blueprint, identifier) in self._refused):
            self._entities[blueprint, "failed"] += 1
        if not again and isinstance(failed.change, Create | Update):
            self._refused[blueprint, identifier] = type(failed.change)
        stage: Literal["write", "delete"] = "delete" if isinstance(failed.change, Delete) else "write"
        self._problem(
            Problem(
                stage,
                failed.why,
                failed.hint,
                blueprint=blueprint,
                entity=identifier,
                field=failed.field,
                sample=failed.sample,
            )
        )

    def _hold(self, held: Held) -> None:
        self._entities[held.blueprint, "held"] += len(held.identifiers)
        key = replace(held, identifiers=(), why=self._redact(held.why), hint=self._redact(held.hint))
        kept = self._held.setdefault(key, [])
        free = MAX_HELD - len(kept)
        kept.extend(map(self._redact, held.identifiers[:free]))
        self._more[key] += len(held.identifiers[free:])

    def _kind(self, resource: int) -> str:
        return self._kinds[resource] if 0 <= resource < len(self._kinds) else ""

    def _counts(self, blueprint: str) -> Counts:
        return Counts(**{name: self._entities[blueprint, name] for name in Counts.__dataclass_fields__})

    def _kind_counts(self, kind: str) -> KindCounts:
        return KindCounts(**{name: self._kind_sums[kind, name] for name in KindCounts.__dataclass_fields__})
