"""Sends one batch of upserts to Port and believes only what Port confirms, row by row."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from gitlab_port_export.base.answer import Unreachable
from gitlab_port_export.base.clock import Stopped
from gitlab_port_export.base.jsontext import in_words
from gitlab_port_export.base.retries import RETRIED_STATUSES
from gitlab_port_export.model import Create, Failed, Update
from gitlab_port_export.port.client import Port, PortRefused, advice, segment
from gitlab_port_export.port.halving import PART_ATTEMPTS, Tries, halves, may_be_about_one
from gitlab_port_export.port.hints import ADVICE, RELATED, WRITE

# Attempts at rows that Port could not write just now.
ROW_ATTEMPTS = 4
# A row's own statuses after which it is sent again: those of a whole request, and 409.
PASSING = RETRIED_STATUSES | {409}
# What Port's texts quote.
QUOTED = re.compile(r'"([^"]*)"')
Upsert = Create | Update


@dataclass(frozen=True)
class Rules:
    """How entities are written: the mapping's flags, the limits of one call, and another User-Agent (`agent`).

    `action_run` is the run of a Port action that the entities are tied to; Port takes it while that is in progress.
    """

    merge: bool = True
    create_missing: bool = True
    batch_length: int = 20
    batch_bytes: int = 1024 * 1024
    agent: str = ""
    action_run: str = ""

    @property
    def params(self) -> tuple[tuple[str, str], ...]:
        """The query of a bulk upsert."""
        return (
            ("upsert", "true"),
            ("merge", str(self.merge).lower()),
            ("create_missing_related_entities", str(self.create_missing).lower()),
            ("validation_only", "false"),
            *((("run_id", self.action_run),) if self.action_run else ()),
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
    """The results of calls: confirmed rows, refused rows, rows to try at the end.

    Each row to try again has the result that counts if it fails again. `stopped`: the run ended before all rows had
    been sent as often as they should be.
    """

    written: tuple[Upsert, ...] = ()
    failed: tuple[Failed, ...] = ()
    again: tuple[tuple[Upsert, Failed], ...] = ()
    stopped: bool = False

    def __add__(self, other: "Outcome") -> "Outcome":
        """Return what both did."""
        return Outcome(
            self.written + other.written,
            self.failed + other.failed,
            self.again + other.again,
            self.stopped or other.stopped,
        )


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
    """Return the outcome of a call that failed as a whole; its halves are sent where one row may be the cause."""
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


def _by_row(batch: Batch, data: Mapping[str, Any]) -> tuple[Outcome, dict[int, tuple[Failed, int]]]:
    """Return what became of the rows, and by index (with its status) what Port could not write just now."""
    confirmed = {row["index"] for row in _rows(data.get("entities"))}
    errors = {row["index"]: row for row in _rows(data.get("errors"))}
    written: list[Upsert] = []
    failed: list[Failed] = []
    again: list[tuple[Upsert, Failed]] = []
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
            else:
                again.append((change, replace(found, hint=RELATED)))
        elif index in confirmed:
            written.append(change)
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
