"""ReportBuilder: counts the events of a run and makes its Report."""

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from types import MappingProxyType
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
    Shape,
    Skipped,
    Unchanged,
    Unnamed,
    Update,
    Write,
    Written,
    target,
)
from gitlab_port_export.report.exit_code import Command, FailOn, exit_code
from gitlab_port_export.report.problem_groups import ProblemGroups
from gitlab_port_export.report.values import (
    Counts,
    Details,
    KindCounts,
    ReadCounts,
    Report,
    Rhythm,
    Span,
    total,
    writes,
)

# What a report keeps at most: changes, changes of one action and blueprint, identifiers of deletions that are held for
# one reason, and reads (complete ones and failed ones).
MAX_CHANGES = 100_000
MAX_OF_AN_ACTION = 80_000
MAX_HELD = 1_000
MAX_READS = 5_000
# Of what is written a report keeps the name alone.
_BARE = Shape.of(())
_VERBS: dict[type[Write], str] = {Create: "created", Update: "updated", Delete: "deleted"}


class ReportBuilder:
    """Counts the events of one run as they pass and keeps only what the report shows.

    `kinds` holds the kind of each resource of the mapping, by index. `redact` is applied here to every text that may
    quote an answer or an expression, so the report holds no secrets and no renderer has to remove them. `clock` returns
    seconds; the timeline begins at `zero`, by default when the builder is made. Call `add` from one thread only.
    """

    def __init__(
        self,
        command: Command,
        kinds: Sequence[str] = (),
        redact: Callable[[str], str] = str,
        clock: Callable[[], float] = time.monotonic,
        zero: float | None = None,
    ) -> None:
        self._command: Command = command
        self._kinds = kinds
        self._redact = redact
        self._clock, self._zero = clock, clock() if zero is None else zero
        self._spans: dict[str, tuple[float, float]] = {}
        self._under_way: dict[int, float] = {}
        self._reads: list[ReadCounts] = []
        self._entities: Counter[tuple[str, str]] = Counter()
        self._kind_sums: Counter[tuple[str, str]] = Counter()
        self._problems = ProblemGroups()
        self._held: dict[Held, list[str]] = {}
        self._more: Counter[Held] = Counter()
        self._changes: dict[tuple[str, str], list[Write]] = {}
        self._kept: Counter[str] = Counter()
        # Writes that Port refused. A later row with the same key may still make the change.
        self._refused: dict[tuple[str, str], type[Create | Update]] = {}

    def add(self, event: Event) -> None:
        """Count one event."""
        match event:
            case Unchanged():
                self._entities[event.blueprint, "unchanged"] += event.count
            case Written():
                self._change(event.change)
            case Create() | Update() | Delete():
                # In a sync a change counts only after Port has confirmed it (Written).
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

    def fold(self, report: Report, later: float = 0.0) -> None:
        """Add what another run of the same sync reported, of which every text is free of secrets.

        It began so many seconds after the timeline of this one.
        """
        for sums, found in ((self._entities, report.blueprints), (self._kind_sums, report.kinds)):
            for name, counts in found.items():
                sums.update({(name, field): number for field, number in asdict(counts).items()})
        for problem in report.problems:
            self._problems.add(problem)
        for change in report.changes:
            self._keep(change)
        for read in report.reads:
            self._keep_read(read)
        for span in report.timeline:
            start, end = span.start + later, span.end + later
            first, last = self._spans.get(span.name, (start, end))
            self._spans[span.name] = min(first, start), max(last, end)

    def finish(  # noqa: PLR0913  # what a report says besides the events, each by its name
        self,
        *,
        started: str,
        seconds: float,
        mapping_origin: str = "",
        integration: str = "",
        gitlab_requests: int = 0,
        port_requests: int = 0,
        rate: float | None = None,
        plan: Sequence[str] = (),
        detailed: bool = False,
        fail_on: FailOn = "problems",
        code: int | None = None,
        skipped: bool = False,
        part: str = "",
        left: Sequence[str] = (),
        rhythm: Rhythm | None = None,
        details: Mapping[tuple[str, str], Details] = MappingProxyType({}),
    ) -> Report:
        """Return the report; `code` is the exit code of a run that ended early, None for one that was completed.

        `details` are by blueprint and identifier, and hold no secrets.
        """
        problems, held = self._problems.merged(), self._all_held()
        changes = tuple(sorted(self._kept_changes(), key=target))
        blueprints = {name: self._counts(name) for name in sorted({name for name, _ in self._entities})}
        if code is None:
            sums = total(blueprints.values())
            code = exit_code(
                problems, held, writes(sums), sums.failed, command=self._command, detailed=detailed, fail_on=fail_on
            )
        return Report(
            command=self._command,
            exit_code=code,
            started=started,
            seconds=seconds,
            mapping_origin=mapping_origin,
            integration=integration,
            blueprints=blueprints,
            kinds={name: self._kind_counts(name) for name in sorted({name for name, _ in self._kind_sums})},
            problems=problems,
            held=held,
            changes=changes,
            details=self._shown_details(details, changes),
            gitlab_requests=gitlab_requests,
            port_requests=port_requests,
            rate=rate,
            plan=tuple(map(self._redact, plan)),
            skipped=skipped,
            part=self._redact(part),
            left=tuple(map(self._redact, left)),
            rhythm=replace(rhythm, why=self._redact(rhythm.why)) if rhythm else None,
            timeline=tuple(Span(name, round(start, 3), round(end, 3)) for name, (start, end) in self._spans.items()),
            reads=tuple(sorted(self._reads, key=lambda read: (read.kind, read.scope))),
        )

    def _all_held(self) -> tuple[Held, ...]:
        return tuple(replace(one, identifiers=tuple(found), more=self._more[one]) for one, found in self._held.items())

    def _now(self) -> float:
        return round(self._clock() - self._zero, 3)

    def _mark(self, name: str, start: float | None = None) -> None:
        """Extend the stage of that name to this moment."""
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
        scope, failure = self._redact(ended.scope), self._redact(ended.failure)
        self._keep_read(ReadCounts(ended.kind, scope, ended.rows, ended.requests, seconds, failure))

    def _keep_read(self, read: ReadCounts) -> None:
        sort = "failed" if read.failure else "complete"
        if self._kept[sort] < MAX_READS:
            self._kept[sort] += 1
            self._reads.append(read)

    def _kept_changes(self) -> list[Write]:
        """Return as many changes as a report holds. Deletions are the most important, so they are kept first."""
        deletes_first = sorted(self._changes, key=lambda key: key[1] != "deleted")
        return [change for key in deletes_first for change in self._changes[key]][:MAX_CHANGES]

    def _change(self, change: Write) -> None:
        if isinstance(change, Update) and change.again:
            # An entity counts once, also with several rows. After a refused write its next row counts.
            first = self._refused.pop(target(change), None)
            if first is None:
                return
            change = Create(change.entity) if first is Create else Update(change.entity, change.fields)
        self._entities[target(change)[0], _VERBS[type(change)]] += 1
        if self._command == "sync":
            self._mark("delete" if isinstance(change, Delete) else "write")
        self._keep(change)

    def _keep(self, change: Write) -> None:
        sort = "delete" if isinstance(change, Delete) else "write"
        kept = self._changes.setdefault((target(change)[0], _VERBS[type(change)]), [])
        if len(kept) < MAX_OF_AN_ACTION and self._kept[sort] < MAX_CHANGES:
            self._kept[sort] += 1
            kept.append(self._shown(change))

    def _shown(self, change: Write) -> Write:
        if isinstance(change, Delete):
            return replace(change, identifier=self._redact(change.identifier))
        entity = change.entity
        identifier = self._redact(str(entity.identifier))
        shown = Entity(entity.blueprint, identifier, _BARE, (), entity.resource, entity.order)
        return Create(shown) if isinstance(change, Create) else Update(shown, change.fields)

    def _shown_details(
        self, details: Mapping[tuple[str, str], Details], changes: Sequence[Write]
    ) -> dict[tuple[str, str], Details]:
        """Return the details of the changes that the report keeps, by the identifier that it shows."""
        if not details:
            return {}
        kept = set(map(target, changes))
        shown = {(name, self._redact(identifier)): found for (name, identifier), found in details.items()}
        return {key: found for key, found in shown.items() if key in kept}

    def _problem(self, problem: Problem) -> None:
        texts = asdict(problem).items()
        safe: dict[str, Any] = {name: self._redact(text) for name, text in texts if isinstance(text, str)}
        self._problems.add(replace(problem, **safe))

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
