"""The words of the product as frozen values: mapping, page, entity, change, problem; no I/O here."""

from collections.abc import Iterator
from collections.abc import Mapping as Dict
from dataclasses import dataclass, field
from functools import cached_property, lru_cache, partial
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    GetCoreSchemaHandler,
    GetPydanticSchema,
    Tag,
    WithJsonSchema,
    field_validator,
)
from pydantic.alias_generators import to_camel
from pydantic.json_schema import SkipJsonSchema
from pydantic_core import core_schema

Dialect = Literal["gitlab", "gitlab-v2"]
Row = dict[str, Any]
# The project of a row and its number there, below zero for what has no id: of rows with one key the lowest wins.
Order = tuple[int, int]
# Line and column, counted from 1; both None where they are not known.
Position = tuple[int, int] | tuple[None, None]
Stage = Literal[
    "settings", "mapping", "inventory", "read", "transform", "diff", "write", "delete", "integration", "report"
]


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that went wrong with one thing; it travels down the line and never ends the run.

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
class Finding:
    """What a check found in one place, and what to do about it; an error would keep a sync from working."""

    level: Literal["ok", "warning", "error"]
    area: Literal["settings", "mapping", "gitlab", "port"]
    where: str
    what: str
    hint: str = ""


class _Camel(BaseModel):
    """Mapping files are written in camelCase; unknown keys are kept so that a warning can name them."""

    # Ocean parses with pydantic v1, which reads a YAML number as text where text is wanted (`ref: 2024`).
    model_config = ConfigDict(
        frozen=True,
        extra="allow",
        alias_generator=to_camel,
        coerce_numbers_to_str=True,
        allow_inf_nan=False,
        defer_build=True,  # a run uses few of the kinds' selectors
    )


def shown(value: Any) -> str:
    """Return `value` as a message names it: short, one line, safe for a terminal."""
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case dict():
            return "an object"
        case list() | tuple():
            return "a list"
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _as_expression(value: Any) -> Any:
    """YAML numbers and booleans stand where users mean the jq literal; Ocean reads `5` as `"5"` too."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    if not isinstance(value, str):
        raise ValueError(f"must be a jq expression; got {shown(value)}")
    if not value.strip():
        # jq takes an empty program for `.`, which would put the whole row into the field.
        raise ValueError("must be a jq expression; got an empty text")
    return value


Expression = Annotated[
    str,
    BeforeValidator(_as_expression),
    WithJsonSchema({"type": ["string", "number", "boolean"], "pattern": r"\S"}),
]


class _SearchRule(_Camel):
    """One condition of a search query; each part is a jq expression, so literals stand in inner quotes."""

    model_config = ConfigDict(extra="ignore", title="Condition")

    property: Expression = Field(description="jq; the property to look at, such as `'\"$identifier\"'`")
    operator: Expression = Field(description="jq; Port's operator, such as `'\"=\"'`")
    value: Expression = Field(description="jq; the value to compare with")


class _Search(_Camel):
    """A search query: conditions and further queries, joined by "and" or "or"."""

    model_config = ConfigDict(extra="ignore", title="Search query")

    combinator: Expression = Field(description="jq; `'\"and\"'` or `'\"or\"'`")
    rules: tuple[
        Annotated[
            Annotated[_SearchRule, Tag("<rule>")] | Annotated["_Search", Tag("<query>")],
            Discriminator(lambda rule: "<query>" if is_search(rule) else "<rule>"),
        ],
        ...,
    ] = Field(description="conditions, and further queries")


def is_search(rule: Any) -> bool:
    """Whether one of a search query's rules is a nested query."""
    return isinstance(rule, _Search) or (isinstance(rule, dict) and ("rules" in rule or "combinator" in rule))


