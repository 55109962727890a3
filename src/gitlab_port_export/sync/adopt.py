"""Takes back what a webhook of Port wrote: entities that this run produced and that are equal, but not owned.

Which owner Port notes for what a webhook writes is not documented. Where it is another one, an entity that then needs
no change would never be owned again, and so never be deleted.
"""

from collections import Counter
from collections.abc import Container, Iterator, Set
from concurrent.futures import Future
from dataclasses import replace

from gitlab_port_export.base.answer import Unreachable
from gitlab_port_export.live import port_webhook
from gitlab_port_export.model import Entity, Event, Failed, Problem, Update, target
from gitlab_port_export.port.catalog import Catalog
from gitlab_port_export.port.client import PortRefused, advice
from gitlab_port_export.port.keys import target_key
from gitlab_port_export.port.ledger import Ledger
from gitlab_port_export.sync.write import Sink, write

# What the report names as changed: the writer of the entity alone.
OWNER = "owner"


def start_asking(sink: Sink, integration: str) -> Future[frozenset[str]]:
    """Begin to ask Port into which blueprints the webhook of this integration writes, if there is one."""
    return sink.executor.submit(_written_by_webhook, sink, integration)


def _written_by_webhook(sink: Sink, integration: str) -> frozenset[str]:
    there = port_webhook.read(sink.port, port_webhook.identifier_for(integration))
    return port_webhook.blueprints_of(there.webhook or {})


def adopt(
    asked: Future[frozenset[str]] | None, catalog: Catalog, sink: Sink, integration: str, in_files: Container[int]
) -> Iterator[Event]:
    """Yield the writes that make equal entities owned again; in a plan, those that would.

    Where Port was not `asked` there are none. `in_files` are the keys of entities of `specPath` files, which have an
    owner of their own.
    """
    if asked is None:
        return
    try:
        found = _strangers(asked.result(), catalog, integration)
        strangers = [key for key in found if target_key(*key) not in in_files]
    except (PortRefused, Unreachable) as failure:
        why = f"Port did not say whether it has a webhook of this integration, or what that wrote: {failure}"
        hint = advice(failure, "read webhooks and entities")
        yield Problem("integration", why, hint, warning=True)
        return
    changes = (Update(Entity.of(name, identifier, {}, -1), (OWNER,)) for name, identifier in strangers)
    if not sink.writes:
        yield from changes
    elif strangers:
        # Nothing but the identifier is sent, so that no newer value is overwritten; merging keeps all there is.
        written = write(replace(sink, rules=replace(sink.rules, merge=True)), changes, catalog.blueprints)
        yield from map(_mild, written)


def _mild(event: Event) -> Event:
    """Return a refused write as a warning: the entity is as it should be, and somebody else's as before."""
    if not isinstance(event, Failed):
        return event
    blueprint, identifier = target(event.change)
    why = f"what a webhook wrote could not be taken back, so that it is not deleted when it is gone: {event.why}"
    return Problem("write", why, event.hint, blueprint=blueprint, entity=identifier, warning=True)


def _strangers(blueprints: Set[str], catalog: Catalog, integration: str) -> Iterator[tuple[str, str]]:
    """Yield (blueprint, identifier) of equal entities that are not owned. Raises PortRefused and Unreachable."""
    ledgers = {name: one for name, one in catalog.ledgers.items() if name in blueprints and one.unchanged}
    if not ledgers:
        return
    ours = Counter(name for name, _ in _equal(catalog, integration, ledgers))
    for name, ledger in ledgers.items():
        # Nearly always all are owned, and nothing more is asked.
        if ours[name] < ledger.unchanged:
            owned = {identifier for _, identifier in _equal(catalog, integration, {name: ledger})}
            found = (one for one in catalog.identifiers(name) if one not in owned and ledger.is_unchanged(one))
            yield from ((name, one) for one in found)


def _equal(catalog: Catalog, integration: str, ledgers: dict[str, Ledger]) -> Iterator[tuple[str, str]]:
    """Yield the owned entities of some ledgers that this run produced and that need no change."""
    for name, identifier in catalog.owned(integration):
        if name in ledgers and ledgers[name].is_unchanged(identifier):
            yield name, identifier
