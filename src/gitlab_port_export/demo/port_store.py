"""The content of the stand-in Port: its blueprints and entities, and how these are written, found and deleted."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from gitlab_port_export.demo.port_cursors import cursor_of, position_of
from gitlab_port_export.demo.port_drafts import (
    Author,
    Content,
    Draft,
    Mode,
    assign,
    content_of,
    defaults_of,
    draft_as_it_is,
    draft_of,
    everything_of,
    has_dependents,
    new_entity,
    unsaved,
    without_target,
)
from gitlab_port_export.demo.port_query import Stored, compile_query, iso_time, required_values
from gitlab_port_export.demo.port_rules import (
    JsonObject,
    RefusedError,
    check_blueprint_body,
    check_formats,
    check_targets,
    completed,
    malformed,
    mismatch,
    not_found,
)
from gitlab_port_export.demo.port_runs import Runs
from gitlab_port_export.demo.port_webhooks import Webhooks


@dataclass(slots=True)
class _Shelf:
    """Entities of one blueprint: by identifier, and in the order that cursors count in (None: deleted)."""

    by_id: dict[str, Stored] = field(default_factory=dict)
    order: list[Stored | None] = field(default_factory=list)


@dataclass(eq=False)
class PortStore:
    """One organisation's Port, mutable on purpose; every method may be called from any thread.

    `clock` gives epoch seconds; instants that Port writes are strictly increasing whatever it says.
    `writes` counts entities written or deleted over the API. `show_nulls` shows properties without a value
    as null, and `null_titles` accepts a null title or icon where the schema of Port's API does not. `refuses` may
    name a refusal for a row of a blueprint; `dependents_status` is what comes with the code `has_dependents`.
    `organization_in_token` says whether access tokens name the organization.
    `unknown_teams` keeps teams of an entity that no entity of `_team` stands for; others become its identifier.
    """

    credentials: dict[str, str] = field(default_factory=dict)
    clock: Callable[[], float] = time.time
    token_lifetime: float = 10_800
    feature_flags: list[str] = field(default_factory=list)
    integration_access: bool = True
    show_nulls: bool = True
    null_titles: bool = False
    dependents_status: int = 422
    organization: str = "org_demo"
    organization_in_token: bool = True
    refuses: Callable[[str, JsonObject], RefusedError | None] = lambda _blueprint, _row: None
    unknown_teams: bool = True
    writes: int = 0
    blueprints: dict[str, JsonObject] = field(default_factory=dict)
    integrations: dict[str, JsonObject] = field(default_factory=dict)
    examples: dict[tuple[str, str], list[Any]] = field(default_factory=dict)
    webhooks: Webhooks = field(default_factory=Webhooks, repr=False)
    runs: Runs = field(default_factory=Runs, repr=False)
    lock: threading.RLock = field(default_factory=threading.RLock, repr=False)
    _shelves: dict[str, _Shelf] = field(default_factory=dict, repr=False)
    tokens: dict[str, tuple[str, float]] = field(default_factory=dict, repr=False)
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1), repr=False)
    _last_ms: int = 0

    @classmethod
    def default(cls) -> PortStore:
        """Return an empty Port that knows the client `demo-client` with the secret `demo-secret`."""
        return cls(credentials={"demo-client": "demo-secret"})

    def now(self) -> str:
        """Return the next instant (ISO, milliseconds, Z), later than every one given before."""
        with self.lock:
            self._last_ms = max(self._last_ms + 1, round(self.clock() * 1000))
            return iso_time(self._last_ms / 1000)

    def author(self, client: str = "", user_agent: str = "") -> Author:
        """Return an author who writes at the next instant."""
        return Author(client, user_agent, self.now())

    def revoke_tokens(self) -> None:
        """Make every access token given so far useless."""
        self.tokens.clear()

    def number(self) -> int:
        """Return the next number, for identifiers that Port makes."""
        return next(self._numbers)

    # Blueprints

    def blueprint(self, identifier: str) -> JsonObject:
        """Return the blueprint; RefusedError (404) when there is none."""
        if (blueprint := self.blueprints.get(identifier)) is None:
            raise not_found("Blueprint", identifier)
        return blueprint

    def add_blueprint(self, body: object, client: str = "") -> JsonObject:
        """Create a blueprint; RefusedError 409 when it exists, 422 when it is malformed."""
        checked = check_blueprint_body(body)
        with self.lock:
            identifier = checked.get("identifier")
            if identifier is None:
                raise malformed("body must have required property 'identifier'")
            if identifier in self.blueprints:
                raise RefusedError(409, "conflict", f'Blueprint "{identifier}" already exists')
            check_targets(identifier, checked, self.blueprints)
            moment = self.now()
            stamps = {"createdAt": moment, "createdBy": client, "updatedAt": moment, "updatedBy": client}
            self.blueprints[identifier] = completed(checked) | stamps
            self._shelves[identifier] = _Shelf()
            return self.blueprints[identifier]

    def change_blueprint(self, identifier: str, body: object, client: str = "", *, partial: bool) -> JsonObject:
        """Replace a blueprint, or with `partial` only the parts that `body` names."""
        checked = check_blueprint_body(body, partial=partial)
        with self.lock:
            old = self.blueprint(identifier)
            if checked.get("identifier", identifier) != identifier:
                raise malformed("this stand-in renames no blueprints")
            check_targets(identifier, checked, self.blueprints)
            check_formats(old, checked)
            kept = old if partial else {k: old[k] for k in ("createdAt", "createdBy")}
            stamps = {"identifier": identifier, "updatedAt": self.now(), "updatedBy": client}
            self.blueprints[identifier] = completed({**kept, **checked, **stamps})
            return self.blueprints[identifier]

    def delete_blueprint(self, identifier: str) -> None:
        """Delete a blueprint; RefusedError (422) while it has entities or another one relates to it."""
        with self.lock:
            self.blueprint(identifier)
            if self._shelves[identifier].by_id:
                raise RefusedError(422, "has_dependents", f'Blueprint "{identifier}" has dependant entities')
            for other, blueprint in self.blueprints.items():
                if other != identifier and identifier in {r["target"] for r in blueprint["relations"].values()}:
                    raise RefusedError(422, "has_dependents", f'Blueprint "{other}" relates to "{identifier}"')
            del self.blueprints[identifier], self._shelves[identifier]

    # Reading

    def get(self, blueprint: str, identifier: str) -> Stored:
        """Return the entity; RefusedError (404) when it or its blueprint is absent."""
        with self.lock:
            self.blueprint(blueprint)
            if (entity := self._shelves[blueprint].by_id.get(identifier)) is None:
                raise not_found("Entity", identifier, blueprint)
            return entity

    def count(self, blueprint: str) -> int:
        """Return how many entities the blueprint has."""
        self.blueprint(blueprint)
        return len(self._shelves[blueprint].by_id)

    def find(self, query: object, blueprint: str | None = None) -> list[Stored]:
        """Return every entity that the query holds for, in one blueprint or in all."""
        with self.lock:
            holds = compile_query(query, self.related)
            return [entity for entity in self._candidates(query, blueprint) if holds(entity)]

    def page(self, blueprint: str, query: object, cursor: str | None, limit: int) -> tuple[list[Stored], str | None]:
        """Return at most `limit` entities of a blueprint from the cursor on, and the cursor of the rest."""
        with self.lock:
            self.blueprint(blueprint)
            holds = compile_query(query, self.related) if query is not None else None
            start = int(position_of(cursor, 1)[0]) if cursor else 0
            if holds and required_values(query, "$identifier") is not None:
                found = self._candidates(query, blueprint)
                source = iter(sorted((e for e in found if e.slot >= start), key=lambda e: e.slot))
            else:
                source = self._shelf_from(blueprint, start)
            rows = list(itertools.islice(filter(holds, source), limit + 1))
        return rows[:limit], cursor_of(rows[limit].slot) if len(rows) > limit else None

    def owned(
        self, prefix: str, suffix: str, before: str | None, cursor: str | None, limit: int
    ) -> tuple[list[Stored], str | None]:
        """Return a page of the entities of all blueprints whose `$datasource` fits and that were written earlier."""

        def holds(entity: Stored) -> bool:
            source = entity.datasource
            return (
                source.startswith(prefix) and source.endswith(suffix) and (before is None or entity.updated_at < before)
            )

        with self.lock:
            start, first = position_of(cursor, 2) if cursor else ("0", next(iter(self.blueprints), ""))
            names = list(itertools.dropwhile(lambda name: name != first, self.blueprints))
            source = itertools.chain.from_iterable(
                self._shelf_from(name, int(start) if name == first else 0) for name in names
            )
            rows = list(itertools.islice(filter(holds, source), limit + 1))
        return rows[:limit], cursor_of(rows[limit].slot, rows[limit].blueprint) if len(rows) > limit else None

    def related(self, rule: JsonObject) -> set[Stored]:
        """Return the entities that a `relatedTo` rule reaches over any number of relations.

        Upstream (the default) follows the relations of the entities named, downstream who points at them.
        """
        blueprint, value = str(rule.get("blueprint")), rule.get("value")
        named = (self.peek(blueprint, name) for name in (value if isinstance(value, list) else [value]))
        step = _referrers if rule.get("direction") == "downstream" else self._targets
        front, reached = [entity for entity in named if entity], set[Stored]()
        while front:
            for entity in step(front.pop()):
                if entity not in reached:
                    reached.add(entity)
                    front.append(entity)
        return reached

    def peek(self, blueprint: str, identifier: object) -> Stored | None:
        """Return the entity, or None."""
        return self.by_identifier(blueprint).get(identifier) if isinstance(identifier, str) else None

    def by_identifier(self, blueprint: str) -> dict[str, Stored]:
        """Return the entities of a blueprint, none where there is no such blueprint; not a copy."""
        return self._shelves[blueprint].by_id if blueprint in self._shelves else {}

    def _shelf_from(self, blueprint: str, start: int) -> Iterator[Stored]:
        order = self._shelves[blueprint].order
        return (entity for n in range(start, len(order)) if (entity := order[n]))

    def _candidates(self, query: object, blueprint: str | None) -> Iterator[Stored]:
        named, identifiers = required_values(query, "$blueprint"), required_values(query, "$identifier")
        for name in self._shelves if blueprint is None else [blueprint]:
            if named is not None and name not in named:
                continue
            if identifiers is None:
                yield from self._shelf_from(name, 0)
            else:
                yield from (entity for i in sorted(identifiers) if (entity := self.peek(name, i)))

    def _targets(self, entity: Stored) -> Iterator[Stored]:
        relations = self.blueprints[entity.blueprint]["relations"]
        for name, value in entity.relations.items():
            for identifier in value if isinstance(value, list) else [value]:
                # A blueprint may have lost the relation since.
                if name in relations and (target := self.peek(relations[name]["target"], identifier)):
                    yield target

    # Writing

    def write(self, blueprint: str, row: JsonObject, mode: Mode, author: Author) -> tuple[Stored, bool]:
        """Write one well-formed row; return the entity and whether it is new. Refused rows leave no trace."""
        with self.lock:
            schema = self.blueprint(blueprint)
            if refusal := self.refuses(blueprint, row):
                raise refusal
            identifier = self._aim(blueprint, row)
            existing = self._shelves[blueprint].by_id.get(identifier)
            if existing and not (mode.upsert or mode.must_exist):
                raise RefusedError(409, "conflict", f'Entity "{identifier}" already exists in "{blueprint}"')
            if not existing and mode.must_exist:
                raise not_found("Entity", identifier, blueprint)
            draft = draft_of(self, schema, identifier, row, existing, mode)
            if mode.validation_only:
                return unsaved(blueprint, identifier, draft, author), existing is None
            for target in draft.missing:
                self._create_bare(*target, author)
            entity = existing or self._place(blueprint, identifier, author)
            self._fill(entity, draft, author)
            self.writes += 1
            return entity, existing is None

    def seed(self, blueprint: str, rows: Iterable[JsonObject], datasource: str = "") -> None:
        """Put entities there without checks and without counting writes; relations link what exists."""
        with self.lock:
            author = self.author("seed", datasource)
            for row in rows:
                identifier = row["identifier"]
                draft = draft_as_it_is(row)
                found = self.peek(blueprint, identifier)
                self._fill(found or self._place(blueprint, identifier, author), draft, author)

    def delete(self, blueprint: str, identifiers: Iterable[str], *, cascade: bool) -> list[str]:
        """Delete those that exist and return their identifiers.

        Entities that need one of them by a required relation are deleted too with `cascade`; without it they
        refuse the whole call (422), even when they are named in it themselves. Other relations are emptied.
        """
        with self.lock:
            self.blueprint(blueprint)
            named = [e for i in dict.fromkeys(identifiers) if (e := self.peek(blueprint, i))]
            doomed = dict.fromkeys(named)
            front = list(named)
            while front:
                for dependent in self._dependents(front.pop()):
                    if not cascade:
                        raise has_dependents(dependent, self.dependents_status)
                    if dependent not in doomed:
                        doomed[dependent] = None
                        front.append(dependent)
            for entity in doomed:
                self._remove(entity)
            self.writes += len(doomed)
            return [entity.identifier for entity in named]

    def _aim(self, blueprint: str, row: JsonObject) -> str:
        """Return the identifier of the entity that the row is for; a query has to find exactly one."""
        wanted = row.get("identifier")
        if wanted is None:
            return f"e_{self.number():016}"
        if isinstance(wanted, str):
            return wanted
        found = self.find(wanted, blueprint)
        if not found:
            raise not_found("Entity", "unknown", blueprint)
        if len(found) > 1:
            raise mismatch(f'the identifier query matches {len(found)} entities of "{blueprint}"')
        return found[0].identifier

    def _create_bare(self, blueprint: str, identifier: str, author: Author) -> None:
        defaults = defaults_of(self.blueprints[blueprint])
        self._fill(self._place(blueprint, identifier, author), Draft(identifier, None, [], defaults, {}, ()), author)
        self.writes += 1

    def _place(self, blueprint: str, identifier: str, author: Author) -> Stored:
        shelf = self._shelves[blueprint]
        entity = new_entity(blueprint, identifier, author, len(shelf.order))
        shelf.by_id[identifier] = entity
        shelf.order.append(entity)
        return entity

    def _fill(self, entity: Stored, draft: Draft, author: Author) -> None:
        """Give the entity its content; dictionaries are replaced, as an answer may still refer to the old ones."""
        for target in self._targets(entity) if entity.relations else ():
            if target.referrers:
                target.referrers.discard(entity)
        assign(entity, draft, author)
        for target in self._targets(entity) if entity.relations else ():
            if target.referrers is None:
                target.referrers = set()
            target.referrers.add(entity)

    def _dependents(self, entity: Stored) -> Iterator[Stored]:
        """Yield the entities that need this one by a required relation, in a stable order."""
        for other in sorted(_referrers(entity), key=lambda e: (e.blueprint, e.slot)):
            relations = self.blueprints[other.blueprint]["relations"].items()
            if any(
                relation.get("required")
                and relation["target"] == entity.blueprint
                and other.relations.get(name) == entity.identifier
                for name, relation in relations
            ):
                yield other

    def _remove(self, entity: Stored) -> None:
        for other in _referrers(entity):
            relations = self.blueprints[other.blueprint]["relations"]
            aimed = {name for name, relation in relations.items() if relation["target"] == entity.blueprint}
            other.relations = without_target(other.relations, aimed, entity.identifier)
        for target in self._targets(entity):
            if target.referrers:
                target.referrers.discard(entity)
        shelf = self._shelves[entity.blueprint]
        del shelf.by_id[entity.identifier]
        shelf.order[entity.slot] = None

    def entity(self, blueprint: str, identifier: str) -> JsonObject | None:
        """Return everything that is held of an entity, `$datasource` included, or None."""
        with self.lock:
            if (found := self.peek(blueprint, identifier)) is None:
                return None
            return everything_of(found)

    def identifiers(self, blueprint: str) -> set[str]:
        """Return the identifiers of a blueprint's entities; empty when there is no such blueprint."""
        with self.lock:
            return set(self.by_identifier(blueprint))

    def snapshot(self) -> dict[str, dict[str, Content]]:
        """Return blueprint → identifier → (title, icon, team, properties, relations) of everything, copied."""
        with self.lock:
            return {name: {i: content_of(e) for i, e in s.by_id.items()} for name, s in self._shelves.items()}


def _referrers(entity: Stored) -> Iterable[Stored]:
    return entity.referrers or ()
