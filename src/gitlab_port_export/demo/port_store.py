"""What the stand-in Port holds, and the rules by which its entities are written, found and deleted."""

from __future__ import annotations

import base64
import itertools
import json
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from gitlab_port_export.demo.port_query import Stored, canonical_time, compile_query, iso_time, required_values
from gitlab_port_export.demo.port_rules import (
    JsonObject,
    RefusedError,
    check_blueprint_body,
    check_properties,
    is_installation_identifier,
    malformed,
    mismatch,
    not_found,
)
from gitlab_port_export.demo.port_webhooks import Webhooks

MAX_QUERY_TARGETS = 100
# Port never invents a user or a team for a relation.
PROTECTED = frozenset({"_user", "_team"})
Content = tuple[str, str | None, list[str], JsonObject, dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Mode:
    """How a write treats what is there: the query parameters of the write routes."""

    upsert: bool = False
    merge: bool = False
    create_missing: bool = False
    validation_only: bool = False
    must_exist: bool = False


@dataclass(frozen=True, slots=True)
class Author:
    """Who writes (client id; User-Agent, that is `$datasource`) and when (ISO; one instant a call)."""

    client: str
    user_agent: str
    moment: str


@dataclass(frozen=True, slots=True)
class _Draft:
    """An entity as a valid row would leave it, and the relation targets to be created with it."""

    title: str
    icon: str | None
    team: list[str]
    properties: JsonObject
    relations: dict[str, str | list[str]]
    missing: tuple[tuple[str, str], ...]


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
    lock: threading.RLock = field(default_factory=threading.RLock, repr=False)
    _shelves: dict[str, _Shelf] = field(default_factory=dict, repr=False)
    _tokens: dict[str, tuple[str, float]] = field(default_factory=dict, repr=False)
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1), repr=False)
    _last_ms: int = 0

    @classmethod
    def default(cls) -> PortStore:
        """An empty Port that knows the client `demo-client` with the secret `demo-secret`."""
        return cls(credentials={"demo-client": "demo-secret"})

    # Access

    def now(self) -> str:
        """The next instant (ISO, milliseconds, Z), later than every one given before."""
        with self.lock:
            self._last_ms = max(self._last_ms + 1, round(self.clock() * 1000))
            return iso_time(self._last_ms / 1000)

    def author(self, client: str = "", user_agent: str = "") -> Author:
        """An author who writes at the next instant."""
        return Author(client, user_agent, self.now())

    def log_in(self, client: object, secret: object) -> str:
        """Return a new access token; RefusedError (401) for a wrong pair."""
        if not isinstance(client, str) or client not in self.credentials or self.credentials[client] != secret:
            raise RefusedError(401, "invalid_credentials", "The client id or the client secret is wrong")
        with self.lock:
            expires = self.clock() + self.token_lifetime
            # Clients read claims of the token, so it has to look like a JWT.
            claims = {"sub": client, "isMachine": True, "exp": int(expires), "jti": next(self._numbers)}
            if self.organization_in_token:
                claims["orgId"] = self.organization
            token = ".".join((_encoded({"alg": "none", "typ": "JWT"}), _encoded(claims), "stand-in"))
            self._tokens[token] = client, expires
            return token

    def client_of(self, token: str) -> str | None:
        """Client id of a token that is still good, or None."""
        client, expires = self._tokens.get(token, (None, 0.0))
        return client if self.clock() < expires else None

    def revoke_tokens(self) -> None:
        """Make every access token given so far useless."""
        self._tokens.clear()

    # Blueprints

    def blueprint(self, identifier: str) -> JsonObject:
        """The blueprint; RefusedError (404) when there is none."""
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
            self._check_targets(identifier, checked)
            moment = self.now()
            stamps = {"createdAt": moment, "createdBy": client, "updatedAt": moment, "updatedBy": client}
            self.blueprints[identifier] = _completed(checked) | stamps
            self._shelves[identifier] = _Shelf()
            return self.blueprints[identifier]

    def change_blueprint(self, identifier: str, body: object, client: str = "", *, partial: bool) -> JsonObject:
        """Replace a blueprint, or with `partial` only the parts that `body` names."""
        checked = check_blueprint_body(body, partial=partial)
        with self.lock:
            old = self.blueprint(identifier)
            if checked.get("identifier", identifier) != identifier:
                raise malformed("this stand-in renames no blueprints")
            self._check_targets(identifier, checked)
            _check_formats(old, checked)
            kept = old if partial else {k: old[k] for k in ("createdAt", "createdBy")}
            stamps = {"identifier": identifier, "updatedAt": self.now(), "updatedBy": client}
            self.blueprints[identifier] = _completed({**kept, **checked, **stamps})
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

    def _check_targets(self, identifier: str, body: JsonObject) -> None:
        for name, relation in (body.get("relations") or {}).items():
            if relation["target"] != identifier and relation["target"] not in self.blueprints:
                raise RefusedError(
                    422, "not_found", f'target "{relation["target"]}" of relation "{name}" does not exist'
                )

    # Reading

    def get(self, blueprint: str, identifier: str) -> Stored:
        """The entity; RefusedError (404) when it or its blueprint is absent."""
        with self.lock:
            self.blueprint(blueprint)
            if (entity := self._shelves[blueprint].by_id.get(identifier)) is None:
                raise not_found("Entity", identifier, blueprint)
            return entity

    def count(self, blueprint: str) -> int:
        """How many entities the blueprint has."""
        self.blueprint(blueprint)
        return len(self._shelves[blueprint].by_id)

    def find(self, query: object, blueprint: str | None = None) -> list[Stored]:
        """Every entity that the query holds for, in one blueprint or in all."""
        with self.lock:
            holds = compile_query(query, self.related)
            return [entity for entity in self._candidates(query, blueprint) if holds(entity)]

    def page(self, blueprint: str, query: object, cursor: str | None, limit: int) -> tuple[list[Stored], str | None]:
        """At most `limit` entities of a blueprint from the cursor on, and the cursor of the rest."""
        with self.lock:
            self.blueprint(blueprint)
            holds = compile_query(query, self.related) if query is not None else None
            start = int(_position(cursor, 1)[0]) if cursor else 0
            if holds and required_values(query, "$identifier") is not None:
                found = self._candidates(query, blueprint)
                source = iter(sorted((e for e in found if e.slot >= start), key=lambda e: e.slot))
            else:
                source = self._shelf_from(blueprint, start)
            rows = list(itertools.islice(filter(holds, source), limit + 1))
        return rows[:limit], _cursor(rows[limit].slot) if len(rows) > limit else None

    def owned(
        self, prefix: str, suffix: str, before: str | None, cursor: str | None, limit: int
    ) -> tuple[list[Stored], str | None]:
        """A page of the entities of all blueprints whose `$datasource` fits and that were written earlier."""

        def holds(entity: Stored) -> bool:
            source = entity.datasource
            return (
                source.startswith(prefix) and source.endswith(suffix) and (before is None or entity.updated_at < before)
            )

        with self.lock:
            start, first = _position(cursor, 2) if cursor else ("0", next(iter(self.blueprints), ""))
            names = list(itertools.dropwhile(lambda name: name != first, self.blueprints))
            source = itertools.chain.from_iterable(
                self._shelf_from(name, int(start) if name == first else 0) for name in names
            )
            rows = list(itertools.islice(filter(holds, source), limit + 1))
        return rows[:limit], _cursor(rows[limit].slot, rows[limit].blueprint) if len(rows) > limit else None

    def related(self, rule: JsonObject) -> set[Stored]:
        """Entities that a `relatedTo` rule reaches over any number of relations.

        Upstream (the default) follows the relations of the entities named, downstream who points at them.
        """
        blueprint, value = str(rule.get("blueprint")), rule.get("value")
        named = (self._peek(blueprint, name) for name in (value if isinstance(value, list) else [value]))
        step = self._referrers if rule.get("direction") == "downstream" else self._targets
        front, reached = [entity for entity in named if entity], set[Stored]()
        while front:
            for entity in step(front.pop()):
                if entity not in reached:
                    reached.add(entity)
                    front.append(entity)
        return reached

    def _peek(self, blueprint: str, identifier: object) -> Stored | None:
        shelf = self._shelves.get(blueprint)
        return shelf.by_id.get(identifier) if shelf and isinstance(identifier, str) else None

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
                yield from (entity for i in sorted(identifiers) if (entity := self._peek(name, i)))

    def _targets(self, entity: Stored) -> Iterator[Stored]:
        relations = self.blueprints[entity.blueprint]["relations"]
        for name, value in entity.relations.items():
            for identifier in value if isinstance(value, list) else [value]:
                # A blueprint may have lost the relation since.
                if name in relations and (target := self._peek(relations[name]["target"], identifier)):
                    yield target

    def _referrers(self, entity: Stored) -> Iterable[Stored]:
        return entity.referrers or ()

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
            draft = self._draft(schema, identifier, row, existing, mode)
            if mode.validation_only:
                return _unsaved(blueprint, identifier, draft, author), existing is None
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
                draft = _Draft(
                    title=row.get("title") or identifier,
                    icon=row.get("icon"),
                    team=row.get("team") or [],
                    properties=_without_null(row.get("properties") or {}),
                    relations=_without_null(row.get("relations") or {}),
                    missing=(),
                )
                found = self._peek(blueprint, identifier)
                self._fill(found or self._place(blueprint, identifier, author), draft, author)

    def delete(self, blueprint: str, identifiers: Iterable[str], *, cascade: bool) -> list[str]:
        """Delete those that exist and return their identifiers.

        Entities that need one of them by a required relation are deleted too with `cascade`; without it they
        refuse the whole call (422), even when they are named in it themselves. Other relations are emptied.
        """
        with self.lock:
            self.blueprint(blueprint)
            named = [e for i in dict.fromkeys(identifiers) if (e := self._peek(blueprint, i))]
            doomed = dict.fromkeys(named)
            front = list(named)
            while front:
                for dependent in self._dependents(front.pop()):
                    if not cascade:
                        raise _has_dependents(dependent, self.dependents_status)
                    if dependent not in doomed:
                        doomed[dependent] = None
                        front.append(dependent)
            for entity in doomed:
                self._remove(entity)
            self.writes += len(doomed)
            return [entity.identifier for entity in named]

    def _aim(self, blueprint: str, row: JsonObject) -> str:
        """Identifier of the entity that the row is for; a query has to find exactly one."""
        wanted = row.get("identifier")
        if wanted is None:
            return f"e_{next(self._numbers):016}"
        if isinstance(wanted, str):
            return wanted
        found = self.find(wanted, blueprint)
        if not found:
            raise not_found("Entity", "unknown", blueprint)
        if len(found) > 1:
            raise mismatch(f'the identifier query matches {len(found)} entities of "{blueprint}"')
        return found[0].identifier

    def _draft(
        self, blueprint: JsonObject, identifier: str, row: JsonObject, existing: Stored | None, mode: Mode
    ) -> _Draft:
        base = existing if existing and mode.merge else None
        given = row.get("properties") or {}
        check_properties(blueprint["schema"]["properties"], given)
        properties = _without_null({**(base.properties if base else {}), **given})
        if existing is None:
            properties = {**_defaults(blueprint), **properties}
        for name in blueprint["schema"].get("required") or ():
            if name not in properties:
                raise RefusedError(422, "missing_property", f'required property "{name}" is missing')
        resolved, missing = self._resolve_relations(blueprint, identifier, row.get("relations") or {}, mode)
        relations = _without_null({**(base.relations if base else {}), **resolved})
        for name, relation in blueprint["relations"].items():
            if relation.get("required") and name not in relations:
                raise RefusedError(422, "required_relation", f'required relation "{name}" is missing')
        return _Draft(
            title=row.get("title", base.title if base else None) or identifier,
            icon=row.get("icon", base.icon if base else None),
            team=self._team_of(blueprint, row, base, relations),
            properties=properties,
            relations=relations,
            missing=missing,
        )

    def _team_of(
        self, blueprint: JsonObject, row: JsonObject, base: Stored | None, relations: dict[str, Any]
    ) -> list[str]:
        """The teams of a row, or those of what its blueprint inherits them from by a relation, as it is now."""
        ownership = blueprint.get("ownership") or {}
        if ownership.get("type") != "Inherited":
            return self._team(row) if "team" in row else base.team if base else []
        if "team" in row:
            raise RefusedError(422, "inherited_ownership_enabled", "the blueprint inherits its ownership")
        name = str(ownership.get("path")).split(".")[0]
        target = blueprint["relations"].get(name, {}).get("target", "")
        owner = self._peek(target, relations.get(name))
        return list(owner.team) if owner else []

    def _team(self, row: JsonObject) -> list[str]:
        teams = self._shelves["_team"].by_id if "_team" in self.blueprints else {}
        match row["team"]:
            case dict(query):
                return [team.identifier for team in self.find(query, "_team")][:MAX_QUERY_TARGETS] if teams else []
            case str(name):
                names = [name]
            case found:
                names = list(found or ())
        titles = {team.title: team.identifier for team in teams.values()}
        known = [name if name in teams else titles.get(name, name) for name in names]
        return [name for name in known if self.unknown_teams or not teams or name in teams]

    def _resolve_relations(
        self, blueprint: JsonObject, identifier: str, relations: JsonObject, mode: Mode
    ) -> tuple[JsonObject, tuple[tuple[str, str], ...]]:
        """Relations as identifiers, and the targets that have to be created for them."""
        resolved: JsonObject = {}
        missing: list[tuple[str, str]] = []
        for name, value in relations.items():
            if (relation := blueprint["relations"].get(name)) is None:
                raise mismatch(f'relation "{name}" does not exist in the blueprint')
            resolved[name] = self._targets_of(name, relation, value)
            targets = resolved[name] if relation.get("many") else [resolved[name]]
            missing += [
                (relation["target"], target)
                for target in targets or ()
                if target is not None
                and (relation["target"], target) != (blueprint["identifier"], identifier)
                and not self._peek(relation["target"], target)
            ]
        for target, wanted in missing:
            if not mode.create_missing or target in PROTECTED or target not in self.blueprints:
                raise not_found("Related entity", wanted, target)
        return resolved, tuple(dict.fromkeys(missing))

    def _targets_of(self, name: str, relation: JsonObject, value: Any) -> str | list[str] | None:
        if isinstance(value, dict):
            return self._search_targets(name, relation, value)
        if value is not None and isinstance(value, list) != bool(relation.get("many")):
            raise mismatch(f'relation "{name}" must be {"array" if relation.get("many") else "string"}')
        return list(dict.fromkeys(value)) if isinstance(value, list) else value

    def _search_targets(self, name: str, relation: JsonObject, query: JsonObject) -> str | list[str]:
        known = relation["target"] in self.blueprints
        found = [e.identifier for e in self.find(query, relation["target"])] if known else []
        if relation.get("many"):
            return found[:MAX_QUERY_TARGETS]
        if not found:
            raise RefusedError(404, "not_found", f'the query of relation "{name}" matches no entity')
        if len(found) > 1:
            raise mismatch(f'the query of relation "{name}" matches {len(found)} entities')
        return found[0]

    def _create_bare(self, blueprint: str, identifier: str, author: Author) -> None:
        defaults = _defaults(self.blueprints[blueprint])
        self._fill(self._place(blueprint, identifier, author), _Draft(identifier, None, [], defaults, {}, ()), author)
        self.writes += 1

    def _place(self, blueprint: str, identifier: str, author: Author) -> Stored:
        shelf = self._shelves[blueprint]
        entity = _new(blueprint, identifier, author, len(shelf.order))
        shelf.by_id[identifier] = entity
        shelf.order.append(entity)
        return entity

    def _fill(self, entity: Stored, draft: _Draft, author: Author) -> None:
        """Give the entity its content; dictionaries are replaced, as answers may still hold them."""
        for target in self._targets(entity) if entity.relations else ():
            if target.referrers:
                target.referrers.discard(entity)
        _assign(entity, draft, author)
        for target in self._targets(entity) if entity.relations else ():
            if target.referrers is None:
                target.referrers = set()
            target.referrers.add(entity)

    def _dependents(self, entity: Stored) -> Iterator[Stored]:
        """Entities that cannot live without this one, in a stable order."""
        for other in sorted(self._referrers(entity), key=lambda e: (e.blueprint, e.slot)):
            relations = self.blueprints[other.blueprint]["relations"].items()
            if any(
                relation.get("required")
                and relation["target"] == entity.blueprint
                and other.relations.get(name) == entity.identifier
                for name, relation in relations
            ):
                yield other

    def _remove(self, entity: Stored) -> None:
        for other in self._referrers(entity):
            relations = self.blueprints[other.blueprint]["relations"]
            aimed = {name for name, relation in relations.items() if relation["target"] == entity.blueprint}
            other.relations = _without_target(other.relations, aimed, entity.identifier)
        for target in self._targets(entity):
            if target.referrers:
                target.referrers.discard(entity)
        shelf = self._shelves[entity.blueprint]
        del shelf.by_id[entity.identifier]
        shelf.order[entity.slot] = None

    # Integrations

    def integration(self, identifier: str) -> JsonObject:
        """The integration; RefusedError 403 without the right to see any, 404 when there is none."""
        self.check_integration_access()
        if (found := self.integrations.get(identifier)) is None:
            raise not_found("Integration", identifier)
        return found

    def check_integration_access(self) -> None:
        """RefusedError (403) when the client may not see integrations."""
        if not self.integration_access:
            raise RefusedError(403, "forbidden", "reading integrations needs the moderator or admin role")

    def add_integration(self, body: JsonObject) -> JsonObject:
        """Create an integration; RefusedError 409 when it exists, 422 for a wrong identifier."""
        self.check_integration_access()
        identifier = body.get("installationId")
        if not is_installation_identifier(identifier):
            raise malformed("body/installationId must match the installation_id pattern")
        with self.lock:
            if identifier in self.integrations:
                raise RefusedError(409, "conflict", f'Integration "{identifier}" already exists')
            moment = self.now()
            given = {
                "_id": f"integration_{next(self._numbers)}",
                "config": {},
                "installationType": "OnPrem",
                **body,
            }
            self.integrations[str(identifier)] = given | {"createdAt": moment, "updatedAt": moment}
            return self.integrations[str(identifier)]

    def change_integration(self, identifier: str, changes: JsonObject) -> JsonObject:
        """Set fields of an integration and return it."""
        with self.lock:
            changed = {**self.integration(identifier), **changes, "updatedAt": self.now()}
            self.integrations[identifier] = changed
            return changed

    def set_resync_state(self, identifier: str, state: JsonObject) -> JsonObject:
        """Note the state of a resync; its `updatedAt` in the answer is Port's own clock."""
        with self.lock:
            found = self.integration(identifier)
            resync = {**(found.get("resyncState") or {}), **state, "updatedAt": self.now()}
            self.integrations[identifier] = {**found, "resyncState": resync}
            return self.integrations[identifier]

    # For tests

    def entity(self, blueprint: str, identifier: str) -> JsonObject | None:
        """Everything that is held of an entity, `$datasource` included, or None."""
        with self.lock:
            if (found := self._peek(blueprint, identifier)) is None:
                return None
            return {
                "blueprint": found.blueprint,
                "identifier": found.identifier,
                "title": found.title,
                "icon": found.icon,
                "team": list(found.team),
                "properties": dict(found.properties),
                "relations": dict(found.relations),
                "createdAt": found.created_at,
                "createdBy": found.created_by,
                "updatedAt": found.updated_at,
                "updatedBy": found.updated_by,
                "$datasource": found.datasource,
            }

    def identifiers(self, blueprint: str) -> set[str]:
        """Identifiers of a blueprint's entities; empty when there is no such blueprint."""
        with self.lock:
            shelf = self._shelves.get(blueprint)
            return set(shelf.by_id) if shelf else set()

    def snapshot(self) -> dict[str, dict[str, Content]]:
        """Blueprint → identifier → (title, icon, team, properties, relations) of everything, copied."""
        with self.lock:
            return {name: {i: _content(e) for i, e in s.by_id.items()} for name, s in self._shelves.items()}


