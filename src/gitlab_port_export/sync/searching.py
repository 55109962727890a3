"""Entities with search queries: they wait until what the queries may find is written, then get the answers; no I/O."""

import zlib
from collections import abc
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from gitlab_port_export.base.jsontext import decode, packed
from gitlab_port_export.mapping.blueprints import constant_blueprint
from gitlab_port_export.mapping.model import Mapping
from gitlab_port_export.model import Entity, Problem, Shape
from gitlab_port_export.port.blueprint import Blueprint
from gitlab_port_export.port.catalog import TEAM
from gitlab_port_export.port.keys import target_key
from gitlab_port_export.port.order import layers

# Port relates to no more of what a search finds.
# https://docs.port.io/build-your-software-catalog/customize-integrations/configure-mapping/#limitations
MOST_FOUND = 100
# So many entities, or bytes of them, are compressed and compared together.
PACK, PACK_BYTES = 1000, 4 * 1024 * 1024

# Returns what a query finds in a blueprint, None where Port gave no answer.
Find = Callable[[str, abc.Mapping[str, Any]], list[str] | None]


def queries(entity: Entity, blueprint: Blueprint) -> Iterator[tuple[str, str, abc.Mapping[str, Any]]]:
    """Yield (field, blueprint to search in, query) of each field that has to be found by a query."""
    if isinstance(entity.identifier, dict):
        yield "identifier", entity.blueprint, entity.identifier
    sets = entity.shape.sets
    for name, value in zip(entity.shape.names[sets:], entity.values[sets:], strict=True):
        if isinstance(value, dict):
            relation = blueprint.relations.get(name.removeprefix("relations."))
            if name == "team":
                yield name, TEAM, value
            elif relation is not None:  # Port refuses one that it does not know
                yield name, relation.target, value


def explicit_targets(entity: Entity, blueprint: Blueprint) -> Iterator[str]:
    """Yield the blueprints of which writing the entity may create others, to relate to them."""
    for name, value in entity.relations:
        if value and not isinstance(value, dict) and name in blueprint.relations:
            yield blueprint.relations[name].target


@dataclass
class Later:
    """Entities that wait, by blueprint; compressed, since all entities of a run may wait.

    `searched` are the blueprints that each blueprint's entities search in.
    """

    searched: dict[str, set[str]] = field(default_factory=dict)
    _packs: dict[str, list[bytes]] = field(default_factory=dict)
    _open: dict[str, list[bytes]] = field(default_factory=dict)
    _size: dict[str, int] = field(default_factory=dict)

    def put(self, entity: Entity, blueprint: Blueprint) -> None:
        """Add an entity."""
        name = entity.blueprint
        self.searched.setdefault(name, set()).update(target for _, target, _ in queries(entity, blueprint))
        text = packed(
            [entity.identifier, entity.shape.names, entity.values, entity.resource, entity.order, entity.part]
        )
        waiting = self._open.setdefault(name, [])
        waiting.append(text)
        self._size[name] = self._size.get(name, 0) + len(text)
        if len(waiting) >= PACK or self._size[name] >= PACK_BYTES:
            self._pack(name)

    def take(self, name: str) -> Iterator[list[Entity]]:
        """Yield the entities of a blueprint in packs; they can be taken again."""
        if name in self._open:
            self._pack(name)
        for pack in self._packs[name]:
            yield [
                Entity(name, identifier, Shape.of(tuple(names)), tuple(values), resource, tuple(order), part)
                for identifier, names, values, resource, order, part in decode(zlib.decompress(pack))
            ]

    def order(self) -> list[str]:
        """Return the blueprints, each after those that its entities search in."""
        needs = {name: (searched & self.searched.keys()) - {name} for name, searched in self.searched.items()}
        return [name for layer in layers(needs) for name in layer]

    def _pack(self, name: str) -> None:
        text = b"[" + b",".join(self._open.pop(name)) + b"]"
        self._packs.setdefault(name, []).append(zlib.compress(text, level=1))
        del self._size[name]


