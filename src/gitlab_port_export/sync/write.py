"""The write stage: the catalog that a run compares with, and changes to Port in the order that relations need."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import replace
from functools import partial

from gitlab_port_export.base.clock import Stopped
from gitlab_port_export.base.errors import ExportError, Interrupted
from gitlab_port_export.mapping.blueprints import constant_blueprints, fields_of
from gitlab_port_export.model import Create, Event, Failed, Settle, Update, Written
from gitlab_port_export.port import integration as integrations
from gitlab_port_export.port.catalog import Catalog
from gitlab_port_export.port.hints import UNFIT
from gitlab_port_export.port.identifiers import slip_of
from gitlab_port_export.port.ledger import Blueprint
from gitlab_port_export.port.order import blueprint_order, dependency_order
from gitlab_port_export.port.searches import Searches
from gitlab_port_export.port.upsert import Rules
from gitlab_port_export.port.values import refusal_of
from gitlab_port_export.port.writer import Key, Writer
from gitlab_port_export.sync.choose import expected_blueprints
from gitlab_port_export.sync.diff import MAX_WAITING_BYTES, weight
from gitlab_port_export.sync.prepare import Run
from gitlab_port_export.sync.searching import search_targets

# How long a stopped run waits for the answers of calls that are under way.
GRACE_SECONDS = 1.0


def ensure_blueprints(run: Run) -> dict[str, Blueprint]:
    """Return Port's blueprints, after creating the missing ones of a default mapping (in a plan: as if created)."""
    if run.writes and run.chosen.blueprints and run.settings.initialize_port_resources:
        integrations.create_blueprints(run.port, run.blueprints, run.chosen.blueprints)
    return expected_blueprints(run.settings, run.chosen, run.blueprints)


def make_catalog(
    run: Run,
    blueprints: Mapping[str, Blueprint],
    executor: Executor,
    fields: Callable[[str], Sequence[str]] | None = None,
) -> Catalog:
    """Return the catalog of these blueprints; `fields` gives the fields that are written, by default the mapping's."""
    return Catalog(
        run.port,
        blueprints,
        fields or partial(fields_of, run.mapping),
        executor,
        whole=not run.mapping.enable_merge_entity,
        absent=frozenset(blueprints) - frozenset(run.blueprints),
        missing=frozenset(constant_blueprints(run.mapping)) - frozenset(blueprints),
    )


def make_searches(run: Run, catalog: Catalog, executor: Executor) -> Searches:
    """Return what answers search queries."""
    watched = frozenset() if run.writes else search_targets(run.mapping, catalog.blueprints)
    return Searches(run.port, catalog.blueprints, executor, catalog.is_empty, watched)


def fit_to_send(events: Iterable[Event]) -> Iterator[Event]:
    """Yield a failure for each change that Port's schema would refuse, and everything else as it came.

    Nothing of these is sent: a faulty expression gives the same in every row, and each would refuse a whole call.
    """
    for event in events:
        slip = slip_of(event.entity) if isinstance(event, Create | Update) else None
        if slip and isinstance(event, Create | Update):
            yield Failed(event, slip.why, UNFIT, slip.field, slip.sample)
        else:
            yield event


def foreseen(events: Iterable[Event], blueprints: Mapping[str, Blueprint]) -> Iterator[Event]:
    """Yield a failure for each change of a plan that Port will refuse for a value, and everything else as it came.

    A sync sends these, since Port's own word is the truth; a plan sends nothing and has to tell all the same.
    """
    for event in events:
        blueprint = blueprints.get(event.entity.blueprint) if isinstance(event, Create | Update) else None
        if blueprint and isinstance(event, Create | Update):
            refusal = refusal_of(event.entity, blueprint, creates=isinstance(event, Create))
            if refusal:
                yield Failed(event, refusal.why, refusal.hint, refusal.field, refusal.sample)
                continue
        yield event


def write(run: Run, events: Iterable[Event], catalog: Catalog, executor: Executor, agent: str = "") -> Iterator[Event]:
    """Write changes as they come, or targets before sources when Port is not to create missing ones.

    Then they wait, but where many do, those that came so far are written: a row whose target is still missing is
    tried once more at the end. `agent` is in whose name, if not in the exporter's. Yields what Port answered, and every
    other event as it came.
    """
    rules = Rules(
        run.mapping.enable_merge_entity,
        run.mapping.create_missing_related_entities,
        run.settings.batch_length,
        run.settings.batch_bytes,
        agent,
    )
    writer = Writer(run.port, rules, executor, 2 * run.settings.workers)
    waiting: dict[str, list[Create | Update]] = {}
    bytes_waiting = 0
    try:
        for event in events:
            if isinstance(event, Settle):
                yield from _in_order(waiting, writer, catalog.blueprints)
                waiting, bytes_waiting = {}, 0
                yield from writer.settle(catalog.blueprints)
            elif not isinstance(event, Create | Update):
                yield event
            elif rules.create_missing:
                yield from writer.add(event)
            else:
                waiting.setdefault(event.entity.blueprint, []).append(event)
                bytes_waiting += weight(event.entity)
                if bytes_waiting > MAX_WAITING_BYTES:
                    yield from _in_order(waiting, writer, catalog.blueprints)
                    waiting, bytes_waiting = {}, 0
        yield from _in_order(waiting, writer, catalog.blueprints)
        yield from writer.finish(catalog.blueprints)
    except (Stopped, ExportError, Interrupted):
        yield from writer.abandon(GRACE_SECONDS)
        raise


def _in_order(
    waiting: Mapping[str, Sequence[Create | Update]], writer: Writer, blueprints: Mapping[str, Blueprint]
) -> Iterator[Event]:
    """Write what waits, by blueprint, targets before sources."""
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
    """Yield the changes of a plan, of which nothing is written; what is searched for is found as if it were."""
    for event in changes:
        if isinstance(event, Create | Update):
            searches.intend(event)
        if not isinstance(event, Settle):
            yield event


def noted(outcomes: Iterable[Event], searches: Searches) -> Iterator[Event]:
    """Tell the searches what was written, so that they are asked again where that may change what they find."""
    for outcome in outcomes:
        if isinstance(outcome, Written) and isinstance(outcome.change, Create | Update):
            searches.touch(outcome.change.entity.blueprint)
        yield outcome
