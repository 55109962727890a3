"""An independent, slow and plain model of which entities a mapping makes of a world; nothing here is shared with src.

Rows are looked up in the world itself, expressions run one by one with jq, and the outcome is what Port then holds.
"""

import copy
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any
from zlib import crc32

import jq

from gitlab_port_export.demo.gitlab_rows import Row
from gitlab_port_export.demo.gitlab_store import World
from testbed.kinds import subject_of
from testbed.oracle_eyes import Eyes, Patterns, eyes_of, yes
from testbed.oracle_files import path_of

# Blueprint → identifier → (title, icon, team, properties, relations), as `PortStore.snapshot`.
Snapshot = dict[str, dict[str, Any]]
PLAIN_PATH = re.compile(r'(\.[A-Za-z_]\w*|\.?\[("[^"]*"|\d+)\])+')


def expected(
    world: World,
    mapping: Mapping[str, Any],
    blueprints: Mapping[str, Any],
    *,
    tokens: Patterns | None = None,
    type: str = "gitlab-v2",
) -> Snapshot:
    """What an empty Port with these blueprints holds after a run; `tokens` see everything by default."""
    eyes = eyes_of(world, mapping, tokens, type)
    whole = not mapping.get("enableMergeEntity", True)
    held: dict[tuple[str, str], Entity] = {}
    for resource in mapping["resources"]:
        mappings, rows = resource["port"]["entity"]["mappings"], list(rows_of(resource, eyes))
        for one in mappings if isinstance(mappings, list) else [mappings]:
            for key, entity in _entities(resource, one, rows).items():
                held[key] = entity if whole or key not in held else held[key].under(entity)
    return _in_port(held.values(), blueprints)


def unmatched(
    world: World, mapping: Mapping[str, Any], *, tokens: Patterns | None = None, type: str = "gitlab-v2"
) -> int:
    """How many patterns match no group and no project that their token lists."""
    return sum(
        not any(replace(eye, patterns=(pattern,)).allows(path) for path in eye.listed_paths())
        for eye in eyes_of(world, mapping, tokens, type)
        for pattern in eye.patterns
    )


# --- rows of each kind: (scope id, row), each once ---


def _name_of(row: Row) -> str | int:
    if "file" in row or "folder" in row:
        return path_of(row)
    return crc32(str(row.get("tag_name") or row.get("name") or row).encode())


def rows_of(resource: Mapping[str, Any], eyes: Sequence[Eyes]) -> list[Row]:
    """The rows that feed a resource, each (scope, row) once, in the order in which the first of equal keys wins.

    Of several tokens the one with the highest role gives a project's row, then the first.
    """
    read = subject_of(resource["kind"]).rows
    found: dict[tuple[int, Any], Row] = {}
    for eye in eyes:
        for scope, row in read(resource["selector"], eye):
            # What has no id is told apart by its path or name, and is in no order that anybody knows.
            place = scope, row["id"] if "id" in row else _name_of(row)
            if place not in found or _granted(row) > _granted(found[place]):
                found[place] = row
    return [copy.deepcopy(found[place]) for place in sorted(found)]


def _granted(row: Row) -> int:
    roles = ((row.get("__project") or row.get("repo") or row).get("permissions") or {}).values()
    return max((role["access_level"] for role in roles if role), default=0)


# --- rows become entities ---


@dataclass(frozen=True)
class Entity:
    """What one row became; only the fields that the mapping names are there, null where they gave nothing."""

    blueprint: str
    identifier: str
    top: Row = field(default_factory=dict)
    properties: Row = field(default_factory=dict)
    relations: Row = field(default_factory=dict)

    @property
    def key(self) -> tuple[str, str]:
        return self.blueprint, self.identifier

    def under(self, later: "Entity") -> "Entity":
        """This entity with the fields of a later one laid over it."""
        return Entity(
            self.blueprint,
            self.identifier,
            self.top | later.top,
            self.properties | later.properties,
            self.relations | later.relations,
        )


