"""Foretells in a plan which changes Port will refuse because an entity that they relate to is not there."""

from collections import abc
from collections.abc import Container, Iterable, Iterator, Sequence
from contextlib import suppress

from gitlab_port_export.base.answer import Unreachable
from gitlab_port_export.model import Create, Event, Failed, Update
from gitlab_port_export.port.catalog import Catalog
from gitlab_port_export.port.client import PortRefused
from gitlab_port_export.port.hints import RELATED
from gitlab_port_export.port.keys import target_key
from gitlab_port_export.port.ledger import Ledger
from gitlab_port_export.port.order import targets_of

# How many entities Port is asked for at once.
BATCH = 100
Key = tuple[str, str]
Change = Create | Update


def with_targets(events: Iterable[Event], catalog: Catalog, in_files: Container[int]) -> Iterator[Event]:
    """Yield a Failed for each change that relates to what neither Port holds nor the run writes, all else as it came.

    Only for plans, and where Port does not create missing targets. Changes wait for the end unless Port holds all their
    targets. `in_files` are the keys (see `port/keys.py`) of entities of files.
    """
    waiting: list[Change] = []
    ledgers: abc.Mapping[str, Ledger] = {}
    for event in events:
        if isinstance(event, Create | Update) and event.entity.blueprint not in ledgers:
            ledgers = catalog.ledgers
        if isinstance(event, Create | Update) and not _all_held(event, ledgers, catalog):
            waiting.append(event)
        else:
            yield event
    missing = _missing(waiting, catalog, in_files)
    while refused := {one.entity.key for one in waiting if isinstance(one, Create) and _lacks(one, missing, catalog)}:
        if refused <= missing:
            break
        missing |= refused
    for change in waiting:
        if lacking := _lacks(change, missing, catalog):
            name, identifier = lacking[0]
            why = f"an entity of blueprint {name} that it relates to is neither in Port nor written by this run"
            yield Failed(change, why, RELATED, sample=identifier)
        else:
            yield change


def _all_held(change: Change, ledgers: abc.Mapping[str, Ledger], catalog: Catalog) -> bool:
    for name, identifier in targets_of(change.entity, catalog.blueprints):
        ledger = ledgers.get(name)
        if ledger is None or not ledger.knows(identifier) or ledger.created(identifier):
            return False
    return True


def _lacks(change: Change, missing: abc.Set[Key], catalog: Catalog) -> list[Key]:
    """Return the missing targets of a change; an entity may relate to itself."""
    return [one for one in targets_of(change.entity, catalog.blueprints) if one in missing and one != change.entity.key]


def _missing(waiting: Sequence[Change], catalog: Catalog, in_files: Container[int]) -> set[Key]:
    """Return the targets that neither Port holds nor the run writes; what Port does not show is taken for held."""
    asked: dict[str, dict[str, None]] = {}
    ledgers = catalog.ledgers
    for change in waiting:
        for name, identifier in targets_of(change.entity, catalog.blueprints):
            ledger = ledgers.get(name)
            known = target_key(name, identifier) in in_files or (ledger is not None and ledger.knows(identifier))
            if not known:
                asked.setdefault(name, {})[identifier] = None
    found: set[Key] = set()
    for name, identifiers in asked.items():
        names = list(identifiers)
        for at in range(0, len(names), BATCH):
            with suppress(PortRefused, Unreachable):
                held = catalog.states(name, names[at : at + BATCH])
                found.update((name, one) for one in names[at : at + BATCH] if one not in held)
    return found
