"""The line of a run that events start: what they name is read again, compared with Port and written."""

from collections import Counter
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial

from gitlab_port_export.gitlab.again import PlanAgain, concerned, left_to_full_runs, named_by, plan_again, seen
from gitlab_port_export.gitlab.contact import doubtful_clock, first_contact
from gitlab_port_export.gitlab.inventory import Patterns
from gitlab_port_export.gitlab.kinds.kind import Context
from gitlab_port_export.gitlab.named import read_named
from gitlab_port_export.gitlab.read import read
from gitlab_port_export.gitlab.touched import Touched
from gitlab_port_export.live.events import Intake, instant
from gitlab_port_export.mapping.blueprints import fixed_fields
from gitlab_port_export.mapping.model import Resource
from gitlab_port_export.model import Create, Ended, Event, Failed, Page, Problem, ReadAgain, Update, Written
from gitlab_port_export.port.catalog import Catalog
from gitlab_port_export.port.deleter import Deleter
from gitlab_port_export.sync.choose import blueprints_to_make, can_run, expected_blueprints
from gitlab_port_export.sync.diff import Differ
from gitlab_port_export.sync.merge import Unread
from gitlab_port_export.sync.outcomes import Outcomes
from gitlab_port_export.sync.partly import Partly
from gitlab_port_export.sync.prepare import Run
from gitlab_port_export.sync.through import Stages
from gitlab_port_export.sync.vanished import deleted, entities_of, proved_gone
from gitlab_port_export.sync.write import carried_out, ensure_blueprints, make_catalog, make_searches, sink_of

# What was written is read once more: another run may have read it later than this one and written it earlier. So often
# at most, for an object may go on changing.
MOST_LOOKS = 3
# What was made so long ago at most may come late, by so many seconds.
YOUNG, LATE_SECONDS = timedelta(seconds=30), 3.0


def follow(run: Run, outcomes: Outcomes, executor: Executor, intake: Intake) -> Generator[Event, None, None]:
    """Yield what becomes of the objects that events name. Raises GitLabUnavailable."""
    blueprints = expected_blueprints(run.settings, run.chosen, run.blueprints)
    resources = tuple(one for one in run.mapping.resources if can_run(run.mapping, one, blueprints))
    touched = tuple(one for one in intake.touched if concerned(resources, one))
    outcomes.part = f"{intake.events} events of GitLab" if intake.events > 1 else "an event of GitLab"
    outcomes.left += (f"{one.event}: {one.why}" for one in intake.untold)
    # A push names a branch, files and a project, and may be of use for one of them.
    places = {(one.project, one.group) for one in touched}
    others = (one for one in intake.touched if one not in touched and (one.project, one.group) not in places)
    outcomes.left += (f"{one.shown}: no kind of the mapping is read for it" for one in others)
    if run.mapping.spec_paths and any(one.what == "files" for one in intake.touched):
        outcomes.left.append("specPath: entities that stand in files")
    if not touched:
        return
    now = first_contact(run.gitlab, tuple(token.alias for token in run.settings.tokens)).now
    yield from doubtful_clock(now)
    looks = Looks(run, now, resources, touched)
    found = looks.plan()
    outcomes.plan = found.plan
    yield from found.plan.inventory.problems
    following = begin(outcomes, executor, looks, found)
    rows: Counter[Touched] = Counter()
    wrote = yield from following.first(found, rows)
    wrote |= yield from _late(looks, following, rows, outcomes.faults)
    lost = yield from _deleted(run, following.catalog, looks, found, rows)
    outcomes.left += (*_without_rows(looks, found, rows, lost), *following.left())
    yield from following.further(outcomes.faults, wrote=wrote)


@dataclass(frozen=True)
class Looks:
    """How the objects are looked at: each time with a fresh inventory, as that has rows too."""

    run: Run
    now: datetime
    resources: tuple[Resource, ...]
    touched: tuple[Touched, ...]

    def plan(self) -> PlanAgain:
        """Ask for the groups and projects, and return what is to be read. Raises GitLabUnavailable."""
        run = self.run
        patterns = {token.alias: Patterns(token.patterns) for token in run.settings.tokens}
        named = named_by(self.touched, self.resources)
        known = read_named(run.gitlab, patterns, run.dialect, run.mapping, named, run.settings.workers)
        return plan_again(Context(known, run.dialect, self.now, self.resources), self.touched)


@dataclass(frozen=True)
class Following:
    """What compares fresh rows with Port and writes them, look by look.

    `stale` are the objects that GitLab showed in an older state than their events tell of.
    """

    looks: Looks
    catalog: Catalog
    stages: Stages
    differ: Differ
    rules: Partly
    unread: Unread
    stale: set[Touched] = field(default_factory=set)

    def first(self, found: PlanAgain, rows: Counter[Touched]) -> Generator[Event, None, bool]:
        """Read, compare and write; count the rows of each object, and return whether anything was written."""
        wrote = False
        for event in self.first_of(found, rows):
            if isinstance(event, Page):
                self.stale.update(_outdated(event, self.looks.touched))
            wrote |= _is_write(event)
            yield event
        return wrote

    def first_of(self, found: PlanAgain, rows: Counter[Touched]) -> Iterator[Event]:
        """Read, compare and write; count the rows of each object."""
        for event in self.stages.through(self.differ, self.pages(found)):
            if isinstance(event, Ended):
                rows[found.of[event.number]] += event.rows
            yield event

    def further(self, known: Iterable[object], *, wrote: bool) -> Iterator[Event]:
        """Look once more as long as something was written; `known` is what was found wrong before."""
        for _ in range(MOST_LOOKS - 1):
            if not wrote:
                return
            wrote = False
            for event in self.stages.through(self.differ.afresh(), self.pages(self.looks.plan())):
                wrote |= _is_write(event)
                yield from _further(event, known)

    def pages(self, found: PlanAgain) -> Iterable[Event]:
        """Return the rows of a plan."""
        return read(found.plan, self.looks.run.gitlab, self.looks.run.settings.workers)

    def left(self) -> Iterator[str]:
        """Yield what is left to full runs, for people."""
        yield from self.rules.words()
        yield from self.unread.words()


