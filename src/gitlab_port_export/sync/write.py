"""The write stage: sends changes to Port in the order that relations need; a plan only yields them."""

from collections import abc
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from functools import partial
from types import MappingProxyType
from typing import Any

from gitlab_port_export.base.clock import Stopped
from gitlab_port_export.base.errors import ExportError, Interrupted
from gitlab_port_export.mapping.blueprints import constant_blueprints, fields_of
from gitlab_port_export.mapping.model import Mapping
from gitlab_port_export.model import Create, Event, Failed, Settle, Update, Written
from gitlab_port_export.port import integration as integrations
from gitlab_port_export.port.blueprint import Blueprint
from gitlab_port_export.port.catalog import Catalog
from gitlab_port_export.port.client import Port
from gitlab_port_export.port.hints import UNFIT
from gitlab_port_export.port.identifiers import slip_of
from gitlab_port_export.port.order import blueprint_order, dependency_order
from gitlab_port_export.port.searches import Searches
from gitlab_port_export.port.upsert import Rules
from gitlab_port_export.port.values import refusal_of
from gitlab_port_export.port.writer import Key, Writer
from gitlab_port_export.settings.settings import Settings
from gitlab_port_export.sync.diff import MAX_WAITING_BYTES, weight
from gitlab_port_export.sync.searching import search_targets
from gitlab_port_export.sync.targets import with_targets

# How long a stopped run waits for the answers of calls that are under way.
GRACE_SECONDS = 1.0


@dataclass(frozen=True)
class Sink:
    """Where changes go: Port, and how it is written to; without `writes`, in a plan, nothing is sent.

    At most `ahead` calls are under way at once, on the threads of the executor.
    """

    port: Port
    rules: Rules
    executor: Executor
    ahead: int
    writes: bool

    def named(self, agent: str) -> "Sink":
        """Return a sink that writes as another User-Agent, which makes its entities another exporter's."""
        return replace(self, rules=replace(self.rules, agent=agent))

    def tied(self, action_run: str) -> "Sink":
        """Return a sink whose entities show in a run of a Port action, while that is in progress; "" for none."""
        return replace(self, rules=replace(self.rules, action_run=action_run))


def sink_of(port: Port, mapping: Mapping, settings: Settings, executor: Executor, *, writes: bool) -> Sink:
    """Return the sink that a mapping and the settings describe."""
    rules = Rules(
        mapping.enable_merge_entity,
        mapping.create_missing_related_entities,
        settings.batch_length,
        settings.batch_bytes,
    )
    return Sink(port, rules, executor, 2 * settings.workers, writes)


def ensure_blueprints(
    sink: Sink, wanted: Sequence[abc.Mapping[str, Any]], existing: abc.Mapping[str, Blueprint]
) -> None:
    """Create the blueprints of a default mapping that Port lacks."""
    if sink.writes and wanted:
        integrations.create_blueprints(sink.port, existing, wanted)


def make_catalog(
    port: Port,
    mapping: Mapping,
    blueprints: abc.Mapping[str, Blueprint],
    existing: abc.Mapping[str, Blueprint],
    executor: Executor,
    fields: Callable[[str], Sequence[str]] | None = None,
    *,
    narrow: bool = False,
    elsewhere: abc.Mapping[str, abc.Collection[int]] = MappingProxyType({}),
) -> Catalog:
    """Return the catalog of these blueprints, of which Port held the `existing` ones when the run began.

    `fields` gives the fields of a blueprint that are written, by default those that the mapping sets. A `narrow` one
    holds no more than the entities that are looked up. `elsewhere` are those that other processes produced.
    """
    return Catalog(
        port,
        blueprints,
        fields or partial(fields_of, mapping),
        executor,
        whole=not mapping.enable_merge_entity,
        absent=frozenset(blueprints) - frozenset(existing),
        missing=frozenset(constant_blueprints(mapping)) - frozenset(blueprints),
        narrow=narrow,
        elsewhere=elsewhere,
    )


def start_reading(catalog: Catalog, mapping: Mapping, integration: str) -> None:
    """Begin to read the mapped blueprints of Port and the list of owned entities, while GitLab is being read."""
    catalog.start(constant_blueprints(mapping))
    catalog.start_owned(integration)


def make_searches(sink: Sink, mapping: Mapping, catalog: Catalog) -> Searches:
    """Return the object that answers search queries."""
    watched = frozenset() if sink.writes else search_targets(mapping, catalog.blueprints)
    return Searches(sink.port, catalog.blueprints, sink.executor, catalog.is_empty, watched)


