"""Entities that stand in files (`specPath`): taken as they are, written in the name of GitOps, never deleted."""

import time
from typing import Any

import pytest

from gitlab_port_export.demo import gitlab_faults as faults
from gitlab_port_export.demo.gitlab import Fault, gitlab_server
from gitlab_port_export.demo.gitlab_store import World
from gitlab_port_export.demo.port import port_server
from gitlab_port_export.demo.port_store import PortStore
from gitlab_port_export.port import integration as integrations
from gitlab_port_export.report.values import Report
from testbed.harness import acme, blueprint, mapping_of, port_with, resource, run_sync

PORT_YML = """\
identifier: gateway
blueprint: thing
title: The Gateway
team: [platform]
properties: {text: "plain .text", notes: file://docs/notes.md, near: file://./near.md, number: 4}
relations: {one: [] , many: [a, b]}
---
- {identifier: a, blueprint: target}
- {identifier: b, blueprint: target, title: null}
"""
BLUEPRINTS = (
    blueprint("target"),
    blueprint(
        "thing", {"one": "target", "many": ["target"]}, text="string", notes="string", near="string", number="number"
    ),
)


pytestmark = pytest.mark.usefixtures("lent_evaluator")


def small() -> World:
    world, _, group = acme()
    app = world.add_project(group, "app")
    world.set_file(app, "ops/port.yml", PORT_YML.replace("one: [] , ", ""))
    world.set_file(app, "docs/notes.md", "# Notes\n")
    world.set_file(app, "ops/near.md", "# Near\n")
    world.set_file(app, "port.yml", "identifier: on-dev\nblueprint: target\n", branch="dev")
    world.add_project(group, "empty", empty_repo=True, default_branch=None)
    return world


def synced(world: World, store: PortStore, *resources: Any, **root: Any) -> Report:
    settings = {name: root.pop(name) for name in ("type", "command") if name in root}
    return run_sync(world, store, mapping_of(*resources, **{"specPath": "**/port.yml", **root}), **settings).report


def names(store: PortStore) -> dict[str, set[str]]:
    return {name: set(found) for name, found in store.snapshot().items()}


def sources(store: PortStore) -> dict[str, str]:
    """Who wrote each entity: the last part of its data source."""
    return {
        identifier: str((store.entity(name, identifier) or {})["$datasource"]).rpartition("/")[2]
        for name, found in store.snapshot().items()
        for identifier in found
    }


PROJECTS = resource("project", "target", identifier=".path", title=".name")


@pytest.mark.parametrize("type", ["gitlab", "gitlab-v2"])
def test_entities_are_taken_as_they_are(type: str) -> None:
    world, store = small(), port_with(*BLUEPRINTS)
    report = synced(world, store, PROJECTS, type=type)
    assert report.exit_code == 0, report.problems
    assert store.snapshot()["thing"]["gateway"] == (
        "The Gateway",
        None,
        ["platform"],
        {"text": "plain .text", "notes": "# Notes\n", "near": "# Near\n", "number": 4},
        {"many": ["a", "b"]},
    )
    assert sources(store) == {
        "gateway": "gitops", "a": "gitops", "b": "gitops", "app": "exporter", "empty": "exporter",
    }  # fmt: skip
    writes = store.writes
    assert synced(world, store, PROJECTS, type=type).exit_code == 0
    assert store.writes == writes


def test_nothing_is_read_where_the_mapping_names_no_files() -> None:
    for root in ({}, {"specPath": None}, {"specPath": []}, {"branch": "dev"}):
        with gitlab_server(small()) as gitlab:
            run_sync(gitlab, port_with(*BLUEPRINTS), mapping_of(PROJECTS, **root))
            assert gitlab.count("/repository/") == 0


def test_several_paths_and_another_branch() -> None:
    store = port_with(*BLUEPRINTS)
    assert synced(small(), store, PROJECTS, specPath=["port.yml", "ops/*.yaml"], branch="dev").exit_code == 0
    assert names(store)["target"] == {"on-dev", "app", "empty"}


def test_what_stands_in_a_file_no_more_stays_in_port() -> None:
    world, store = small(), port_with(*BLUEPRINTS)
    synced(world, store, PROJECTS)
    world.remove_file(world.project("acme/app"), "ops/port.yml")
    assert synced(world, store, PROJECTS).exit_code == 0
    assert names(store) == {"thing": {"gateway"}, "target": {"a", "b", "app", "empty"}}


