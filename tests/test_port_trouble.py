"""Port in trouble in the middle of a run: what it still needs stays, and the report tells what was written."""

import json
import re
import time
from datetime import UTC, datetime
from typing import Any

import pytest

from gitlab_port_export.base.errors import PortUnavailable, UsageError
from gitlab_port_export.demo.gitlab import GitLabServer, gitlab_server
from gitlab_port_export.demo.gitlab_store import World
from gitlab_port_export.demo.port import PortServer, port_server
from gitlab_port_export.demo.port_faults import Effect, Fault, Recorded, drop, refuse
from gitlab_port_export.demo.port_store import PortStore
from gitlab_port_export.demo.world import sample_world
from testbed.harness import Ran, blueprint, mapping_of, port_with, resource, run_sync
from testbed.reading import Leap

pytestmark = pytest.mark.usefixtures("lent_evaluator")

TOKEN = "token-of-the-team"


def company() -> tuple[World, Any, Any]:
    """Two projects, and an issue of the first whose relation names its milestone's project by the title."""
    world = World(datetime.now(UTC))
    user = world.add_user("ada")
    world.add_token(TOKEN, user)
    group = world.add_group("acme")
    world.add_member(group, user, 50)
    first, second = world.add_project(group, "first"), world.add_project(group, "second")
    world.add_issue(first, "first")
    return world, first, second


def mapping() -> dict[str, Any]:
    return mapping_of(
        resource("project", "service", identifier=".path"),
        resource("issue", "issue", relations={"about": ".title"}),
    )


def synced(gitlab: GitLabServer, port: PortServer, **settings: Any) -> Ran:
    return run_sync(gitlab, port, mapping(), tokens=[TOKEN], **settings)


def test_what_a_refused_update_still_relates_to_is_not_deleted() -> None:
    world, first, second = company()
    store = port_with(blueprint("service"), blueprint("issue", {"about": "service"}))
    with gitlab_server(world) as gitlab, port_server(store) as port:
        assert synced(gitlab, port).report.exit_code == 0
        # The issue moves to the second project's name, and the first project is deleted; Port refuses the move.
        moved = {"title": "second", "project_id": second["id"]}
        world.issues[second["id"]] = [row | moved for row in world.issues.pop(first["id"])]
        world.delete_project(first)
        world.touch()
        port.faults.append(Fault(r"POST .*/blueprints/issue/entities/bulk", refuse(422)))
        ran = synced(gitlab, port)
        assert ran.report.exit_code == 1
        assert port.store.identifiers("service") == {"first", "second"}
        assert [held.blueprint for held in ran.report.held] == ["service"]
        assert port.store.snapshot()["issue"].popitem()[1][4] == {"about": "first"}
        port.faults.clear()
        assert synced(gitlab, port).report.exit_code == 0
        assert port.store.identifiers("service") == {"second"}


def test_a_sign_in_refused_after_some_writes_ends_in_a_report() -> None:
    store = port_with(blueprint("service"))
    with gitlab_server(sample_world(datetime.now(UTC))) as gitlab, port_server(store) as port:
        seen: list[Recorded] = []

        def after_the_first_call(call: Recorded) -> bool:
            if call.path.endswith("/entities/bulk"):
                seen.append(call)
                if len(seen) == 2:
                    store.revoke_tokens()
            return call.path.endswith("access_token") and bool(seen)

        port.faults.append(Fault(after_the_first_call, refuse(401, {"ok": False, "error": "invalid_credentials"})))
        rows = resource("project", "service", identifier=".path_with_namespace")
        ran = run_sync(gitlab, port, mapping_of(rows), OCEAN__UPSERT_ENTITIES_BATCH_MAX_LENGTH="2", workers=1)
        assert ran.report.exit_code == 1
        assert 0 < ran.report.blueprints["service"].created == len(store.identifiers("service")) < 12
        assert any("refused the credentials" in problem.why for problem in ran.report.problems)