def parse_before(text: object) -> str | None:
    """A request's `before` as an instant that compares with updatedAt; RefusedError (422) when it is none."""
    if text is None:
        return None
    if (moment := canonical_time(text)) is None:
        raise malformed('body/before must match format "date-time"')
    return moment


def _content(entity: Stored) -> Content:
    return entity.title, entity.icon, list(entity.team), dict(entity.properties), dict(entity.relations)


def _new(blueprint: str, identifier: str, author: Author, slot: int) -> Stored:
    return Stored(
        blueprint=blueprint,
        identifier=identifier,
        title=identifier,
        created_at=author.moment,
        created_by=author.client,
        updated_at=author.moment,
        updated_by=author.client,
        datasource=author.user_agent,
        slot=slot,
    )


def _assign(entity: Stored, draft: _Draft, author: Author) -> None:
    entity.title, entity.icon, entity.team = draft.title, draft.icon, draft.team
    entity.properties, entity.relations = draft.properties, draft.relations
    entity.updated_at, entity.updated_by, entity.datasource = author.moment, author.client, author.user_agent


def _unsaved(blueprint: str, identifier: str, draft: _Draft, author: Author) -> Stored:
    entity = _new(blueprint, identifier, author, -1)
    _assign(entity, draft, author)
    return entity


