"""The second half of transform: makes entities of the values that expressions gave for a batch of rows."""

from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import Any

from gitlab_port_export.base.jsontext import is_deep
from gitlab_port_export.jq.program import LEFT, Program
from gitlab_port_export.mapping.model import Mapping
from gitlab_port_export.model import Entity, Event, Order, Row, Shape, Skipped
from gitlab_port_export.port.identifiers import IDENTIFIER
from gitlab_port_export.sync.faults import DEEP, ITEMS, LOST, NULLED, UNFIT, Faults
from gitlab_port_export.sync.field_values import (
    as_targets,
    as_text,
    error_in,
    finds_nothing,
    is_number,
    short,
    unfit_identifier,
)
from gitlab_port_export.sync.rows import label_of

# The parts of the result of an item; that of a row without a list names the field as well.
WITH_ITEMS = 2
# Stands where a field failed, until it is known whether it fails on every row.
FAILED = object()
NESTED = frozenset({dict, list})
NUMBERS = frozenset({int, float})
Columns = list[list[Any]]


@dataclass(frozen=True)
class Evaluated:
    """Rows of one resource, and what their fields give without jq, by entity mapping and field (None: jq gives it)."""

    index: int
    program: Program
    rows: list[Row]
    orders: list[Order]
    found: list[list[list[Any] | None]]


@dataclass(frozen=True)
class Mapped:
    """Rows of one entity mapping and the values of its fields, by `names`.

    `lost` rows give no entity. `failed` are the places of fields that failed on some row.
    """

    names: tuple[str, ...]
    shape: Shape
    rows: list[Row]
    orders: list[Order]
    columns: Columns
    lost: set[int]
    failed: set[int]

    def joined(self, other: "Mapped") -> "Mapped":
        """Return the rows of both."""
        return Mapped(
            self.names,
            self.shape,
            self.rows + other.rows,
            self.orders + other.orders,
            [[*mine, *theirs] for mine, theirs in zip(self.columns, other.columns, strict=True)],
            self.lost | {len(self.rows) + at for at in other.lost},
            self.failed | other.failed,
        )


