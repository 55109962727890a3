"""Writes to Port in bulk and believes only what Port confirms, row by row."""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future, wait
from contextlib import suppress
from dataclasses import dataclass, field, replace
from graphlib import CycleError, TopologicalSorter
from queue import SimpleQueue
from typing import Any, TypeVar

from gitlab_port_export.base.answer import Unreachable
from gitlab_port_export.base.clock import Stopped
from gitlab_port_export.base.jsontext import in_words, packed
from gitlab_port_export.base.retries import RETRIED_STATUSES
from gitlab_port_export.model import Create, Delete, Entity, Failed, Held, Skipped, Update, Written
from gitlab_port_export.port.client import Port, PortRefused, advice, segment
from gitlab_port_export.port.ledger import Blueprint

BULK_DELETE = 100
# Room for the brackets around the entities.
ENVELOPE_BYTES = 64
# Port's limit of one request body.
MAX_ENTITY_BYTES = 1024 * 1024
# Attempts at a row that Port could not write just now, and at a part of a call that it refused.
ROW_ATTEMPTS, PART_ATTEMPTS = 4, 2
# Rows that were refused alone, one after the other, before looking for them any further is given up.
IN_VAIN = 8
# What may pass a moment later: a row's own status, beside those that are repeated for a whole request.
PASSING = RETRIED_STATUSES | {409}
WRITE, DELETE = "create and update entities of this blueprint", "delete entities of this blueprint"
UNFIT = "correct the field's expression in the mapping, or the blueprint in Port"
RELATED = "map the related entity too, or write createMissingRelatedEntities: true in the mapping"
# What Port's texts quote.
QUOTED = re.compile(r'"([^"]*)"')
# Port's code where other entities need the one that is to be deleted; it comes with various statuses.
DEPENDENTS = ("has_dependents",)
ADVICE = {
    400: UNFIT,
    404: "see whether the blueprint still exists in Port, and run again",
    413: "map less into the entity: Port takes no larger one",
    422: UNFIT,
}
Upsert = Create | Update
Result = Written | Failed | Skipped
Key = tuple[str, str]
Row = TypeVar("Row")


@dataclass(frozen=True)
class Rules:
    """How entities are written: the mapping's flags, the limits of one call, and in whose name if not in our own."""

    merge: bool = True
    create_missing: bool = True
    batch_length: int = 20
    batch_bytes: int = 1024 * 1024
    agent: str = ""

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
    """Changes of one blueprint for one call, and each as JSON."""

    blueprint: str
    changes: tuple[Upsert, ...]
    texts: tuple[bytes, ...]

    def part(self, indexes: Sequence[int]) -> "Batch":
        """Return a batch of these rows alone."""
        rows = [(self.changes[at], self.texts[at]) for at in indexes]
        return Batch(self.blueprint, tuple(change for change, _ in rows), tuple(text for _, text in rows))


@dataclass(frozen=True)
class Outcome:
    """What calls did: confirmed rows (with the identifier that Port found), refused rows, rows to try at the end.

    With a row to try again stands what becomes of it if that gives the same. `stopped`: the run ended before all
    rows had been sent as often as they should be.
    """

    written: tuple[tuple[Upsert, str], ...] = ()
    failed: tuple[Failed, ...] = ()
    again: tuple[tuple[Upsert, Failed | Skipped], ...] = ()
    stopped: bool = False

    def __add__(self, other: "Outcome") -> "Outcome":
        """Return what both did."""
        return Outcome(
            self.written + other.written,
            self.failed + other.failed,
            self.again + other.again,
            self.stopped or other.stopped,
        )


class Tries:
    """What sending things again has brought, shared by all calls of one blueprint.

    Where Port refuses everything, halving finds each row guilty, at two calls a row, and repeating helps nobody. So
    both end when they were in vain several times in a row: then a call is halved once only, and where Port takes
    anything, all begins anew.
    """

    def __init__(self) -> None:
        self._alone = self._repeats = 0

    def may_halve(self, *, part: bool) -> bool:
        """Say whether a refused call is to be halved; `part`: it is a half itself."""
        return not part or self._alone < IN_VAIN

    def may_repeat(self) -> bool:
        """Say whether rows that Port could not write just now are to be sent again."""
        return self._repeats < IN_VAIN

    def refused_alone(self) -> None:
        """Note that a row was refused alone."""
        self._alone += 1

    def repeated(self, *, in_vain: bool) -> None:
        """Note how it went to send rows again."""
        self._repeats = self._repeats + 1 if in_vain else 0

    def passed(self) -> None:
        """Note that Port took a call, whatever it said of its rows."""
        self._alone = 0


