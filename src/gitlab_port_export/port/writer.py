"""Writes to Port in bulk and believes only what Port confirms, row by row."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from dataclasses import dataclass, replace
from graphlib import CycleError, TopologicalSorter
from typing import Any

from gitlab_port_export.http import Unreachable
from gitlab_port_export.model import Create, Delete, Entity, Failed, Held, Update, Written
from gitlab_port_export.port.client import Port, PortRefused, segment
from gitlab_port_export.port.ledger import Blueprint

BULK_DELETE = 100
# Room for the brackets around the entities.
ENVELOPE_BYTES = 64
Upsert = Create | Update


@dataclass(frozen=True)
class Rules:
    """How entities are written: the mapping's flags and the limits of one call."""

    merge: bool = True
    create_missing: bool = True
    batch_length: int = 20
    batch_bytes: int = 1024 * 1024

    @property
    def params(self) -> tuple[tuple[str, str], ...]:
        """The query of a bulk upsert."""
        return (
            ("upsert", "true"),
            ("merge", str(self.merge).lower()),
            ("create_missing_related_entities", str(self.create_missing).lower()),
            ("validation_only", "false"),
        )


@dataclass(frozen=True)
class Batch:
    """Changes of one blueprint for one call."""

    blueprint: str
    changes: tuple[Upsert, ...]


@dataclass(frozen=True)
class Outcome:
    """What one call did: confirmed rows (with the identifier that Port found), refused rows, rows to try again."""

    written: tuple[tuple[Upsert, str], ...] = ()
    failed: tuple[tuple[Upsert, str], ...] = ()
    untargeted: tuple[tuple[Upsert, str], ...] = ()


def as_sent(entity: Entity) -> dict[str, Any]:
    """Return the JSON of an entity for a bulk upsert.

    Port's schema allows null there for properties and relations only: without a title it shows the identifier, an
    unset icon is left out, no team is an empty list.
    """
    body = dict(entity.body)
    if body.get("title", "") is None:
        body["title"] = entity.identifier if isinstance(entity.identifier, str) else ""
    if body.get("icon", "") is None:
        del body["icon"]
    if body.get("team", "") is None:
        body["team"] = []
    return {"identifier": entity.identifier, **body}


class Writer:
    """Batches upserts by blueprint and keeps a bounded number of calls under way."""

    def __init__(self, port: Port, rules: Rules, executor: Executor, ahead: int) -> None:
        self._port, self._rules, self._executor, self._ahead = port, rules, executor, ahead
        self._open: dict[str, list[Upsert]] = {}
        self._sizes: dict[str, int] = {}
        self._calls: set[Future[Outcome]] = set()
        self._untargeted: list[tuple[Upsert, str]] = []

    def add(self, change: Upsert) -> Iterator[Written | Failed]:
        """Take one change; yield what Port has answered meanwhile."""
        blueprint = change.entity.blueprint
        size = len(json.dumps(as_sent(change.entity), separators=(",", ":"))) + 1
        if self._sizes.get(blueprint, 0) + size > self._rules.batch_bytes - ENVELOPE_BYTES:
            self._send(blueprint)
        self._open.setdefault(blueprint, []).append(change)
        self._sizes[blueprint] = self._sizes.get(blueprint, 0) + size
        if len(self._open[blueprint]) >= self._rules.batch_length:
            self._send(blueprint)
        yield from self._collect(self._ahead)

    def flush(self) -> Iterator[Written | Failed]:
        """Send what waits and yield every answer that is still out."""
        for blueprint in list(self._open):
            self._send(blueprint)
        yield from self._collect(0)

    def finish(self, blueprints: Mapping[str, Blueprint]) -> Iterator[Written | Failed]:
        """Send everything, then once more, in dependency order, the rows whose relation target was missing."""
        yield from self.flush()
        again, self._untargeted = {change.entity.key: change for change, _ in self._untargeted}, []
        for group in dependency_order([change.entity for change in again.values()], blueprints):
            for entity in group:
                yield from self.add(again[entity.key])
            yield from self.flush()
        for change, why in self._untargeted:
            yield Failed(change, why)

    def abandon(self, seconds: float) -> Iterator[Written | Failed]:
        """Send nothing more; yield what Port confirms within `seconds` of the calls that are under way."""
        self._open.clear()
        done, self._calls = wait(self._calls, timeout=seconds)
        for future in done:
            if not future.exception():
                yield from self._outcome(future.result())

    def _send(self, blueprint: str) -> None:
        changes = self._open.pop(blueprint, [])
        self._sizes.pop(blueprint, None)
        if changes:
            batch = Batch(blueprint, tuple(changes))
            self._calls.add(self._executor.submit(upsert, self._port, self._rules, batch))

    def _collect(self, leave: int) -> Iterator[Written | Failed]:
        while len(self._calls) > leave:
            done, self._calls = wait(self._calls, return_when=FIRST_COMPLETED)
            for future in done:
                yield from self._outcome(future.result())

    def _outcome(self, outcome: Outcome) -> Iterator[Written | Failed]:
        for change, identifier in outcome.written:
            found = replace(change.entity, identifier=identifier) if change.entity.is_search else change.entity
            yield Written(replace(change, entity=found))
        for change, why in outcome.failed:
            yield Failed(change, why)
        self._untargeted += outcome.untargeted


