"""Rows without identifier, blueprint or list of items: counted apart and shown, and nothing is deleted for them."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from rich.console import Console

from gitlab_port_export.demo.gitlab_list_rows import add_branch
from gitlab_port_export.demo.port_store import PortStore
from gitlab_port_export.demo.world import World
from gitlab_port_export.report import console, html, junit, markdown, openmetrics
from gitlab_port_export.report import json as as_json
from gitlab_port_export.report.values import Report
from testbed.harness import acme, blueprint, mapping_of, port_with, resource, run_sync

pytestmark = pytest.mark.usefixtures("lent_evaluator")

FIELDS = {"identifier": ".id | tostring", "properties": {"text": ".title"}}
# Of the issues 1 to 12 every third is closed.
CLOSED = {3, 6, 9, 12}


@pytest.fixture
def world() -> World:
    found, _, group = acme()
    project = found.add_project(group, "app")
    for number in range(1, 13):
        state = "closed" if number in CLOSED else "opened"
        found.add_issue(project, f"Issue {number}", state=state)
    return found


def issues(**options: Any) -> dict[str, Any]:
    return mapping_of(resource("issue", **(FIELDS | options)))


@pytest.fixture
def filled(world: World) -> PortStore:
    """A Port that holds all issues."""
    report, store, _ = run_sync(world, port_with(blueprint("thing", text="string")), issues())
    assert (report.exit_code, len(store.identifiers("thing"))) == (0, 12)
    return store


def odd(expression: str = ".nope") -> str:
    """An identifier that only open issues have."""
    return f'if .state == "closed" then {expression} else .id | tostring end'


def reasons(report: Report) -> list[tuple[str, int]]:
    return [(held.reason, held.count) for held in report.held]


@pytest.mark.parametrize(
    "fields",
    [
        {"identifier": odd()},
        {"identifier": odd('""')},
        {"identifier": odd("false")},
        {"identifier": odd("empty")},
        {"identifier": odd("[]")},
        {"blueprint_expression": 'if .state == "closed" then null else "thing" end'},
    ],
)
def test_some_rows_without_identifier_hold_the_deletions_of_their_blueprint(
    world: World, filled: PortStore, fields: dict[str, Any]
) -> None:
    report, store, _ = run_sync(world, filled, issues(**fields))
    assert report.exit_code == 5
    assert len(store.identifiers("thing")) == 12
    assert reasons(report) == [("unnamed", 4)]
    (held,) = report.held
    assert "selector.query" in held.hint
    assert "--allow-deletes thing=4" in held.hint
    (warning,) = report.problems
    assert (warning.warning, warning.count, warning.field) == (
        True, 4, "blueprint" if "blueprint_expression" in fields else "identifier"
    )  # fmt: skip
    assert warning.sample
    assert warning.line
    assert (report.kinds["issue"].unnamed, report.kinds["issue"].skipped) == (4, 0)


def test_what_rows_without_identifier_hold_can_be_released(world: World, filled: PortStore) -> None:
    report, store, _ = run_sync(world, filled, issues(identifier=odd()), allow_deletes=["thing=4"])
    assert (report.exit_code, report.blueprints["thing"].deleted) == (0, 4)
    assert len(store.identifiers("thing")) == 8


def test_rows_that_the_selector_left_out_are_no_rows_without_identifier(world: World, filled: PortStore) -> None:
    mapping = issues(identifier=odd(), query='.state != "closed"') | {"entityDeletionThreshold": 1}
    report, store, _ = run_sync(world, filled, mapping)
    assert (report.exit_code, report.kinds["issue"].unnamed, report.kinds["issue"].skipped) == (0, 0, 4)
    assert len(store.identifiers("thing")) == 8


def test_rows_without_identifier_hold_nothing_where_nothing_is_gone(world: World) -> None:
    report, _, _ = run_sync(world, port_with(blueprint("thing", text="string")), issues(identifier=odd()))
    assert (report.exit_code, report.held, report.kinds["issue"].unnamed) == (0, (), 4)


@pytest.mark.parametrize(
    "fields",
    [
        {"identifier": ".path_with_namspace"},
        {"identifier": "empty"},
        {"blueprint_expression": ".nope"},
        {"port": {"itemsToParse": ".nope"}},
        {"port": {"itemsToParse": ".title"}},
    ],
)
@pytest.mark.parametrize("released", [[], ["thing"]])
def test_where_no_row_has_an_identifier_the_mapping_is_wrong_and_nothing_can_be_released(
    world: World, filled: PortStore, fields: dict[str, Any], released: list[str]
) -> None:
    report, store, _ = run_sync(world, filled, issues(**fields), allow_deletes=released)
    assert report.exit_code == 1
    assert len(store.identifiers("thing")) == 12
    assert reasons(report) == [("problem", 12)]
    (problem,) = report.problems
    assert (problem.warning, problem.count, problem.kind) == (False, 12, "issue")
    assert "--allow-deletes" not in repr(report)
    assert report.kinds["issue"].unnamed == 12


def test_only_the_blueprint_of_the_entity_mapping_without_identifier_is_held(world: World) -> None:
    blueprints = blueprint("thing", text="string"), blueprint("other", text="string")
    both = resource("issue", **FIELDS)
    entity = both["port"]["entity"]["mappings"]
    both["port"]["entity"]["mappings"] = [entity, {**entity, "blueprint": '"other"', "identifier": ".iid | tostring"}]
    mapping = {**mapping_of(both), "entityDeletionThreshold": 1}
    store = run_sync(world, port_with(*blueprints), mapping).store
    both["port"]["entity"]["mappings"][1]["identifier"] = 'if .state == "closed" then null else .iid | tostring end'
    both["selector"]["query"] = ".iid > 1"
    report, store, _ = run_sync(world, store, mapping)
    assert (report.blueprints["thing"].deleted, report.blueprints["other"].held) == (1, 5)
    assert reasons(report) == [("unnamed", 5)]


def test_some_rows_without_a_list_of_items_hold_what_comes_of_items(world: World) -> None:
    items = {"identifier": '"\\(.id)-\\(.item)"', "port": {"itemsToParse": "[1]"}}
    store = run_sync(world, port_with(blueprint("thing", text="string")), issues(**items)).store
    items["port"] = {"itemsToParse": 'if .state == "closed" then null else [1] end'}
    report, store, _ = run_sync(world, store, issues(**items))
    assert (report.exit_code, reasons(report)) == (5, [("unnamed", 4)])
    assert "`// []`" in report.held[0].hint
    assert report.problems[0].field == "itemsToParse"
    assert report.problems[0].line
    # An empty list is an answer.
    items["port"] = {"itemsToParse": 'if .state == "closed" then null else [1] end // []'}
    mapping = issues(**items) | {"entityDeletionThreshold": 1}
    report, store, _ = run_sync(world, store, mapping)
    assert (report.exit_code, report.held, len(store.identifiers("thing"))) == (0, (), 8)


def test_a_field_that_fails_on_every_row_stays_in_port_as_it_is(world: World, filled: PortStore) -> None:
    before = {name: filled.entity("thing", name) for name in filled.identifiers("thing")}
    report, store, _ = run_sync(world, filled, issues(properties={"text": ".title.first"}))
    assert report.exit_code == 1
    assert report.blueprints["thing"].unchanged == 12
    assert {name: store.entity("thing", name) for name in store.identifiers("thing")} == before
    (problem,) = report.problems
    assert (problem.field, problem.count, problem.warning) == ("properties.text", 12, False)


def test_every_form_of_the_report_counts_rows_without_identifier_apart(
    world: World, filled: PortStore, tmp_path: Path
) -> None:
    report = run_sync(world, filled, issues(identifier=odd())).report
    with (tmp_path / "report.txt").open("w+") as file:
        console.render(report, Console(file=file, width=200))
        file.seek(0)
        text = file.read()
    assert "issue: 12 rows, 4 without identifier" in text
    assert "4 deletions held (unnamed)" in text
    assert "<code>issue</code> 12 (4 without identifier)" in markdown.render(report)
    document = json.loads(as_json.render(report))
    Draft202012Validator(json.loads(as_json.schema())).validate(document)
    assert document["kinds"]["issue"]["unnamed"] == 4
    assert [held["reason"] for held in document["held"]] == ["unnamed"]
    assert "4 rows without identifier gave no entity" in junit.render(report)
    assert (
        'gitlab_port_export_kind_unnamed{integration="my-gitlab-v2-integration",mode="sync",kind="issue"} 4'
        in openmetrics.render(report)
    )
    page = html.render(report)
    assert 'class="number">without identifier</th>' in page
    cells = "".join(f'<td class="number">{number}</td>' for number in (12, 0, 4))
    assert f'<tr><th scope="row"><bdi>issue</bdi></th>{cells}' in page
    plain = dataclasses.replace(report, kinds={"issue": dataclasses.replace(report.kinds["issue"], unnamed=0)})
    for render in (markdown.render, junit.render):
        assert "without identifier" not in render(dataclasses.replace(plain, problems=(), held=()))


# --- two objects, one identifier


@pytest.mark.parametrize("kind", ["project", "branch"])
@pytest.mark.parametrize("shared", [False, True])
def test_two_objects_with_one_identifier_are_a_warning_that_names_both(kind: str, *, shared: bool) -> None:
    world, _, group = acme()
    if kind == "project":
        names = [str(world.add_project(world.add_group("a", group), "b")["path_with_namespace"])]
        names.append(str(world.add_project(group, "a-b")["path_with_namespace"]))
        one = resource("project", identifier='.path_with_namespace | gsub("/"; "-")')
    else:
        project = world.add_project(group, "app")
        names = [str(add_branch(world, project, name)["web_url"]) for name in ("a/b", "a-b")]
        one = resource("branch", identifier='.name | gsub("/"; "-")', selector={"defaultBranchOnly": False})
    mapping = mapping_of(one, *([resource("group", identifier=".full_path")] if shared else []))
    report, store, _ = run_sync(world, port_with(blueprint("thing")), mapping)
    (warning,) = report.problems
    assert (report.exit_code, warning.warning, warning.field, warning.count) == (0, True, "identifier", 1)
    assert {name for name in store.identifiers("thing") if name.endswith("a-b")}
    for name in names:
        assert name in warning.sample
    assert warning.line


def test_one_object_that_is_listed_twice_is_no_warning() -> None:
    world, reader, group = acme()
    for name in ("one", "two"):
        world.add_member(world.add_group(name, group), reader, 30)
    mapping = mapping_of(resource("member", identifier=".username"))
    report, store, _ = run_sync(world, port_with(blueprint("thing")), mapping)
    assert (report.exit_code, report.problems, store.identifiers("thing")) == (0, (), {"reader"})
