"""Where Port creates no missing targets: a plan foretells what a sync is refused, and a circle takes one run."""

from typing import Any, Literal

import pytest

from gitlab_port_export.demo.port_store import PortStore
from gitlab_port_export.demo.world import World
from gitlab_port_export.report.values import Report
from testbed.harness import acme, blueprint, mapping_of, port_with, resource, run_sync

pytestmark = pytest.mark.usefixtures("lent_evaluator")

REQUESTS = ("mr", {"other": "mr", "owner": "person"})


def two_requests() -> tuple[World, PortStore]:
    world, _, group = acme()
    project = world.add_project(group, "one")
    for title in ("a", "b"):
        world.add_merge_request(project, title)
    return world, port_with(blueprint("person"), blueprint(*REQUESTS), blueprint("thing", {"mr": "mr"}))


def run(world: World, store: PortStore, *resources: Any, command: Literal["sync", "plan"], **more: Any) -> Report:
    mapping = mapping_of(*resources, createMissingRelatedEntities=False, **more)
    return run_sync(world, store, mapping, command=command, detailed=True).report


def request(**relations: str) -> Any:
    return resource("merge-request", "mr", title=".title", relations=relations)


def outcomes(report: Report) -> dict[str, tuple[int, int]]:
    found = {name: (one.created, one.failed) for name, one in report.blueprints.items()}
    return {name: counts for name, counts in found.items() if any(counts)}


CIRCLE = request(other="(if .iid % 2 == 0 then .id - 1 else .id + 1 end | tostring)")
NOBODY = request(owner='"nobody"')
CHAIN = resource("merge-request", relations={"mr": ".id | tostring"})


def test_entities_that_relate_to_each_other_in_a_circle_are_written_in_one_run() -> None:
    world, store = two_requests()
    assert (plan := run(world, store, CIRCLE, command="plan")).exit_code == 10
    report = run(world, store, CIRCLE, command="sync")
    assert (report.exit_code, outcomes(report)) == (0, {"mr": (2, 0)})
    assert outcomes(plan) == outcomes(report)
    assert {store.entity("mr", name)["relations"]["other"] for name in store.identifiers("mr")} == {"1", "2"}
    assert run(world, store, CIRCLE, command="plan").exit_code == 0


@pytest.mark.parametrize("order", [(NOBODY, CHAIN), (CHAIN, NOBODY)], ids=["targets first", "targets last"])
def test_a_plan_foretells_targets_that_are_nowhere_and_what_relates_to_such_entities(order: tuple[Any, Any]) -> None:
    world, store = two_requests()
    plan, report = (run(world, store, *order, command=command) for command in ("plan", "sync"))
    assert (plan.exit_code, report.exit_code) == (1, 1)
    assert outcomes(plan) == outcomes(report) == {"mr": (0, 2), "thing": (0, 2)}
    (hint,) = {problem.hint for problem in plan.problems}
    assert "map the related entity too" in hint
    assert hint in {problem.hint for problem in report.problems}


def test_a_plan_knows_the_targets_that_port_holds_and_those_that_the_run_and_files_write() -> None:
    world, store = two_requests()
    world.set_file(world.project("acme/one"), "port.yml", "{identifier: nobody, blueprint: person}")
    plan, report = (
        run(world, store, CHAIN, NOBODY, command=command, specPath="port.yml") for command in ("plan", "sync")
    )
    assert (plan.exit_code, report.exit_code) == (10, 0)
    assert outcomes(plan) == outcomes(report) == {"mr": (2, 0), "thing": (2, 0), "person": (1, 0)}
    world.add_merge_request(world.project("acme/one"), "c")
    assert run(world, store, CHAIN, NOBODY, command="plan").exit_code == 10