def test_an_answer_that_does_not_parse_is_no_answer_and_asked_for_again() -> None:
    """The 207 of a bulk call was cut short: its rows may be written, and writing them twice does no harm."""
    world, *_ = company()
    store = port_with(blueprint("service"), blueprint("issue", {"about": "service"}))
    broken = Effect(reply=(207, b'{"ok": true, "entities": [{"ind', (), "application/json"), applied=True)
    with gitlab_server(world) as gitlab, port_server(store) as port:
        port.faults.append(Fault(r"POST .*/service/entities/bulk", broken, times=2))
        ran = synced(gitlab, port)
        assert (ran.report.exit_code, ran.report.problems) == (0, ())
        assert ran.report.blueprints["service"].created == 2
        assert len(port.calls(r"POST .*/service/entities/bulk")) == 3


# What Port does to the question, and what the user is told to do.
LATER, NETWORK = "Port was busy or in trouble; run again later", "check the network and proxies, and run again"
ADVICE = {
    "403": (refuse(403), "give the credentials the right to {right}"),
    "429": (refuse(429), LATER),
    "503": (refuse(503), LATER),
    "no answer": (drop(), NETWORK),
}


@pytest.mark.parametrize("name", ADVICE)
def test_a_write_that_fails_says_where_and_what_to_do(name: str) -> None:
    effect, hint = ADVICE[name]
    world, *_ = company()
    store = port_with(blueprint("service"), blueprint("issue", {"about": "service"}))
    with gitlab_server(world) as gitlab, port_server(store) as port:
        port.faults.append(Fault(r"POST .*/service/entities/bulk", effect))
        (problem,) = synced(gitlab, port, clock=Leap()).report.problems
    assert (problem.stage, problem.blueprint, problem.count) == ("write", "service", 2)
    assert problem.hint == hint.format(right="create and update entities of this blueprint")
    assert "first" in problem.sample


@pytest.mark.parametrize(
    ("mapped", "words", "hint"),
    [
        (resource("project", "service", title="[.id]"), "the title must be text", "correct the field's expression"),
        (resource("project", "service", properties={"size": ".name"}), "422", "correct the field's expression"),
        (resource("project", "service", relations={"owner": '"nobody"'}), "404", "map the related entity too"),
    ],
)
def test_a_row_that_port_refuses_says_what_to_do(mapped: Any, words: str, hint: str) -> None:
    world, *_ = company()
    store = port_with(blueprint("person"), blueprint("service", {"owner": "person"}, size="number"))
    report = run_sync(world, store, mapping_of(mapped, createMissingRelatedEntities=False)).report
    (problem,) = report.problems
    assert (problem.stage, problem.blueprint, problem.count) == ("write", "service", 2)
    assert words in problem.why
    assert hint in problem.hint


RIGHTS = {
    "GET /v1/blueprints$": "read blueprints",
    "GET /v1/integration/": "read integrations",
    "POST /v1/integration$": "create integrations",
    "POST /v1/blueprints$": "create blueprints, or create them yourself",
}


@pytest.mark.parametrize(
    ("question", "name"),
    # Credentials that may not touch the integration may still write entities.
    [(question, name) for question in RIGHTS for name in ADVICE if name != "403" or "integration" not in question],
)
def test_only_a_refusal_is_blamed_on_rights(question: str, name: str) -> None:
    effect, hint = ADVICE[name]
    with gitlab_server(sample_world(datetime.now(UTC))) as gitlab, port_server(port_with()) as port:
        port.faults.append(Fault(question, effect))
        with pytest.raises(PortUnavailable) as caught:
            run_sync(gitlab, port, clock=Leap())
    assert caught.value.hint.startswith(hint.format(right=RIGHTS[question]))


