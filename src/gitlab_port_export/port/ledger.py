"""What Port holds and what this run produced of one blueprint, in a few bytes an entity."""

from array import array
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from types import MappingProxyType
from typing import Any

from gitlab_port_export.model import Entity, Order, Shape
from gitlab_port_export.port.blueprint import Blueprint
from gitlab_port_export.port.codes import (
    ABSENT,
    DEFAULT,
    FIRST_HASH,
    HASH,
    NOT_SET,
    NULL,
    default_codes,
    instants,
    is_moment,
    set_code,
    value_code,
)
from gitlab_port_export.port.keys import entity_key, relation_targets
from gitlab_port_export.port.slots import Slots

MAX_SAMPLES = 10


class Status(IntEnum):
    """What this run knows of an entity; of `SENT` and `CREATED` ones the ledger holds what was sent to Port."""

    HELD = 0
    UNCHANGED = 1
    UPDATED = 2
    SENT = 3
    CREATED = 4


@dataclass(frozen=True)
class Comparison:
    """How an entity compares with Port: its status, the fields that differ, and whether another row already won."""

    status: Status
    fields: tuple[str, ...] = ()
    duplicate: bool = False
    lost: bool = False
    # Where it is a duplicate, the order of the row that came before.
    other: Order | None = field(default=None, compare=False)


# The comparisons of nearly all entities, made once.
UNCHANGED, CREATED = Comparison(Status.UNCHANGED), Comparison(Status.CREATED)
LOST = Comparison(Status.HELD, lost=True)


@dataclass(frozen=True)
class Missing:
    """Why there is no ledger of a blueprint, and what to do about it; `told`: a Problem says so already."""

    why: str
    hint: str
    told: bool = False


