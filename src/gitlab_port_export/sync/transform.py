"""Page → Entity, Skipped, Unnamed or Problem: a page at a time, in jq what only jq can tell, else a column of rows."""

import json
from array import array
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from itertools import chain
from typing import Any
from zlib import crc32

from gitlab_port_export.base.jsontext import decode, encode, in_words, is_deep
from gitlab_port_export.jq.columns import plain
from gitlab_port_export.jq.pool import Evaluator, JqError, Killed, TooLarge
from gitlab_port_export.jq.program import LEFT, InDoubt, Program, build, forbidden_word, rewrite_quotes, without_legacy
from gitlab_port_export.mapping.model import Mapping, Resource
from gitlab_port_export.model import Entity, Event, Order, Page, Problem, Row, Scope, Shape, Skipped
from gitlab_port_export.port.identifiers import ALLOWED, IDENTIFIER, is_identifier
from gitlab_port_export.sync.faults import BOUND, DEEP, ITEMS, LOST, NULLED, UNFIT, Faults

BATCH_ROWS = 100
# Of a resource the labels of so many rows are kept, in case that others have the same identifier.
MOST_LABELS = 5_000
# Of a number with its sign in the ledger; and how much of such a number is shown.
BITS, LABEL = 64, 100
# Rows that took too long together, but not alone, are sent in such batches from then on.
SLOW_ROWS = 10
# A resource with so many rows that take too long, or give too much, each alone, is given up.
MOST_KILLED = 5
RAN_AWAY = "an expression ran too long or wanted too much memory"
GAVE_TOO_MUCH = "an expression gives too much for one row"
# jq needs several times the size of its input; a worker may have 1 GiB.
BATCH_BYTES = 8 * 1024 * 1024
# The parts of the result of an item; that of a row without a list names the field as well.
WITH_ITEMS = 2
# Stands where a field failed, until it is known whether it fails on every row.
FAILED = object()
# Operators of a search rule that need no value.
WITHOUT_VALUE = ("isEmpty", "isNotEmpty")
NESTED = frozenset({dict, list})
NUMBERS = frozenset({int, float})
Columns = list[list[Any]]


@dataclass
class _Batch:
    """Rows of one resource that wait until a page is worth sending."""

    rows: list[Row] = field(default_factory=list)
    orders: list[Order] = field(default_factory=list)
    weight: int = 0


@dataclass(frozen=True)
class _Sent:
    """A batch and what its fields give without jq, by mapping and field; jq's part is under way, or there is none."""

    index: int
    program: Program
    batch: _Batch
    found: list[list[list[Any] | None]]
    future: "Future[bytes] | None"


@dataclass(frozen=True)
class _Mapped:
    """Rows of one entity mapping and the values of its fields; `lost` rows give no entity, some `failed` fields null.

    A field stands in `failed` by its place.
    """

    shape: Shape
    rows: list[Row]
    orders: list[Order]
    columns: Columns
    lost: set[int]
    failed: set[int]

    def joined(self, other: "_Mapped") -> "_Mapped":
        """Return the rows of both."""
        return _Mapped(
            self.shape,
            self.rows + other.rows,
            self.orders + other.orders,
            [[*mine, *theirs] for mine, theirs in zip(self.columns, other.columns, strict=True)],
            self.lost | {len(self.rows) + at for at in other.lost},
            self.failed | other.failed,
        )


def compile_errors(expressions: Sequence[str], evaluator: Evaluator) -> list[str | None]:
    """Return for each expression of a mapping why it cannot work, or None; quotes are rewritten as for a run."""
    all_in_jq = not evaluator.plain_expressions
    doubtful = [text for text in expressions if all_in_jq or plain(rewrite_quotes(text)) is None]
    found = evaluator.compile_errors([rewrite_quotes(text) for text in doubtful]) if doubtful else []
    errors = dict(zip(doubtful, found, strict=True))
    return [
        f"`{word}` has no meaning here: each row is evaluated alone"
        if (word := forbidden_word(text))
        else errors.get(text)
        for text in expressions
    ]