def as_sent(entity: Entity) -> dict[str, Any]:
    """Return the JSON of an entity for a bulk upsert.

    Port's schema allows null there for properties and relations only: without a title it shows the identifier (which
    nobody knows yet where Port has to search), an unset icon is left out, no team is an empty list.
    """
    body = entity.body
    if body.get("title", "") is None and not entity.is_search:
        body["title"] = entity.identifier
    for name in ("title", "icon"):
        if body.get(name, "") is None:
            del body[name]
    if body.get("team", "") is None:
        body["team"] = []
    body["identifier"] = entity.identifier
    return body


@dataclass
class _Waiting:
    """What becomes the next call of a blueprint; the size counts a comma for each text."""

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
        self._again: dict[Key, tuple[Upsert, Failed | Skipped]] = {}

    def add(self, change: Upsert) -> Iterator[Result]:
        """Take one change; yield what Port has answered meanwhile."""
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
        """Send what waits and yield every answer that is still out."""
        for blueprint in list(self._open):
            self._send(blueprint)
        yield from self._collect(0)

    def finish(self, blueprints: Mapping[str, Blueprint]) -> Iterator[Result]:
        """Send everything; yield too what became of the rows whose relation target is missing for good."""
        yield from self.settle(blueprints)
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
        for change, identifier in outcome.written:
            self._again.pop(change.entity.key, None)
            yield Written(_found(change, identifier) if change.entity.is_search else change)
        yield from outcome.failed
        self._again |= {change.entity.key: (change, result) for change, result in outcome.again}


def _found(change: Upsert, identifier: str) -> Upsert:
    return replace(change, entity=change.entity._replace(identifier=identifier))


def upsert(port: Port, rules: Rules, batch: Batch, tries: Tries, *, part: bool = False, attempt: int = 1) -> Outcome:
    """Send one batch; rows that may pass later are sent again, and a row that refuses the whole call is found.

    Port checks the whole call against its schema, so one forbidden value refuses all rows of it (422); and what is
    meant for one row may come as an error of the whole call. `part`: it was refused in a larger call before.
    """
    try:
        answer = port.call(
            "POST",
            f"/blueprints/{segment(batch.blueprint)}/entities/bulk",
            params=rules.params,
            payload=b'{"entities":[' + b",".join(batch.texts) + b"]}",
            attempts=PART_ATTEMPTS if part else None,
            agent=rules.agent,
        )
    except Unreachable as failure:
        return _divided(port, rules, batch, tries, failure, part)
    if answer.status not in (200, 207) or not isinstance(answer.data, dict):
        return _divided(port, rules, batch, tries, PortRefused(answer), part)
    tries.passed()
    outcome, passing = _by_row(batch, answer.data)
    if attempt > 1:
        tries.repeated(in_vain=len(passing) == len(batch.changes))
    if not passing:
        return outcome
    if attempt == ROW_ATTEMPTS or not tries.may_repeat():
        return outcome + Outcome(failed=tuple(failed for failed, _ in passing.values()))
    # One row's 429 is meant for all workers.
    throttled = any(status == 429 for _, status in passing.values())
    try:
        port.http.pause(replace(answer, status=429) if throttled else answer, attempt)
        rest = batch.part(list(passing))
        return outcome + upsert(port, rules, rest, tries, part=part, attempt=attempt + 1)
    except Stopped:
        return outcome + Outcome(stopped=True)


def _divided(
    port: Port, rules: Rules, batch: Batch, tries: Tries, failure: PortRefused | Unreachable, part: bool
) -> Outcome:
    """Return what becomes of a call that failed as a whole: its halves are sent where one row may be the cause."""
    if len(batch.changes) > 1 and may_be_about_one(failure) and tries.may_halve(part=part):
        found = Outcome()
        for half in halves(range(len(batch.changes))):
            try:
                found += upsert(port, rules, batch.part(half), tries, part=True)
            except Stopped:
                return found + Outcome(stopped=True)
        return found
    if len(batch.changes) == 1:
        tries.refused_alone()
    if isinstance(failure, Unreachable):
        why, hint = f"no answer from Port: {failure}", advice(failure, WRITE)
    else:
        why, hint = str(failure), advice(failure, WRITE, ADVICE.get(failure.status, "run again"))
    return Outcome(failed=tuple(Failed(change, why, hint) for change in batch.changes))


def halves(rows: Sequence[Row]) -> tuple[Sequence[Row], Sequence[Row]]:
    """Return the first and the second half."""
    middle = len(rows) // 2
    return rows[:middle], rows[middle:]


