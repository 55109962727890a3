"""Page → Entity, Skipped or Problem: one jq program a resource over whole pages, in worker processes."""

import json
import re
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from collections.abc import Mapping as Dict
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from typing import Any

from gitlab_port_export.evaluate import Evaluator, JqError, Killed
from gitlab_port_export.model import Entity, Event, Mapping, Page, Problem, Resource, Row, Skipped
from gitlab_port_export.program import Program, build, forbidden_word, is_legacy, reachable, rewrite_quotes
from gitlab_port_export.wire import decode, encode

BATCH_ROWS = 100
# Port's rule for identifiers: letters of any script, digits and a few marks, never "." or "..".
IDENTIFIER = re.compile(r"(?!\.{1,2}\Z)(?:[^\W\d_]|[0-9@_.+:\\/=-]){1,1000}\Z")
Order = tuple[int, int]


@dataclass
class _Batch:
    """Rows of one resource that wait until a page is worth sending."""

    rows: list[Row] = field(default_factory=list)
    orders: list[Order] = field(default_factory=list)


@dataclass
class _Faults:
    """What went wrong with expressions, one entry a fault and not a row: count and first sample."""

    found: dict[tuple[int, str, bool], tuple[str, int, str]] = field(default_factory=dict)

    def add(self, resource: int, name: str, why: str, sample: str, *, warning: bool) -> None:
        key = (resource, name, warning)
        first, count, example = self.found.get(key, (why, 0, sample))
        self.found[key] = (first, count + 1, example)

    def problems(self, mapping: Mapping) -> Iterator[Problem]:
        for (index, name, warning), (why, count, sample) in self.found.items():
            yield Problem(
                "transform",
                why,
                "the property was set to null there" if warning else "correct the expression; rows were left out",
                kind=mapping.resources[index].kind,
                resources=(index,),
                field=name,
                line=mapping.line("resources", index, *field_path(name)),
                warning=warning,
                count=count,
                sample=sample,
            )


def field_path(name: str) -> tuple[str, ...]:
    """Return where a field stands in its resource in the mapping file."""
    if name in ("selector", "selector.query"):
        return ("selector", "query")
    if name == "itemsToParse":
        return ("port", "itemsToParse")
    head, _, rest = name.partition(".")
    return ("port", "entity", "mappings", head, *((rest,) if rest else ()))


def compile_errors(expressions: Sequence[str], evaluator: Evaluator) -> list[str | None]:
    """Return for each expression of a mapping why it cannot work, or None; quotes are rewritten as for a run."""
    found = evaluator.compile_errors([rewrite_quotes(text) for text in expressions])
    return [
        f"`{word}` has no meaning here: each row is evaluated alone" if (word := forbidden_word(text)) else error
        for text, error in zip(expressions, found, strict=True)
    ]