class Transformer:
    """Maps pages to entities; rows of small pages are sent together, and a few pages are under way at a time."""

    def __init__(self, mapping: Mapping, evaluator: Evaluator, error_key: str) -> None:
        self._mapping, self._evaluator, self._key = mapping, evaluator, error_key
        self._programs: dict[int, Program] = {
            resource.index: build(resource, error_key, plain_expressions=evaluator.plain_expressions)
            for resource in mapping.resources
            if resource.known
        }
        # Fields whose columns met a value that only jq understands.
        self._in_jq: dict[int, set[str]] = {}
        self._batches: dict[int, _Batch] = {}
        self._under_way: deque[_Sent] = deque()
        self._given_up: set[int] = set()
        # What a person recognises the first rows of each resource by.
        self._labels: dict[int, dict[Order, str]] = {}
        # The field that ends the program for some rows, by resource and how it does that.
        self._enders: dict[tuple[int, str], str] = {}
        self._slow: set[int] = set()
        self._killed: Counter[int] = Counter()
        self._faults = Faults()
        # Rows that wait for others, by resource and entity mapping: a field failed on all of these few.
        self._few: dict[tuple[int, int], _Mapped] = {}

    def label(self, resource: int, order: Order) -> str:
        """Return what a person recognises a row by; of very many rows, its numbers."""
        project, number = order
        known = self._labels.get(resource, {}).get(order)
        return known or (f"id {number}" if number > 0 else f"a row of project or group {project}")

    def run(self, events: Iterable[Event]) -> Iterator[Event | Entity]:
        """Yield what came in (pages too, for whoever counts) and the entities of the pages."""
        for event in events:
            yield event
            if isinstance(event, Page):
                self._take(event)
                yield from self._collect(2 * self._evaluator.workers)
        for index in list(self._batches):
            self._send(index, self._batches.pop(index))
        yield from self._collect(0)
        for (index, number), mapped in self._few.items():
            yield from self._entities(index, number, self._without_failed(index, number, mapped))
        yield from self._faults.events(self._mapping)

    def _take(self, page: Page) -> None:
        for index in page.resources:
            if index in self._given_up:
                continue
            batch = self._batches.setdefault(index, _Batch())
            orders = [_order_of(row, page.scope) for row in page.rows]
            labels = self._labels.setdefault(index, {})
            if len(labels) < MOST_LABELS:
                labels.update(zip(orders, map(_label, page.rows), strict=True))
            try:
                array("q", chain.from_iterable(orders))
            except OverflowError:
                self._without_large(index, page.rows, orders, batch)
            else:
                batch.rows += page.rows
                batch.orders += orders
            batch.weight += page.weight
            if len(batch.rows) >= BATCH_ROWS or batch.weight >= BATCH_BYTES:
                self._send(index, self._batches.pop(index))

    def _without_large(self, index: int, rows: list[Row], orders: list[Order], batch: _Batch) -> None:
        """Take the rows into the batch but for those with an id that GitLab cannot have given: of more than 64 bits."""
        for row, order in zip(rows, orders, strict=True):
            if max(map(int.bit_length, order)) < BITS:
                batch.rows.append(row)
                batch.orders.append(order)
            else:
                why = "a row with an id or project_id of more than 64 bits is none of GitLab's"
                self._faults.add(index, 0, "", why, _label(row)[:LABEL], "rows were left out")

    def _send(self, index: int, batch: _Batch) -> None:
        program = self._programs[index]
        try:
            found = program.evaluate(batch.rows)
        except InDoubt as doubt:
            self._leave_to_jq(index, doubt.field)
            self._send(index, batch)
            return
        if not program.text:
            self._under_way.append(_Sent(index, program, batch, found, None))
            return
        try:
            text = _input(program, batch.rows)
        except ValueError:
            self._send(index, self._shallow(index, program, batch))
            return
        most = SLOW_ROWS if index in self._slow else max(len(batch.rows), BATCH_ROWS)
        if len(batch.rows) > 1 and (len(text) > BATCH_BYTES or len(batch.rows) > most):
            middle = len(batch.rows) // 2
            for part in (slice(middle), slice(middle, None)):
                self._send(index, _Batch(batch.rows[part], batch.orders[part]))
            return
        self._under_way.append(_Sent(index, program, batch, found, self._evaluator.submit(program.text, text)))

    def _leave_to_jq(self, index: int, field: str) -> None:
        """Evaluate a field in jq from now on: where one such value came, others will."""
        names = self._in_jq.setdefault(index, set())
        names.add(field)
        self._programs[index] = build(self._mapping.resources[index], self._key, in_jq=names)

    def _shallow(self, index: int, program: Program, batch: _Batch) -> _Batch:
        """Return the batch without the rows that nest too deeply to be sent; those are faults."""
        kept = _Batch()
        for row, order in zip(batch.rows, batch.orders, strict=True):
            try:
                _input(program, [row])
            except ValueError as error:
                self._faults.add(index, 0, "", f"a row {error}", _label(row), DEEP)
            else:
                kept.rows.append(row)
                kept.orders.append(order)
        return kept

    def _collect(self, leave: int) -> Iterator[Event | Entity]:
        """Take the results in the order they were asked for, until no more than `leave` are under way."""
        while len(self._under_way) > leave or (self._under_way and _is_there(self._under_way[0])):
            sent = self._under_way.popleft()
            if sent.index in self._given_up:
                continue
            yield from self._decode(sent, self._results(sent, sent.future) if sent.future else None)
            if self._killed[sent.index] >= MOST_KILLED:
                yield self._give_up(sent.index)

    def _results(self, sent: _Sent, future: "Future[bytes]") -> list[Any]:
        """Return one result per row; a batch that one of its rows may have ended is run again row by row."""
        try:
            if text := future.result():
                found: list[Any] = decode(text)
                return found
        except (JqError, ValueError):
            pass  # one row ended the program, or gave what nests too deeply
        except (Killed, TooLarge):
            before = self._killed[sent.index]
            results = self._one_by_one(sent)
            if self._killed[sent.index] == before:
                self._slow.add(sent.index)
            return results
        return self._one_by_one(sent)

    def _one_by_one(self, sent: _Sent) -> list[Any]:
        """Return the results of rows that are run alone, none of those that are left when the resource is given up."""
        rows = iter(sent.batch.rows)
        found = []
        while self._killed[sent.index] < MOST_KILLED and (row := next(rows, None)) is not None:
            found.append(self._alone(sent.index, sent.program, row))
        return found + [[] for _ in rows]

    def _alone(self, index: int, program: Program, row: Row) -> list[Any]:
        """Return the result of one row, or none when it ends its program: the row is lost, and the field named."""
        why, hint = "the expression ends the program (halt)", LOST
        try:
            if text := self._evaluator.submit(program.text, _input(program, [row])).result():
                (items,) = decode(text)
                return list(items)
        except JqError as error:
            why = str(error) or why
        except ValueError as error:
            self._faults.add(index, 0, "", f"an expression gives what cannot be read: {error}", _label(row), DEEP)
            return []
        except (Killed, TooLarge) as error:
            self._killed[index] += 1
            why, hint = RAN_AWAY if isinstance(error, Killed) else GAVE_TOO_MUCH, BOUND
        name = self._enders.get((index, why))
        if name is None:
            name = self._enders[index, why] = self._culprit(index, [row])
        self._faults.add(index, self._owner(index, name), name, why, _label(row), hint)
        return []

    def _give_up(self, index: int) -> Problem:
        """Leave out the rest of a resource and return its Problem, naming the field that does not end."""
        self._given_up.add(index)
        self._batches.pop(index, None)
        for other in self._under_way:
            if other.index == index and other.future:
                other.future.cancel()
        culprit = self._enders.get((index, RAN_AWAY)) or self._enders.get((index, GAVE_TOO_MUCH)) or ""
        line, column = self._mapping.field_mark(index, self._owner(index, culprit), culprit)
        return Problem(
            "transform",
            f"{RAN_AWAY}, or gave too much, for {MOST_KILLED} rows; the resource was given up",
            "bound the expression: `repeat`, `range`, `recurse` and `until` may never end",
            kind=self._mapping.resources[index].kind,
            resources=(index,),
            field=culprit,
            line=line,
            column=column,
        )

    def _culprit(self, index: int, rows: list[Row]) -> str:
        """Return the first field that gives no answer for the rows when it is evaluated alone, or ""."""
        resource = self._mapping.resources[index]
        names = dict.fromkeys(name for group in self._programs[index].fields for name in group)
        items = () if resource.port.items_to_parse is None else ("itemsToParse",)
        return next((n for n in (*items, "selector.query", *names) if not self._answers(resource, n, rows)), "")

    def _answers(self, resource: Resource, name: str, rows: list[Row]) -> bool:
        program = build(resource, self._key, only=name)
        try:
            return bool(self._evaluator.submit(program.text, _input(program, rows)).result())
        except (Killed, TooLarge, JqError):
            return False

    def _owner(self, index: int, name: str) -> int:
        """Return the first entity mapping of a resource that has the field."""
        groups = self._programs[index].fields
        return next((number for number, names in enumerate(groups) if name in names), 0)

    def _decode(self, sent: _Sent, results: list[Any] | None) -> Iterator[Event | Entity]:
        """Yield what the rows of a batch become, one entity mapping after the other."""
        index, batch, found = sent.index, sent.batch, sent.found
        rows, orders, computed = batch.rows, batch.orders, []
        if results is not None:
            taken: list[int] = []
            if self._mapping.resources[index].port.items_to_parse is not None:
                lists = sum(1 for items in results if not items or len(items[0]) == WITH_ITEMS)
                self._faults.given(index, None, lists)
            for at, items in enumerate(results):
                for selected, mapped, *where in items:
                    # `==` will not do: 1 == True in Python.
                    if isinstance(selected, list) and selected and selected[0] is True:
                        taken.append(at)
                        computed.append(mapped)
                    else:
                        yield from self._unselected(index, batch.rows[at], selected, *where)
            rows, orders = [rows[at] for at in taken], [orders[at] for at in taken]
            found = [[column and [column[at] for at in taken] for column in columns] for columns in found]
        for number, columns in enumerate(found):
            whole = self._columns(sent, number, rows, orders, columns, [mapped[number] for mapped in computed])
            if whole.failed or (index, number) in self._few:
                settled = self._settled(index, number, whole)
                if settled is None:
                    continue
                whole = settled
            elif rows:
                self._faults.worked(index, number, sent.program.fields[number])
            yield from self._entities(index, number, whole)

    def _unselected(self, index: int, row: Row, selected: Any, field: str = "selector.query") -> Iterator[Event]:
        if isinstance(selected, list) and selected and selected[0] is False:
            yield Skipped(index, "selector")
            return
        if selected is None and field == ITEMS:
            self._faults.nothing(index, None, field, _label(row))
            return
        why = None if is_deep(selected) else self._error_of(selected)
        if why is None:
            given = _short(selected[0]) if selected else "nothing"
            why = f"the selector must give true or false; it gave {given}"
        self._faults.add(index, 0, field, why, _label(row))

    def _columns(
        self,
        sent: _Sent,
        number: int,
        rows: list[Row],
        orders: list[Order],
        found: list[list[Any] | None],
        computed: list[list[Any]],
    ) -> _Mapped:
        """Return the values of a mapping's fields for all rows."""
        names = sent.program.fields[number]
        lost: set[int] = set()
        expected = found.count(None)
        if any(len(values) != expected for values in computed):
            # jq takes an error with the key `__jq` for its own way out of a loop.
            lost = {at for at, values in enumerate(computed) if len(values) != expected}
            why = "an expression left its field with an error {__jq: …}"
            for at in sorted(lost):
                self._faults.add(sent.index, number, "", why, _label(rows[at]))
            computed = [[None] * expected if at in lost else values for at, values in enumerate(computed)]
        given = iter(zip(*computed, strict=True) if computed else [[]] * expected)
        columns = [list(next(given)) if column is None else column for column in found]
        failed: set[int] = set()
        for at, column in enumerate(columns):
            kinds = set(map(type, column))
            if kinds & NESTED and self._judge(sent.index, number, names[at], rows, column, lost):
                failed.add(at)
            # Port's titles, teams and identifiers are text.
            if kinds & NUMBERS and names[at] == "title":
                columns[at] = [_text(value) if _is_number(value) else value for value in column]
            elif kinds & (NUMBERS | NESTED) and names[at].startswith(("relations.", "team")):
                columns[at] = [_targets(value) for value in column]
        return _Mapped(sent.program.shapes[number], rows, orders, columns, lost, failed)

    def _judge(self, index: int, number: int, name: str, rows: list[Row], column: list[Any], lost: set[int]) -> bool:
        """Find what nests too deeply or is an error in a field's values: FAILED stands there, or the row is lost.

        Returns whether FAILED stands anywhere.
        """
        failed = False
        nested = [at for at, value in enumerate(column) if type(value) in NESTED]
        any_deep = is_deep([column[at] for at in nested])
        for at in nested:
            if at in lost:
                continue
            if any_deep and is_deep(column[at]):
                self._faults.add(index, number, name, "the value nests too deeply", _label(rows[at]), DEEP)
                lost.add(at)
            elif type(column[at]) is dict and (error := self._error_of(column[at])):
                fatal = name in ("identifier", "blueprint")
                self._faults.add(index, number, name, error, _label(rows[at]), LOST if fatal else NULLED)
                column[at] = FAILED
                failed |= not fatal
                if fatal:
                    lost.add(at)
        return failed

    def _settled(self, index: int, number: int, mapped: _Mapped) -> _Mapped | None:
        """Return the rows with something in place of what failed; None where more rows have to tell what that is.

        A field that fails on every row is wrong and is left as it is in Port. On how many it fails is known at the
        end alone, and rows are sent before; so a field is left while it has failed on every row, of ten or more, and
        becomes null where it fails once it has worked.
        """
        if (index, number) in self._few:
            mapped = self._few.pop((index, number)).joined(mapped)
        names = self._programs[index].fields[number]
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

    def _without_failed(self, index: int, number: int, mapped: _Mapped) -> _Mapped:
        """Return the rows with null where a field failed, or nothing at all where it always fails."""
        names = self._programs[index].fields[number]
        for at in mapped.failed:
            instead = LEFT if self._faults.fails_always(index, number, names[at]) else None
            mapped.columns[at] = [instead if value is FAILED else value for value in mapped.columns[at]]
        return mapped

    def _entities(self, index: int, number: int, mapped: _Mapped) -> Iterator[Entity]:
        """Yield what each row becomes. This runs for every row."""
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
                known = identifier if type(identifier) in (str, dict) else _text(identifier)
            elif not blueprint:
                none += 1
                self._faults.nothing(index, number, "blueprint", _label(rows[at]))
                continue
            entity = Entity(blueprint, known, shape, values, index, orders[at], number)
            yield _without_left(entity) if left else entity
        self._faults.given(index, number, len(rows) - none)

    def _is_fit(
        self, index: int, number: int, row: Row, identifier: Any, blueprint: Any, values: tuple[Any, ...]
    ) -> bool:
        """Say whether a row gives an entity, and note why where it does not."""
        # An entity that is replaced as a whole would lose the fields that are left. Why they are left was told.
        if LEFT in (identifier, blueprint) or (LEFT in values and not self._mapping.enable_merge_entity):
            return False
        if not identifier or not blueprint or _finds_nothing(identifier):
            name = "identifier" if not identifier or blueprint else "blueprint"
            self._faults.nothing(index, number, name, _label(row))
            return False
        if not isinstance(blueprint, str):
            wrong = f"the blueprint must be text; got {_short(blueprint)}"
            self._faults.add(index, number, "blueprint", wrong, _label(row))
            return False
        if why := unfit_identifier(identifier):
            self._faults.add(index, number, "identifier", why, _label(row), UNFIT)
            return False
        return True

    def _error_of(self, value: Any) -> str | None:
        return error_in(value, self._key)


