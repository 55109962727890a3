"""The values that travel through a run: page, entity, change, Problem; frozen, no I/O."""

from collections import abc
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any, Literal, NamedTuple

Dialect = Literal["gitlab", "gitlab-v2"]
Row = dict[str, Any]
# The project of a row and its number there, below zero for what has no id: of rows with one key the lowest wins.
Order = tuple[int, int]
Stage = Literal[
    "settings", "mapping", "inventory", "read", "transform", "diff", "write", "delete", "integration", "report"
]


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that went wrong with one thing: an event like others, which does not end the run.

    `resources` are the indexes of the mapping's resources whose rows may be missing because of it; deletions
    of every blueprint that those may feed are held. `holds_all` holds every deletion. A `warning` holds
    nothing and leaves the exit code alone. `count` says how often it happened, `sample` names one case.
    """

    stage: Stage
    why: str
    hint: str = ""
    token: str = ""
    scope: str = ""
    kind: str = ""
    resources: tuple[int, ...] = ()
    line: int | None = None
    field: str = ""
    blueprint: str = ""
    entity: str = ""
    holds_all: bool = False
    warning: bool = False
    count: int = 1
    sample: str = ""
    column: int | None = None


@dataclass(frozen=True, slots=True)
class Scope:
    """A group or project that rows are read from: its full path in GitLab and the alias of the token that reads it."""

    id: int
    path: str
    is_group: bool = False
    token: str = ""


@dataclass(frozen=True, slots=True)
class Page:
    """Rows of one kind as GitLab gave them, the scope they came from and the resources they feed.

    `weight` is about how many bytes the rows hold where that may be many.
    """

    kind: str
    resources: tuple[int, ...]
    scope: Scope
    rows: list[Row]
    weight: int = 0


def place_of(field: str) -> int:
    """Return the place of a dotted field: 0 title and icon, 1 properties, 2 team, 3 relations; 2 and 3 are sets."""
    head, dot, _ = field.partition(".")
    return {"properties": 1, "relations": 3}[head] if dot else 2 if head == "team" else 0


@dataclass(frozen=True)
class Shape:
    """The dotted names of the fields that an entity sets, ordered by `place_of`."""

    names: tuple[str, ...]

    @classmethod
    @lru_cache(maxsize=1000)
    def of(cls, names: tuple[str, ...]) -> "Shape":
        """Return the shape of these names, in any order; many entities have the same one."""
        return cls(tuple(sorted(names, key=place_of)))

    @cached_property
    def keys(self) -> tuple[tuple[str, ...], ...]:
        """The names by place, without what stands before the dot."""
        return tuple(
            tuple(name if place in (0, 2) else name.partition(".")[2] for name in self.names if place_of(name) == place)
            for place in range(4)
        )

    @cached_property
    def related(self) -> int:
        """How many fields come before the relations."""
        return len(self.names) - len(self.keys[3])

    @cached_property
    def sets(self) -> int:
        """How many fields come before the team and the relations, which alone may be search queries."""
        return self.related - len(self.keys[2])


class Entity(NamedTuple):
    """What one row became: a value for each field of its shape. `identifier` may be a search query.

    `resource` and `part` say which entity mapping of which resource made it. There is one for each row, and most are
    unchanged: a named tuple is made in a third of the time of a dataclass, and `body` only for what is written.
    """

    blueprint: str
    identifier: Any
    shape: Shape
    values: tuple[Any, ...]
    resource: int
    order: tuple[int, int] = (0, 0)
    part: int = 0

    @classmethod
    def of(
        cls,
        blueprint: str,
        identifier: Any,
        body: abc.Mapping[str, Any],
        resource: int,
        order: tuple[int, int] = (0, 0),
    ) -> "Entity":
        """Return the entity of a body as Port takes it."""
        found: dict[str, Any] = {}
        for name, value in body.items():
            if name in ("properties", "relations"):
                found |= {f"{name}.{key}": one for key, one in (value or {}).items()}
            else:
                found[name] = value
        shape = Shape.of(tuple(found))
        return cls(blueprint, identifier, shape, tuple(found[name] for name in shape.names), resource, order)

    @property
    def body(self) -> dict[str, Any]:
        """The fields as Port takes them, properties and relations nested; made anew each time."""
        own, properties, team, relations = self.shape.keys
        values = iter(self.values)
        body: dict[str, Any] = dict(zip(own, values, strict=False))
        if properties:
            body["properties"] = dict(zip(properties, values, strict=False))
        body.update(zip(team, values, strict=False))
        if relations:
            body["relations"] = dict(zip(relations, values, strict=False))
        return body

    @property
    def relations(self) -> Iterator[tuple[str, Any]]:
        """(name, value) of each relation that is set."""
        return zip(self.shape.keys[3], self.values[self.shape.related :], strict=True)

    @property
    def key(self) -> tuple[str, str]:
        """(blueprint, identifier as text): what makes two entities the same one in Port."""
        return self.blueprint, str(self.identifier)

    @property
    def is_search(self) -> bool:
        """Whether Port has to find the entity by a query."""
        return isinstance(self.identifier, dict)

    @property
    def searches(self) -> bool:
        """Whether anything of the entity has to be found by a query: itself, its team, or what it relates to."""
        return type(self.identifier) is dict or dict in map(type, self.values[self.shape.sets :])

    def without(self, field: str) -> "Entity":
        """Return the entity without one of its fields."""
        pairs = zip(self.shape.names, self.values, strict=True)
        return self.holding({name: value for name, value in pairs if name != field})

    def holding(self, fields: abc.Mapping[str, Any]) -> "Entity":
        """Return the entity with these values, by the dotted names of their fields, and no others."""
        shape = Shape.of(tuple(fields))
        return self._replace(shape=shape, values=tuple(fields[name] for name in shape.names))


@dataclass(frozen=True, slots=True)
class Skipped:
    """A row that gave no entity on purpose: the selector left it out, Port's search found none, or another row won.

    `rows` are the orders (see Entity) of both rows with the same identifier.
    """

    resource: int
    reason: Literal["selector", "identifier", "duplicate"]
    sample: str = ""
    count: int = 1
    rows: tuple[Order, Order] | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Unwanted:
    """Rows of a kind that changed and that no selector of an incremental run wants: it may have wanted them before."""

    kind: str
    count: int


@dataclass(frozen=True, slots=True)
class Unnamed:
    """Rows that the selector took and that gave no entity, because the expression of `field` gave nothing.

    `part` is the entity mapping of the resource, None for all of them. `every` says that no row gave an entity.
    """

    resource: int
    part: int | None
    field: str
    count: int
    sample: str = ""
    every: bool = False


@dataclass(frozen=True, slots=True)
class Narrowed:
    """A resource was read from a source that may show fewer rows than another one, which its selector allows too."""

    resource: int
    why: str
    hint: str


@dataclass(frozen=True, slots=True)
class Create:
    """Port does not hold the entity."""

    entity: Entity


@dataclass(frozen=True, slots=True)
class Update:
    """Port holds the entity with other values in `fields` (empty where it cannot be compared).

    `again`: this run created it a moment ago, from a row that another one with the same key now beats.
    """

    entity: Entity
    fields: tuple[str, ...] = ()
    again: bool = False


@dataclass(frozen=True, slots=True)
class Unchanged:
    """Port already holds these `count` entities as they are."""

    blueprint: str
    count: int = 1


@dataclass(frozen=True, slots=True)
class Settle:
    """All changes so far must be written before the next event is asked for: the searches behind it may find them."""


@dataclass(frozen=True, slots=True)
class Delete:
    """An owned entity is no longer produced; `cascade` when Port had to delete its dependents too."""

    blueprint: str
    identifier: str
    cascade: bool = False


@dataclass(frozen=True, slots=True)
class Held:
    """Deletions that were not made (held): `reason` and `why` say what held them, `hint` how to go on.

    A report that keeps only some of the identifiers counts the others in `more`.
    """

    blueprint: str
    identifiers: tuple[str, ...]
    reason: Literal["problem", "search", "unnamed", "limit", "empty", "never", "dependents", "recent", "plan", "role"]
    why: str
    hint: str = ""
    more: int = 0

    @property
    def count(self) -> int:
        """How many deletions are held."""
        return len(self.identifiers) + self.more


Change = Create | Update | Unchanged | Delete


@dataclass(frozen=True, slots=True)
class Written:
    """Port confirmed the change."""

    change: Create | Update | Delete


@dataclass(frozen=True, slots=True)
class Failed:
    """Port refused the change, or did not confirm it; `field` and `sample` name what it refused where that is known."""

    change: Create | Update | Delete
    why: str
    hint: str = ""
    field: str = ""
    sample: str = ""


@dataclass(frozen=True, slots=True)
class Planned:
    """What will be read: by kind how many reads, and the fewest requests that they take."""

    kinds: abc.Mapping[str, tuple[int, int]]


@dataclass(frozen=True, slots=True)
class Began:
    """A read of one kind from one scope (its full path, empty for all of GitLab) begins; `number` tells it apart."""

    number: int
    kind: str
    scope: str = ""


@dataclass(frozen=True, slots=True)
class Ended:
    """The read with that number came to its end; `failure` says why it is not complete."""

    number: int
    kind: str
    scope: str = ""
    rows: int = 0
    requests: int = 0
    failure: str = ""


@dataclass(frozen=True, slots=True)
class Counted:
    """The read with that number was one list of several pages, and GitLab counted `total` rows on each of them.

    `clock` is GitLab's own time at the first page, as its header `Date` says it. A list that was read in `windows` has
    a query and a total for each.
    """

    number: int
    token: str
    path: str
    params: tuple[tuple[str, str], ...]
    total: int
    clock: str
    windows: tuple[tuple[tuple[tuple[str, str], ...], int], ...] = ()


@dataclass(frozen=True, slots=True)
class ReadAgain:
    """A page of this kind was read once more, before something is deleted."""

    kind: str


Event = (
    Page
    | Problem
    | Skipped
    | Unnamed
    | Narrowed
    | Unchanged
    | Written
    | Failed
    | Held
    | Create
    | Update
    | Settle
    | Delete
    | Planned
    | Began
    | Ended
    | Counted
    | ReadAgain
)

Write = Create | Update | Delete


def target(change: Write) -> tuple[str, str]:
    """Return (blueprint, identifier as text) of the entity that `change` is about."""
    return (change.blueprint, change.identifier) if isinstance(change, Delete) else change.entity.key
