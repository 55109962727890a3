"""What earlier stages found and later ones need, gathered from the events."""

from collections import Counter
from dataclasses import dataclass, field

from gitlab_port_export.gitlab.plan import SyncPlan
from gitlab_port_export.jq.program import LEGACY
from gitlab_port_export.model import (
    Counted,
    Create,
    Delete,
    Event,
    Failed,
    Narrowed,
    Page,
    Problem,
    Row,
    Skipped,
    Unnamed,
    Unwanted,
    Update,
    Written,
)
from gitlab_port_export.port.integration import EXAMPLES_PER_KIND
from gitlab_port_export.report.values import Report, Rhythm
from gitlab_port_export.sync.faults import are_different


@dataclass
class Outcomes:
    """The faults of a run, a few raw rows of each kind, and the plan that was read.

    `counted` are the long lists, which may prove to be unchanged before something is deleted. `refused` are the
    blueprints of updates that Port refused. `part` says which part was read, `left` what is left to full runs. `wrote`
    says whether Port confirmed any write, `skipped` whether the run did nothing because another one is active.
    `rhythm` is that of an incremental run or of the full run in its place; `refused_of` are the resources of writes
    that Port refused, `repeated` those of which several rows gave one entity; `more` counts by blueprint the entities
    that Port holds more than before; `unwanted` counts by kind, and `left_by_query` by resource, the rows that no
    selector wants.
    `reports` are those of other runs of the same sync.
    """

    faults: list[Problem | Unnamed | Narrowed] = field(default_factory=list)
    examples: dict[str, list[Row]] = field(default_factory=dict)
    plan: SyncPlan | None = None
    counted: list[Counted] = field(default_factory=list)
    refused: set[str] = field(default_factory=set)
    part: str = ""
    left: list[str] = field(default_factory=list)
    wrote: bool = False
    skipped: bool = False
    rhythm: Rhythm | None = None
    refused_of: set[int] = field(default_factory=set)
    repeated: set[int] = field(default_factory=set)
    more: Counter[str] = field(default_factory=Counter)
    unwanted: Counter[str] = field(default_factory=Counter)
    left_by_query: Counter[int] = field(default_factory=Counter)
    reports: list[Report] = field(default_factory=list)

    def note(self, event: Event) -> None:
        """Keep what later stages need of an event."""
        match event:
            case Problem() | Unnamed() | Narrowed():
                self.faults.append(event)
            case Page():
                rows = self.examples.setdefault(event.kind, [])
                few = event.rows[: max(0, EXAMPLES_PER_KIND - len(rows))]
                rows += [{name: value for name, value in row.items() if name != LEGACY} for row in few]
            case Counted():
                self.counted.append(event)
            case Failed(change=Create(entity=entity) | Update(entity=entity) as change):
                self.refused_of.add(entity.resource)
                if isinstance(change, Update):
                    self.refused.add(entity.blueprint)
            case Written(change=change):
                self.wrote = True
                self._count(change)
            case Skipped(resource=resource, reason="duplicate", rows=rows):
                if rows is None or are_different(*rows):
                    self.repeated.add(resource)
            case Skipped(resource=resource, reason="selector", count=count):
                self.left_by_query[resource] += count
            case Unwanted(kind=kind, count=count):
                self.unwanted[kind] += count

    def _count(self, change: Create | Update | Delete) -> None:
        if isinstance(change, Create):
            self.more[change.entity.blueprint] += 1
        elif isinstance(change, Delete):
            self.more[change.blueprint] -= 1
