"""Applies a plan file: exactly its changes, and only where everything is as it was when the plan was made."""

from collections import abc
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import chain
from typing import Any

from gitlab_port_export.base.answer import Unreachable
from gitlab_port_export.base.errors import PortUnavailable, UsageError
from gitlab_port_export.base.jsontext import in_words
from gitlab_port_export.base.text import clean
from gitlab_port_export.mapping.compare import compare
from gitlab_port_export.mapping.model import Mapping
from gitlab_port_export.model import Create, Delete, Entity, Event, Failed, Held, Update, target
from gitlab_port_export.port.catalog import Catalog
from gitlab_port_export.port.client import PortRefused, advice
from gitlab_port_export.port.deleter import Deleter
from gitlab_port_export.sync.delete import delete, fresh, not_needed, related
from gitlab_port_export.sync.plan_file import BATCH, Basis, PlanFile, State, States
from gitlab_port_export.sync.write import Sink, write

MAX_NAMED = 20
# How many characters are shown of a value of the mapping, and of all that differs in it.
MAX_VALUE, MAX_WORDS = 80, 1_000
# An older plan deletes nothing: GitLab is not asked again before a plan is applied.
MOST_AGE = timedelta(hours=24)


def check_unchanged(plan: PlanFile, basis: Basis, catalog: Catalog, integration: str, mapping: Mapping) -> None:
    """Raise UsageError that names what is not as it was when the plan was made, PortUnavailable where Port fails."""
    try:
        of_mapping = _of_mapping(plan, mapping) if plan.basis.mapping != basis.mapping else ()
        found = differences(plan, basis, catalog.states, partial(catalog.owned, integration), of_mapping)
    except (PortRefused, Unreachable) as failure:
        raise PortUnavailable(
            f"Port did not say what it holds, so the plan was not applied: {failure}",
            hint=advice(failure, "read entities"),
        ) from None
    if found:
        raise UsageError(*found, hint="nothing was written; make a new plan")


def apply(plan: PlanFile, sink: Sink, catalog: Catalog, *, cascade: bool) -> Iterator[Event]:
    """Make exactly the changes of a plan: first the upserts, then, when all of them were made, the deletions."""
    upserts = (change for change, _ in plan.changes() if isinstance(change, Create | Update))
    failed = False
    for outcome in write(sink, upserts, catalog.blueprints):
        failed |= isinstance(outcome, Failed)
        yield outcome
    # Problems of the mapping were reported when this run was prepared: its mapping is the plan's.
    yield from (problem for problem in plan.problems if problem.stage != "mapping")
    yield from plan.held
    doomed = _doomed(plan)
    if failed:
        why = "not everything that the plan writes was written"
        yield from (Held(name, tuple(gone), "problem", why, "make a new plan") for name, gone in doomed.items())
    elif (age := datetime.now(UTC) - plan.made) > MOST_AGE:
        why = (
            f"the plan was made {age // timedelta(hours=1)} hours ago, and what came back to GitLab since is not known"
        )
        yield from (Held(name, tuple(gone), "plan", why, "make a new plan") for name, gone in doomed.items())
    else:
        yield from _deleted(catalog, doomed, Deleter(sink.port, cascade=cascade))


def _doomed(plan: PlanFile) -> dict[str, dict[str, str]]:
    """Return what the plan deletes, by blueprint and identifier, each with the instant of its last change."""
    doomed: dict[str, dict[str, str]] = {}
    for change, was in plan.changes():
        if isinstance(change, Delete):
            doomed.setdefault(change.blueprint, {})[change.identifier] = (was or {}).get("updatedAt", "")
    return doomed


def _deleted(catalog: Catalog, doomed: abc.Mapping[str, abc.Mapping[str, str]], deleter: Deleter) -> Iterator[Event]:
    """Delete, except what changed while the upserts were written, and what that relates to."""
    entities: list[Entity] = []
    keep: set[int] = set()
    for name, gone in doomed.items():
        recent: list[str] = []
        for entity, changed in fresh(catalog, name, list(gone)):
            if changed == gone[str(entity.identifier)]:
                entities.append(entity)
            else:
                recent.append(str(entity.identifier))
                keep.update(related(catalog, entity))
        if recent:
            yield Held(name, tuple(recent), "recent", "changed in Port after the plan was checked", "make a new plan")
    free = not_needed(catalog, entities, keep)
    yield from delete(catalog, free, keep, deleter)


