"""Collects upserts into batches by blueprint, and keeps a bounded number of calls to Port under way."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Set
from concurrent.futures import Executor, Future, wait
from dataclasses import dataclass, field, replace
from queue import SimpleQueue
from typing import Any

from gitlab_port_export.base.clock import Stopped
from gitlab_port_export.base.jsontext import packed
from gitlab_port_export.model import Entity, Failed, Written, target
from gitlab_port_export.port.blueprint import Blueprint
from gitlab_port_export.port.client import Port
from gitlab_port_export.port.halving import Tries
from gitlab_port_export.port.hints import ADVICE, CIRCLE
from gitlab_port_export.port.order import dependency_order, in_circles, targets_of
from gitlab_port_export.port.upsert import Batch, Outcome, Rules, Upsert, upsert

# What the brackets around the entities take.
ENVELOPE_BYTES = 64
# Port's limit of one request body.
MAX_ENTITY_BYTES = 1024 * 1024
Result = Written | Failed
Key = tuple[str, str]


def as_sent(entity: Entity) -> dict[str, Any]:
    """Return the JSON of an entity for a bulk upsert.

    Port's schema allows null there for properties and relations only. Without a title Port shows the identifier, so
    that is sent. An unset icon is left out, no team is an empty list.
    """
    body = entity.body
    if body.get("title", "") is None:
        body["title"] = entity.identifier
    for name in ("title", "icon"):
        if body.get(name, "") is None:
            del body[name]
    if body.get("team", "") is None:
        body["team"] = []
    body["identifier"] = entity.identifier
    return body


def _outside(entity: Entity, circle: Set[Key], blueprints: Mapping[str, Blueprint]) -> Entity:
    """Return an entity without its relations to these entities."""
    for name, value in list(entity.relations):
        alone = entity.holding({f"relations.{name}": value})
        if not circle.isdisjoint(targets_of(alone, blueprints)):
            entity = entity.without(f"relations.{name}")
    return entity


@dataclass
class _Waiting:
    """The rows of the next call of a blueprint; the size counts a comma for each text."""

    changes: list[Upsert] = field(default_factory=list)
    texts: list[bytes] = field(default_factory=list)
    size: int = 0


class Writer:
    """Batches upserts by blueprint and keeps a bounded number of calls under way.

    Calls end in any order, so a second change of an entity waits until all others are written.
    """

    def __init__(self, port: Port, rules: Rules, executor: Executor, ahead: int) -> None:
        self._port, self._rules, self._executor, self._ahead = port, rules, executor, ahead
        self._open: dict[str, _Waiting] = {}
        self._tries: defaultdict[str, Tries] = defaultdict(Tries)
        self._calls: dict[Future[Outcome], Batch] = {}
        self._answered: SimpleQueue[Future[Outcome]] = SimpleQueue()
        self._busy: set[Key] = set()
        self._later: dict[Key, list[Upsert]] = {}
        self._again: dict[Key, tuple[Upsert, Failed]] = {}

    def add(self, change: Upsert) -> Iterator[Result]:
        """Take one change; yield the results that have arrived meanwhile."""
        blueprint, key = change.entity.blueprint, change.entity.key
        if key in self._busy or key in self._later:
            self._later.setdefault(key, []).append(change)
            return
        text = packed(as_sent(change.entity))
        most = max(MAX_ENTITY_BYTES, self._rules.batch_bytes)
        if len(text) > most - ENVELOPE_BYTES:
            yield Failed(change, f"the entity is larger than {most // 1024} KiB, which is Port's limit", ADVICE[413])
            return
        self._busy.add(key)
        waiting = self._open.get(blueprint)
        if waiting and waiting.size + len(text) >= self._rules.batch_bytes - ENVELOPE_BYTES:
            self._send(blueprint)
            waiting = None
        if waiting is None:
            waiting = self._open[blueprint] = _Waiting()
        waiting.changes.append(change)
        waiting.texts.append(text)
        waiting.size += len(text) + 1
        if len(waiting.changes) >= self._rules.batch_length:
            self._send(blueprint)
        if len(self._calls) > self._ahead:
            yield from self._collect(self._ahead)

    def flush(self) -> Iterator[Result]:
        """Send the waiting rows and yield the results of all calls."""
        for blueprint in list(self._open):
            self._send(blueprint)
        yield from self._collect(0)

    def finish(self, blueprints: Mapping[str, Blueprint]) -> Iterator[Result]:
        """Send everything; yield also the results of the rows whose relation target does not exist."""
        yield from self.settle(blueprints)
        yield from self._in_two_steps(blueprints)
        yield from (result for _, result in self._again.values())

    def settle(self, blueprints: Mapping[str, Blueprint]) -> Iterator[Result]:
        """Send everything, then once more, in dependency order, the rows whose relation target was missing."""
        yield from self.flush()
        while self._later:
            later, self._later = self._later, {}
            for key, (first, *others) in later.items():
                yield from self.add(first)
                if others:
                    self._later[key] = others
            yield from self.flush()
        again, self._again = {key: change for key, (change, _) in self._again.items()}, {}
        for group in dependency_order([change.entity for change in again.values()], blueprints):
            for entity in group:
                yield from self.add(again[entity.key])
            yield from self.flush()

    def _in_two_steps(self, blueprints: Mapping[str, Blueprint]) -> Iterator[Result]:
        """Write rows that relate to each other in a circle: first without these relations, then as they are.

        Port refuses each of them as long as the others are not there. Only the second step counts.
        """
        circle = in_circles([change.entity for change, _ in self._again.values()], blueprints)
        waiting = {key: self._again.pop(key) for key in circle}
        first: list[Result] = []
        for change, _ in waiting.values():
            first += self.add(replace(change, entity=_outside(change.entity, circle, blueprints)))
        first += self.flush()
        half = {target(result.change) for result in first if isinstance(result, Written)}
        for key, (change, result) in waiting.items():
            if key in half:
                yield from self.add(change)
            else:
                self._again[key] = (change, replace(result, hint=CIRCLE))
        yield from self.flush()

    def abandon(self, seconds: float) -> Iterator[Result]:
        """Send nothing more; yield what Port confirms within `seconds` of the calls that are under way."""
        self._open.clear()
        done, _ = wait(self._calls, timeout=seconds)
        for future in done:
            if not future.exception():
                yield from self._outcome(future.result())

    def _send(self, blueprint: str) -> None:
        waiting = self._open.pop(blueprint)
        batch = Batch(blueprint, tuple(waiting.changes), tuple(waiting.texts))
        future = self._executor.submit(upsert, self._port, self._rules, batch, self._tries[blueprint])
        self._calls[future] = batch
        future.add_done_callback(self._answered.put)

    def _collect(self, leave: int) -> Iterator[Result]:
        while len(self._calls) > leave:
            future = self._answered.get()
            # When a call raises, what the others confirmed is still there for `abandon`.
            batch = self._calls.pop(future)
            outcome = future.result()
            yield from self._outcome(outcome)
            if outcome.stopped:
                raise Stopped
            self._busy.difference_update(change.entity.key for change in batch.changes)

    def _outcome(self, outcome: Outcome) -> Iterator[Result]:
        for change in outcome.written:
            self._again.pop(change.entity.key, None)
            yield Written(change)
        yield from outcome.failed
        self._again |= {change.entity.key: (change, result) for change, result in outcome.again}