class Ledger:
    """All entities of one blueprint: a slot each, with a 4-byte code per mapped field.

    `fields` are dotted names (title, icon, team, properties.x, relations.y). Slots are found by the stable key of an
    entity; the codes of values hold Python's `hash`, which differs between processes, so they never leave this one.
    With `whole`, fields that an entity does not set count as null: Port overwrites. `teams` gives the identifier of a
    team by each of its names: Port takes either, and shows either. `elsewhere` has the keys of entities that other
    processes of the same sync produced.
    """

    def __init__(
        self,
        blueprint: Blueprint,
        fields: Sequence[str],
        *,
        whole: bool = False,
        teams: Mapping[str, str] = MappingProxyType({}),
        elsewhere: Collection[int] = (),
    ) -> None:
        self.blueprint, self.whole, self._teams, self._elsewhere = blueprint, whole, teams, elsewhere
        shape = Shape.of(tuple(fields))
        self.fields, self._keys = shape.names, shape.keys
        # Before here the fields are values, from here on sets.
        self._sets = len(shape.keys[0]) + len(shape.keys[1])
        self._slots = Slots()
        self._codes = array("I")
        self._status = bytearray()
        self._resource, self._scope, self._row = array("h"), array("q"), array("q")
        self._title, self._icon = (
            self.fields.index(name) if name in self.fields else None for name in ("title", "icon")
        )
        self._team = self._sets if shape.keys[2] and teams else None
        self._moments = [place for place, name in enumerate(self.fields) if is_moment(blueprint, name)]
        self._defaults = list(default_codes(blueprint, self.fields))
        self._unmapped = [name for name in blueprint.relations if f"relations.{name}" not in self.fields]
        self._links: dict[int, list[int]] = {}
        # How many entities Port held when they were read.
        self.held = 0
        # Teams of entities, some at least, that Port does not have and so does not show.
        self.unknown_teams: set[str] = set()

    def hold(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Add entities as Port's search gives them."""
        self.held += len(rows)
        name = self.blueprint.identifier
        for slot, row in enumerate(rows, len(self._status)):
            self._slots[entity_key(name, row["identifier"])] = slot
            self._codes.extend(self._coded(row["identifier"], self._held(row)))
            if self._unmapped:
                relations = row.get("relations") or {}
                unmapped = [(name, relations.get(name)) for name in self._unmapped]
                for target in relation_targets(self.blueprint, unmapped):
                    self._links.setdefault(target, []).append(slot)
        self._status.extend(bytes(len(rows)))
        self._resource.extend(array("h", [-1]) * len(rows))
        self._scope.extend(array("q", bytes(8 * len(rows))))
        self._row.extend(array("q", bytes(8 * len(rows))))

    def _held(self, row: Mapping[str, Any]) -> list[Any]:
        """Return the values of the fields in one of Port's rows."""
        properties, relations = row.get("properties") or {}, row.get("relations") or {}
        own, inner, team, related = self._keys
        return [*map(row.get, own), *map(properties.get, inner), *map(row.get, team), *map(relations.get, related)]

    def codes(self, entity: Entity) -> list[int]:
        """Return one code per field of an entity, equal for values that Port treats alike.

        A field that the entity does not set is not set, or null where Port overwrites.
        """
        values: Sequence[Any] = entity.values
        if entity.shape.names != self.fields:
            given = dict(zip(entity.shape.names, values, strict=True))
            values = [given.get(name, None if self.whole else ABSENT) for name in self.fields]
        found = self._coded(str(entity.identifier), values)
        # Port's schema has no null icon: a mapped null is not sent, so merging leaves the icon as it is.
        if self._icon is not None and values[self._icon] is None and not self.whole:
            found[self._icon] = NOT_SET
        return found

    def _coded(self, identifier: str, values: Sequence[Any]) -> list[int]:
        # This runs for every field on both sides.
        found = [
            FIRST_HASH + (hash(value) & HASH) if type(value) is str else NULL if value is None else value_code(value)
            for value in values[: self._sets]
        ]
        found += [NULL if value is None else set_code(value) for value in values[self._sets :]]
        if self._team is not None:
            found[self._team] = set_code(self._identified(values[self._team]))
        for place, default in self._defaults:
            if found[place] == default:
                found[place] = DEFAULT
        if self._title is not None and values[self._title] in (None, ""):
            found[self._title] = value_code(identifier)
        return found

    def _identified(self, team: Any) -> Any:
        """Return the identifiers of teams in place of their names; one that Port does not have stays."""
        if isinstance(team, str):
            return self._teams.get(team, team)
        return [self._teams.get(name, name) for name in team if isinstance(name, str)] if type(team) is list else team

    def meet(self, entity: Entity) -> Comparison:
        """Compare an entity that was produced; of several with one key the later resource, then the lowest row wins."""
        identifier = str(entity.identifier)
        codes = self.codes(entity)
        mark = entity_key(entity.blueprint, identifier)
        slot = self._slots.get(mark)
        if slot is None:
            self._add(mark, codes, Status.CREATED, entity)
            return CREATED
        before = self._status[slot]
        duplicate = before != Status.HELD and self._resource[slot] == entity.resource
        other = (self._scope[slot], self._row[slot]) if duplicate else None
        if before != Status.HELD and not self._wins(slot, entity):
            return Comparison(Status(before), duplicate=duplicate, lost=True, other=other)
        self._resource[slot], self._scope[slot], self._row[slot] = entity.resource, *entity.order
        fields = self._differing(slot, codes, entity)
        if before in (Status.SENT, Status.CREATED):
            self._replace(slot, codes)
            return Comparison(Status(before), fields, duplicate, lost=not fields, other=other)
        status = Status.UPDATED if fields else Status.UNCHANGED
        self._status[slot] = status
        return Comparison(status, fields, duplicate, other=other) if fields or duplicate else UNCHANGED

    def _wins(self, slot: int, entity: Entity) -> bool:
        if self._resource[slot] != entity.resource:
            return entity.resource > self._resource[slot]
        return entity.order <= (self._scope[slot], self._row[slot])

    def _differing(self, slot: int, codes: list[int], entity: Entity) -> tuple[str, ...]:
        start = slot * len(self.fields)
        held = self._codes[start : start + len(codes)].tolist()
        if held == codes:
            return ()
        if self._team is not None and codes[self._team] not in (NOT_SET, held[self._team]):
            codes = self._without_unknown_teams(codes, held[self._team], entity)
        if any(codes[place] != held[place] for place in self._moments):
            codes = self._as_port_writes_instants(codes, held, entity)
        # Port fills a null with the property's default on create, so that is no difference.
        return tuple(
            name
            for name, ours, theirs in zip(self.fields, codes, held, strict=True)
            if ours not in (theirs, NOT_SET) and not (ours == NULL and theirs == DEFAULT)
        )

    def _without_unknown_teams(self, codes: list[int], held: int, entity: Entity) -> list[int]:
        """Return the codes with what Port holds for the team, where only teams that Port does not have differ."""
        place = entity.shape.sets
        team = entity.values[place] if entity.shape.keys[2] else None
        names = {str(name) for name in (team if isinstance(team, list) else [team])}
        unknown = names - self._teams.keys()
        if self._team is None or set_code([self._teams[name] for name in names - unknown]) != held:
            return codes
        self.unknown_teams.update(sorted(unknown)[:MAX_SAMPLES])
        return [*codes[: self._team], held, *codes[self._team + 1 :]]

    def _as_port_writes_instants(self, codes: list[int], held: list[int], entity: Entity) -> list[int]:
        """Return the codes with what Port holds where that is the same instant, written in one of its ways."""
        given = dict(zip(entity.shape.names, entity.values, strict=True))
        alike = {
            place: held[place]
            for place in self._moments
            if held[place] in map(value_code, instants(given.get(self.fields[place])))
        }
        return [alike.get(place, code) for place, code in enumerate(codes)]

    def _replace(self, slot: int, codes: list[int]) -> None:
        """Take the codes of what is sent for those of what Port holds; fields that are not sent stay there."""
        start = slot * len(self.fields)
        held = self._codes[start : start + len(codes)]
        sent = (theirs if ours == NOT_SET else ours for ours, theirs in zip(codes, held, strict=True))
        self._codes[start : start + len(codes)] = array("I", sent)

    def send(self, entity: Entity) -> None:
        """Note that the update of an entity is sent: from now on a better row is compared with that."""
        slot = self._slots.get(entity_key(*entity.key))
        if slot is not None:
            self._replace(slot, self.codes(entity))
            self._status[slot] = Status.SENT

    def still_holds(self, row: Mapping[str, Any]) -> bool:
        """Whether one of Port's rows is as it was when it was read, or as this run sent it."""
        slot = self._slots.get(entity_key(self.blueprint.identifier, row["identifier"]))
        start = 0 if slot is None else slot * len(self.fields)
        held = self._codes[start : start + len(self.fields)].tolist()
        return slot is not None and held == self._coded(row["identifier"], self._held(row))

    def knows(self, identifier: str) -> bool:
        """Whether Port held the entity, or this sync produced it."""
        key = entity_key(self.blueprint.identifier, identifier)
        return self._slots.get(key) is not None or key in self._elsewhere

    def produced(self, identifier: str) -> bool:
        """Whether this sync produced the entity."""
        key = entity_key(self.blueprint.identifier, identifier)
        slot = self._slots.get(key)
        return (slot is not None and self._status[slot] != Status.HELD) or key in self._elsewhere

    def is_unchanged(self, identifier: str) -> bool:
        """Whether this run produced the entity, and Port holds it like that."""
        slot = self._slots.get(entity_key(self.blueprint.identifier, identifier))
        return slot is not None and self._status[slot] == Status.UNCHANGED

    def created(self, identifier: str) -> bool:
        """Whether this run creates the entity, which Port did not hold."""
        slot = self._slots.get(entity_key(self.blueprint.identifier, identifier))
        return slot is not None and self._status[slot] == Status.CREATED

    def meet_again(self, entity: Entity) -> Comparison:
        """Compare once more an entity of which only what it searches for may have changed; a row that lost is lost."""
        slot = self._slots.get(entity_key(*entity.key))
        if slot is None or (self._resource[slot], self._scope[slot], self._row[slot]) != (
            entity.resource,
            *entity.order,
        ):
            return LOST
        return self._overlay(slot, entity)

    def patch(self, entity: Entity) -> Comparison:
        """Compare an entity that a search found: Port holds it already, perhaps since this run."""
        mark = entity_key(*entity.key)
        slot = self._slots.get(mark)
        if slot is not None:
            return self._overlay(slot, entity)
        self._add(mark, self.codes(entity), Status.SENT, entity)
        return Comparison(Status.UPDATED, entity.shape.names)

    def _overlay(self, slot: int, entity: Entity) -> Comparison:
        """Take fields for what Port will hold, whichever row gave the others."""
        codes = self.codes(entity)
        fields, before = self._differing(slot, codes, entity), Status(self._status[slot])
        if not fields:
            self._status[slot] = max(before, Status.UNCHANGED)
            return UNCHANGED
        self._replace(slot, codes)
        self._status[slot] = max(before, Status.SENT)
        return Comparison(before if before in (Status.SENT, Status.CREATED) else Status.UPDATED, fields)

    def _add(self, mark: int, codes: list[int], status: Status, entity: Entity) -> None:
        self._slots[mark] = len(self._status)
        self._codes.extend(codes)
        self._status.append(status)
        self._resource.append(entity.resource)
        self._scope.append(entity.order[0])
        self._row.append(entity.order[1])

    def needs(self, target: int) -> bool:
        """Whether a produced entity relates to the target by a relation that the mapping does not set."""
        return any(self._status[slot] for slot in self._links.get(target, ()))

    @property
    def unchanged(self) -> int:
        """How many produced entities are unchanged."""
        return self._status.count(Status.UNCHANGED)

    @property
    def any_produced(self) -> bool:
        """Whether this sync produced any entity of the blueprint."""
        return any(self._status) or bool(self._elsewhere)

    def keys_produced(self) -> "array[int]":
        """Return the keys of the entities that this run produced, sorted; see `port/keys.py`."""
        return array("Q", sorted(key for key, slot in self._slots.items() if self._status[slot] != Status.HELD))

    def needed(self) -> Iterator[int]:
        """Yield the keys to which produced entities relate by relations that the mapping does not set."""
        return (target for target, slots in self._links.items() if any(self._status[slot] for slot in slots))