def error_in(value: Any, key: str) -> str | None:
    """Return the error that stands under `key` in a field's place, also deep in a search query."""
    if not isinstance(value, dict):
        return None
    if key in value:
        return str(value[key])
    parts = (value.get("property"), value.get("operator"), value.get("value"), *_rules(value))
    return next((error for part in parts if (error := error_in(part, key))), None)


def _rules(value: dict[str, Any]) -> list[Any]:
    rules = value.get("rules")
    return rules if isinstance(rules, list) else []


def _finds_nothing(query: Any) -> bool:
    """Say whether a search identifier looks for null or an empty text, as where its expression gave nothing."""
    if not isinstance(query, dict):
        return False
    if "rules" not in query:
        return query.get("value", 0) in (None, "") and query.get("operator") not in WITHOUT_VALUE
    found = [_finds_nothing(rule) for rule in _rules(query)]
    return bool(found) and (all(found) if query.get("combinator") == "or" else any(found))


def _is_there(sent: _Sent) -> bool:
    return sent.future is None or sent.future.done()


def _input(program: Program, rows: list[Row]) -> bytes:
    """Return the rows as JSON, without the keys that no expression can reach: jq is slow to parse.

    Raises ValueError where a row nests too deeply.
    """
    keys = program.keys
    if keys is None:
        return encode([without_legacy(row) for row in rows])
    return encode([{key: row[key] for key in keys if key in row} for row in rows])