def test_what_the_mapping_gave_up_and_a_file_holds_is_not_deleted() -> None:
    world, store = small(), port_with(*BLUEPRINTS)
    world.add_project(world.group("acme"), "a")
    world.set_file(world.project("acme/app"), "ops/port.yml", "{identifier: a, blueprint: target}")
    store.clock = lambda: time.time() - 3600
    run_sync(world, store, mapping_of(PROJECTS))
    store.clock = time.time
    world.delete_project(world.project("acme/a"))
    assert synced(world, store, PROJECTS).exit_code == 0
    assert names(store)["target"] == {"a", "app", "empty"}


@pytest.mark.parametrize(
    ("text", "why"),
    {
        "a: [1": "port.yml is neither valid JSON nor plain YAML, so nothing is taken from it",
        "just text": "port.yml, document 1: an entity must be an object with identifier and blueprint",
        "a: 1\n---\n- 1": "port.yml, document 2: an entity must be an object",
        "identifier: x\nblueprint: nowhere": "port.yml, document 1: x: Port has no blueprint 'nowhere'",
        "identifier: [x]\nblueprint: target": "port.yml, document 1: the identifier must be text",
        "identifier: x y\nblueprint: target": "port.yml, document 1: Port forbids the identifier",
        "identifier: x\nblueprint: target\nproperties: 5": "port.yml, document 1: x: properties must be an object",
        "identifier: x\nblueprint: thing\nproperties: {text: file://no.md}": "port.yml: there is no text in no.md",
        "[{identifier: x, blueprint: target}, {identifier: x, blueprint: target}]": "stands elsewhere too",
    }.items(),
)
def test_what_is_no_entity_is_a_problem_that_names_its_place(text: str, why: str) -> None:
    world, store = small(), port_with(*BLUEPRINTS)
    synced(world, store, PROJECTS)
    world.set_file(world.project("acme/app"), "port.yml", text)
    world.delete_project(world.project("acme/empty"))
    report = synced(world, store, PROJECTS)
    assert report.exit_code == 1
    assert [problem.scope for problem in report.problems if why in problem.why] == ["acme/app"]
    assert "empty" in names(store)["target"]


def test_a_document_that_refers_to_far_more_text_than_it_holds_is_a_problem() -> None:
    world, store = small(), port_with(*BLUEPRINTS)
    app = world.project("acme/app")
    world.set_file(app, "long.md", "x" * 900_000)
    texts = "".join(f"  t{number}: file://long.md\n" for number in range(5))
    world.set_file(app, "port.yml", f"identifier: x\nblueprint: thing\nproperties:\n{texts}")
    report = synced(world, store, PROJECTS)
    why = "port.yml, document 1: refers to more than 4 MiB of text, so nothing is taken from it"
    assert (report.exit_code, [problem.why for problem in report.problems]) == (1, [why])


@pytest.mark.parametrize("fault", [faults.forbidden(), faults.login_page(), faults.Truncate()])
def test_files_that_were_not_read_hold_all_deletions(fault: Any) -> None:
    world, store = small(), port_with(*BLUEPRINTS)
    synced(world, store, PROJECTS)
    before = names(store)
    world.delete_project(world.project("acme/empty"))
    with gitlab_server(world) as gitlab:
        gitlab.faults.append(Fault("/repository/", fault))
        report, *_ = run_sync(gitlab, store, mapping_of(PROJECTS, specPath="**/port.yml"))
    assert report.exit_code == 1
    assert names(store) == before


def test_an_entity_that_relates_to_what_the_same_run_creates_is_written_where_port_creates_no_targets() -> None:
    world, store = (
        small(),
        port_with(*BLUEPRINTS, blueprint("service"), blueprint("late", {"of": "service", "in": "late"})),
    )
    text = "- {identifier: x, blueprint: late, relations: {of: app, in: y}}\n- {identifier: y, blueprint: late}\n"
    world.set_file(world.project("acme/app"), "port.yml", text)
    projects = resource("project", "service", identifier=".path")
    report = synced(world, store, projects, createMissingRelatedEntities=False)
    assert (report.exit_code, report.blueprints["late"].failed) == (0, 0)
    assert store.snapshot()["late"]["x"][4] == {"of": "app", "in": "y"}
    assert synced(world, store, projects, createMissingRelatedEntities=False).blueprints["late"].updated == 0
    world.set_file(world.project("acme/app"), "port.yml", text.replace("of: app", "of: nobody"))
    assert synced(world, store, projects, createMissingRelatedEntities=False).blueprints["late"].failed == 1


def test_a_plan_tells_and_writes_nothing() -> None:
    store = port_with(*BLUEPRINTS)
    report = synced(small(), store, PROJECTS, command="plan")
    assert report.blueprints["thing"].created == 1
    assert names(store) == {"thing": set(), "target": set()}


