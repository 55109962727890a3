"""The mapping as checked, frozen values: its options, resources, selectors and entity mappings."""

from collections import abc
from collections.abc import Iterator
from functools import partial
from typing import Annotated, Any, Literal

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

from gitlab_port_export.base.errors import Fault
from gitlab_port_export.base.text import clean, shown

# Line and column, counted from 1; both None where they are not known.
Position = tuple[int, int] | tuple[None, None]
# Keys and indexes from the top of the mapping down to a value.
KeyPath = tuple[str | int, ...]


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


def _as_expression(value: Any) -> Any:
    """Return a YAML number or boolean as the jq literal that users mean; Ocean reads `5` as `"5"` too."""
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
    """Return whether one of a search query's rules is a nested query."""
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
    """Return null as no relations: so YAML reads `relations:` when every line below it is commented out."""
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
    """Return one object as a list of one: Ocean's files hold an object, Port's API takes a list as well."""
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
    """Return an empty text as None, as Ocean does: forms leave one."""
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
    marks: SkipJsonSchema[abc.Mapping[KeyPath, tuple[int, int]]] = Field(default_factory=dict, exclude=True)

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

    def fault(self, resource: int, position: Position, what: str) -> Fault:
        """Return a fault of a resource: at "file:line:column", that "resource 2 (issue): …"."""
        where = ":".join(str(part) for part in (self.origin, *position) if part is not None)
        return Fault(clean(f"resource {resource} ({self.resources[resource].kind}): {what}"), clean(where))
