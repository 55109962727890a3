"""What earlier stages found and later ones need, gathered from the events."""

from dataclasses import dataclass, field

from gitlab_port_export.gitlab.plan import SyncPlan
from gitlab_port_export.jq.program import LEGACY
from gitlab_port_export.model import Counted, Event, Failed, Narrowed, Page, Problem, Row, Unnamed, Update, Written
from gitlab_port_export.port.integration import EXAMPLES_PER_KIND


@dataclass
class Outcomes:
    """The faults of a run, a few raw rows of each kind, and the plan that was read.

    `counted` are the long lists, which may prove to be unchanged before something is deleted. `refused` are the
    blueprints of updates that Port refused. `part` says which part was read, `left` what is left to full runs. `wrote`
    says whether Port confirmed any write, `skipped` whether the run did nothing because another one is active.
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
            case Failed(change=Update(entity=entity)):
                self.refused.add(entity.blueprint)
            case Written():
                self.wrote = True