def _search_schema(_source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
    """Check a query as the model above, with a path to each fault, then keep it as plain JSON."""
    plain = partial(_Search.model_dump, mode="json")
    return core_schema.no_info_after_validator_function(plain, handler.generate_schema(_Search))


# A search query, every leaf a jq expression: {combinator, rules: [{property, operator, value} | query]}.
Query = Annotated[dict[str, Any], GetPydanticSchema(_search_schema)]
# Chosen by the value's type before it is checked, so that a wrong leaf is one fault and not one a variant.
ExpressionOrQuery = Annotated[
    Annotated[Expression, Tag("<jq>")] | Annotated[Query, Tag("<query>")],
    Discriminator(lambda value: "<query>" if isinstance(value, dict) else "<jq>"),
]


class Selector(_Camel):
    """What every kind's selector has: a jq query that must give true or false for each row."""

    query: Expression = Field(description="jq; the row is mapped when it gives true")
    export_env_variables: tuple[str, ...] = Field(
        default=(), description="taken and without effect, as in Ocean; `OCEAN__EXPORT__JQ_ENV` says what jq may read"
    )


def _nothing_is_empty(value: Any) -> Any:
    """`relations:` with every line below it commented out is null in YAML, and means none."""
    return {} if value is None else value


Expressions = Annotated[
    dict[str, Expression], BeforeValidator(_nothing_is_empty, json_schema_input_type=dict[str, Expression] | None)
]
Relations = Annotated[
    dict[str, ExpressionOrQuery],
    BeforeValidator(_nothing_is_empty, json_schema_input_type=dict[str, ExpressionOrQuery] | None),
]


class EntityMapping(_Camel):
    """How one row becomes one entity; every value is a jq expression, or a search query made of them."""

    identifier: ExpressionOrQuery = Field(
        description="jq; what tells the entity apart within its blueprint, or a search query; a row without one "
        "gives no entity, and holds deletions"
    )
    blueprint: Expression = Field(description="jq; text stands in inner quotes, as in `'\"service\"'`")
    title: Expression | None = Field(default=None, description="jq; what Port shows, by default the identifier")
    icon: Expression | None = Field(default=None, description="jq; the name of one of Port's icons")
    team: ExpressionOrQuery | None = Field(default=None, description="jq; one or several teams, or a search query")
    properties: Expressions = Field(default_factory=dict, description="jq for each property of the blueprint")
    relations: Relations = Field(
        default_factory=dict,
        description="jq for each relation: identifiers of what it leads to, or a search query that finds them",
    )

    def fields(self) -> Iterator[tuple[str, str | dict[str, Any]]]:
        """Yield (dotted name, expression or query) of every field that is set: identifier, blueprint, as in a Shape."""
        for name in ("identifier", "blueprint", "title", "icon"):
            if (value := getattr(self, name)) is not None and name in self.model_fields_set:
                yield name, value
        yield from ((f"properties.{k}", v) for k, v in self.properties.items())
        if self.team is not None and "team" in self.model_fields_set:
            yield "team", self.team
        yield from ((f"relations.{k}", v) for k, v in self.relations.items())


def _one_is_a_list(value: Any) -> Any:
    """Ocean's files hold one object; Port's API and other integrations take a list as well."""
    if isinstance(value, list) and not value:
        raise ValueError("must have at least one entity mapping")
    return [value] if isinstance(value, dict | EntityMapping) else value


class _EntityBlock(_Camel):
    """The `entity:` part of a resource."""

    model_config = ConfigDict(title="Entity")

    mappings: Annotated[
        tuple[EntityMapping, ...],
        BeforeValidator(
            _one_is_a_list,
            json_schema_input_type=EntityMapping | Annotated[list[EntityMapping], Field(min_length=1)],
        ),
    ] = Field(description="how a row becomes an entity; a list makes several of each row")


def _empty_is_none(value: Any) -> Any:
    """Ocean takes an empty text, which forms leave behind, for none."""
    return None if value == "" else value


_ANY_TEXT = Annotated[str, WithJsonSchema({"type": ["string", "number", "boolean"]})]


class PortBlock(_Camel):
    """The `port:` part of a resource."""

    entity: _EntityBlock
    items_to_parse: Annotated[
        Expression | None, BeforeValidator(_empty_is_none, json_schema_input_type=_ANY_TEXT | None)
    ] = Field(default=None, description="jq; a list in the row, of which each item is mapped as a row of its own")
    items_to_parse_name: str = Field(default="item", description="the key under which the row holds its item")
    items_to_parse_top_level_transform: bool = Field(
        default=True, description="leave the list itself out of the row that holds an item"
    )


class Resource(_Camel):
    """One entry of the mapping's `resources`: a kind, which rows of it, and how they become entities."""

    kind: str = Field(description="what to read from GitLab")
    selector: Selector = Field(description="which rows of the kind, and what is added to them")
    port: PortBlock = Field(description="what becomes of each row in Port")
    index: SkipJsonSchema[int] = Field(default=0, exclude=True)
    known: SkipJsonSchema[bool] = Field(default=True, exclude=True, description="whether the exporter has this kind")

    @property
    def mappings(self) -> tuple[EntityMapping, ...]:
        """The entity mappings of the resource; the file may write one object or a list."""
        return self.port.entity.mappings


_LEVELS = Literal[10, 20, 30, 40, 50]


class Visibility(_Camel):
    """Which groups and projects the integration type gitlab-v2 lists."""

    use_min_access_level: bool = Field(default=True, description="only where the token's role is high enough")
    min_access_level: _LEVELS = Field(
        default=30, description="the lowest role: 10 guest, 20 reporter, 30 developer, 40 maintainer, 50 owner"
    )

    @field_validator(
        "min_access_level", mode="before", json_schema_input_type=_LEVELS | Literal["10", "20", "30", "40", "50"]
    )
    @classmethod
    def _level(cls, value: Any) -> Any:
        return int(value) if isinstance(value, str) and value.isdecimal() else value


def _one_is_listed(value: Any) -> Any:
    if isinstance(value, str | int | float) and not isinstance(value, bool):
        return [value]
    return () if value is None else value


class Mapping(_Camel):
    """Port's mapping (port-app-config), checked; `marks` gives line and column of each path for messages."""

    # Ocean takes the options of the root, and only those, in snake_case as well.
    model_config = ConfigDict(populate_by_name=True)

    resources: tuple[Resource, ...] = Field(description="what is read and mapped, in this order")
    delete_dependent_entities: bool = Field(
        default=True, description="only a written `true` lets a deletion take along what requires the entity"
    )
    create_missing_related_entities: bool = Field(
        default=True, description="let Port create the targets of relations that do not exist yet"
    )
    enable_merge_entity: bool = Field(
        default=True, description="keep what the mapping does not set; `false` replaces whole entities"
    )
    entity_deletion_threshold: float | None = Field(
        default=None, ge=0, le=1, description="the largest share of a blueprint's entities that one run may delete"
    )
    visibility: Visibility = Field(default_factory=Visibility)
    filter_owned_projects: bool | None = Field(
        default=True, description="integration type gitlab only: list only projects that the token's user owns"
    )
    project_visibility_filter: str | None = Field(
        default=None, description="integration type gitlab only: public, internal or private projects alone"
    )
    spec_path: Annotated[
        tuple[str, ...], BeforeValidator(_one_is_listed, json_schema_input_type=str | list[str] | None)
    ] = Field(default=(), description="paths or patterns of files that hold entities as they are (GitOps)")
    branch: str | None = Field(default=None, description="the branch of the GitOps files, else the default branch")
    origin: SkipJsonSchema[str] = Field(default="", exclude=True)
    marks: SkipJsonSchema[Dict[tuple[str | int, ...], tuple[int, int]]] = Field(default_factory=dict, exclude=True)

    @field_validator(
        "entity_deletion_threshold", mode="before", json_schema_input_type=Annotated[float, Field(ge=0, le=1)]
    )
    @classmethod
    def _threshold(cls, value: Any) -> Any:
        # `true` would be read as 1, which lifts every limit; null means nothing in Ocean either.
        if value is None or isinstance(value, bool):
            raise ValueError(f"must be a number from 0 to 1; got {shown(value)}")
        return value

    @property
    def spec_paths(self) -> tuple[str, ...]:
        """The paths and patterns of files that hold entities themselves; none unless the mapping names some."""
        return tuple(dict.fromkeys(path for path in self.spec_path if path))

    @property
    def cascades(self) -> bool:
        """Whether the user wrote `deleteDependentEntities: true`; the default is not a wish to cascade."""
        return self.delete_dependent_entities and "delete_dependent_entities" in self.model_fields_set

    def line(self, *path: str | int) -> int | None:
        """Return the line of the innermost known node on `path`, counted from 1, or None."""
        return self.mark(*path)[0]

    def mark(self, *path: str | int) -> Position:
        """Return line and column of the innermost known node on `path`, counted from 1, or two None."""
        inner = (path[:end] for end in range(len(path), -1, -1))
        return next((self.marks[found] for found in inner if found in self.marks), (None, None))

    def field_line(self, resource: int, entity: int, name: str) -> int | None:
        """Return the line of a field, named as by `EntityMapping.fields`, in that entity mapping."""
        return self.field_mark(resource, entity, name)[0]

    def field_mark(self, resource: int, entity: int, name: str) -> Position:
        """Return line and column of such a field, or of the selector's query or `itemsToParse`."""
        match name.removeprefix("port."):
            case "selector.query":
                return self.mark("resources", resource, "selector", "query")
            case "itemsToParse":
                return self.mark("resources", resource, "port", "itemsToParse")
        return self.mark("resources", resource, "port", "entity", "mappings", entity, *name.split(".", 1))

    def place(self, resource: int, position: Position = (None, None)) -> str:
        """Return "file:line:column: resource 2 (issue)", the beginning of every message about a resource."""
        where = ":".join(str(part) for part in (self.origin, *position) if part is not None)
        return f"{where}: resource {resource} ({self.resources[resource].kind})"


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
    """Return where a dotted field stands: title and icon, properties, and those that are sets to Port, team first."""
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

    `resource` and `part` say which entity mapping of which resource made it. There is one of each row, and most are
    as Port has them: a named tuple is made in a third of the time, and the body only of what is written.
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
        cls, blueprint: str, identifier: Any, body: Dict[str, Any], resource: int, order: tuple[int, int] = (0, 0)
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

    def holding(self, fields: Dict[str, Any]) -> "Entity":
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
    """Port already holds what the mapping says, for so many entities."""

    blueprint: str
    count: int = 1


@dataclass(frozen=True, slots=True)
class Settle:
    """What came so far is to be written before what follows is asked for: that searches in Port for it."""


@dataclass(frozen=True, slots=True)
class Delete:
    """Ours in Port and no longer produced; `cascade` when Port had to delete its dependents too."""

    blueprint: str
    identifier: str
    cascade: bool = False


@dataclass(frozen=True, slots=True)
class Held:
    """Deletions that were not made: `reason` is what held them, `hint` how to release them.

    A report that keeps only some of the identifiers counts the others in `more`.
    """

    blueprint: str
    identifiers: tuple[str, ...]
    reason: Literal["problem", "search", "unnamed", "limit", "empty", "never", "dependents", "recent", "plan"]
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

    `clock` is GitLab's own time at the first page, as its header `Date` says it.
    """

    number: int
    token: str
    path: str
    params: tuple[tuple[str, str], ...]
    total: int
    clock: str


@dataclass(frozen=True, slots=True)
class ReadAgain:
    """A page of this kind was read once more, before something is deleted."""

    kind: str


Event = (
    Page
    | Problem
    | Skipped
    | Unnamed
    | Unchanged
    | Written
    | Failed
    | Held
    | Create
    | Update
    | Settle
    | Delete
    | Began
    | Ended
    | Counted
    | ReadAgain
)


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


@dataclass(frozen=True)
class FieldSample:
    """A field of the mapping for one row: `line` is where it stands; `value` counts unless there is an `error`."""

    name: str
    expression: Expression | Query
    value: Any = None
    error: str = ""
    line: int | None = None


@dataclass(frozen=True)
class MappedSample:
    """What one entity mapping makes of a row, or of one item parsed from it; `selected` is the selector's verdict."""

    entity: int
    selected: FieldSample
    fields: tuple[FieldSample, ...]


@dataclass(frozen=True)
class RowSample:
    """A row as GitLab gave it, how it is mapped, and what a sync would make of it: entities, or why there are none."""

    resource: int
    scope: str
    row: Row
    mapped: tuple[MappedSample, ...]
    entities: tuple[Entity, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class SampleWish:
    """What to preview: a kind, how many rows of it, one of its resources or all, or the rows of that file."""

    kind: str
    limit: int = 3
    index: int | None = None
    row: str | None = None


@dataclass(frozen=True)
class Preview:
    """The rows of the wanted resources; `exit_code` is 1 with Problems and 2 where an expression is no jq."""

    kind: str
    origin: str
    samples: tuple[RowSample, ...]
    problems: tuple[Problem, ...]
    exit_code: int = 0