def _entities(
    resource: Mapping[str, Any], mapping: Mapping[str, Any], rows: Iterable[Row]
) -> dict[tuple[str, str], Entity]:
    """Entities of one entity mapping by key; the first row of a key wins, and of one row its last item."""
    found: dict[tuple[str, str], Entity] = {}
    for row in rows:
        found = {entity.key: entity for entity in _entities_of(resource, mapping, row)} | found
    return found


def _entities_of(resource: Mapping[str, Any], mapping: Mapping[str, Any], row: Row) -> Iterator[Entity]:
    for item in _items(resource["port"], row):
        if first(resource["selector"]["query"], item) is True and (entity := _entity(mapping, item)):
            yield entity


def _items(port: Mapping[str, Any], row: Row) -> list[Row]:
    """The row itself, or one row for each item that `itemsToParse` finds in it."""
    expression = port.get("itemsToParse")
    if expression is None:
        return [row]
    items = first(expression, row)
    if not isinstance(items, list):
        return []
    path = _plain_path(expression) if yes(port.get("itemsToParseTopLevelTransform", True)) else None
    rest = jq.compile(f"del({path})").input_value(row).first() if path else row
    return [rest | {port.get("itemsToParseName", "item"): item} for item in items]


def _plain_path(expression: str) -> str | None:
    for part in (part.strip() for part in expression.split("|")):
        text = part[1:].split(")")[0].strip() if part.startswith("(") else part
        if found := PLAIN_PATH.match(text):
            return found[0]
    return None


def _entity(mapping: Mapping[str, Any], row: Row) -> Entity | None:
    blueprint, identifier = first(mapping["blueprint"], row), first(mapping["identifier"], row)
    if not blueprint or not identifier:
        return None
    return Entity(
        blueprint,
        identifier if isinstance(identifier, str) else jq.compile("tostring").input_value(identifier).first(),
        {name: first(mapping[name], row) for name in ("title", "icon", "team") if name in mapping},
        {name: first(text, row) for name, text in (mapping.get("properties") or {}).items()},
        {name: first(text, row) for name, text in (mapping.get("relations") or {}).items()},
    )


def first(expression: Any, row: Row) -> Any:
    """The first thing that an expression gives for a row; null for nothing and for an error."""
    try:
        return _program(double_quoted(str(expression))).input_value(row).first()
    except (StopIteration, ValueError):
        return None


@cache
def _program(text: str) -> Any:
    return jq.compile(text)


def double_quoted(text: str) -> str:
    """Turn `'` into `"` where it opens a word (behind nothing or a blank) or closes one (before nothing or a blank)."""
    opens = re.compile(r"""(?:^|(?<=\s))'(?![\s"])""")
    closes = re.compile(r"""(?<![\s"])'(?=\s|$)""")
    places = {match.start() for pattern in (opens, closes) for match in pattern.finditer(text)}
    return "".join('"' if place in places else sign for place, sign in enumerate(text))


# --- entities as Port holds them ---


def _in_port(entities: Iterable[Entity], blueprints: Mapping[str, Any]) -> Snapshot:
    held: Snapshot = {name: {} for name in blueprints}
    targets: dict[tuple[str, str], None] = {}
    for entity in entities:
        definition = blueprints[entity.blueprint]
        relations = {name: value for name, value in entity.relations.items() if value is not None}
        for name, value in relations.items():
            for target in value if isinstance(value, list) else [value]:
                targets[definition["relations"][name]["target"], target] = None
        relations = {k: list(dict.fromkeys(v)) if isinstance(v, list) else v for k, v in relations.items()}
        team = entity.top.get("team")
        held[entity.blueprint][entity.identifier] = (
            entity.top.get("title") or entity.identifier,
            entity.top.get("icon"),
            [team] if isinstance(team, str) else list(team or ()),
            _defaults(definition) | {name: value for name, value in entity.properties.items() if value is not None},
            relations,
        )
    for name, identifier in targets:
        held[name].setdefault(identifier, (identifier, None, [], _defaults(blueprints[name]), {}))
    return held


def _defaults(definition: Mapping[str, Any]) -> Row:
    return {name: one["default"] for name, one in definition["schema"]["properties"].items() if "default" in one}
