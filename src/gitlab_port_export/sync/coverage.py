"""What a run has read of each resource: whole, a part, or nothing. Only `policy.py` judges it."""

from collections.abc import Container, Iterable
from dataclasses import dataclass
from typing import Literal

from gitlab_port_export.mapping.blueprints import mapped_blueprints
from gitlab_port_export.mapping.model import Mapping
from gitlab_port_export.model import Narrowed, Problem, Unnamed


@dataclass(frozen=True, slots=True)
class Searched:
    """Port finds the resource's entities by a search, so which of them are gone cannot be told."""

    resource: int


# Why an entity of a resource may be absent although GitLab has its object.
Gap = Problem | Unnamed | Narrowed | Searched


@dataclass(frozen=True, slots=True)
class ResourceCoverage:
    """What was read of one resource, and the gaps in it in the order in which they were found.

    `blueprints` are those of its entity mappings, None where the row decides.
    """

    index: int
    blueprints: tuple[str | None, ...]
    is_read: bool = True
    gaps: tuple[Gap, ...] = ()

    @property
    def extent(self) -> Literal["whole", "part", "nothing"]:
        """How much of the resource was read."""
        if not self.is_read:
            return "nothing"
        return "part" if self.gaps else "whole"

    def feeds(self, blueprint: str, part: int | None = None) -> bool:
        """Say whether the resource, or one of its entity mappings, may give entities of a blueprint."""
        names = self.blueprints if part is None else self.blueprints[part : part + 1]
        return None in names or blueprint in names


@dataclass(frozen=True, slots=True)
class Coverage:
    """What was read of all resources; `everywhere` are the gaps of all, also of resources that are no longer mapped."""

    resources: tuple[ResourceCoverage, ...]
    everywhere: tuple[Problem, ...] = ()

    def feeding(self, blueprint: str) -> tuple[ResourceCoverage, ...]:
        """Return the resources that may give entities of a blueprint."""
        return tuple(resource for resource in self.resources if resource.feeds(blueprint))


def coverage_of(mapping: Mapping, read: Container[int], events: Iterable[Gap]) -> Coverage:
    """Fold what a run found into its coverage: of the resources that were `read`, each is whole but for its gaps.

    A warning is no gap. What is of no resource of the mapping may hide anything.
    """
    gaps: dict[int, list[Gap]] = {resource.index: [] for resource in mapping.resources}
    everywhere: list[Problem] = []
    for event in (*events, *_searched(mapping)):
        if not isinstance(event, Problem):
            gaps[event.resource].append(event)
        elif not event.warning:
            everything = event.holds_all or not gaps.keys() >= set(event.resources)
            if everything:
                everywhere.append(event)
            for index in gaps if everything else event.resources:
                gaps[index].append(event)
    blueprints = mapped_blueprints(mapping)
    return Coverage(
        tuple(ResourceCoverage(index, blueprints[index], index in read, tuple(gaps[index])) for index in gaps),
        tuple(everywhere),
    )


def _searched(mapping: Mapping) -> Iterable[Searched]:
    """Yield a gap for each resource whose identifier is a search query."""
    for resource in mapping.resources:
        if any(isinstance(entity.identifier, dict) for entity in resource.mappings):
            yield Searched(resource.index)
