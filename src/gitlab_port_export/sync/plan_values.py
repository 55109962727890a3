"""Reads what Port holds of the entities that a plan changes, and keeps what a report shows of each change."""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any
from urllib.parse import quote

from gitlab_port_export.base.answer import Unreachable
from gitlab_port_export.model import Create, Delete, Entity, Event, Problem, Update, Write, target
from gitlab_port_export.port.blueprint import Blueprint
from gitlab_port_export.port.catalog import read_fields
from gitlab_port_export.port.client import Port, PortRefused, advice
from gitlab_port_export.port.masking import masked_text
from gitlab_port_export.report.values import Details
from gitlab_port_export.sync.field_changes import Redact, field_change

# How many creates, updates and deletions have details, of each so many, and so many of one blueprint: 25 MB of
# memory, and 100 requests to Port. And how many entities Port is asked for at once.
MAX_DETAILS, MAX_OF_BLUEPRINT, BATCH = 5_000, 2_000, 100
# Why an entity is deleted: by a run that reads everything, and by one that events start.
GONE, PROVEN = "not in GitLab, which was read twice", "GitLab answers that it is gone"
# Properties that hold an entity's page in GitLab by convention, as in Ocean's default mappings.
_PAGES = ("url", "link", "webUrl", "web_url")

Row = Mapping[str, Any]
# Returns rows by identifier: (blueprint, identifiers, dotted names of fields).
ReadFields = Callable[[str, Sequence[str], Sequence[str]], Mapping[str, Row]]


class PlanValues:
    """Takes the changes of a plan as they come, of each action the first ones, and reads Port for them in batches.

    `found` has the details by blueprint and identifier. `redact` is applied to every text. `gone` says why entities
    are deleted.
    """

    def __init__(
        self, blueprints: Mapping[str, Blueprint], read: ReadFields, port_url: str, redact: Redact, gone: str = GONE
    ) -> None:
        self._blueprints, self._read, self._port_url, self._redact = blueprints, read, port_url, redact
        self._gone = gone
        self._taken: Counter[type[Write]] = Counter()
        self._taken_of: Counter[tuple[str, type[Write]]] = Counter()
        # The fields of an update that has details, None for a create: a later row may give other values. The changes
        # themselves are not kept, as their texts may be long.
        self._first: dict[tuple[str, str], tuple[str, ...] | None] = {}
        self._waiting: dict[str, dict[str, Write]] = {}
        self.found: dict[tuple[str, str], Details] = {}

    def add(self, change: Write) -> None:
        """Take one change. Raises PortRefused and Unreachable."""
        key = target(change)
        if isinstance(change, Update) and change.again:
            if key not in self._first:
                return
            change = _over(self._first[key], change)
        elif not self._takes(key[0], type(change)):
            return
        self._first[key] = _fields(change) if isinstance(change, Update) else None
        if isinstance(change, Create):
            self.found[key] = self._details(change.entity, change.entity.shape.names, {})
            return
        waiting = self._waiting.setdefault(key[0], {})
        waiting[key[1]] = change
        if len(waiting) >= BATCH:
            self._flush(key[0])

    def finish(self) -> None:
        """Read what is left; raises the same."""
        for name in list(self._waiting):
            self._flush(name)

    def _takes(self, name: str, action: type[Write]) -> bool:
        """Say whether one more change of this action has details, and count it."""
        if self._taken[action] >= MAX_DETAILS or self._taken_of[name, action] >= MAX_OF_BLUEPRINT:
            return False
        self._taken[action] += 1
        self._taken_of[name, action] += 1
        return True

    def _flush(self, name: str) -> None:
        changes = self._waiting.pop(name)
        fields = {field for change in changes.values() if isinstance(change, Update) for field in _fields(change)}
        pages = [f"properties.{page}" for page in _PAGES]
        rows = self._read(name, list(changes), ["title", *sorted(fields - {"title"} | set(pages))])
        for identifier, change in changes.items():
            row = rows.get(identifier, {})
            if isinstance(change, Update):
                self.found[name, identifier] = self._details(change.entity, _fields(change), row)
            elif isinstance(change, Delete):
                self.found[name, identifier] = self._about(name, identifier, row, self._gone)

    def _details(self, entity: Entity, fields: Sequence[str], row: Row) -> Details:
        name, identifier = entity.key
        body = entity.body
        title = body.get("title") or row.get("title")
        about = self._about(name, identifier, {**row, "title": title}, properties=body.get("properties") or {})
        changes = (
            field_change(one, _value(row, one), _value(body, one), self._redact, secret=self._is_encrypted(name, one))
            for one in fields
        )
        return Details(about.title, tuple(changes), port=about.port, gitlab=about.gitlab)

    def _about(self, name: str, identifier: str, row: Row, why: str = "", properties: Row | None = None) -> Details:
        shown = field_change("title", None, row.get("title"), self._redact).new
        title = shown if isinstance(shown, str) and shown != identifier else ""
        values = {**(row.get("properties") or {}), **(properties or {})}
        return Details(title, why=why, port=self._page_in_port(name, identifier), gitlab=self._page(name, values))

    def _page_in_port(self, name: str, identifier: str) -> str:
        """Return the address of an entity; Port's application has an address beside its API, also in the US."""
        app = re.fullmatch(r"https://api\.(.+?)/*", self._port_url)
        safe = self._redact(identifier)
        return f"https://app.{app[1]}/{quote(name, '')}Entity?identifier={quote(safe, '')}" if app else ""

    def _page(self, name: str, values: Row) -> str:
        """Return the address of the entity in GitLab, if a property holds it."""
        known = self._blueprints.get(name)
        for page in _PAGES if known else ():
            value = values.get(page)
            if known and known.properties.get(page, {}).get("format") == "url" and isinstance(value, str):
                return _address(self._redact(masked_text(value)))
        return ""

    def _is_encrypted(self, name: str, field: str) -> bool:
        known = self._blueprints.get(name)
        return bool(known and known.properties.get(field.removeprefix("properties."), {}).get("encryption"))