@pytest.mark.parametrize("name", ADVICE)
@pytest.mark.parametrize("path", ["service/entities/search", "datasource-entities"])
def test_entities_that_cannot_be_read_say_what_to_do(path: str, name: str) -> None:
    effect, hint = ADVICE[name]
    world, *_ = company()
    store = port_with(blueprint("service"), blueprint("issue", {"about": "service"}))
    with gitlab_server(world) as gitlab, port_server(store) as port:
        port.faults.append(Fault(f"POST .*{path}", effect))
        (problem,) = synced(gitlab, port, clock=Leap()).report.problems
    where = " of this blueprint" if "search" in path else ""
    assert problem.hint == hint.format(right=f"read entities{where}")


# Answers of another shape than Port documents, by the question that gets them.
SHAPES: dict[str, tuple[Any, ...]] = {
    "GET /v1/blueprints$": (
        {"ok": True}, {"ok": True, "blueprints": [{}]}, {"ok": True, "blueprints": [{"identifier": "x", "schema": 5}]},
    ),
    "GET /v1/integration/": ({"ok": True, "integration": {"config": 5, "resyncState": 5}}, {"integration": 5}),
    "/resync-state$": ({"integration": {"resyncState": 5}}, {"integration": 5}, [1]),
    "service/entities/search$": (
        {"ok": True}, {"ok": True, "entities": {}}, {"ok": True, "entities": [{}]}, {"ok": True, "entities": None},
        {"ok": True, "entities": [{"identifier": "first", "relations": 5}]},
        {"ok": True, "entities": [], "next": {"a": 1}},
    ),
    "/datasource-entities$": (
        {"ok": True}, {"ok": True, "entities": {}}, {"ok": True, "entities": [{}]}, {"ok": True, "entities": [5]},
    ),
    "service/entities/bulk$": (
        {"ok": True, "entities": 5}, {"ok": True, "entities": [5], "errors": [{}]}, {"ok": True, "errors": 5},
        {"ok": True, "entities": [{"index": {}}]},
    ),
}  # fmt: skip


@pytest.mark.parametrize("question", SHAPES)
def test_an_answer_of_another_shape_is_no_bug_and_deletes_nothing(question: str) -> None:
    world, first, _ = company()
    store = port_with(blueprint("service"), blueprint("issue", {"about": "service"}))
    store.clock = lambda: time.time() - 3600
    with gitlab_server(world) as gitlab, port_server(store) as port:
        assert synced(gitlab, port).report.exit_code == 0
        store.clock = time.time
        before = store.snapshot()
        world.delete_project(first)
        world.rename_project(world.project("acme/second"), path="third")
        for shape in SHAPES[question]:
            port.faults[:] = [Fault(question, refuse(200, shape))]
            try:
                report = synced(gitlab, port, clock=Leap()).report
            except (PortUnavailable, UsageError):
                assert question.startswith("GET ")
            else:
                # Of the only issue nothing is left, and that is held.
                assert report.exit_code == (1 if "entities" in question else 5), (shape, report.problems)
            if question.endswith(("search$", "datasource-entities$")):
                assert store.snapshot()["service"].keys() >= before["service"].keys()


def test_only_what_was_asked_for_is_deleted_whatever_port_lists() -> None:
    """Right before it deletes, a run asks Port for the state of just these; a cache may answer with all there are."""
    world, first, _ = company()
    store = port_with(blueprint("service"))
    store.clock = lambda: time.time() - 3600
    with gitlab_server(world) as gitlab, port_server(store) as port:
        projects = mapping_of(resource("project", "service", identifier=".path"))
        assert run_sync(gitlab, port, projects).report.exit_code == 0
        store.clock = time.time
        world.delete_project(first)
        everything = [{"identifier": name, "updatedAt": "2020-01-01T00:00:00Z"} for name in ("first", "second")]
        rule = '"$identifier"'
        port.faults.append(
            Fault(
                lambda call: call.path.endswith("service/entities/search") and rule in json.dumps(call.body["query"]),
                refuse(200, {"ok": True, "entities": everything, "next": None}),
            )
        )
        ran = run_sync(gitlab, port, projects)
    assert ran.report.blueprints["service"].deleted == 1
    assert store.identifiers("service") == {"second"}