def upsert(port: Port, rules: Rules, batch: Batch) -> Outcome:
    """Send one batch; a body that is too large is halved, and one bad row is found by halving too.

    Port checks the whole call against its schema, so one forbidden value refuses all rows of it (422).
    """
    path = f"/blueprints/{segment(batch.blueprint)}/entities/bulk"
    try:
        answer = port.call(
            "POST",
            path,
            params=rules.params,
            payload={"entities": [as_sent(c.entity) for c in batch.changes]},
        )
    except Unreachable as failure:
        return Outcome(failed=tuple((change, f"no answer from Port: {failure}") for change in batch.changes))
    if answer.status in (200, 207) and isinstance(answer.data, dict):
        return _by_row(batch, answer.data)
    refusal = PortRefused(answer)
    if answer.status in (413, 422) and len(batch.changes) > 1:
        middle = len(batch.changes) // 2
        halves = (batch.changes[:middle], batch.changes[middle:])
        first, second = (upsert(port, rules, Batch(batch.blueprint, half)) for half in halves)
        return Outcome(
            first.written + second.written, first.failed + second.failed, first.untargeted + second.untargeted
        )
    return Outcome(failed=tuple((change, str(refusal)) for change in batch.changes))


def _by_row(batch: Batch, data: Mapping[str, Any]) -> Outcome:
    confirmed = {row.get("index"): str(row.get("identifier")) for row in data.get("entities") or ()}
    errors = {row.get("index"): row for row in data.get("errors") or ()}
    written: list[tuple[Upsert, str]] = []
    failed: list[tuple[Upsert, str]] = []
    untargeted: list[tuple[Upsert, str]] = []
    for index, change in enumerate(batch.changes):
        if index in errors:
            row = errors[index]
            why = f"{row.get('statusCode')}: {row.get('message') or row.get('error')}"
            missing = row.get("error") == "not_found" and not change.entity.is_search
            (untargeted if missing else failed).append((change, why))
        elif index in confirmed:
            written.append((change, confirmed[index]))
        else:
            failed.append((change, "Port did not confirm the row"))
    return Outcome(tuple(written), tuple(failed), tuple(untargeted))


def dependency_order(entities: Sequence[Entity], blueprints: Mapping[str, Blueprint]) -> Iterator[list[Entity]]:
    """Yield the entities in groups, relation targets before what relates to them; a cycle comes as one group."""
    keys = {entity.key: entity for entity in entities}
    needs = {
        key: {target for target in _targets(entity, blueprints) if target in keys and target != key}
        for key, entity in keys.items()
    }
    for group in _layers(needs):
        yield [keys[key] for key in group]


def _targets(entity: Entity, blueprints: Mapping[str, Blueprint]) -> Iterator[tuple[str, str]]:
    blueprint = blueprints.get(entity.blueprint)
    for name, value in (entity.body.get("relations") or {}).items():
        relation = blueprint.relations.get(name) if blueprint else None
        if relation is not None and value is not None and not isinstance(value, dict):
            yield from ((relation.target, str(one)) for one in (value if isinstance(value, list) else [value]))