def carried_out(
    sink: Sink, changes: Iterable[Event], catalog: Catalog, searches: Searches, in_files: Container[int] | None = None
) -> Iterable[Event]:
    """Return what Port answers to changes, or in a plan the changes that would be sent.

    `in_files` are the keys of the entities of files, None where targets may still be written later.
    """
    fit = fit_to_send(changes)
    if not sink.writes:
        planned = intended(foreseen(fit, catalog.blueprints), searches)
        if sink.rules.create_missing or in_files is None:
            return planned
        return with_targets(planned, catalog, in_files)
    return noted(write(sink, _once_listed(fit, catalog), catalog.blueprints), searches)


def _once_listed(changes: Iterable[Event], catalog: Catalog) -> Iterator[Event]:
    """Yield changes, the first to be written when the list of owned entities is read: it must not hold new ones."""
    listed = False
    for event in changes:
        if not listed and isinstance(event, Create | Update):
            catalog.wait_for_owned()
            listed = True
        yield event


def fit_to_send(events: Iterable[Event]) -> Iterator[Event]:
    """Yield a Failed for each change that Port's schema would refuse, and all other events unchanged.

    These are not sent: a faulty expression gives the same in every row, and one such row refuses a whole call.
    """
    for event in events:
        slip = slip_of(event.entity) if isinstance(event, Create | Update) else None
        if slip and isinstance(event, Create | Update):
            yield Failed(event, slip.why, UNFIT, slip.field, slip.sample)
        else:
            yield event


def foreseen(events: Iterable[Event], blueprints: abc.Mapping[str, Blueprint]) -> Iterator[Event]:
    """Yield a Failed for each change of a plan that Port will refuse for a value, and all other events unchanged.

    Only for plans: a sync sends these changes and reports Port's own answer.
    """
    for event in events:
        blueprint = blueprints.get(event.entity.blueprint) if isinstance(event, Create | Update) else None
        if blueprint and isinstance(event, Create | Update):
            refusal = refusal_of(event.entity, blueprint, creates=isinstance(event, Create))
            if refusal:
                yield Failed(event, refusal.why, refusal.hint, refusal.field, refusal.sample)
                continue
        yield event


def write(sink: Sink, events: Iterable[Event], blueprints: abc.Mapping[str, Blueprint]) -> Iterator[Event]:
    """Write changes as they come, or targets before sources when Port is not to create missing ones.

    In that case they wait for the end, or until many wait: a row whose target is still missing is sent once more at the
    end. Yields Port's answers, and all other events unchanged.
    """
    writer = Writer(sink.port, sink.rules, sink.executor, sink.ahead)
    waiting: dict[str, list[Create | Update]] = {}
    bytes_waiting = 0
    try:
        for event in events:
            if isinstance(event, Settle):
                yield from _in_order(waiting, writer, blueprints)
                waiting, bytes_waiting = {}, 0
                yield from writer.settle(blueprints)
            elif not isinstance(event, Create | Update):
                yield event
            elif sink.rules.create_missing:
                yield from writer.add(event)
            else:
                waiting.setdefault(event.entity.blueprint, []).append(event)
                bytes_waiting += weight(event.entity)
                if bytes_waiting > MAX_WAITING_BYTES:
                    yield from _in_order(waiting, writer, blueprints)
                    waiting, bytes_waiting = {}, 0
        yield from _in_order(waiting, writer, blueprints)
        yield from writer.finish(blueprints)
    except (Stopped, ExportError, Interrupted):
        yield from writer.abandon(GRACE_SECONDS)
        raise


def _in_order(
    waiting: abc.Mapping[str, Sequence[Create | Update]], writer: Writer, blueprints: abc.Mapping[str, Blueprint]
) -> Iterator[Event]:
    """Write the waiting changes by blueprint, targets before sources."""
    for name in blueprint_order(waiting, blueprints):
        changes = _last_of_each(waiting[name])
        for group in dependency_order([change.entity for change in changes.values()], blueprints):
            for entity in group:
                yield from writer.add(changes[entity.key])
            yield from writer.flush()


def _last_of_each(changes: Iterable[Create | Update]) -> dict[Key, Create | Update]:
    """Return one change of each entity: its first one, made from its best row at once."""
    found: dict[Key, Create | Update] = {}
    for change in changes:
        first = found.setdefault(change.entity.key, change)
        found[change.entity.key] = replace(first, entity=change.entity)
    return found


def intended(changes: Iterable[Event], searches: Searches) -> Iterator[Event]:
    """Yield the changes of a plan; searches find them as if they had been written."""
    for event in changes:
        if isinstance(event, Create | Update):
            searches.intend(event)
        if not isinstance(event, Settle):
            yield event


def noted(outcomes: Iterable[Event], searches: Searches) -> Iterator[Event]:
    """Yield Port's answers, and mark the searches whose result they may change."""
    for outcome in outcomes:
        if isinstance(outcome, Written) and isinstance(outcome.change, Create | Update):
            searches.touch(outcome.change.entity.blueprint)
        yield outcome