def may_be_about_one(failure: PortRefused | Unreachable) -> bool:
    """Say whether one row of a call may have caused its failure.

    401 and 403 are about the credentials, unless the code says otherwise or a firewall on the way answers, which
    takes text of a row for an attack.
    """
    if isinstance(failure, Unreachable) or failure.code in DEPENDENTS:
        return True
    return failure.status not in (401, 403, 429) or (failure.status == 403 and not failure.documented)


def _by_row(batch: Batch, data: Mapping[str, Any]) -> tuple[Outcome, dict[int, tuple[Failed, int]]]:
    """Return what became of the rows, and by index (with its status) what Port could not write just now."""
    confirmed = {row["index"]: str(row.get("identifier")) for row in _rows(data.get("entities"))}
    errors = {row["index"]: row for row in _rows(data.get("errors"))}
    written: list[tuple[Upsert, str]] = []
    failed: list[Failed] = []
    again: list[tuple[Upsert, Failed | Skipped]] = []
    passing: dict[int, tuple[Failed, int]] = {}
    for index, change in enumerate(batch.changes):
        if index in errors:
            row = errors[index]
            status = row.get("statusCode")
            found = _failed(change, row)
            if row.get("error") != "not_found":
                if isinstance(status, int) and status in PASSING:
                    passing[index] = found, status
                else:
                    failed.append(found)
            elif change.entity.is_search and row.get("identifier") == "unknown":
                # The search found nothing; what it looks for may be on its way. Ocean leaves such rows out.
                again.append((change, Skipped(change.entity.resource, "identifier", change.entity.key[1])))
            else:
                again.append((change, replace(found, hint=RELATED)))
        elif index in confirmed:
            written.append((change, confirmed[index]))
        else:
            failed.append(Failed(change, "Port did not confirm the row", "run again"))
    return Outcome(tuple(written), tuple(failed), tuple(again)), passing


def _failed(change: Upsert, row: Mapping[str, Any]) -> Failed:
    """Return the failure of one row; what its text quotes of the row is a sample, so that equal causes are one."""
    status = row.get("statusCode")
    known = status if isinstance(status, int) else 422
    text = in_words(row.get("message") or row.get("error") or "", 500)
    own = {str(change.entity.identifier), *_texts(change.entity.values)}
    quoted = next((found for found in QUOTED.findall(text) if found in own), "")
    why = f"{status}: " + QUOTED.sub(lambda found: '"…"' if found[1] in own else found[0], text)
    return Failed(change, why, advice(known, WRITE, ADVICE.get(known, "run again")), sample=quoted)


def _texts(values: Iterable[Any]) -> Iterator[str]:
    """Yield the texts among values and in their lists."""
    for value in values:
        if isinstance(value, str):
            yield value
        elif isinstance(value, list):
            yield from (one for one in value if isinstance(one, str))


def _rows(found: Any) -> list[Mapping[str, Any]]:
    """Return the rows of an answer that say which one of the call they are about; others confirm nothing."""
    rows = found if isinstance(found, list) else []
    return [row for row in rows if isinstance(row, dict) and isinstance(row.get("index"), int)]


def dependency_order(entities: Sequence[Entity], blueprints: Mapping[str, Blueprint]) -> Iterator[list[Entity]]:
    """Yield the entities in groups, relation targets before what relates to them; a cycle is one group."""
    keys = {entity.key: entity for entity in entities}
    needs = {
        key: {target for target in _targets(entity, blueprints) if target in keys and target != key}
        for key, entity in keys.items()
    }
    for group in layers(needs):
        yield [keys[key] for key in group]


def _targets(entity: Entity, blueprints: Mapping[str, Blueprint]) -> Iterator[tuple[str, str]]:
    blueprint = blueprints.get(entity.blueprint)
    for name, value in entity.relations:
        relation = blueprint.relations.get(name) if blueprint else None
        if relation is not None and value is not None and not isinstance(value, dict):
            yield from ((relation.target, str(one)) for one in (value if isinstance(value, list) else [value]))


def layers(needs: Mapping[Any, set[Any]]) -> Iterator[list[Any]]:
    """Yield keys after all that they need; what is in a cycle, or between two, comes as one group."""
    first, left = _peeled(needs)
    users: dict[Any, set[Any]] = {key: set() for key in left}
    for key in left:
        for need in needs[key] & left:
            users[need].add(key)
    last, core = _peeled(users)
    yield from first
    if core:
        yield [key for key in needs if key in core]
    yield from reversed(last)