def _layers(needs: Mapping[Any, set[Any]]) -> Iterator[list[Any]]:
    sorter = TopologicalSorter(needs)
    try:
        sorter.prepare()
    except CycleError:
        yield list(needs)
        return
    while sorter.is_active():
        ready = list(sorter.get_ready())
        yield ready
        sorter.done(*ready)


def blueprint_order(names: Iterable[str], blueprints: Mapping[str, Blueprint]) -> list[str]:
    """Return blueprints with relation targets before what relates to them."""
    wanted = list(names)
    needs = {
        name: {
            relation.target
            for relation in (blueprints[name].relations.values() if name in blueprints else ())
            if relation.target in wanted and relation.target != name
        }
        for name in wanted
    }
    return [name for layer in _layers(needs) for name in layer]


class Deleter:
    """Deletes in bulk, without dependents first; what Port refuses alone is cascaded only where the user said so."""

    def __init__(self, port: Port, *, cascade: bool) -> None:
        self._port, self._cascade = port, cascade

    def delete(self, blueprint: str, identifiers: Sequence[str]) -> Iterator[Written | Failed | Held]:
        """Yield what became of each entity."""
        for start in range(0, len(identifiers), BULK_DELETE):
            yield from self._bulk(blueprint, list(identifiers[start : start + BULK_DELETE]))

    def _bulk(self, blueprint: str, identifiers: list[str]) -> Iterator[Written | Failed | Held]:
        refusal = self._call(blueprint, identifiers, cascade=False)
        if not isinstance(refusal, PortRefused | Unreachable):
            yield from self._confirmed(blueprint, identifiers, refusal)
        elif isinstance(refusal, PortRefused) and len(identifiers) > 1:
            middle = len(identifiers) // 2
            yield from self._bulk(blueprint, identifiers[:middle])
            yield from self._bulk(blueprint, identifiers[middle:])
        else:
            for identifier in identifiers:
                yield from self._refused(blueprint, identifier, refusal)

    def _confirmed(
        self, blueprint: str, identifiers: Sequence[str], deleted: set[str]
    ) -> Iterator[Written | Failed | Held]:
        for identifier in identifiers:
            change = Delete(blueprint, identifier)
            gone = identifier in deleted or self._is_gone(blueprint, identifier)
            yield Written(change) if gone else Failed(change, "Port did not confirm the deletion")

    def _is_gone(self, blueprint: str, identifier: str) -> bool:
        """Port lists only what it deleted itself: an entity that was gone before is as good as deleted."""
        try:
            answer = self._port.call("GET", f"/blueprints/{segment(blueprint)}/entities/{segment(identifier)}")
        except Unreachable:
            return False
        return answer.status == 404

    def _refused(
        self, blueprint: str, identifier: str, refusal: PortRefused | Unreachable
    ) -> Iterator[Written | Failed | Held]:
        change = Delete(blueprint, identifier)
        if not (isinstance(refusal, PortRefused) and _is_about_dependents(refusal)):
            yield Failed(change, str(refusal))
        elif not self._cascade:
            yield Held(
                blueprint,
                (identifier,),
                "dependents",
                f"other entities depend on it: {refusal.text}",
                "delete them first, or write deleteDependentEntities: true in the mapping to delete them with it",
            )
        else:
            answer = self._call(blueprint, [identifier], cascade=True)
            if isinstance(answer, PortRefused | Unreachable):
                yield Failed(change, str(answer))
            else:
                yield Written(replace(change, cascade=True))

    def _call(self, blueprint: str, identifiers: list[str], *, cascade: bool) -> set[str] | PortRefused | Unreachable:
        try:
            data = self._port.ask(
                "POST",
                f"/blueprints/{segment(blueprint)}/bulk/entities/delete",
                params=(("delete_dependents", str(cascade).lower()),),
                payload={"entities": identifiers},
            )
        except (PortRefused, Unreachable) as failure:
            return failure
        return {str(identifier) for identifier in data.get("deletedEntities") or ()}


def _is_about_dependents(refusal: PortRefused) -> bool:
    """Port has no documented code for it; its texts speak of dependents, dependants or required relations."""
    words = f"{refusal.code} {refusal.text}".lower()
    return any(word in words for word in ("dependent", "dependant", "required", "relation"))
