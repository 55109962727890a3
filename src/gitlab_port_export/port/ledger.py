"""What Port holds of one blueprint beside what this run produced, in a few bytes an entity."""

import hashlib
from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from gitlab_port_export.model import Entity
from gitlab_port_export.wire import canonical

# Codes of a field's value; every other value has a hash above these.
NULL, DEFAULT, NOT_SET, FIRST_HASH = 0, 1, 2, 3


# The parts of a blueprint whose properties nobody may write.
COMPUTED = ("calculationProperties", "mirrorProperties", "aggregationProperties")


class Status(IntEnum):
    """What this run knows of an entity."""

    HELD = 0
    UNCHANGED = 1
    UPDATED = 2
    CREATED = 3


@dataclass(frozen=True)
class Relation:
    """A relation of a blueprint."""

    target: str
    many: bool = False
    required: bool = False


@dataclass(frozen=True)
class Blueprint:
    """A blueprint as Port has it: property schemas and relations by name, and what Port computes itself."""

    identifier: str
    properties: Mapping[str, Mapping[str, Any]]
    relations: Mapping[str, Relation]
    required: tuple[str, ...] = ()
    computed: frozenset[str] = frozenset()

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> "Blueprint":
        """Read Port's JSON of a blueprint."""
        return cls(
            str(data["identifier"]),
            {name: dict(schema) for name, schema in ((data.get("schema") or {}).get("properties") or {}).items()},
            {
                name: Relation(relation["target"], bool(relation.get("many")), bool(relation.get("required")))
                for name, relation in (data.get("relations") or {}).items()
            },
            tuple((data.get("schema") or {}).get("required") or ()),
            frozenset(name for part in COMPUTED for name in data.get(part) or {}),
        )


@dataclass(frozen=True)
class Verdict:
    """What an entity is to Port: its status, the fields that differ, and whether another row already won."""

    status: Status
    fields: tuple[str, ...] = ()
    duplicate: bool = False
    lost: bool = False


@dataclass(frozen=True)
class Missing:
    """Why there is no ledger of a blueprint, and what to do about it."""

    why: str
    hint: str