class TestMissingBlueprints:
    """A resource whose blueprint is not there is left out; all others run."""

    MAPPED = mapping_of(
        resource("project", "service", title=".name"),
        resource("project", "servise", title=".name"),
        resource("group", "team", title=".name"),
    )

    def stores(self) -> PortStore:
        return port_with(blueprint("service"), blueprint("team"))

    @pytest.mark.parametrize("command", ["plan", "sync"])
    def test_the_other_resources_run_and_one_problem_says_what_is_missing(self, command: Any) -> None:
        world, *_ = company()
        found = run_sync(world, self.stores(), self.MAPPED, command=command)
        (problem,) = found.report.problems
        assert found.report.exit_code == 1
        assert (problem.why, problem.resources, problem.field) == ("Port has no blueprint 'servise'", (1,), "blueprint")
        assert problem.line
        assert {name: counts.created for name, counts in found.report.blueprints.items()} == {"service": 2, "team": 1}

    def test_what_it_alone_would_read_is_not_read(self) -> None:
        world, *_ = company()
        mapping = mapping_of(resource("project", "service"), resource("issue", "nowhere"))
        found = run_sync(world, self.stores(), mapping)
        assert found.report.exit_code == 1
        assert [request.path for request in found.gitlab.requests if "issues" in request.path] == []

    def test_a_resource_with_two_entity_mappings_gives_those_that_can_be_written(self) -> None:
        world, *_ = company()
        both = resource("project", "service")
        other = {**both["port"]["entity"]["mappings"], "blueprint": '"nowhere"'}
        both["port"]["entity"]["mappings"] = [other, both["port"]["entity"]["mappings"]]
        store = self.stores()
        report = run_sync(world, store, mapping_of(both)).report
        assert report.exit_code == 1
        assert [problem.why for problem in report.problems] == ["Port has no blueprint 'nowhere'"]
        assert len(store.identifiers("service")) == 2

    def test_where_no_resource_can_run_nothing_is_read(self) -> None:
        world, *_ = company()
        mapping = mapping_of(resource("project", "nowhere"), resource("group", "nothing"))
        with gitlab_server(world) as gitlab:
            with pytest.raises(UsageError) as raised:
                run_sync(gitlab, self.stores(), mapping)
            assert gitlab.requests == []
        assert [str(fault).rpartition(": ")[2] for fault in raised.value.faults] == [
            "Port has no blueprint 'nowhere'", "Port has no blueprint 'nothing'",
        ]  # fmt: skip

    def test_what_is_gone_of_the_others_is_deleted(self) -> None:
        world, *_ = company()
        store = self.stores()
        run_sync(world, store, self.MAPPED)
        world.delete_project(next(iter(world.projects.values())))
        report = run_sync(world, store, {**self.MAPPED, "entityDeletionThreshold": 1}).report
        assert report.blueprints["service"].deleted == 1

    @pytest.mark.parametrize("moment", ["/service/entities/search$", "/service/entities/bulk$"])
    def test_a_blueprint_that_vanishes_during_the_run_is_a_problem_and_the_others_are_written(
        self, moment: str
    ) -> None:
        world, *_ = company()
        with port_server(self.stores()) as port:

            def vanish(request: Recorded) -> bool:
                if re.search(moment, request.path):
                    port.store.blueprints.pop("service", None)
                return False

            port.faults.append(Fault(vanish, refuse(500)))
            mapping = mapping_of(resource("project", "service"), resource("group", "team"))
            report = run_sync(world, port, mapping).report
        assert report.exit_code == 1
        assert report.blueprints["team"].created == 1
        assert {problem.blueprint for problem in report.problems} == {"service"}
