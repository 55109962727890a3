"""The first half of transform: rows of pages in batches, evaluated in jq where only jq can tell."""

from array import array
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

from gitlab_port_export.base.jsontext import decode, encode
from gitlab_port_export.jq.pool import Evaluator, JqError, Killed, TooLarge
from gitlab_port_export.jq.program import InDoubt, Program, build, forbidden_word, rewrite_quotes, without_legacy
from gitlab_port_export.jq.without_jq import plain
from gitlab_port_export.mapping.model import Mapping, Resource
from gitlab_port_export.model import Entity, Event, Order, Page, Problem, Row
from gitlab_port_export.sync.assemble import Assembler, Evaluated
from gitlab_port_export.sync.faults import BOUND, DEEP, LOST, Faults
from gitlab_port_export.sync.rows import label_of, order_of

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


@dataclass
class _Batch:
    """Rows of one resource that wait until a page is worth sending."""

    rows: list[Row] = field(default_factory=list)
    orders: list[Order] = field(default_factory=list)
    weight: int = 0


@dataclass(frozen=True)
class _Sent:
    """A batch of which jq's part is under way, or that needs none."""

    batch: Evaluated
    future: "Future[bytes] | None"


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
        # Names of the first rows of each resource, for messages.
        self._labels: dict[int, dict[Order, str]] = {}
        # The field that ends the program for some rows, by resource and how it does that.
        self._enders: dict[tuple[int, str], str] = {}
        self._slow: set[int] = set()
        self._killed: Counter[int] = Counter()
        self._faults = Faults()
        self._assembler = Assembler(mapping, error_key, self._faults)

    def label(self, resource: int, order: Order) -> str:
        """Return a name for a row that a person recognises; where there are very many rows, its number."""
        project, number = order
        known = self._labels.get(resource, {}).get(order)
        return known or (f"id {number}" if number > 0 else f"a row of project or group {project}")

    def run(self, events: Iterable[Event]) -> Iterator[Event | Entity]:
        """Yield the events, and after each page the entities that are ready."""
        for event in events:
            yield event
            if isinstance(event, Page):
                self._take(event)
                yield from self._collect(2 * self._evaluator.workers)
        for index in list(self._batches):
            self._send(index, self._batches.pop(index))
        yield from self._collect(0)
        yield from self._assembler.finish()
        yield from self._faults.events(self._mapping)

    def _take(self, page: Page) -> None:
        for index in page.resources:
            if index in self._given_up:
                continue
            batch = self._batches.setdefault(index, _Batch())
            orders = [order_of(row, page.scope) for row in page.rows]
            labels = self._labels.setdefault(index, {})
            if len(labels) < MOST_LABELS:
                labels.update(zip(orders, map(label_of, page.rows), strict=True))
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
                self._faults.add(index, 0, "", why, label_of(row)[:LABEL], "rows were left out")

    def _send(self, index: int, batch: _Batch) -> None:
        program = self._programs[index]
        try:
            found = program.evaluate(batch.rows)
        except InDoubt as doubt:
            self._leave_to_jq(index, doubt.field)
            self._send(index, batch)
            return
        evaluated = Evaluated(index, program, batch.rows, batch.orders, found)
        if not program.text:
            self._under_way.append(_Sent(evaluated, None))
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
        self._under_way.append(_Sent(evaluated, self._evaluator.submit(program.text, text)))

    def _leave_to_jq(self, index: int, field: str) -> None:
        """Evaluate a field in jq from now on: where one such value came, others are likely."""
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
                self._faults.add(index, 0, "", f"a row {error}", label_of(row), DEEP)
            else:
                kept.rows.append(row)
                kept.orders.append(order)
        return kept

    def _collect(self, leave: int) -> Iterator[Event | Entity]:
        """Take the results in the order they were asked for, until no more than `leave` are under way."""
        while len(self._under_way) > leave or (self._under_way and _is_there(self._under_way[0])):
            sent = self._under_way.popleft()
            batch = sent.batch
            if batch.index in self._given_up:
                continue
            yield from self._assembler.assemble(batch, self._results(batch, sent.future) if sent.future else None)
            if self._killed[batch.index] >= MOST_KILLED:
                yield self._give_up(batch.index)

    def _results(self, batch: Evaluated, future: "Future[bytes]") -> list[Any]:
        """Return one result per row; a batch that one of its rows may have ended is run again row by row."""
        try:
            if text := future.result():
                found: list[Any] = decode(text)
                return found
        except (JqError, ValueError):
            pass  # one row ended the program, or gave what nests too deeply
        except (Killed, TooLarge):
            before = self._killed[batch.index]
            results = self._one_by_one(batch)
            if self._killed[batch.index] == before:
                self._slow.add(batch.index)
            return results
        return self._one_by_one(batch)

    def _one_by_one(self, batch: Evaluated) -> list[Any]:
        """Return the results of rows that are run alone, none of those that are left when the resource is given up."""
        rows = iter(batch.rows)
        found = []
        while self._killed[batch.index] < MOST_KILLED and (row := next(rows, None)) is not None:
            found.append(self._alone(batch.index, batch.program, row))
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
            self._faults.add(index, 0, "", f"an expression gives what cannot be read: {error}", label_of(row), DEEP)
            return []
        except (Killed, TooLarge) as error:
            self._killed[index] += 1
            why, hint = RAN_AWAY if isinstance(error, Killed) else GAVE_TOO_MUCH, BOUND
        name = self._enders.get((index, why))
        if name is None:
            name = self._enders[index, why] = self._culprit(index, [row])
        self._faults.add(index, self._owner(index, name), name, why, label_of(row), hint)
        return []

    def _give_up(self, index: int) -> Problem:
        """Skip the rest of a resource and return its Problem, which names the field that does not end."""
        self._given_up.add(index)
        self._batches.pop(index, None)
        for other in self._under_way:
            if other.batch.index == index and other.future:
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
