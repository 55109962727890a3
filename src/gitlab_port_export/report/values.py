"""Report: the values that a report holds; every renderer reads these and nothing else."""

from collections.abc import Iterable, Mapping
from dataclasses import astuple, dataclass, field
from typing import Any, Literal

from gitlab_port_export.model import Create, Delete, Held, Problem, Update


@dataclass(frozen=True, slots=True)
class Counts:
    """How many entities of one blueprint were created, updated and so on."""

    created: int = 0
    updated: int = 0
    unchanged: int = 0
    deleted: int = 0
    held: int = 0
    failed: int = 0


@dataclass(frozen=True, slots=True)
class KindCounts:
    """How much was read of one kind; `failed` counts the reads among `reads` that ended with a Problem.

    `skipped` counts the rows that a selector left out, `unnamed` the rows that gave no entity for another reason.
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
    """The result of one read: one kind from one group or project (an empty scope stands for all of GitLab).

    `failure` says why the read is not complete.
    """

    kind: str
    scope: str
    rows: int = 0
    requests: int = 0
    seconds: float = 0.0
    failure: str = ""


@dataclass(frozen=True, slots=True)
class Span:
    """Start and end of a stage, in seconds since the run began: "inventory", a kind, "write" or "delete"."""

    name: str
    start: float
    end: float


@dataclass(frozen=True, slots=True)
class FieldChange:
    """What a change does to one field, its dotted name: `old` and `new` value, or of a list what is added and removed.

    Values may be shown to people: they are short, and secrets are masked. An object is JSON text. `masked` says that
    the values differ in what is masked. Of a list, `more` items are left out.
    """

    field: str
    old: Any = None
    new: Any = None
    is_list: bool = False
    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    more: int = 0
    masked: bool = False


@dataclass(frozen=True, slots=True)
class Details:
    """What a plan shows of a change: the entity's title, its fields, `why` it is deleted, and its pages.

    `port` and `gitlab` are addresses (http or https) or empty. `title` is empty where it only repeats the identifier.
    """

    title: str = ""
    fields: tuple[FieldChange, ...] = ()
    why: str = ""
    port: str = ""
    gitlab: str = ""


@dataclass(frozen=True, slots=True)
class Rhythm:
    """How a run with `--since last` went: what it read, or `why` it was a full one.

    Instants are those of GitLab's clock in ISO form, or empty. `since` is the earliest from which on rows of the
    `kinds` that took part were read, but for an overlap of `lookback` seconds. `age` is how many seconds ago the last
    full run began. `rows_left` counts rows that changed and that no selector wants.
    """

    mode: Literal["full", "incremental"]
    why: str = ""
    since: str = ""
    lookback: float = 0
    last_full: str = ""
    age: float = 0
    kinds: tuple[str, ...] = ()
    rows_left: int = 0


@dataclass(frozen=True)
class Report:
    """Everything that a report says of a run; every renderer reads this and nothing else.

    `command` is "sync" or "plan"; in a plan the counts are changes that a sync would make. `seconds` is wall time.
    Counts are exact. Of `changes`, `reads` and held identifiers a large run keeps only some. `details` has what a plan
    shows of changes, by blueprint and identifier, of a large plan only of some. `links` are (label, address) of pages
    about the run. `part` is empty for a full run, or says what was read, and `left` what is left to full runs.
    `rate` is the bound of requests a second to GitLab, where it decided how long the run took.
    `skipped` says that the run did nothing, because another run was active. `rhythm` is there with `--since last`.
    """

    command: str
    exit_code: int
    started: str
    seconds: float
    mapping_origin: str = ""
    integration: str = ""
    blueprints: Mapping[str, Counts] = field(default_factory=dict)
    kinds: Mapping[str, KindCounts] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()
    held: tuple[Held, ...] = ()
    changes: tuple[Create | Update | Delete, ...] = ()
    gitlab_requests: int = 0
    port_requests: int = 0
    rate: float | None = None
    plan: tuple[str, ...] = ()
    timeline: tuple[Span, ...] = ()
    reads: tuple[ReadCounts, ...] = ()
    links: tuple[tuple[str, str], ...] = ()
    skipped: bool = False
    part: str = ""
    left: tuple[str, ...] = ()
    rhythm: Rhythm | None = None
    details: Mapping[tuple[str, str], Details] = field(default_factory=dict)

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