class Transformer:
    """Maps pages to entities; rows of small pages are sent together, and a few pages are under way at a time."""

    def __init__(self, mapping: Mapping, evaluator: Evaluator, error_key: str) -> None:
        self._mapping, self._evaluator, self._key = mapping, evaluator, error_key
        self._programs: Dict[int, Program] = {
            resource.index: build(resource, error_key) for resource in mapping.resources if resource.known
        }
        self._keys = {index: reachable(mapping.resources[index]) for index in self._programs}
        self._batches: dict[int, _Batch] = {}
        self._under_way: deque[tuple[int, _Batch, Future[bytes]]] = deque()
        self._given_up: set[int] = set()
        self._faults = _Faults()

    def run(self, events: Iterable[Event]) -> Iterator[Event | Entity]:
        """Yield what came in (pages too, for whoever counts) and the entities of the pages."""
        for event in events:
            yield event
            if isinstance(event, Page):
                self._take(event)
                yield from self._collect(2 * self._evaluator.workers)
        for index in list(self._batches):
            self._send(index)
        yield from self._collect(0)
        yield from self._faults.problems(self._mapping)

    def _take(self, page: Page) -> None:
        for index in page.resources:
            if index in self._given_up:
                continue
            batch = self._batches.setdefault(index, _Batch())
            batch.rows += page.rows
            batch.orders += [(page.scope.id, _number(row.get("id"))) for row in page.rows]
            if len(batch.rows) >= BATCH_ROWS:
                self._send(index)

    def _send(self, index: int) -> None:
        batch = self._batches.pop(index)
        future = self._evaluator.submit(self._programs[index].text, self._input(index, batch.rows))
        self._under_way.append((index, batch, future))

    def _input(self, index: int, rows: list[Row]) -> bytes:
        """Return the rows as JSON, without the keys that no expression can reach: jq is slow to parse."""
        keys = self._keys[index]
        if keys is None:
            return encode(rows)
        return encode([{key: value for key, value in row.items() if key in keys} for row in rows])

    def _collect(self, leave: int) -> Iterator[Event | Entity]:
        """Take the results in the order they were asked for, until no more than `leave` are under way."""
        while len(self._under_way) > leave or (self._under_way and self._under_way[0][2].done()):
            index, batch, future = self._under_way.popleft()
            if index in self._given_up:
                continue
            try:
                yield from self._decode(index, batch, self._results(index, batch, future))
            except Killed:
                self._given_up.add(index)
                yield self._runaway(index, batch)

    def _results(self, index: int, batch: _Batch, future: "Future[bytes]") -> list[Any]:
        """Return one result per row; a page that `halt` cut short is run again row by row."""
        try:
            if text := future.result():
                found: list[Any] = decode(text)
                return found
        except JqError:
            pass  # one row's error ended the program; the rows are tried one by one
        return [self._alone(index, row) for row in batch.rows]

    def _alone(self, index: int, row: Row) -> Any:
        try:
            text = self._evaluator.submit(self._programs[index].text, self._input(index, [row])).result()
        except JqError as error:
            return [[{self._key: str(error)}, []]]
        return decode(text)[0] if text else [[{self._key: "the expression ends the program (halt)"}, []]]

    def _runaway(self, index: int, batch: _Batch) -> Problem:
        """Return the Problem of a resource that is given up, naming the field that does not end on its first row."""
        resource = self._mapping.resources[index]
        names = ("selector", *dict.fromkeys(name for group in self._programs[index].fields for name in group))
        culprit = next((name for name in names if self._never_ends(resource, name, batch.rows)), "")
        return Problem(
            "transform",
            "an expression ran too long or wanted too much memory; the resource was given up",
            "bound the expression: `repeat`, `range`, `recurse` and `until` may never end",
            kind=resource.kind,
            resources=(index,),
            field=culprit,
            line=self._mapping.line("resources", index, *(field_path(culprit) if culprit else ())),
        )

    def _never_ends(self, resource: Resource, name: str, rows: list[Row]) -> bool:
        program = build(resource, self._key, only=name).text
        try:
            self._evaluator.submit(program, encode(rows[:1])).result()
        except Killed:
            return True
        except JqError:
            return False
        return False

    def _decode(self, index: int, batch: _Batch, results: list[Any]) -> Iterator[Event | Entity]:
        groups = self._programs[index].fields
        for row, order, items in zip(batch.rows, batch.orders, results, strict=True):
            for selected, mapped in items:
                if selected != [True]:
                    yield from self._unselected(index, row, selected)
                    continue
                for names, values in zip(groups, mapped, strict=True):
                    yield from self._entity(index, row, order, names, values)

    def _unselected(self, index: int, row: Row, selected: Any) -> Iterator[Event]:
        if selected == [False]:
            yield Skipped(index, "selector")
            return
        why = self._error_of(selected) or f"the selector must give true or false; it gave {_short(selected)}"
        self._faults.add(index, "selector.query", why, _label(row), warning=False)

    def _entity(
        self, index: int, row: Row, order: Order, names: tuple[str, ...], values: list[Any]
    ) -> Iterator[Event | Entity]:
        for at, value in enumerate(values):
            if isinstance(value, dict) and (error := self._error_of(value)):
                fatal = names[at] in ("identifier", "blueprint")
                self._faults.add(index, names[at], error, _label(row), warning=not fatal)
                if fatal:
                    return
                values[at] = None
        identifier, blueprint = values[0], values[1]
        if not identifier or not blueprint:
            yield Skipped(index, "identifier", _label(row))
            return
        if why := _unfit(identifier, blueprint):
            self._faults.add(index, "identifier", why, _label(row), warning=False)
            return
        known = identifier if isinstance(identifier, dict) else _text(identifier)
        yield Entity(blueprint, known, _body(names[2:], values[2:]), index, order)

    def _error_of(self, value: Any) -> str | None:
        """Return the error that stands in a field's place, also deep in a search query."""
        if not isinstance(value, dict):
            return None
        if self._key in value:
            return str(value[self._key])
        parts = (value.get("property"), value.get("operator"), value.get("value"), *_rules(value))
        return next((error for part in parts if (error := self._error_of(part))), None)


