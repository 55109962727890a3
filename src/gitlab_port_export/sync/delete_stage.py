"""The last stage of a full run: the policy judges what is gone, GitLab is read again, and what no look found goes."""

from collections import abc
from collections.abc import Callable, Generator, Iterable, Iterator, Set
from dataclasses import replace
from functools import partial

from gitlab_port_export.base.answer import Unreachable
from gitlab_port_export.gitlab.inventory import Inventory
from gitlab_port_export.gitlab.kinds.kind import Context
from gitlab_port_export.gitlab.plan import SyncPlan, make_plan
from gitlab_port_export.gitlab.read import pages_for, read
from gitlab_port_export.gitlab.weaker_roles import read_weaker, role_asked_for
from gitlab_port_export.mapping.model import Mapping
from gitlab_port_export.model import Entity, Event
from gitlab_port_export.port.blueprint import Blueprint
from gitlab_port_export.port.catalog import Catalog
from gitlab_port_export.port.deleter import Deleter
from gitlab_port_export.port.ledger import Missing
from gitlab_port_export.sync.coverage import Searched, coverage_of
from gitlab_port_export.sync.delete import Confirm, Judge, deletions
from gitlab_port_export.sync.diff import Differ
from gitlab_port_export.sync.lost_roles import LowRoles
from gitlab_port_export.sync.outcomes import Outcomes
from gitlab_port_export.sync.policy import Decisions, Policy, Unsettled
from gitlab_port_export.sync.prepare import Run
from gitlab_port_export.sync.second_look import Again, First, confirming
from gitlab_port_export.sync.through import Stages, looked_up, transformer


def delete_gone(
    run: Run,
    outcomes: Outcomes,
    context: Context,
    catalog: Catalog,
    stages: Stages,
    differ: Differ,
    inventory: Callable[[], Inventory],
    instant: str | None,
) -> Iterator[Event]:
    """Yield what is held and what was deleted (in a plan: what would be).

    `inventory` lists groups and projects anew for the second look. What changed in Port after `instant` stays.
    """
    assert outcomes.plan is not None  # noqa: S101  # a run plans before it deletes; this is for mypy
    policy = partial(_policy, run.mapping, run.settings.allow_deletes, context, outcomes, differ, catalog.blueprints)
    again = Again(
        run.gitlab, run.settings.workers, run.mapping, catalog, outcomes.faults, inventory,
        partial(_plan_again, context), lambda pages, choose: stages.through(differ.afresh(), pages, choose),
        _low_roles(run, context, catalog),
    )  # fmt: skip
    confirm = confirming(First(outcomes.plan, outcomes.counted), again)
    if catalog.is_narrow:
        confirm = _looked_up_first(catalog, confirm)
    deleter = Deleter(run.port, cascade=run.mapping.cascades) if run.writes else None
    integration = run.integration.identifier
    yield from deletions(catalog, policy, confirm, integration, differ.targets, instant, deleter)


def _looked_up_first(catalog: Catalog, confirm: Confirm) -> Confirm:
    """Return the same, for a narrow catalog: it is made to hold what may be deleted, so that a look can find that.

    Where Port does not give that, nothing is known of the blueprint any more, so the function raises Unreachable.
    """

    def look_up_and_confirm(judge: Judge) -> Generator[Event, None, Decisions]:
        allowed = judge().allowed
        catalog.look_up((entry.blueprint, one) for entry in allowed for one in entry.identifiers)
        for entry in allowed:
            # What is not in the catalog's blueprints is not compared: no resource feeds it.
            if entry.blueprint in catalog.blueprints and isinstance(found := catalog.ledger(entry.blueprint), Missing):
                raise Unreachable(found.why)
        return (yield from confirm(judge))

    return look_up_and_confirm


def _plan_again(context: Context, inventory: Inventory, kinds: Set[str]) -> SyncPlan:
    """Return the plan of some kinds for a new inventory, of which no row alone proves that there is nothing."""
    resources = tuple(resource for resource in context.resources if resource.kind in kinds)
    return make_plan(replace(context, inventory=inventory, resources=resources, doubtful=True))


def _low_roles(run: Run, context: Context, catalog: Catalog) -> LowRoles:
    """Return how what a low role alone leaves out is read and mapped."""
    settings, patterns = run.settings, context.inventory.patterns

    def rows(inventory: Inventory, resources: Set[int]) -> Iterable[Event | Entity]:
        plan = _plan_again(context, inventory, frozenset(run.mapping.resources[index].kind for index in resources))
        pages = read(plan, run.gitlab, settings.workers, doubtful=True)
        found = transformer(run.mapping, run.evaluator).run(pages_for(resources, pages))
        return looked_up(found, catalog) if catalog.is_narrow else found

    return LowRoles(
        run.mapping, catalog, role_asked_for(run.dialect, run.mapping), settings.allow_deletes,
        partial(read_weaker, run.gitlab, patterns, run.dialect, run.mapping, settings.workers),
        rows, [context.inventory],
    )  # fmt: skip


def _policy(
    mapping: Mapping,
    released: abc.Mapping[str, int | None],
    context: Context,
    outcomes: Outcomes,
    differ: Differ,
    blueprints: abc.Mapping[str, Blueprint],
) -> Policy:
    """Return the policy for what is known by now of the run's coverage and of relations in Port."""
    read = frozenset(resource.index for resource in context.resources)
    coverage = coverage_of(mapping, read, [*outcomes.faults, *map(Searched, differ.searched)])
    refused = {relation.target for name in outcomes.refused for relation in blueprints[name].relations.values()}
    unsettled = Unsettled(frozenset(refused), frozenset(differ.unresolved))
    return Policy(coverage, mapping.entity_deletion_threshold, released, unsettled)
