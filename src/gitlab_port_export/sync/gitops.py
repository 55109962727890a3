"""GitOps: the documents of `specPath` files become entities as they are, written under GitOps' own User-Agent."""

from collections import Counter
from collections.abc import Callable, Container, Generator, Iterable, Iterator, Sequence, Set
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

from gitlab_port_export.base.answer import Unreachable
from gitlab_port_export.gitlab.specs import KIND, Spec
from gitlab_port_export.mapping.blueprints import feeding, fixed_fields
from gitlab_port_export.mapping.model import Mapping
from gitlab_port_export.model import Delete, Entity, Event, Failed, Problem
from gitlab_port_export.port.catalog import Catalog
from gitlab_port_export.port.client import PortRefused
from gitlab_port_export.port.hints import RELATED
from gitlab_port_export.port.keys import target_key
from gitlab_port_export.sync.diff import Differ
from gitlab_port_export.sync.field_values import unfit_identifier
from gitlab_port_export.sync.write import Sink, carried_out, make_searches

# Entities from files belong to no resource of the mapping.
NO_RESOURCE = -1
# How many entities Port is asked for at once.
BATCH = 100
# An entity by blueprint and identifier.
Key = tuple[str, str]
FIELDS = ("title", "icon", "team", "properties", "relations")
OBJECTS = ("properties", "relations")


@dataclass
class FromFiles:
    """The entities of files: the keys of all, see `port/keys.py`, and those that come after what they relate to.

    These search, or relate to what is neither in Port nor in a file, but may come from GitLab. So do the `held` ones:
    Port holds them, and rows may give them as well. `places` names the file of each entity that rows may give.
    """

    keys: set[int] = field(default_factory=set)
    later: list[Entity] = field(default_factory=list)
    held: Set[Key] = frozenset()
    places: dict[Key, str] = field(default_factory=dict)


def write_files(
    specs: Iterable[Spec | Problem],
    blueprints: Set[str],
    write_found: Callable[[Sequence[Entity]], Iterator[Event]],
    held_of: Callable[[Sequence[Entity]], Set[Key]],
) -> Generator[Event, None, FromFiles]:
    """Write the entities of files (in a plan: yield what would be written), but not those that come later.

    Whatever goes wrong holds all deletions: the entities may be needed, or owned since another run. `held_of` returns
    the keys of those that Port holds and rows may give as well.
    """
    found: list[Entity] = []
    places: dict[Key, str] = {}
    for item in entities(specs, blueprints, places):
        if isinstance(item, Entity):
            found.append(item)
        else:
            yield item
    held = held_of(found)
    later = [one for one in found if one.searches or one.key in held]
    for event in write_found([one for one in found if not (one.searches or one.key in held)]):
        if isinstance(event, Failed) and event.hint == RELATED and not isinstance(event.change, Delete):
            later.append(event.change.entity)
        else:
            yield event
    return FromFiles({target_key(*one.key) for one in found}, later, held, places)


def held_by_port(catalog: Catalog, mapping: Mapping, found: Sequence[Entity]) -> Set[Key]:
    """Return the keys of the entities of mapped blueprints that Port holds; where it does not say so, of all."""
    asked: dict[str, list[str]] = {}
    for entity in found:
        if feeding(mapping, entity.blueprint):
            asked.setdefault(entity.blueprint, []).append(str(entity.identifier))
    held: set[Key] = set()
    for name, identifiers in asked.items():
        for at in range(0, len(identifiers), BATCH):
            some: Iterable[str] = identifiers[at : at + BATCH]
            with suppress(PortRefused, Unreachable):
                some = catalog.states(name, identifiers[at : at + BATCH])
            held.update((name, identifier) for identifier in some)
    return held