@dataclass(frozen=True)
class Answered:
    """An entity with the answers in place of its queries, and the Problems of these.

    `targets` are the keys of all that was found, `unknown` the blueprints of searches that Port did
    not answer. `entity` is None where the search for it does not find exactly one.
    """

    entity: Entity | None
    targets: list[int]
    unknown: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()


def answered(
    entity: Entity, blueprint: Blueprint, find: Find, shows: Callable[[str], bool], *, replaced: bool = False
) -> Answered:
    """Put what the queries of an entity find in their place; `shows` says whether Port shows a blueprint.

    A query that Port did not answer stays. Of more hits than Port takes, always the same ones remain. A relation to
    one entity for which several are found is left as it is in Port. Where the entity is `replaced`, that would clear
    it: then the query stays, and Port refuses it.
    """
    fields = dict(zip(entity.shape.names, entity.values, strict=True))
    identifier, targets, unknown, problems = entity.identifier, list[int](), list[str](), list[Problem]()
    for name, target, query in queries(entity, blueprint):
        hits = find(target, query)
        if hits is None:
            unknown.append(target)
            problems.append(_unanswered(entity, name, target, shown=shows(target)))
            continue
        if name == "identifier":
            identifier = hits[0] if len(hits) == 1 else None
            if len(hits) > 1:
                problems.append(_problem(entity, name, "the search for an entity finds more than one", NARROW))
            continue
        targets += (target_key(target, hit) for hit in hits)
        many = name == "team" or blueprint.relations[name.removeprefix("relations.")].many
        if many and len(hits) > MOST_FOUND:
            why = (
                f"a search finds more than {MOST_FOUND} entities, and Port takes no more: the first ones by identifier"
            )
            problems.append(_problem(entity, name, why, NARROW, warning=True))
        elif not many and len(hits) > 1:
            why = "a search finds more than one entity, so the relation is left as it is in Port"
            problems.append(_problem(entity, name, why, NARROW, warning=True))
            if not replaced:
                del fields[name]
            continue
        fields[name] = hits[:MOST_FOUND] if many else next(iter(hits), None)
    if isinstance(identifier, dict):
        identifier = None  # Port did not say which one it is
    if entity.is_search and fields.get("title", "") is None:
        del fields["title"]  # what stands in Port already has one
    found = None if identifier is None else entity.holding(fields)._replace(identifier=identifier)
    return Answered(found, targets, tuple(unknown), tuple(problems))


NARROW = "narrow the query in the mapping"


def _unanswered(entity: Entity, name: str, target: str, *, shown: bool) -> Problem:
    if shown:
        hint = "see whether Port takes the query in the mapping, and run again"
        return _problem(entity, name, f"Port does not answer a search in blueprint {target}", hint)
    why = f"Port does not show blueprint {target}, so what a search finds there is left to Port and not compared"
    return _problem(entity, name, why, "name the teams in the mapping instead", warning=True)


def _problem(entity: Entity, name: str, why: str, hint: str, *, warning: bool = False) -> Problem:
    return Problem(
        "diff",
        why,
        hint,
        blueprint=entity.blueprint,
        resources=(entity.resource,),
        field=name,
        warning=warning,
        sample=str(entity.identifier),
    )


def search_targets(mapping: Mapping, blueprints: abc.Mapping[str, Blueprint]) -> frozenset[str]:
    """Return the blueprints in which the mapping searches."""
    found: set[str] = set()
    for resource in mapping.resources:
        for entity in resource.mappings:
            blueprint = blueprints.get(constant_blueprint(entity.blueprint) or "")
            relations = blueprint.relations if blueprint else {}
            if blueprint and isinstance(entity.identifier, dict):
                found.add(blueprint.identifier)
            for name, value in entity.fields():
                relation = relations.get(name.removeprefix("relations."))
                if relation and isinstance(value, dict):
                    found.add(relation.target)
    return frozenset(found)
