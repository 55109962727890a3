"""The fold: events of a run become one report, and the report's findings become one exit code."""

import time
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import asdict, astuple, dataclass, field, replace
from typing import Any, Literal

from gitlab_port_export.model import (
    Began,
    Counts,
    Create,
    Delete,
    Ended,
    Entity,
    Event,
    Failed,
    Held,
    KindCounts,
    Page,
    Problem,
    ReadAgain,
    ReadCounts,
    Report,
    Skipped,
    Span,
    Unchanged,
    Unnamed,
    Update,
    Written,
)

Write = Create | Update | Delete
Command = Literal["sync", "plan"]
FailOn = Literal["problems", "warnings", "limit", "never"]

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

SKIPPED = "skipped, because another run is active; nothing was read, compared or written"

EXIT_MEANINGS: dict[int, str] = {
    0: "Port is in step with GitLab",
    1: "finished with Problems, something was not read, mapped or written",
    2: "wrong usage, settings, mapping or plan file, nothing was written",
    3: "GitLab refused or could not be reached, nothing could be done",
    4: "Port refused or could not be reached, nothing could be done",
    5: "in step, but deletions were held",
    10: "there are changes to make",
    70: "a bug in the exporter",
    130: "interrupted",
    143: "terminated",
}

# What a held deletion means for the run. One held by a Problem fails as the Problem does; one that somebody
# changed in Port meanwhile is simply looked at again by the next run.
_HELD_CODE = {
    "problem": 1, "search": 0, "unnamed": 5, "limit": 5, "empty": 5, "never": 0, "dependents": 5, "plan": 5, "recent": 0
}  # fmt: skip
PLANNED = {"created": "to create", "updated": "to update", "deleted": "to delete"}
_VERBS: dict[type[Write], str] = {Create: "created", Update: "updated", Delete: "deleted"}
_FAILING: dict[FailOn, tuple[int, ...]] = {"problems": (1, 5), "warnings": (1, 5), "limit": (5,), "never": ()}


def exit_code(
    problems: Iterable[Problem],
    held: Iterable[Held],
    changes_in_plan: int,
    failed: int,
    *,
    command: Command,
    detailed: bool = False,
    fail_on: FailOn = "problems",
) -> int:
    """Return 0, 1, 5 or 10 for a run that came to its end; warnings count only with `--fail-on warnings`.

    `changes_in_plan` and `failed` are how many changes a plan holds and how many writes were refused.
    """
    found = {_HELD_CODE[one.reason] for one in held}
    if failed or any(fail_on == "warnings" or not problem.warning for problem in problems):
        found.add(1)
    if command == "plan" and detailed and changes_in_plan and 1 not in found:
        return 10
    return next((code for code in _FAILING[fail_on] if code in found), 0)


def with_late(problems: Sequence[Problem], report: Report, fail_on: FailOn = "problems") -> Report:
    """Return the report with Problems that arose after its run; what ended the run keeps its exit code."""
    late = exit_code(problems, (), 0, 0, command="sync", fail_on=fail_on)
    code = late if late and report.exit_code in (0, 5, 10) else report.exit_code
    return replace(report, problems=(*report.problems, *problems), exit_code=code)


def meaning(report: Report) -> str:
    """Return what the report's exit code says of this run, in a few words."""
    if report.skipped:
        return SKIPPED
    return _failure(report) if report.exit_code else _good(report)


def _good(report: Report) -> str:
    """Return what exit code 0 says of a run that was not skipped."""
    if _has_problems(report):
        return "finished with Problems, which --fail-on lets pass"
    if any(_HELD_CODE[one.reason] for one in report.held):
        return "deletions were held, which --fail-on lets pass"
    if report.command == "plan" and writes(total(report.blueprints.values())):
        return "the plan is complete, nothing was written"
    return f"{EXIT_MEANINGS[0]}, but for deletions that were held" if report.held else EXIT_MEANINGS[0]