def begin(outcomes: Outcomes, executor: Executor, looks: Looks, found: PlanAgain, action_run: str = "") -> Following:
    """Return what compares the rows of these looks with Port; its writes are tied to `action_run` of Port, if any."""
    run = looks.run
    mapping, blueprints = run.mapping, expected_blueprints(run.settings, run.chosen, run.blueprints)
    sink = sink_of(run.port, mapping, run.settings, executor, writes=run.writes).tied(action_run)
    ensure_blueprints(sink, blueprints_to_make(run.settings, run.chosen), run.blueprints)
    catalog = make_catalog(run.port, mapping, blueprints, run.blueprints, executor, narrow=True)
    searches = make_searches(sink, mapping, catalog)
    rules = Partly(mapping, frozenset(index for one in found.plan.reads for index in one.resources))
    unread = Unread(mapping, outcomes.faults, catalog.holds, rules.left_out)
    stages = Stages(
        mapping, run.evaluator, unread, lambda changes: carried_out(sink, changes, catalog, searches), catalog, rules
    )
    differ = Differ(catalog.ledger, searches, partial(fixed_fields, mapping))
    return Following(looks, catalog, stages, differ, rules, unread)


def _late(
    looks: Looks, following: Following, rows: Counter[Touched], known: Iterable[object]
) -> Generator[Event, None, bool]:
    """Wait a moment for what GitLab does not show yet, and look again; return whether anything was written.

    It may send an event before all of its servers know what it is about:
    https://gitlab.com/gitlab-org/gitlab/-/issues/28461
    """
    absent = [one for one in looks.touched if not (rows[one] or one.gone) and _is_young(one.made, looks.now)]
    stale = [one for one in looks.touched if one in following.stale and _is_young(one.saved, looks.now)]
    if not (absent or stale):
        return False
    looks.run.gitlab.http.clock.sleep(LATE_SECONDS)
    found = replace(looks, touched=tuple(dict.fromkeys((*absent, *stale)))).plan()
    wrote = False
    for event in replace(following, differ=following.differ.afresh()).first_of(found, rows):
        wrote |= _is_write(event)
        yield from (event,) if absent else _further(event, known)
    return wrote


def _is_young(moment: str, now: datetime) -> bool:
    return bool(moment) and now - instant(moment) < YOUNG


def _outdated(page: Page, touched: Iterable[Touched]) -> Iterator[Touched]:
    """Yield the merge requests and issues of a page that GitLab shows as they were before the event."""
    for one in touched:
        for row in page.rows if one.saved and page.kind == one.what else ():
            if (row.get("iid"), row.get("project_id")) == (one.key, one.project):
                moment = row.get("updated_at")
                if isinstance(moment, str) and instant(moment) < instant(one.saved):
                    yield one


def _deleted(
    run: Run, catalog: Catalog, looks: Looks, found: PlanAgain, rows: Counter[Touched]
) -> Generator[Event, None, frozenset[Touched]]:
    """Delete what GitLab proves to be gone and the events themselves name; return these objects."""
    known = found.plan.inventory
    absent = [one for one in looks.touched if not rows[one] and seen(known, one)]
    keys: dict[tuple[str, str], Touched] = {}
    for kind, lost in proved_gone(run.gitlab, known, looks.resources, absent, run.settings.workers):
        keys |= dict.fromkeys(entities_of(run.mapping, run.evaluator, kind, lost), lost.touched)
    if keys:
        deleter = Deleter(run.port, cascade=False) if run.writes else None
        yield from deleted(
            run.mapping, catalog, keys, run.integration.identifier, run.settings.allow_deletes, run.port_time, deleter
        )
    return frozenset(keys.values())


def _without_rows(looks: Looks, found: PlanAgain, rows: Counter[Touched], lost: frozenset[Touched]) -> Iterator[str]:
    for one in looks.touched:
        if one in lost or rows[one]:
            continue
        if not seen(found.plan.inventory, one):
            yield f"{one.shown}: no token lists it, or the token mapping leaves it out"
        else:
            yield f"{one.shown}: it is gone or a selector leaves it out, so what Port holds of it stays"
    yield from dict.fromkeys(left_to_full_runs(looks.resources, looks.touched))


def _is_write(event: Event) -> bool:
    return isinstance(event, Written) and isinstance(event.change, Create | Update)


def _further(event: Event, known: Iterable[object]) -> Iterator[Event]:
    """Yield what the report does not have from the first look."""
    match event:
        case Page():
            yield ReadAgain(event.kind)
        case Written() | Failed() | Create() | Update():
            yield event
        case Problem(warning=False) if event not in tuple(known):
            yield event