class Ledger:
    """All entities of one blueprint: a slot each, with a 4-byte code per mapped field.

    `fields` are dotted names (title, icon, team, properties.x, relations.y). Hashes differ between processes, so a
    ledger lives in one run only. With `whole`, fields that an entity does not set count as null: Port overwrites.
    """

    def __init__(self, blueprint: Blueprint, fields: Sequence[str], *, whole: bool = False) -> None:
        self.blueprint, self.fields, self.whole = blueprint, tuple(fields), whole
        self._slots: dict[int, int] = {}
        self._codes = array("I")
        self._status = bytearray()
        self._resource, self._scope, self._row = array("h"), array("q"), array("q")
        self._places = tuple(_place(blueprint, name) for name in self.fields)
        self._unmapped = [name for name in blueprint.relations if f"relations.{name}" not in self.fields]
        self._links: dict[int, list[int]] = {}

    def hold(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Take in entities as Port's search gives them."""
        for row in rows:
            slot = self._slots[hash(row["identifier"])] = len(self._status)
            self._codes.extend(self.codes(row["identifier"], row))
            self._append(Status.HELD, -1, 0, 0)
            relations = row.get("relations") or {}
            unmapped = {"relations": {name: relations.get(name) for name in self._unmapped}}
            for target in relation_targets(self.blueprint, unmapped):
                self._links.setdefault(target, []).append(slot)

    def _append(self, status: Status, resource: int, scope: int, row: int) -> None:
        self._status.append(status)
        self._resource.append(resource)
        self._scope.append(scope)
        self._row.append(row)

    def codes(self, identifier: str, body: Mapping[str, Any], *, partial: bool = False) -> list[int]:
        """Return one code per field of an entity's body, equal for values that Port treats alike.

        A field that a partial body does not have is not set; elsewhere it is null.
        """
        sections = {
            "": body,
            "properties": body.get("properties") or {},
            "relations": body.get("relations") or {},
        }
        found = []
        # This runs for every entity on both sides, so it is flat.
        for section, key, is_set, default in self._places:
            source = sections[section]
            value = source.get(key)
            if value is None:
                # Port's schema has no null icon: a mapped null is not sent, so merging leaves the icon as it is.
                if partial and (key not in source or (key == "icon" and not section)):
                    found.append(NOT_SET)
                else:
                    found.append(_code(identifier) if key == "title" and not section else NULL)
            elif is_set:
                found.append(_set_code(value))
            elif value == "" and key == "title" and not section:
                found.append(_code(identifier))
            else:
                code = FIRST_HASH + (hash(value) & 0x7FFFFFFF) if type(value) is str else _code(value)
                found.append(DEFAULT if code == default else code)
        return found

    def meet(self, entity: Entity) -> Verdict:
        """Take in an entity that was produced; of several with one key the later resource, then the lowest row wins."""
        identifier = str(entity.identifier)
        codes = self.codes(identifier, entity.body, partial=not self.whole)
        slot = self._slots.get(hash(identifier))
        if slot is None:
            self._slots[hash(identifier)] = len(self._status)
            self._codes.extend(codes)
            self._append(Status.CREATED, entity.resource, *entity.order)
            return Verdict(Status.CREATED)
        before = Status(self._status[slot])
        duplicate = before is not Status.HELD and self._resource[slot] == entity.resource
        if before is not Status.HELD and not self._wins(slot, entity):
            return Verdict(before, duplicate=duplicate, lost=True)
        self._resource[slot], self._scope[slot], self._row[slot] = entity.resource, *entity.order
        fields = self._differing(slot, codes)
        if before is Status.CREATED:
            self._codes[slot * len(self.fields) : (slot + 1) * len(self.fields)] = array("I", codes)
            return Verdict(Status.CREATED, fields, duplicate, lost=not fields)
        status = Status.UPDATED if fields else Status.UNCHANGED
        self._status[slot] = status
        return Verdict(status, fields, duplicate)

    def _wins(self, slot: int, entity: Entity) -> bool:
        if self._resource[slot] != entity.resource:
            return entity.resource > self._resource[slot]
        return entity.order <= (self._scope[slot], self._row[slot])

    def _differing(self, slot: int, codes: list[int]) -> tuple[str, ...]:
        start = slot * len(self.fields)
        held = self._codes[start : start + len(codes)].tolist()
        if held == codes:
            return ()
        # Port fills a null with the property's default on create, so that is no difference.
        return tuple(
            name
            for name, ours, theirs in zip(self.fields, codes, held, strict=True)
            if ours not in (theirs, NOT_SET) and not (ours == NULL and theirs == DEFAULT)
        )

    def produced(self, identifier: str) -> bool:
        """Whether this run produced the entity."""
        slot = self._slots.get(hash(identifier))
        return slot is not None and self._status[slot] != Status.HELD

    def mark(self, identifier: str) -> None:
        """Note that Port found this entity for a search identifier: it is produced."""
        slot = self._slots.get(hash(identifier))
        if slot is not None and self._status[slot] == Status.HELD:
            self._status[slot] = Status.UPDATED

    def touch(self, entity: Entity) -> None:
        """Count an entity as updated although nothing differs: it is written all the same."""
        self._status[self._slots[hash(str(entity.identifier))]] = Status.UPDATED

    def needs(self, target: int) -> bool:
        """Whether a produced entity relates to the target by a relation that the mapping does not set."""
        return any(self._status[slot] for slot in self._links.get(target, ()))

    @property
    def unchanged(self) -> int:
        """How many produced entities Port holds just so."""
        return self._status.count(Status.UNCHANGED)

    @property
    def any_produced(self) -> bool:
        """Whether this run produced any entity of the blueprint."""
        return any(self._status)


def digests(body: Mapping[str, Any], fields: Iterable[str]) -> dict[str, str]:
    """Return a short digest of each of these fields of an entity, equal for values that Port treats alike."""
    return {name: _digest(name, _value_of(body, name)) for name in fields}


def _value_of(body: Mapping[str, Any], name: str) -> Any:
    head, _, key = name.partition(".")
    return (body.get(head) or {}).get(key) if key else body.get(head)


def _digest(name: str, value: Any) -> str:
    if name.startswith(("relations.", "team")) and isinstance(value, list):
        value = sorted({str(one) for one in value}) or None
    return hashlib.sha256(canonical(value)).hexdigest()[:16]


def relation_targets(blueprint: Blueprint, body: Mapping[str, Any]) -> list[int]:
    """Return a key for each entity that the body relates to."""
    found = []
    for name, value in (body.get("relations") or {}).items():
        relation = blueprint.relations.get(name)
        if relation is None or value is None or isinstance(value, dict):
            continue
        found += [target_key(relation.target, str(one)) for one in (value if isinstance(value, list) else [value])]
    return found


def target_key(blueprint: str, identifier: str) -> int:
    """Return the key of an entity in the set of relation targets."""
    return hash((blueprint, identifier))


def _place(blueprint: Blueprint, name: str) -> tuple[str, str, bool, int | None]:
    """Return where a field's value stands, whether it is a set to Port, and the code of its default."""
    head, _, key = name.partition(".")
    default = blueprint.properties.get(key, {}).get("default") if head == "properties" else None
    section, key = (head, key) if key else ("", head)
    return section, key, head in ("relations", "team"), None if default is None else _code(default)


def _code(value: Any) -> int:
    if value is None:
        return NULL
    if isinstance(value, str):
        return FIRST_HASH + (hash(value) & 0x7FFFFFFF)
    if isinstance(value, bool):
        return FIRST_HASH + value
    # Python hashes -1 and -2 alike, and cannot hash lists: their JSON text can tell them apart. As a tuple it is not
    # taken for a text that reads the same.
    try:
        return FIRST_HASH + (hash((canonical(value),)) & 0x7FFFFFFF)
    except ValueError:
        return NOT_SET  # it nests deeper than anything that a run writes, so it differs from all


def _set_code(value: Any) -> int:
    """Return the code of a relation or team, a set to Port; nothing and an empty list are the same."""
    if value == []:
        return NULL
    if isinstance(value, dict):
        return _code(value)
    names = sorted({str(one) for one in value}) if isinstance(value, list) else [str(value)]
    return FIRST_HASH + (hash(tuple(names)) & 0x7FFFFFFF)