def _peeled(needs: Mapping[Any, set[Any]]) -> tuple[list[list[Any]], set[Any]]:
    """Return the groups that come before every cycle, in order, and the keys that are left."""
    sorter, groups, left = TopologicalSorter(needs), [], set(needs)
    with suppress(CycleError):
        sorter.prepare()
    while ready := list(sorter.get_ready()):
        groups.append(ready)
        left.difference_update(ready)
        sorter.done(*ready)
    return groups, left


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
    return [name for layer in layers(needs) for name in layer]


class Deleter:
    """Deletes in bulk, without dependents first; what Port refuses alone is cascaded only where the user said so."""

    def __init__(self, port: Port, *, cascade: bool) -> None:
        self._port, self._cascade = port, cascade
        self._tries: defaultdict[str, Tries] = defaultdict(Tries)

    def delete(self, blueprint: str, identifiers: Sequence[str]) -> Iterator[Written | Failed | Held]:
        """Yield what became of each entity."""
        for start in range(0, len(identifiers), BULK_DELETE):
            yield from self._bulk(blueprint, list(identifiers[start : start + BULK_DELETE]))

    def _bulk(self, blueprint: str, identifiers: list[str], *, part: bool = False) -> Iterator[Written | Failed | Held]:
        answer = self._call(blueprint, identifiers, cascade=False, part=part)
        tries = self._tries[blueprint]
        if not isinstance(answer, PortRefused | Unreachable):
            tries.passed()
            for identifier in identifiers:
                yield self._confirmed(Delete(blueprint, identifier), answer)
        elif len(identifiers) > 1 and may_be_about_one(answer) and tries.may_halve(part=part):
            for half in halves(identifiers):
                yield from self._bulk(blueprint, list(half), part=True)
        elif len(identifiers) == 1 and isinstance(answer, PortRefused):
            outcome = self._refused(Delete(blueprint, identifiers[0]), answer)
            if isinstance(outcome, Failed):
                tries.refused_alone()
            yield outcome
        else:
            for identifier in identifiers:
                yield Failed(Delete(blueprint, identifier), str(answer), advice(answer, DELETE))

    def _confirmed(self, change: Delete, deleted: set[str]) -> Written | Failed:
        gone = change.identifier in deleted or self._is_gone(change.blueprint, change.identifier)
        return Written(change) if gone else Failed(change, "Port did not confirm the deletion", "run again")

    def _is_gone(self, blueprint: str, identifier: str) -> bool:
        """Port lists only what it deleted itself: an entity that was gone before is as good as deleted."""
        try:
            answer = self._port.call("GET", f"/blueprints/{segment(blueprint)}/entities/{segment(identifier)}")
        except Unreachable:
            return False
        return answer.status == 404

    def _refused(self, change: Delete, refusal: PortRefused) -> Written | Failed | Held:
        if refusal.status == 404:
            return self._confirmed(change, set())
        if not _is_about_dependents(refusal):
            return Failed(change, str(refusal), advice(refusal, DELETE))
        if not self._cascade:
            return Held(
                change.blueprint,
                (change.identifier,),
                "dependents",
                f"other entities depend on it: {refusal.text}",
                "delete them first, or write deleteDependentEntities: true in the mapping to delete them with it",
            )
        answer = self._call(change.blueprint, [change.identifier], cascade=True)
        if isinstance(answer, PortRefused | Unreachable):
            return Failed(change, str(answer), advice(answer, DELETE))
        return self._confirmed(replace(change, cascade=True), answer)

    def _call(
        self, blueprint: str, identifiers: list[str], *, cascade: bool, part: bool = False
    ) -> set[str] | PortRefused | Unreachable:
        try:
            data = self._port.ask(
                "POST",
                f"/blueprints/{segment(blueprint)}/bulk/entities/delete",
                params=(("delete_dependents", str(cascade).lower()),),
                payload={"entities": identifiers},
                attempts=PART_ATTEMPTS if part else None,
            )
        except (PortRefused, Unreachable) as failure:
            return failure
        deleted = data.get("deletedEntities")
        return {str(identifier) for identifier in deleted} if isinstance(deleted, list) else set()


def _is_about_dependents(refusal: PortRefused) -> bool:
    """Judge by the code, whatever the status; without it by texts that speak of dependents or required relations."""
    if refusal.code in DEPENDENTS:
        return True
    words = f"{refusal.code} {refusal.text}".lower()
    return refusal.status in (400, 409, 422) and any(
        word in words for word in ("dependent", "dependant", "required", "relation")
    )
