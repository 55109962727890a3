"""ProblemGroups: many problems that say the same become one, which counts them."""

from dataclasses import dataclass, field, replace

from gitlab_port_export.model import Problem

# How many different problems are kept. Further ones are only counted, by stage and place.
MAX_PROBLEMS = 1_000
FURTHER = "further problems, each in other words"
MAX_SAMPLES = 3


class ProblemGroups:
    """Collects problems in groups that differ only in scope, entity and sample; memory is bounded."""

    def __init__(self) -> None:
        self._groups: dict[Problem, _Group] = {}

    def add(self, problem: Problem) -> None:
        """Add a problem to its group."""
        key = _alike(problem)
        if len(self._groups) >= MAX_PROBLEMS and key not in self._groups:
            problem = _further(problem)
            key = _alike(problem)
        self._groups.setdefault(key, _Group(problem)).add(problem)

    def merged(self) -> tuple[Problem, ...]:
        """Return one problem for each group, in the order in which they arose."""
        return tuple(group.merged() for group in self._groups.values())


@dataclass(slots=True)
class _Group:
    """Problems that differ only in scope, entity and sample."""

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

    def merged(self) -> Problem:
        """Return one problem. What all have in common stays in its field, what differs becomes the sample."""
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
    """Return the problem without what may differ in a group."""
    return replace(problem, scope="", entity="", sample="", count=1)


def _further(problem: Problem) -> Problem:
    """Return a problem that stands for further ones of the same stage and place; its sample is this one."""
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
