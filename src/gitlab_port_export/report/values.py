"""The values that a report and a check hold; every renderer reads these and nothing else."""

from collections.abc import Iterable
from collections.abc import Mapping as Dict
from dataclasses import astuple, dataclass, field
from typing import Literal

from gitlab_port_export.model import Create, Delete, Held, Problem, Update


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check found in one place, and what to do about it; an error would keep a sync from working."""

    level: Literal["ok", "warning", "error"]
    area: Literal["settings", "mapping", "gitlab", "port"]
    where: str
    what: str
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Counts:
    """What happened to the entities of one blueprint."""

    created: int = 0
    updated: int = 0
    unchanged: int = 0
    deleted: int = 0
    held: int = 0
    failed: int = 0


@dataclass(frozen=True, slots=True)
class KindCounts:
    """What was read of one kind; `failed` are the reads among `reads` that ended with a Problem.

    `unnamed` are rows that gave no entity although the selector took them; those it left out are `skipped`.
    """

    pages: int = 0
    rows: int = 0
    skipped: int = 0
    unnamed: int = 0
    requests: int = 0
    reads: int = 0
    failed: int = 0


@dataclass(frozen=True, slots=True)
class ReadCounts:
    """What came of one read: a kind from one group or project (empty for all of GitLab).

    `failure` says why it is not complete.
    """

    kind: str
    scope: str
    rows: int = 0
    requests: int = 0
    seconds: float = 0.0
    failure: str = ""


@dataclass(frozen=True, slots=True)
class Span:
    """When something was under way, in seconds since the run began: "inventory", a kind, "write" or "delete"."""

    name: str
    start: float
    end: float


@dataclass(frozen=True)
class Report:
    """The fold of everything that happened in a run; every renderer reads this and nothing else.

    `command` is "sync" or "plan"; in a plan the counts are changes that a sync would make. `seconds` is wall time.
    Counts are exact; of `changes`, `reads` and held identifiers only a bounded sample is kept, which holds no values.
    `links` are (label, address) of pages about the run. `skipped`: it did nothing, because another run was active.
    """

    command: str
    exit_code: int
    started: str
    seconds: float
    mapping_origin: str = ""
    integration: str = ""
    blueprints: Dict[str, Counts] = field(default_factory=dict)
    kinds: Dict[str, KindCounts] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()
    held: tuple[Held, ...] = ()
    changes: tuple[Create | Update | Delete, ...] = ()
    gitlab_requests: int = 0
    port_requests: int = 0
    plan: tuple[str, ...] = ()
    timeline: tuple[Span, ...] = ()
    reads: tuple[ReadCounts, ...] = ()
    links: tuple[tuple[str, str], ...] = ()
    skipped: bool = False

    @property
    def failures(self) -> list[Problem]:
        """The problems that are no warnings."""
        return [problem for problem in self.problems if not problem.warning]

    @property
    def warnings(self) -> list[Problem]:
        """The problems that neither hold a deletion nor change the exit code by default."""
        return [problem for problem in self.problems if problem.warning]


def total(counts: Iterable[Counts]) -> Counts:
    """Return the sum of all `counts`."""
    return Counts(*map(sum, zip(*map(astuple, counts), strict=True)))


def writes(counts: Counts) -> int:
    """Return how many entities were, or in a plan would be, created, updated or deleted."""
    return counts.created + counts.updated + counts.deleted