def _without_left(entity: Entity) -> Entity:
    kept = [at for at, value in enumerate(entity.values) if value is not LEFT]
    if len(kept) == len(entity.values):
        return entity
    names = tuple(entity.shape.names[at] for at in kept)
    return entity._replace(shape=Shape.of(names), values=tuple(entity.values[at] for at in kept))


def _targets(value: Any) -> Any:
    """Return the value of a relation or team with numbers as text: Port's identifiers are text."""
    if type(value) is str:
        return value
    if isinstance(value, list):
        return [_targets(one) for one in value]
    return _text(value) if _is_number(value) else value


def _is_number(value: Any) -> bool:
    return type(value) is int or type(value) is float


def unfit_identifier(identifier: Any) -> str | None:
    """Return why Port would refuse an identifier, or None."""
    if type(identifier) is str and IDENTIFIER.match(identifier):
        return None
    if isinstance(identifier, dict):
        return None if "rules" in identifier else "an identifier object must be a search query with rules"
    if isinstance(identifier, bool | list):
        return f"the identifier must be text; got {_short(identifier)}"
    if not is_identifier(_text(identifier)):
        return f"Port forbids the identifier {_short(identifier)}: {ALLOWED}"
    return None


def _text(identifier: Any) -> str:
    """Return an identifier as text; jq writes whole numbers without a fraction and so do we."""
    if isinstance(identifier, float) and identifier.is_integer():
        return str(int(identifier))
    return str(identifier)