def beside_rows(
    files: FromFiles, mapping: Mapping, catalog: Catalog, unread: Container[int]
) -> Generator[Problem, None, list[Entity]]:
    """Return the entities that come later without the fields that rows set, and yield a warning for each blueprint.

    Two that write the same field would do so in every run. Rows that were not read may set them too. Where Port
    overwrites, the row's entity is the whole one.
    """

    def given(key: Key) -> bool:
        ledger = catalog.ledgers.get(key[0])
        return ledger is not None and ledger.produced(key[1])

    twice = Counter(key[0] for key in files.places if given(key))
    for name, count in twice.items():
        first = next(key for key in files.places if key[0] == name and given(key))
        kinds = dict.fromkeys(mapping.resources[index].kind for index in sorted(feeding(mapping, name)))
        yield Problem(
            "diff", f"entities stand in a file and come of rows too ({', '.join(kinds)}); where both set a field, "
            "the row's value counts", "take them out of the file, or out of the mapping",
            scope=files.places[first], blueprint=name, warning=True, count=count, sample=first[1],
        )  # fmt: skip
    kept: list[Entity] = []
    for entity in files.later:
        doubted = entity.key in files.held and any(one in unread for one in feeding(mapping, entity.blueprint))
        if not (given(entity.key) or doubted):
            kept.append(entity)
        elif mapping.enable_merge_entity:
            fixed = fixed_fields(mapping, entity.blueprint)
            fields = dict(zip(entity.shape.names, entity.values, strict=True))
            kept.append(entity.holding({name: value for name, value in fields.items() if name not in fixed}))
    return kept


def write_entities(
    sink: Sink, mapping: Mapping, make: Callable[[Callable[[str], Sequence[str]]], Catalog], found: Sequence[Entity]
) -> Iterator[Event]:
    """Write entities of files; `make` gives a catalog that compares the fields which these set in each blueprint."""
    if not found:
        return
    catalog = make(lambda name: fields_of(found, name))
    searches = make_searches(sink, mapping, catalog)
    for event in carried_out(sink, Differ(catalog.ledger, searches).run(found), catalog, searches):
        yield replace(event, resources=(), holds_all=True) if isinstance(event, Problem) else event


def entities(
    specs: Iterable[Spec | Problem], blueprints: Set[str], places: dict[Key, str]
) -> Iterator[Entity | Problem]:
    """Yield the entities of all documents, and a Problem for each document or entity that is not one.

    `places` takes the file of each.

    A document is an entity or a list of them; of equal entities the first one counts.
    """
    seen: set[tuple[str, str]] = set()
    for spec in specs:
        if isinstance(spec, Problem):
            yield spec
            continue
        for item in spec.document if isinstance(spec.document, list) else [spec.document]:
            if item is None:
                continue
            found = _entity(spec, item, blueprints)
            if isinstance(found, Entity) and found.key in seen:
                yield _problem(spec, f"the entity {found.identifier} of {found.blueprint} stands elsewhere too")
                continue
            if isinstance(found, Entity):
                seen.add(found.key)
                places[found.key] = f"{spec.scope.path}/{spec.path}"
            yield found


def fields_of(found: Iterable[Entity], blueprint: str) -> tuple[str, ...]:
    """Return the dotted names of the fields that entities of a blueprint set."""
    names: dict[str, None] = {}
    for entity in found:
        if entity.blueprint == blueprint:
            names |= dict.fromkeys(entity.shape.names)
    return tuple(names)


def _entity(spec: Spec, item: Any, blueprints: Set[str]) -> Entity | Problem:
    if not isinstance(item, dict):
        return _problem(spec, "an entity must be an object with identifier and blueprint")
    identifier, blueprint = item.get("identifier"), item.get("blueprint")
    if isinstance(identifier, int) and not isinstance(identifier, bool):
        identifier = str(identifier)
    if not isinstance(identifier, str) or (why := unfit_identifier(identifier)):
        return _problem(spec, "the identifier must be text" if not isinstance(identifier, str) else str(why))
    if not isinstance(blueprint, str) or blueprint not in blueprints:
        return _problem(spec, f"{identifier}: Port has no blueprint {blueprint!r}"[:300])
    for name in OBJECTS:
        if not isinstance(item.get(name, {}), dict | None):
            return _problem(spec, f"{identifier}: {name} must be an object")
    body = {name: item[name] for name in FIELDS if name in item and not (name in OBJECTS and item[name] is None)}
    return Entity.of(blueprint, identifier, body, NO_RESOURCE, (spec.scope.id, 0))


def _problem(spec: Spec, why: str) -> Problem:
    """Return the Problem of a document; it holds all deletions, as its entities may be owned since another run."""
    return Problem(
        "read",
        f"{spec.path}, document {spec.number}: {why}",
        "correct the file",
        scope=spec.scope.path,
        token=spec.scope.token,
        kind=KIND,
        holds_all=True,
    )
