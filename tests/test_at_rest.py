"""One run is enough: every entity is as a second run would leave it, and that one writes nothing."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from gitlab_port_export.demo.gitlab import Fault as GitLabFault
from gitlab_port_export.demo.gitlab import GitLabServer, gitlab_server
from gitlab_port_export.demo.gitlab_faults import forbidden
from gitlab_port_export.demo.port import PortServer, port_server
from gitlab_port_export.demo.port_store import PortStore
from gitlab_port_export.demo.world import DEVELOPER, World
from gitlab_port_export.report.values import Report
from testbed.harness import acme, blueprint, mapping_of, port_with, resource, run_sync


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

    def test_what_a_search_finds_of_a_row_keeps_its_fields_where_port_overwrites(self) -> None:
        found = resource("merge-request", "person", identifier=search(".author.username", "handle"), title='"found"')
        mapping = mapping_of(PERSONS, found, enableMergeEntity=False)
        store = people_and_requests()
        with serving(a_world(), store) as (gitlab, port):
            assert run_sync(gitlab, port, mapping).report.exit_code == 0
            persons = [store.entity("person", f"user{number}") or {} for number in range(3)]
            assert [one["properties"] for one in persons] == [{"handle": f"user{number}"} for number in range(3)]
            assert_at_rest(gitlab, port, mapping)

    def test_a_relation_for_which_a_search_finds_several_stays_where_port_overwrites(self) -> None:
        store = people_and_requests()
        with serving(world := a_world(), store) as (gitlab, port):
            related = mapping_of(PERSONS, author(".author.username", title=".title"), enableMergeEntity=False)
            run_sync(gitlab, port, related)
            several = search('"user"', "handle", "contains")
            mapping = mapping_of(PERSONS, author(several, title=".title"), enableMergeEntity=False)
            assert_at_rest(gitlab, port, mapping)
            for rows in world.merge_requests.values():
                rows[0]["title"] = "changed"
            assert run_sync(gitlab, port, mapping).report.exit_code == 1
            assert authors(store) == {"user0", "user1", "user2"}

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


class TestDeletions:
    def test_a_threshold_of_zero_means_never_and_no_run_fails_of_it(self) -> None:
        world = a_world()
        kept, gone = mapping_of(PERSONS), mapping_of(resource("member", "person", query="false"))
        with serving(world, people_and_requests()) as (gitlab, port):
            run_sync(gitlab, port, kept)
            for wanted in (gone, mapping_of(*gone["resources"], entityDeletionThreshold=0)):
                report = run_sync(gitlab, port, wanted).report
                never = "entityDeletionThreshold" in wanted
                assert [one.reason for one in report.held] == ["never" if never else "empty"]
                assert report.exit_code == (0 if never else 5)
            assert_at_rest(gitlab, port, wanted)
            assert "entityDeletionThreshold is 0" in report.held[0].why


def a_team_port(**options: Any) -> PortStore:
    team = blueprint("_team", contact="string")
    store = port_with(team, blueprint("service"), **options)
    rows: list[Any] = [
        {"identifier": "team_1", "title": "Back End", "properties": {"contact": "core"}},
        {"identifier": "team_2", "title": "Front End"},
        {"identifier": "Front End", "title": "Other"},
    ]
    store.seed("_team", rows)
    return store


def services(**fields: Any) -> Any:
    return mapping_of(resource("project", "service", identifier=".path", **fields))


def teams(store: PortStore) -> list[str]:
    return store.snapshot()["service"]["core"][2]


class TestTeams:
    @pytest.mark.parametrize(
        ("team", "held"),
        [
            ('"Back End"', ["team_1"]),
            ('["team_1", "Back End"]', ["team_1"]),
            ('["Front End", "Back End"]', ["Front End", "team_1"]),
            ("null", []),
            ("[]", []),
            (search(".path", "contact"), ["team_1"]),
            (search('"nobody"', "contact"), []),
        ],
    )
    def test_a_team_by_name_by_identifier_or_by_search_is_written_once(self, team: Any, held: list[str]) -> None:
        with serving(a_world(), a_team_port()) as (gitlab, port):
            report = run_sync(gitlab, port, services(team=team)).report
            assert (report.exit_code, report.problems) == (0, ())
            assert sorted(set(teams(port.store))) == sorted(held)
            assert_at_rest(gitlab, port, services(team=team))

    def test_another_team_is_an_update_whatever_its_names_are(self) -> None:
        with serving(a_world(), a_team_port()) as (gitlab, port):
            for team, held in (('"Back End"', "team_1"), ('"team_2"', "team_2"), ('"Front End"', "Front End")):
                run_sync(gitlab, port, services(team=team))
                assert teams(port.store) == [held]

    @pytest.mark.parametrize("shown", [True, False])
    def test_a_team_that_port_does_not_have_is_said_once_and_not_written_again(self, shown: bool) -> None:
        mapping = services(team='["Back End", "nobody"]')
        with serving(a_world(), a_team_port(unknown_teams=shown)) as (gitlab, port):
            run_sync(gitlab, port, mapping)
            report = assert_at_rest(gitlab, port, mapping)
            assert [(one.warning, one.sample) for one in report.problems] == ([] if shown else [(True, "nobody")])
            run_sync(gitlab, port, services(team='["Front End", "nobody"]'))
            assert "team_1" not in teams(port.store)

    def test_where_port_shows_no_teams_a_search_is_left_to_port_and_nothing_is_written_again(self) -> None:
        mapping = services(team=search(".path", "contact"))
        with serving(a_world(), port_with(blueprint("service"))) as (gitlab, port):
            run_sync(gitlab, port, mapping)
            report = assert_at_rest(gitlab, port, mapping)
            assert [(one.warning, one.count) for one in report.problems] == [(True, 1)]

    @pytest.mark.parametrize("team", ['"Back End"', search(".path", "contact")])
    def test_a_blueprint_that_inherits_its_ownership_takes_no_team_and_the_rest_is_written(self, team: Any) -> None:
        store = a_team_port()
        store.add_blueprint(blueprint("owner"))
        store.seed("owner", [{"identifier": "core", "team": ["team_2"]}])
        owned = blueprint("owned", {"owner": "owner"}, name="string")
        store.add_blueprint({**owned, "ownership": {"type": "Inherited", "path": "owner"}})
        mapping = mapping_of(
            resource("project", "owned", team=team, properties={"name": ".path"}, relations={"owner": ".path"})
        )
        with serving(a_world(), store) as (gitlab, port):
            report = run_sync(gitlab, port, mapping).report
            assert [one.warning for one in report.problems] == [True]
            assert report.exit_code == 0
            assert {tuple(content[2]) for content in store.snapshot()["owned"].values()} == {("team_2",)}
            assert_at_rest(gitlab, port, mapping)
            assert_at_rest(gitlab, port, {**mapping, "enableMergeEntity": False})

    def test_whole_entities_with_teams_are_compared_too(self) -> None:
        mapping = services(team='"Back End"') | {"enableMergeEntity": False}
        with serving(a_world(), a_team_port()) as (gitlab, port):
            run_sync(gitlab, port, mapping)
            assert_at_rest(gitlab, port, mapping)


def placeholders() -> tuple[World, PortStore, Any]:
    """A mapping whose relation leads to a blueprint that no resource feeds, and its world and Port."""
    home = blueprint("home", {"kind": "home"}, text="string", size={"type": "number", "default": 7})
    store = port_with(home, blueprint("mr", {"home": "home"}), blueprint("note", {"home": "home", "more": ["home"]}),
                      clock=lambda: time.time() - 3600)  # fmt: skip
    mapping = mapping_of(resource("merge-request", "mr", relations={"home": ".source_branch"},
                                  selector={"states": ["opened"]}), entityDeletionThreshold=0.9)  # fmt: skip
    world, _, group = acme()
    project = world.add_project(group, "core")
    for number in range(4):
        world.add_merge_request(project, f"request {number}", source_branch=f"home{number}")
    return world, store, mapping


class TestPlaceholders:
    def remove(self, world: World, number: int) -> None:
        rows = next(iter(world.merge_requests.values()))
        rows.pop(number)
        world.touch()

    def test_one_goes_with_the_last_that_relates_to_it(self) -> None:
        world, store, mapping = placeholders()
        with serving(world, store) as (gitlab, port):
            run_sync(gitlab, port, mapping)
            assert store.identifiers("home") == {"home0", "home1", "home2", "home3"}
            assert_at_rest(gitlab, port, mapping)
            self.remove(world, 0)
            next(iter(world.merge_requests.values()))[0]["source_branch"] = "home2"
            plan = run_sync(gitlab, port, mapping, command="plan").report
            report = run_sync(gitlab, port, mapping).report
            assert (report.exit_code, report.held) == (0, ())
            assert store.identifiers("home") == {"home2", "home3"}
            assert plan.blueprints["home"].deleted == 2
            assert_at_rest(gitlab, port, mapping)

    def test_one_stays_while_anything_relates_to_it_whoever_wrote_that(self) -> None:
        world, store, mapping = placeholders()
        with serving(world, store) as (gitlab, port):
            run_sync(gitlab, port, mapping)
            store.seed("note", [{"identifier": "n", "relations": {"home": "home0", "more": ["home1"]}}], "somebody")
            for _ in range(2):
                self.remove(world, 0)
            assert run_sync(gitlab, port, mapping).report.exit_code == 0
            assert store.identifiers("home") == {"home0", "home1", "home2", "home3"}
            assert_at_rest(gitlab, port, mapping)
            store.delete("note", ["n"], cascade=False)
            run_sync(gitlab, port, mapping)
            assert store.identifiers("home") == {"home2", "home3"}

    def test_what_somebody_filled_is_none_and_waits_for_a_word(self) -> None:
        world, store, mapping = placeholders()
        with serving(world, store) as (gitlab, port):
            run_sync(gitlab, port, mapping)
            agent = str((store.entity("home", "home0") or {})["$datasource"])
            store.seed("home", [{"identifier": "home0", "properties": {"text": "mine"}}], agent)
            for _ in range(2):
                self.remove(world, 0)
            report = run_sync(gitlab, port, mapping).report
            assert [(one.reason, one.identifiers) for one in report.held] == [("empty", ("home0",))]
            assert store.identifiers("home") == {"home0", "home2", "home3"}
            report = run_sync(gitlab, port, mapping, allow_deletes=["home=1"]).report
            assert report.exit_code == 0
            assert store.identifiers("home") == {"home2", "home3"}

    def test_a_problem_or_a_threshold_of_zero_holds_them_too(self) -> None:
        world, store, mapping = placeholders()
        with serving(world, store) as (gitlab, port):
            run_sync(gitlab, port, mapping)
            self.remove(world, 0)
            report = run_sync(gitlab, port, {**mapping, "entityDeletionThreshold": 0}).report
            assert {one.reason for one in report.held} == {"never"}
            gitlab.faults.append(GitLabFault("/merge_requests$", forbidden()))
            run_sync(gitlab, port, mapping)
            assert store.identifiers("home") == {"home0", "home1", "home2", "home3"}