def _short(value: Any) -> str:
    return in_words(value if not isinstance(value, str) else json.dumps(value, ensure_ascii=False), 80)


def _label(row: Row) -> str:
    """Return what a person recognises a row by."""
    for name in ("web_url", "path_with_namespace", "full_path", "username", "name", "id"):
        if isinstance(found := row.get(name), str | int) and found:
            return str(found)
    if isinstance(inner := row.get("file") or row.get("folder"), dict):
        repo = row.get("repo")
        return f"{repo.get('path_with_namespace', '') if isinstance(repo, dict) else ''}: {inner.get('path', '')}"
    return ""


def _order_of(row: Row, scope: Scope) -> Order:
    """Return (project, row) by number, of which the lowest wins.

    A merge request comes with its group or its project, as the plan has it; its project is always the same.
    """
    project, number = row.get("project_id"), row.get("id")
    return (
        project if type(project) is int and project else scope.id,
        number if type(number) is int and number else _row_number(row),
    )


def _row_number(row: Row) -> int:
    """Return a number that is always the same for a name: releases, tags, branches and files have no id.

    It is not above zero, which ids are.
    """
    inner = row.get("file") or row.get("folder")
    path = inner.get("path") if isinstance(inner, dict) else None
    return -crc32(str(row.get("tag_name") or row.get("name") or path or "").encode(errors="replace"))