def differences(
    plan: PlanFile,
    basis: Basis,
    states: States,
    owned: Callable[[], Iterable[tuple[str, str]]],
    of_mapping: Sequence[str] = (),
) -> list[str]:
    """Return what is not as it was when the plan was made, in words: at most so many of them, and how many more.

    `owned` gives (blueprint, identifier) of all owned entities; it is asked for only when something is to be deleted.
    `of_mapping` says how the mapping differs.
    """
    found = [
        f"the plan was made for {_words(one.name)} {planned}, and this run has {now}"
        for one in fields(Basis)
        if (planned := getattr(plan.basis, one.name)) != (now := getattr(basis, one.name))
        and not (of_mapping and one.name == "mapping")
    ]
    found += of_mapping
    # Another integration or mapping means other entities; a list of them would not help.
    if found:
        return found
    number = 0
    doomed = {target(change) for change, _ in plan.changes() if isinstance(change, Delete)}
    for line in chain(_changed(plan, states, doomed), _not_ours(doomed, owned)):
        number += 1
        if number <= MAX_NAMED:
            found.append(line)
    return [*found, f"and {number - MAX_NAMED} more"] if number > MAX_NAMED else found


def _words(name: str) -> str:
    words = {
        "type": "the integration type",
        "port": "Port at",
        "organization": "the Port organization",
        "mapping": "a mapping with the digest",
    }
    return words.get(name, f"the {name}")


def _of_mapping(plan: PlanFile, now: Mapping) -> list[str]:
    """Return how the mapping of this run differs from the plan's, in words. Raises UsageError."""
    changes = compare(plan.mapping.read()[0], now)
    lines = [f"{one.name}: {_short(one.old)} → {_short(one.new)}" for one in changes.options]
    for resource in changes.resources:
        number = resource.new if resource.old is None else resource.old
        name = f"resource {number} ({resource.kind})"
        if not resource.fields:
            lines.append(f"{name} {'is new' if resource.old is None else 'is gone'}")
        lines += [f"{name}: {one.name}: {_short(one.old)} → {_short(one.new)}" for one in resource.fields]
    if changes.reordered:
        lines.append("the order of the resources")
    start = f"the plan was made with the mapping of {plan.mapping.origin}; this run has {now.origin}, which differs: "
    return [start + clean("; ".join(lines), MAX_WORDS)] if lines else []


def _short(value: Any) -> str:
    return "nothing" if value is None else clean(in_words(value, 2 * MAX_VALUE), MAX_VALUE)


def _changed(plan: PlanFile, states: States, doomed: set[tuple[str, str]]) -> Iterator[str]:
    """Yield each entity that Port holds in another state, asking for some of them at once.

    Entities that are gone are removed from `doomed`, so that each is reported once.
    """
    waiting: dict[str, dict[str, State]] = {}
    for change, was in plan.changes():
        blueprint, identifier = target(change)
        group = waiting.setdefault(blueprint, {})
        group[identifier] = was
        if len(group) >= BATCH:
            yield from _compared(blueprint, waiting.pop(blueprint), states, doomed)
    for blueprint, group in waiting.items():
        yield from _compared(blueprint, group, states, doomed)


def _not_ours(doomed: set[tuple[str, str]], owned: Callable[[], Iterable[tuple[str, str]]]) -> Iterator[str]:
    """Yield what the plan deletes and this integration did not write: a file may have been made by anybody."""
    if doomed:
        doomed.difference_update(owned())
    yield from (f"{blueprint} {identifier} is not of this integration" for blueprint, identifier in sorted(doomed))


def _compared(
    blueprint: str, group: abc.Mapping[str, State], states: States, doomed: set[tuple[str, str]]
) -> Iterator[str]:
    now = states(blueprint, list(group))
    for identifier, was in group.items():
        found = now.get(identifier)
        if was is None or found is None:
            doomed.discard((blueprint, identifier))
            if was is not found:
                yield f"{blueprint} {identifier} {'exists in Port by now' if was is None else 'is gone from Port'}"
        elif names := sorted(name for name in was if was[name] != found.get(name)):
            yield f"{blueprint} {identifier} has changed in Port: {', '.join(names)}"
