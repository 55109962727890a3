"""What a preview shows of each row: the row itself, its fields, and the entities that a sync would make of it."""

from dataclasses import dataclass
from typing import Any

from gitlab_port_export.mapping.model import Expression, Query
from gitlab_port_export.model import Entity, Problem, Row


@dataclass(frozen=True)
class FieldSample:
    """A field of the mapping for one row. `line` is its line in the mapping; with an `error` there is no `value`."""

    name: str
    expression: Expression | Query
    value: Any = None
    error: str = ""
    line: int | None = None


@dataclass(frozen=True)
class MappedSample:
    """What one entity mapping makes of a row, or of one item of it; `selected` is the result of the selector."""

    entity: int
    selected: FieldSample
    fields: tuple[FieldSample, ...]


@dataclass(frozen=True)
class RowSample:
    """A row as GitLab gave it, how it is mapped, and what a sync would make of it: entities, or why there are none.

    `resource` is None for a kind that the mapping does not have. The fields that expressions use come first in `row`.
    """

    resource: int | None
    scope: str
    row: Row
    mapped: tuple[MappedSample, ...]
    entities: tuple[Entity, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class PreviewRequest:
    """What to preview: a kind, how many rows of it, one of its resources or all, or the rows of that file.

    With `bare` the rows themselves are not shown.
    """

    kind: str
    limit: int = 3
    index: int | None = None
    row: str | None = None
    bare: bool = False


@dataclass(frozen=True)
class Preview:
    """The rows of the wanted resources; `exit_code` is 1 with Problems and 2 where an expression is no jq.

    With `bare` only what becomes of the rows is shown.
    """

    kind: str
    origin: str
    samples: tuple[RowSample, ...]
    problems: tuple[Problem, ...]
    exit_code: int = 0
    bare: bool = False
