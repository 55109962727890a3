"""One run is enough: every entity is as a second run would leave it, and that one writes nothing."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from gitlab_port_export.demo.gitlab import GitLabServer, gitlab_server
from gitlab_port_export.demo.port import PortServer, port_server
from gitlab_port_export.demo.port_store import PortStore
from gitlab_port_export.demo.world import DEVELOPER, World
from gitlab_port_export.model import Report
from harness import acme, blueprint, mapping_of, port_with, resource, run_sync


def search(value: str, name: str = "$identifier", operator: str = "=") -> dict[str, Any]:
    """A query of a mapping: `value` is jq."""
    rule = {"property": f'"{name}"', "operator": f'"{operator}"', "value": value}
    return {"combinator": '"and"', "rules": [rule]}


def author(query: Any, **more: Any) -> Any:
    return resource("merge-request", "mr", relations={"author": query}, **more)


PERSONS = resource("member", "person", identifier=".username", properties={"handle": ".username"})


def people_and_requests() -> PortStore:
    return port_with(blueprint("person", handle="string"), blueprint("mr", {"author": "person", "all": ["person"]}))


@contextmanager
def serving(world: World, store: PortStore) -> Iterator[tuple[GitLabServer, PortServer]]:
    with gitlab_server(world) as gitlab, port_server(store) as port:
        yield gitlab, port


def a_world(persons: int = 3) -> World:
    """Merge requests of as many members of a group."""
    world, _, group = acme()
    project = world.add_project(group, "core")
    for number in range(persons):
        user = world.add_user(f"user{number}")
        world.add_member(group, user, DEVELOPER)
        world.add_merge_request(project, f"request {number}", author=user)
    return world


def assert_at_rest(gitlab: GitLabServer, port: PortServer, mapping: Any) -> Report:
    """Check that another run and a plan have nothing to do."""
    writes = port.store.writes
    report = run_sync(gitlab, port, mapping).report
    assert (port.store.writes, report.exit_code) == (writes, 0)
    plan = run_sync(gitlab, port, mapping, command="plan", detailed=True).report
    assert plan.exit_code == 0
    return report


def authors(store: PortStore) -> set[Any]:
    return {content[4].get("author") for content in store.snapshot()["mr"].values()}


class TestSearchRelations:
    def test_merge_requests_are_related_to_persons_of_the_same_run_whatever_the_order(self) -> None:
        for query in (search(".author.username"), search(".author.username", "handle")):
            for resources in ((PERSONS, author(query)), (author(query), PERSONS)):
                store = people_and_requests()
                with serving(a_world(), store) as (gitlab, port):
                    report = run_sync(gitlab, port, mapping_of(*resources)).report
                    assert report.exit_code == 0
                    assert authors(store) == {"user0", "user1", "user2"}
                    assert_at_rest(gitlab, port, mapping_of(*resources))

    def test_unchanged_merge_requests_are_related_to_what_this_run_created_or_changed(self) -> None:
        store = people_and_requests()
        alone, both = mapping_of(author(search(".author.username", "handle"))), [
            author(search(".author.username", "handle")), PERSONS,
        ]  # fmt: skip
        with serving(a_world(), store) as (gitlab, port):
            run_sync(gitlab, port, alone)
            assert authors(store) == {None}
            store.seed("person", [{"identifier": "user0", "properties": {"handle": "another"}}])
            report = run_sync(gitlab, port, mapping_of(*both)).report
            assert authors(store) == {"user0", "user1", "user2"}
            assert report.blueprints["mr"].updated == 3
            assert_at_rest(gitlab, port, mapping_of(*both))

    def test_who_is_not_in_port_leaves_the_relation_empty(self) -> None:
        mapping = mapping_of(author(search(".author.username")))
        with serving(a_world(), people_and_requests()) as (gitlab, port):
            assert run_sync(gitlab, port, mapping).report.exit_code == 0
            assert authors(port.store) == {None}
            assert_at_rest(gitlab, port, mapping)

    def test_blueprints_that_search_in_each_other_and_in_themselves_come_to_rest(self) -> None:
        person = blueprint("person", {"first": "mr", "self": "person"}, handle="string")
        store = port_with(blueprint("person"), blueprint("mr", {"author": "person", "friends": ["mr"]}, state="string"))
        store.change_blueprint("person", person, partial=False)
        mapping = mapping_of(
            resource("member", "person", identifier=".username", properties={"handle": ".username"},
                     relations={"first": search('"request 0"', "$title"), "self": search(".username", "handle")}),
            resource("merge-request", "mr", title=".title", properties={"state": ".state"},
                     relations={"author": search(".author.username", "handle"), "friends": search(".state", "state")}),
        )  # fmt: skip
        with serving(a_world(), store) as (gitlab, port):
            assert run_sync(gitlab, port, mapping).report.exit_code == 0
            assert authors(store) == {"user0", "user1", "user2"}
            found = store.snapshot()
            assert {len(content[4]["friends"]) for content in found["mr"].values()} == {3}
            assert {content[4]["self"] for content in found["person"].values()} == set(found["person"])
            assert len({content[4]["first"] for content in found["person"].values()}) == 1
            assert_at_rest(gitlab, port, mapping)

    def test_targets_before_sources_where_port_creates_none(self) -> None:
        mapping = mapping_of(author(search(".author.username")), PERSONS, createMissingRelatedEntities=False)
        with serving(a_world(), people_and_requests()) as (gitlab, port):
            assert run_sync(gitlab, port, mapping).report.exit_code == 0
            assert authors(port.store) == {"user0", "user1", "user2"}
            assert_at_rest(gitlab, port, mapping)

    def test_whole_entities_that_search_are_compared_too(self) -> None:
        mapping = mapping_of(author(search(".author.username")), PERSONS, enableMergeEntity=False)
        with serving(a_world(), people_and_requests()) as (gitlab, port):
            run_sync(gitlab, port, mapping)
            assert authors(port.store) == {"user0", "user1", "user2"}
            assert_at_rest(gitlab, port, mapping)

    def test_an_entity_that_is_found_by_a_search_is_written_once(self) -> None:
        extra = resource("member", "person", identifier=search(".username", "handle"), title='"found"')
        for order in ((PERSONS, extra), (extra, PERSONS)):
            with serving(a_world(), people_and_requests()) as (gitlab, port):
                assert run_sync(gitlab, port, mapping_of(*order)).report.exit_code == 0
                assert {content[0] for content in port.store.snapshot()["person"].values()} == {"found"}
                assert_at_rest(gitlab, port, mapping_of(*order))

    def test_many_searches_are_few_requests(self) -> None:
        for operator, most in (("=", 14), ("contains", 10)):
            store = people_and_requests()
            mapping = mapping_of(author(search(".title", "handle", operator)))
            with serving(a_world(600), store) as (gitlab, port):
                run_sync(gitlab, port, mapping)
                assert len(port.calls("/search$")) <= most
                assert_at_rest(gitlab, port, mapping)