def merge_shared(
    events: Iterable[Event | Entity], shared: frozenset[str] | None, *, by_field: bool = True
) -> Iterable[Event | Entity]:
    """Merge entities of blueprints that several entity mappings feed (None: any), in their order, later fields winning.

    They wait until everything was read; all others pass at once. Of rows of one entity mapping with the same key the
    one from the lowest scope, then the lowest row id, wins. Without `by_field` the last mapping's entity replaces the
    others whole, as Port does without merging.
    """
    return events if shared is not None and not shared else _merged(events, shared, by_field)


def _merged(
    events: Iterable[Event | Entity], shared: frozenset[str] | None, by_field: bool
) -> Iterator[Event | Entity]:
    waiting: dict[tuple[str, str], dict[tuple[int, int], Entity]] = {}
    for event in events:
        if not isinstance(event, Entity) or (shared is not None and event.blueprint not in shared) or event.is_search:
            yield event
            continue
        found = waiting.setdefault(event.key, {})
        source = (event.resource, event.part)
        other = found.get(source)
        if other is not None:
            yield Skipped(event.resource, "duplicate", str(event.identifier), rows=(other.order, event.order))
        if other is None or event.order <= other.order:
            found[source] = event
    for found in waiting.values():
        ordered = [found[source] for source in sorted(found)][0 if by_field else -1 :]
        fields: dict[str, Any] = {}
        for entity in ordered:
            fields |= dict(zip(entity.shape.names, entity.values, strict=True))
        yield ordered[0].holding(fields)