def test_only_the_entities_are_written_in_the_name_of_gitops(monkeypatch: pytest.MonkeyPatch) -> None:
    """The resync state is repeated in between, and in the exporter's name."""
    monkeypatch.setattr(integrations, "REFRESH_SECONDS", 0.0)
    with port_server(port_with(*BLUEPRINTS, blueprint("service"))) as port:
        run_sync(small(), port, mapping_of(resource("project", "service"), specPath="**/port.yml"))
    kinds = {(call.user_agent.rpartition("/")[2], call.path.rpartition("/")[2]) for call in port.requests}
    assert {name for agent, name in kinds if agent == "gitops"} == {"bulk"}
    first, *_ = (at for at, call in enumerate(port.requests) if call.user_agent.endswith("/gitops"))
    states = [call.user_agent for call in port.requests[first:] if call.path.endswith("/resync-state")]
    assert len(states) > 2
    assert {agent.rpartition("/")[2] for agent in states} == {"exporter"}


def test_a_file_may_search_for_what_the_same_run_creates() -> None:
    world = small()
    app = next(iter(world.projects.values()))
    query = '{combinator: and, rules: [{property: $title, operator: "=", value: app}]}'
    world.set_file(app, "search/port.yml", f"identifier: seeker\nblueprint: thing\nrelations: {{one: {query}}}\n")
    store = port_with(*BLUEPRINTS)
    mapped = resource("project", "target", identifier=".path", title=".name")
    assert synced(world, store, mapped).exit_code == 0
    assert store.snapshot()["thing"]["seeker"][4]["one"] == "app"
    assert sources(store)["seeker"] == "gitops"
    writes = store.writes
    synced(world, store, mapped)
    assert store.writes == writes


def test_entities_of_files_are_written_although_no_resource_can_run() -> None:
    store = port_with(*BLUEPRINTS)
    report = synced(small(), store, resource("project", "nowhere"))
    assert report.exit_code == 1
    assert [problem.why for problem in report.problems] == ["Port has no blueprint 'nowhere'"]
    assert names(store)["thing"] == {"gateway"}


FILE_AND_ROW = "blueprint: thing\nidentifier: one\ntitle: from the file\nproperties: {text: file, notes: file}\n"


@pytest.mark.parametrize("merge", [True, False])
def test_an_entity_of_a_file_and_of_a_row_has_the_fields_of_the_row_and_is_written_once(merge: bool) -> None:
    world, _, group = acme()
    project, store = world.add_project(group, "one"), port_with(*BLUEPRINTS)
    world.set_file(project, "port.yml", FILE_AND_ROW)
    row = resource("project", identifier=".path", title=".name", properties={"text": ".path"})
    synced(world, store, row, enableMergeEntity=merge)
    entity = store.entity("thing", "one")
    assert (entity["title"], entity["properties"]["text"]) == (project["name"], "one")
    assert entity["properties"].get("notes") == ("file" if merge else None)
    for command in ("sync", "plan"):
        before = store.writes
        report = synced(world, store, row, enableMergeEntity=merge, command=command)
        assert store.writes == before
        assert (report.exit_code, report.blueprints["thing"].updated) == (0, 0)
        (warning,) = [one for one in report.problems if "stand in a file" in one.why]
        assert (warning.scope, warning.sample, "(project)" in warning.why) == ("acme/one/port.yml", "one", True)
    world.set_file(project, "port.yml", FILE_AND_ROW.replace("notes: file", "notes: changed"))
    synced(world, store, row, enableMergeEntity=merge)
    assert store.entity("thing", "one")["properties"].get("notes") == ("changed" if merge else None)


def test_a_file_does_not_set_what_rows_that_were_not_read_may_set() -> None:
    world, _, group = acme()
    project, store = world.add_project(group, "one"), port_with(*BLUEPRINTS)
    world.add_merge_request(project, "m")
    world.set_file(project, "port.yml", FILE_AND_ROW)
    row = resource("merge-request", identifier='"one"', title=".title")
    with gitlab_server(world) as gitlab:
        run_sync(gitlab, store, mapping_of(row, specPath="port.yml"))
        gitlab.faults.append(Fault("/merge_requests", faults.forbidden()))
        run_sync(gitlab, store, mapping_of(row, specPath="port.yml"))
    assert store.entity("thing", "one")["title"] == "m"


def test_an_entity_of_a_file_that_no_row_gives_any_more_has_all_fields_of_the_file() -> None:
    world, _, group = acme()
    project, store = world.add_project(group, "one"), port_with(*BLUEPRINTS)
    world.set_file(project, "port.yml", FILE_AND_ROW)
    row = resource("project", identifier=".path", title=".name")
    synced(world, store, row)
    project["path"] = "other"
    synced(world, store, row)
    assert store.entity("thing", "one")["title"] == "from the file"