class Assembler:
    """Makes entities of the values that expressions gave; keeps what is known of each field's failures in `faults`."""

    def __init__(self, mapping: Mapping, error_key: str, faults: Faults) -> None:
        self._mapping, self._key, self._faults = mapping, error_key, faults
        # Rows that wait for others, by resource and entity mapping: a field failed on all of these few.
        self._few: dict[tuple[int, int], Mapped] = {}

    def assemble(self, batch: Evaluated, results: list[Any] | None) -> Iterator[Event | Entity]:
        """Yield what the rows of a batch become, one entity mapping after the other; `results` are jq's, by row."""
        rows, orders, found, computed = batch.rows, batch.orders, batch.found, list[Any]()
        if results is not None:
            taken, computed = yield from self._selected(batch, results)
            rows, orders = [rows[at] for at in taken], [orders[at] for at in taken]
            found = [[column and [column[at] for at in taken] for column in columns] for columns in found]
        for number, columns in enumerate(found):
            given = [values[number] for values in computed]
            mapped = self._columns(batch, number, rows, orders, columns, given)
            if mapped.failed or (batch.index, number) in self._few:
                settled = self._settled(batch.index, number, mapped)
                if settled is None:
                    continue
                mapped = settled
            elif rows:
                self._faults.worked(batch.index, number, mapped.names)
            yield from self._entities(batch.index, number, mapped)

    def finish(self) -> Iterator[Entity]:
        """Yield the entities of the rows that still wait."""
        for (index, number), mapped in self._few.items():
            yield from self._entities(index, number, self._without_failed(index, number, mapped))

    def _selected(self, batch: Evaluated, results: list[Any]) -> Generator[Event, None, tuple[list[int], list[Any]]]:
        """Return the places of the rows that the selector takes, one for each item, and what jq made of these."""
        taken, computed = list[int](), list[Any]()
        if self._mapping.resources[batch.index].port.items_to_parse is not None:
            lists = sum(1 for items in results if not items or len(items[0]) == WITH_ITEMS)
            self._faults.given(batch.index, None, lists)
        for at, items in enumerate(results):
            for selected, mapped, *where in items:
                # `==` will not do: 1 == True in Python.
                if isinstance(selected, list) and selected and selected[0] is True:
                    taken.append(at)
                    computed.append(mapped)
                else:
                    yield from self._unselected(batch.index, batch.rows[at], selected, *where)
        return taken, computed

    def _unselected(self, index: int, row: Row, selected: Any, field: str = "selector.query") -> Iterator[Event]:
        if isinstance(selected, list) and selected and selected[0] is False:
            yield Skipped(index, "selector")
            return
        if selected is None and field == ITEMS:
            self._faults.nothing(index, None, field, label_of(row))
            return
        why = None if is_deep(selected) else self._error_of(selected)
        if why is None:
            given = short(selected[0]) if selected else "nothing"
            why = f"the selector must give true or false; it gave {given}"
        self._faults.add(index, 0, field, why, label_of(row))

    def _columns(
        self,
        batch: Evaluated,
        number: int,
        rows: list[Row],
        orders: list[Order],
        found: list[list[Any] | None],
        computed: list[list[Any]],
    ) -> Mapped:
        """Return the values of a mapping's fields for all rows."""
        names = batch.program.fields[number]
        lost: set[int] = set()
        expected = found.count(None)
        if any(len(values) != expected for values in computed):
            # jq takes an error with the key `__jq` for its own way out of a loop.
            lost = {at for at, values in enumerate(computed) if len(values) != expected}
            why = "an expression left its field with an error {__jq: …}"
            for at in sorted(lost):
                self._faults.add(batch.index, number, "", why, label_of(rows[at]))
            computed = [[None] * expected if at in lost else values for at, values in enumerate(computed)]
        given = iter(zip(*computed, strict=True) if computed else [[]] * expected)
        columns = [list(next(given)) if column is None else column for column in found]
        failed: set[int] = set()
        for at, column in enumerate(columns):
            kinds = set(map(type, column))
            if kinds & NESTED and self._judge(batch.index, number, names[at], rows, column, lost):
                failed.add(at)
            # Port's titles, teams and identifiers are text.
            if kinds & NUMBERS and names[at] == "title":
                columns[at] = [as_text(value) if is_number(value) else value for value in column]
            elif kinds & (NUMBERS | NESTED) and names[at].startswith(("relations.", "team")):
                columns[at] = [as_targets(value) for value in column]
        return Mapped(names, batch.program.shapes[number], rows, orders, columns, lost, failed)

    def _judge(self, index: int, number: int, name: str, rows: list[Row], column: list[Any], lost: set[int]) -> bool:
        """Replace errors in a field's values by FAILED, or mark the row as lost; return whether any value is FAILED.

        A row is lost by an error in its identifier or blueprint, and by a value that nests too deeply.
        """
        failed = False
        nested = [at for at, value in enumerate(column) if type(value) in NESTED]
        any_deep = is_deep([column[at] for at in nested])
        for at in nested:
            if at in lost:
                continue
            if any_deep and is_deep(column[at]):
                self._faults.add(index, number, name, "the value nests too deeply", label_of(rows[at]), DEEP)
                lost.add(at)
            elif type(column[at]) is dict and (error := self._error_of(column[at])):
                fatal = name in ("identifier", "blueprint")
                self._faults.add(index, number, name, error, label_of(rows[at]), LOST if fatal else NULLED)
                column[at] = FAILED
                failed |= not fatal
                if fatal:
                    lost.add(at)
        return failed

    def _settled(self, index: int, number: int, mapped: Mapped) -> Mapped | None:
        """Return the rows with a value in place of FAILED, or None where more rows have to show which.

        A field that fails on every row is wrong and is left as it is in Port. How many rows fail is known only at the
        end, but rows are sent before; so a field is left while it has failed on all rows so far, of ten or more, and
        is null where it fails after it has worked once.
        """
        if (index, number) in self._few:
            mapped = self._few.pop((index, number)).joined(mapped)
        names = mapped.names
        self._faults.worked(
            index,
            number,
            (name for name, column in zip(names, mapped.columns, strict=True) if any(v is not FAILED for v in column)),
        )
        for at in mapped.failed:
            known = self._faults.has_worked(index, number, names[at])
            if not known and not self._faults.fails_always(index, number, names[at]):
                self._few[index, number] = mapped
                return None
        return self._without_failed(index, number, mapped)

    def _without_failed(self, index: int, number: int, mapped: Mapped) -> Mapped:
        """Return the rows with null where a field failed, or nothing at all where it always fails."""
        for at in mapped.failed:
            instead = LEFT if self._faults.fails_always(index, number, mapped.names[at]) else None
            mapped.columns[at] = [instead if value is FAILED else value for value in mapped.columns[at]]
        return mapped

    def _entities(self, index: int, number: int, mapped: Mapped) -> Iterator[Entity]:
        """Yield the entity of each row. This loop runs for every row."""
        shape, rows, orders, lost = mapped.shape, mapped.rows, mapped.orders, mapped.lost
        identifiers, blueprints, *others = mapped.columns
        given = list(zip(*others, strict=True)) if others else [()] * len(rows)
        left = any(LEFT in column for column in mapped.columns)
        none = 0
        for at, (identifier, blueprint, values) in enumerate(zip(identifiers, blueprints, given, strict=True)):
            if at in lost:
                none += 1
                continue
            known: Any = identifier
            if type(identifier) is not str or not IDENTIFIER.match(identifier) or type(blueprint) is not str or left:
                if not self._is_fit(index, number, rows[at], identifier, blueprint, values):
                    none += 1
                    continue
                known = identifier if type(identifier) in (str, dict) else as_text(identifier)
            elif not blueprint:
                none += 1
                self._faults.nothing(index, number, "blueprint", label_of(rows[at]))
                continue
            entity = Entity(blueprint, known, shape, values, index, orders[at], number)
            yield _without_left(entity) if left else entity
        self._faults.given(index, number, len(rows) - none)

    def _is_fit(
        self, index: int, number: int, row: Row, identifier: Any, blueprint: Any, values: tuple[Any, ...]
    ) -> bool:
        """Return whether a row gives an entity; if not, add the fault."""
        # An entity that is replaced as a whole would lose the fields that are left; their fault is known already.
        if LEFT in (identifier, blueprint) or (LEFT in values and not self._mapping.enable_merge_entity):
            return False
        if not identifier or not blueprint or finds_nothing(identifier):
            name = "identifier" if not identifier or blueprint else "blueprint"
            self._faults.nothing(index, number, name, label_of(row))
            return False
        if not isinstance(blueprint, str):
            wrong = f"the blueprint must be text; got {short(blueprint)}"
            self._faults.add(index, number, "blueprint", wrong, label_of(row))
            return False
        if why := unfit_identifier(identifier):
            self._faults.add(index, number, "identifier", why, label_of(row), UNFIT)
            return False
        return True

    def _error_of(self, value: Any) -> str | None:
        return error_in(value, self._key)


def _without_left(entity: Entity) -> Entity:
    kept = [at for at, value in enumerate(entity.values) if value is not LEFT]
    if len(kept) == len(entity.values):
        return entity
    names = tuple(entity.shape.names[at] for at in kept)
    return entity._replace(shape=Shape.of(names), values=tuple(entity.values[at] for at in kept))