def plan_values(port: Port, blueprints: Mapping[str, Blueprint], redact: Redact, gone: str) -> PlanValues:
    """Return what takes the changes of a plan; `blueprints` are those that Port has."""
    return PlanValues(blueprints, partial(_known, port, blueprints), port.http.base_url, redact, gone)


def with_values(values: PlanValues | None, events: Iterable[Event]) -> Iterator[Event]:
    """Yield the events of a plan and note its changes; where Port does not give values, that is one warning."""
    if values is None:
        yield from events
        return
    failure: PortRefused | Unreachable | None = None
    for event in events:
        yield event
        if failure is None and isinstance(event, Create | Update | Delete):
            failure = _tried(partial(values.add, event))
    failure = failure or _tried(values.finish)
    if failure:
        why = f"Port did not give the values of some entities, so the report does not show them: {failure}"
        yield Problem("report", why, advice(failure, "read entities"), warning=True)


def _tried(act: Callable[[], None]) -> PortRefused | Unreachable | None:
    try:
        act()
    except (PortRefused, Unreachable) as failure:
        return failure
    return None


def _known(
    port: Port, blueprints: Mapping[str, Blueprint], name: str, identifiers: Sequence[str], fields: Sequence[str]
) -> Mapping[str, Row]:
    """Read the fields that Port's blueprint has; nothing where Port has no such blueprint."""
    known = blueprints.get(name)
    if known is None:
        return {}
    own = {"title", "icon", "team", *(f"properties.{one}" for one in known.properties)}
    own |= {f"relations.{one}" for one in known.relations}
    return read_fields(port, name, identifiers, [field for field in fields if field in own])


def _fields(update: Update) -> tuple[str, ...]:
    """Return the fields that an update changes: all that it sets where it cannot be compared."""
    return update.fields or update.entity.shape.names


def _over(fields: tuple[str, ...] | None, change: Update) -> Create | Update:
    """Return what a create, or an update of these fields, becomes by a later row of the same entity."""
    if fields is None:
        return Create(change.entity)
    return Update(change.entity, tuple(dict.fromkeys((*fields, *change.fields))))


def _value(body: Row, field: str) -> Any:
    head, _, key = field.partition(".")
    return (body.get(head) or {}).get(key) if key else body.get(head)


def _address(text: str) -> str:
    """Return the text where it is a whole address in ASCII, else nothing: a browser runs other schemes."""
    return text if re.fullmatch(r"(?a)https?://[\w.~:/?#@!$&()*+,;=%-]{1,2000}", text) else ""