def _without_null(values: JsonObject) -> JsonObject:
    return {name: value for name, value in values.items() if value is not None}


def _without_target(relations: JsonObject, names: set[str], identifier: str) -> JsonObject:
    """Relations without those of `names` that point at the entity."""
    return {
        name: [v for v in value if v != identifier] if isinstance(value, list) and name in names else value
        for name, value in relations.items()
        if not (name in names and value == identifier)
    }


def _defaults(blueprint: JsonObject) -> JsonObject:
    found = {name: d.get("default") for name, d in blueprint["schema"]["properties"].items()}
    return _without_null(found)


def _completed(body: JsonObject) -> JsonObject:
    """A blueprint with the empty sections that Port's answers show."""
    sections = ("relations", "calculationProperties", "mirrorProperties", "aggregationProperties")
    return {**body, **{name: body.get(name) or {} for name in sections}}


def _check_formats(old: JsonObject, new: JsonObject) -> None:
    held = old["schema"]["properties"]
    for name, definition in (new.get("schema") or {}).get("properties", {}).items():
        before = held.get(name, definition)
        if (before.get("type"), before.get("format")) != (definition.get("type"), definition.get("format")):
            raise RefusedError(
                422,
                "forbidden_format_change",
                f'type and format of property "{name}" cannot be changed',
                {"property": name},
            )


def _has_dependents(dependent: Stored, status: int) -> RefusedError:
    named = {"blueprint": dependent.blueprint, "identifier": dependent.identifier}
    message = f'entity "{dependent.identifier}" of "{dependent.blueprint}" has a required relation to it'
    return RefusedError(status, "has_dependents", message, {"dependents": [named]})


def _encoded(part: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=")


def _cursor(*parts: object) -> str:
    return base64.urlsafe_b64encode("|".join(map(str, parts)).encode()).decode()


def _position(cursor: str, parts: int) -> list[str]:
    try:
        found = base64.urlsafe_b64decode(cursor).decode().split("|", parts - 1)
        int(found[0])
    except ValueError:  # also what wrong base64 and wrong UTF-8 raise
        raise malformed("body/from is not a cursor of this route") from None
    if len(found) != parts:
        raise malformed("body/from is not a cursor of this route")
    return found