def _failure(report: Report) -> str:
    if report.command == "plan" and report.exit_code == 5:
        return "the plan is complete, but deletions are held"
    if fails_for_warnings(report):
        return "finished with warnings, which --fail-on makes fail"
    return EXIT_MEANINGS.get(report.exit_code, "ended early")


def _has_problems(report: Report) -> bool:
    return any(not one.warning for one in report.problems) or total(report.blueprints.values()).failed > 0


def fails_for_warnings(report: Report) -> bool:
    """Say whether a run that ends with 1 has nothing but warnings to say for it."""
    return report.exit_code == 1 and not _has_problems(report) and bool(report.problems)


def by_cause(held: Iterable[Held]) -> list[list[Held]]:
    """Return what is held, together where one problem or search holds several blueprints: nobody decides on each."""
    found: dict[Hashable, list[Held]] = {}
    for one in held:
        alone = "" if one.reason in ("problem", "search") else one.blueprint
        found.setdefault((one.reason, one.why, one.hint, alone), []).append(one)
    return list(found.values())


def counted(name: str, command: str) -> str:
    """Return the words for a count: what a sync has created, a plan is only to create."""
    return PLANNED.get(name, name) if command == "plan" else name


def sums(counts: Counts, command: str) -> str:
    """Return how much was written, or a plan is to write, in words; and how much failed or was held, if anything."""
    words = [f"{getattr(counts, name)} {counted(name, command)}" for name in PLANNED]
    words += [f"{number} {name}" for name in ("failed", "held") if (number := getattr(counts, name))]
    return ", ".join(words)


def is_let_pass(report: Report) -> bool:
    """Say whether the run passes although it found what fails a run by default."""
    held = any(_HELD_CODE[one.reason] for one in report.held)
    found = held or any(not problem.warning for problem in report.problems)
    return report.exit_code == 0 and (found or total(report.blueprints.values()).failed > 0)


def total(counts: Iterable[Counts]) -> Counts:
    """Return the sum of all `counts`."""
    return Counts(*map(sum, zip(*map(astuple, counts), strict=True)))


@dataclass(frozen=True, slots=True)
class LeftOut:
    """How much of a large run the report counts and does not show."""

    changes: int = 0
    held: int = 0
    reads: int = 0


def left_out(report: Report) -> LeftOut:
    """Return how many changes, held deletions and reads the report counts and does not show."""
    return LeftOut(
        sum(map(writes, report.blueprints.values())) - len(report.changes),
        sum(held.more for held in report.held),
        sum(counts.reads for counts in report.kinds.values()) - len(report.reads),
    )


def some(number: int, word: str) -> str:
    """Return a number with its noun."""
    return f"{number} {word}" if number == 1 else f"{number} {word}s"


def writes(counts: Counts) -> int:
    """Return how many entities were, or in a plan would be, created, updated or deleted."""
    return counts.created + counts.updated + counts.deleted


def target(change: Write) -> tuple[str, str]:
    """Return (blueprint, identifier as text) of the entity that `change` is about."""
    return (change.blueprint, change.identifier) if isinstance(change, Delete) else change.entity.key


def where(problem: Problem) -> str:
    """Return where the problem arose, the widest place first; empty when it concerns the whole run."""
    parts = {
        "in": problem.scope,
        "with": problem.token,
        "kind": problem.kind,
        "mapping line": ":".join(str(part) for part in (problem.line, problem.column) if part is not None),
        "resource": str(problem.resources[0]) if problem.line and len(problem.resources) == 1 else "",
        "field": problem.field,
        "blueprint": problem.blueprint,
        "entity": problem.entity,
    }
    return ", ".join(f"{name} {value}" for name, value in parts.items() if value)


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


class Tally:
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
        identifier = entity.identifier if entity.is_search else self._redact(str(entity.identifier))
        shown = Entity.of(entity.blueprint, identifier, {}, entity.resource, entity.order)
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
