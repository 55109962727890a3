"""Several resources feed one entity: what the one that has the last word sets stays while that one is not read."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from gitlab_port_export.demo import gitlab_list_rows as lists
from gitlab_port_export.demo.gitlab import Fault, GitLabServer, faults, gitlab_server
from gitlab_port_export.demo.port_store import PortStore
from gitlab_port_export.demo.world import World
from gitlab_port_export.report.values import Report
from testbed.harness import acme, blueprint, mapping_of, port_with, resource, run_sync

pytestmark = pytest.mark.usefixtures("lent_evaluator")

NAMED = resource("project", title=".name", properties={"n": ".id"})
BRANCHED = resource(
    "branch", identifier='"1"', title=".name", properties={"s": ".name"}, selector={"defaultBranchOnly": False}
)


@contextmanager
def synced(*resources: Any, **options: Any) -> Iterator[tuple[World, GitLabServer, PortStore, Any]]:
    """A project whose entity comes of itself and of its default branch, and a Port that a run has filled."""
    world, _, group = acme()
    lists.add_branch(world, world.add_project(group, "one"), "main")
    store, mapping = port_with(blueprint("thing", s="string", n="number")), mapping_of(*resources, **options)
    with gitlab_server(world) as gitlab:
        assert run_sync(gitlab, store, mapping).report.exit_code == 0
        assert store.entity("thing", "1")["properties"].get("s") == "main" or not options.get("enableMergeEntity", True)
        yield world, gitlab, store, mapping


def left(report: Report) -> list[str]:
    return [problem.why for problem in report.problems if "last word" in problem.why]


@pytest.mark.parametrize(
    ("merge", "why"), [(True, "fields that it may set are left as they are"), (False, "entities are not written")]
)
def test_fields_of_a_resource_that_was_not_read_stay_as_they_are_in_port(merge: bool, why: str) -> None:
    with synced(NAMED, BRANCHED, enableMergeEntity=merge) as (_, gitlab, store, mapping):
        before = store.snapshot()
        gitlab.faults.append(Fault("/branches", faults.forbidden()))
        report = run_sync(gitlab, store, mapping).report
        assert store.snapshot() == before
        assert report.exit_code == 1
        (said,) = left(report)
        assert why in said


def test_other_fields_are_written_while_a_resource_is_not_read() -> None:
    with synced(resource("project", title=".name", properties={"n": ".star_count"}), BRANCHED) as bed:
        world, gitlab, store, mapping = bed
        gitlab.faults.append(Fault("/branches", faults.forbidden()))
        world.projects[1]["star_count"] = 7
        run_sync(gitlab, store, mapping)
        entity = store.entity("thing", "1")
        assert (entity["title"], entity["properties"]) == ("main", {"s": "main", "n": 7})


@pytest.mark.parametrize("merge", [True, False])
def test_an_entity_that_port_does_not_hold_is_made_of_what_was_read(merge: bool) -> None:
    with synced(NAMED, BRANCHED, enableMergeEntity=merge) as (world, gitlab, store, mapping):
        gitlab.faults.append(Fault("/branches", faults.forbidden()))
        other = world.add_project(world.group("acme"), "two")
        report = run_sync(gitlab, store, mapping).report
        assert store.entity("thing", str(other["id"]))["title"] == other["name"]
        assert report.blueprints["thing"].created == 1


@pytest.mark.parametrize("merge", [True, False])
def test_a_lesser_resource_that_is_not_read_keeps_nothing_back(merge: bool) -> None:
    with synced(BRANCHED, NAMED, enableMergeEntity=merge) as (world, gitlab, store, mapping):
        gitlab.faults.append(Fault("/branches", faults.forbidden()))
        world.projects[1]["name"] = "renamed"
        report = run_sync(gitlab, store, mapping).report
        assert store.entity("thing", "1")["title"] == "renamed"
        assert not left(report)