def _rules(value: dict[str, Any]) -> list[Any]:
    rules = value.get("rules")
    return rules if isinstance(rules, list) else []


def _body(names: Sequence[str], values: Sequence[Any]) -> dict[str, Any]:
    """Return the entity's body: only the fields that the mapping sets, properties and relations nested."""
    body: dict[str, Any] = {}
    for name, value in zip(names, values, strict=True):
        head, _, rest = name.partition(".")
        if rest:
            body.setdefault(head, {})[rest] = value
        else:
            body[name] = value
    return body


def _unfit(identifier: Any, blueprint: Any) -> str | None:
    if not isinstance(blueprint, str):
        return f"the blueprint must be text; got {_short(blueprint)}"
    if isinstance(identifier, dict):
        return None if "rules" in identifier else "an identifier object must be a search query with rules"
    if isinstance(identifier, bool | list):
        return f"the identifier must be text; got {_short(identifier)}"
    if not IDENTIFIER.match(_text(identifier)):
        return f"Port forbids the identifier {_short(identifier)}: letters, digits and @_.+:\\/=- only, at most 1000"
    return None


def _text(identifier: Any) -> str:
    """Return an identifier as text; jq writes whole numbers without a fraction and so do we."""
    if isinstance(identifier, float) and identifier.is_integer():
        return str(int(identifier))
    return str(identifier)


def _short(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)[:80]


def _label(row: Row) -> str:
    """Return what a person recognises a row by."""
    for name in ("web_url", "path_with_namespace", "full_path", "username", "name", "id"):
        if row.get(name):
            return str(row[name])
    return ""


def _number(value: Any) -> int:
    return value if isinstance(value, int) else 0


def legacy_fields(mapping: Mapping) -> Iterator[Problem]:
    """Yield a warning for each `file://` or `search://` field: it is left as it is in Port."""
    for resource in mapping.resources:
        for entity in resource.mappings:
            for name, value in entity.fields():
                if is_legacy(value):
                    yield Problem(
                        "mapping",
                        f"{str(value).partition(':')[0]}:// is not read yet; the field is left as it is in Port",
                        kind=resource.kind,
                        resources=(resource.index,),
                        field=name,
                        line=mapping.line("resources", resource.index, *field_path(name)),
                        warning=True,
                    )


def merge_shared(events: Iterable[Event | Entity], shared: frozenset[str]) -> Iterator[Event | Entity]:
    """Merge entities of blueprints that several resources feed, in mapping order, later fields winning.

    They wait until everything was read; all others pass at once. Of rows of one resource with the same key the one
    from the lowest scope, then the lowest row id, wins.
    """
    waiting: dict[tuple[str, str], dict[int, Entity]] = {}
    for event in events:
        if not isinstance(event, Entity) or event.blueprint not in shared or event.is_search:
            yield event
            continue
        found = waiting.setdefault(event.key, {})
        other = found.get(event.resource)
        if other is not None:
            yield Skipped(event.resource, "duplicate", str(event.identifier))
        if other is None or event.order <= other.order:
            found[event.resource] = event
    for found in waiting.values():
        ordered = [found[index] for index in sorted(found)]
        body: dict[str, Any] = {}
        for entity in ordered:
            for name, value in entity.body.items():
                both = name in ("properties", "relations") and name in body
                body[name] = {**body[name], **value} if both else value
        yield replace(ordered[0], body=body)
