"""What of a mapping goes live: each derived field gives what the sync gives, on every payload and row of one object."""

import json
import re
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cache
from typing import Any

import jq
import pytest

from gitlab_port_export.demo.gitlab_payloads import Shapes
from gitlab_port_export.demo.world import DEVELOPER, Row, World
from gitlab_port_export.gitlab.kinds import SELECTORS
from gitlab_port_export.jq.program import rewrite_quotes
from gitlab_port_export.live.derive import KINDS, ON_REQUEST, Derived, derive
from gitlab_port_export.mapping.load import load_mapping
from gitlab_port_export.mapping.model import Mapping
from gitlab_port_export.model import Dialect
from gitlab_port_export.port.defaults import default_mapping_text
from testbed.harness import mapping_of, resource

ALL = (*KINDS, *ON_REQUEST)
FRACTION = re.compile(r"(\d{2}:\d{2}:\d{2})\.\d+Z")


def mapping(data: Any = None, dialect: Dialect = "gitlab-v2") -> Mapping:
    text = default_mapping_text(dialect) if data is None else json.dumps(data)
    return load_mapping(text, "mapping", SELECTORS)[0]


def derived(*resources: Any, dialect: Dialect = "gitlab-v2", **options: Any) -> Derived:
    return derive(mapping(mapping_of(*resources), dialect), dialect, kinds=ALL, **options)


def why(found: Derived, field: str) -> str:
    return next(one.why for one in found.fields if one.field == field)


def state(found: Derived, field: str) -> str:
    return next(one.state for one in found.fields if one.field == field)


# --- a world whose objects differ in everything that makes a difference


@pytest.fixture(scope="module")
def world() -> World:
    world = World(datetime.now(UTC))
    ann, bob, eve = (world.add_user(name) for name in ("ann", "bob.b", "eve"))
    group = world.add_group("acme")
    world.add_member(group, ann, DEVELOPER)
    project = world.add_project(world.add_group("shop", group), "web")
    milestone = {"id": 7, "iid": 1, "title": "v1"}
    for author in (ann, bob):
        for state in ("opened", "closed", "merged"):
            world.add_merge_request(
                project, f"{state} by {author['username']}", state, author, reviewers=[bob, eve], assignees=[ann],
                labels=["a", "b"], description="It's [one](x)", created_at=world.ago(days=3, milliseconds=678),
            )  # fmt: skip
    world.add_merge_request(project, "with a milestone", milestone=milestone, description="![x](/uploads/x.png)")
    world.add_issue(project, "plain", author=ann)
    world.add_issue(project, "closed", "closed", bob, assignees=[bob, ann], labels=["a", "z"])
    world.add_issue(project, "an incident", issue_type="incident", milestone=milestone)
    world.add_issue(project, "a test case", issue_type="test_case", author=eve)
    world.add_issue(project, "quoted", labels=["a 'b' c"])
    world.add_issue(project, "secret", confidential=True)
    world.add_pipeline(project, "running")
    for status in ("success", "failed"):
        pipeline = world.add_pipeline(project, status, name=f"{status} build")
        world.add_job(pipeline, "test", status, user=ann)
        world.add_job(pipeline, "lint", "running", user=bob, queued_duration=None)
    request = world.add_pipeline(project, source="merge_request_event", ref="refs/merge-requests/1/head")
    world.add_job(request, "test", "skipped")
    child = world.add_pipeline(project, source="parent_pipeline")
    world.add_job(child, "test")
    return world


def pairs(world: World, version: int, zone: float) -> Iterator[tuple[str, Row, Row]]:
    """Every payload with the kind and the row of its object."""
    shapes = Shapes(world, version, zone)
    ann, bob = world.users[1], world.users[2]
    for project in world.projects:
        for row in world.merge_requests[project]:
            yield from (("merge-request", row, shapes.merge_request(row, actor)) for actor in (ann, bob))
        for row in world.issues[project]:
            yield from (("issue", row, shapes.issue(row, actor)) for actor in (ann, bob))
        for row in world.pipelines[project]:
            path = world.projects[project]["path_with_namespace"]
            yield "pipeline", row | {"__project": {"path_with_namespace": path}}, shapes.pipeline(row, ann)
        for row in world.jobs[project]:
            yield "job", row, shapes.job(row, row["user"])
            yield "job", row, shapes.pipeline(row["pipeline"], ann)
        place = world.projects[project]
        yield from ((kind, place, shapes.push(place, ann)) for kind in ("project", "project-with-members"))


@cache
def compiled(expression: str) -> Any:
    return jq.compile("def env: {}; {} as $ENV | " + rewrite_quotes(expression))


def given(expression: str, context: Any) -> Any:
    """What Port's jq gives: the first output, null for an error."""
    try:
        return compiled(expression).input_value(context).first()
    except (ValueError, StopIteration):
        return None


def written(item: Any, payload: Row) -> Iterator[tuple[str, dict[str, Any]]]:
    """The fields that an item writes for a payload, by the identifier of the entity."""
    context = {"body": payload, "headers": {}, "queryParams": {}}
    contexts = [context]
    if "itemsToParse" in item:
        contexts = [context | {"item": one} for one in given(item["itemsToParse"], context) or ()]
    for each in contexts:
        if given(item["filter"], each) is True:
            entity = dict(item["entity"])
            identifier = given(entity.pop("identifier"), each)
            fields: dict[str, Any] = {}
            for name, value in entity.items():
                parts = {name: value} if isinstance(value, str) else {f"{name}.{k}": v for k, v in value.items()}
                fields |= {field: given(expression, each) for field, expression in parts.items()}
            yield identifier, fields


def to_the_second(value: Any) -> Any:
    return FRACTION.sub(r"\1Z", value) if isinstance(value, str) else value


@pytest.mark.parametrize("dialect", ["gitlab-v2", "gitlab"])
@pytest.mark.parametrize(("version", "zone"), [(16, 0), (18, 0), (19, 0), (18, 5.5), (18, -7)])
def test_derived_fields_equal_the_syncs(world: World, dialect: Dialect, version: int, zone: float) -> None:
    source = mapping(dialect=dialect)
    found = derive(source, dialect, kinds=ALL)
    blueprints = {json.loads(r.mappings[0].blueprint): r for r in source.resources if r.kind in ALL}
    compared: Counter[str] = Counter()
    for kind, row, payload in pairs(world, version, zone):
        for item in found.items:
            entity = blueprints[item["blueprint"]]
            if entity.kind != kind:
                continue
            for identifier, fields in written(item, payload):
                if identifier != given(str(entity.mappings[0].identifier), row):
                    continue
                wanted = dict(entity.mappings[0].fields())
                for name, value in fields.items():
                    expected = given(str(wanted[name]), row)
                    assert value == to_the_second(expected), (kind, name, version)
                    compared[f"{kind} {name}"] += 1
    live = {f"{one.kind} {one.field}" for one in found.fields if one.state != "sync" and one.field != "identifier"}
    # What only newer versions send is left out before.
    late = {"issue properties.type", "pipeline title"} if version == 16 else set()
    assert set(compared) == live - late


def test_confidential_issues_and_child_pipelines_are_left_out(world: World) -> None:
    found = derive(mapping(), "gitlab-v2", kinds=ALL)
    told: set[tuple[str, str]] = set()
    for _, _, payload in pairs(world, 19, 0):
        for item in found.items:
            told |= {(item["blueprint"], str(identifier)) for identifier, _ in written(item, payload)}
    project = next(iter(world.projects))
    secret = next(row for row in world.issues[project] if row["confidential"])
    child = next(row for row in world.pipelines[project] if row["source"] == "parent_pipeline")
    assert ("gitlabIssue", str(secret["id"])) not in told
    assert ("gitlabPipeline", str(child["id"])) not in told
    assert ("gitlabJob", str(world.jobs[project][-1]["id"])) not in told
    assert len([one for one in told if one[0] == "gitlabJob"]) == 5


def test_most_fields_of_the_default_mapping_are_live(capsys: pytest.CaptureFixture[str]) -> None:
    found = derive(mapping(), "gitlab-v2", kinds=ALL)
    states = Counter(one.state for one in found.fields)
    live = [one for one in found.fields if one.kind in ALL]
    with capsys.disabled():
        print(
            f"\nof {len(found.fields)} fields {states['live']} are live, {states['conditional']} under a condition;"
            f" of the {len(live)} of {', '.join(ALL)}"
            f" {sum(one.state == 'live' for one in live)} and {sum(one.state == 'conditional' for one in live)}"
        )
    assert (len(found.fields), states["live"], states["conditional"]) == (67, 46, 7)
    assert len(json.dumps(found.items)) < 64 * 1024


# --- what is left to the sync, and why


def merge_requests(blueprint: str = "thing", **fields: Any) -> Any:
    selector = {"states": ["opened", "closed", "merged"], **fields.pop("selector", {})}
    return resource("merge-request", blueprint, selector=selector, **fields)


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        (".author.state", ".author.state: payloads do not hold it"),
        (".author", ".author: payloads hold only parts of it"),
        (".reviewers", ".reviewers: payloads hold only parts of it"),
        (".reviewers | map(.state)", ".reviewers[].state: payloads do not hold it"),
        (".merged_by.username", ".merged_by: payloads tell who acted"),
        (".user_notes_count", ".user_notes_count: payloads do not hold it"),
        (".", "payloads hold only parts of it"),
        ("keys", "payloads hold only parts of it"),
        ("now | todate", "cannot be told"),
        ("env.HOME", "cannot be told"),
        ("def f: .id; f", "cannot be told"),
        ("reduce .labels[] as $x (0; . + 1)", "cannot be told"),
        ("if .draft then 1 end", "cannot be told"),
        ('.title + "it\'s"', "single quote"),
        ("file://README.md", "read from the repository"),
    ],
)
def test_what_cannot_be_told_exactly_is_left_to_the_sync(expression: str, words: str) -> None:
    found = derived(merge_requests(properties={"x": expression}))
    assert state(found, "properties.x") == "sync"
    assert words in why(found, "properties.x")
    assert all("x" not in item["entity"].get("properties", {}) for item in found.items)


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("'\"!\" + (.iid | tostring)'", "!1"),
        ("[.labels[] | ascii_upcase] | join(\",\")", "A,B"),
        (".labels | length", 2),
        (".reviewers | length", 2),
        ('.created_at | split("T")[0]', None),
        ("if .draft then \"draft\" else .state end", "opened"),
        (".assignees[0].web_url", "https://gitlab.example.com/ann"),
        (".references.short", "!1"),
        ("'opened' # a comment", "opened"),
        ("{a: .iid, labels} | tostring", '{"a":1,"labels":["a","b"]}'),
    ],
)  # fmt: skip
def test_other_expressions_than_the_default_s_are_live(world: World, expression: str, expected: Any) -> None:
    expression = expression.strip("'") if expression.startswith("'\"") else expression
    found = derived(merge_requests(properties={"x": expression}))
    assert state(found, "properties.x") == "live", why(found, "properties.x")
    _, row, payload = next(pairs(world, 19, 0))
    fields = dict(field for item in found.items for _, entity in written(item, payload) for field in entity.items())
    assert fields["properties.x"] == given(expression, row)
    assert expected is None or fields["properties.x"] == expected


@pytest.mark.parametrize(
    ("mapped", "words"),
    [
        (resource("release"), "too little of a row"),
        (merge_requests(port={"itemsToParse": ".labels"}), "itemsToParse"),
        (merge_requests(blueprint_expression=".state"), "the row decides on the blueprint"),
        (merge_requests(identifier=".author.username"), "the identifier is known only where"),
        (merge_requests(identifier=".sha_of_head"), ".sha_of_head: payloads do not hold it"),
        (merge_requests(query=".author.username != \"bot\""), "the selector's query can be told only where"),
        (merge_requests(query=".user_notes_count > 3"), ".user_notes_count"),
        (merge_requests(selector={"includeOnlyActiveGroups": True}), "includeOnlyActiveGroups"),
        (resource("pipeline", selector={"apiQueryParams": {"ref": "main", "scope": "branches"}}), "ref, scope"),
    ],
)  # fmt: skip
def test_a_resource_that_cannot_be_narrowed_is_left_to_the_sync(mapped: Any, words: str) -> None:
    found = derived(mapped)
    assert found.items == ()
    assert {one.state for one in found.fields} == {"sync"}
    assert words in found.fields[0].why


def test_a_field_that_another_resource_sets_too_is_left_to_the_sync() -> None:
    found = derived(
        merge_requests(title=".title", properties={"a": ".state", "b": ".iid"}),
        merge_requests(title=".title", properties={"a": '"other"'}),
        resource("project", properties={"b": ".id"}),
    )
    live = {(one.resource, one.field): one.state for one in found.fields}
    assert (live[0, "title"], live[1, "title"]) == ("live", "live")
    assert (live[0, "properties.a"], live[1, "properties.a"], live[0, "properties.b"]) == ("sync", "sync", "sync")


def test_searches_are_left_to_the_sync() -> None:
    rules = [{"property": '"$title"', "operator": '"="', "value": ".title"}]
    found = derived(merge_requests(relations={"x": {"combinator": '"and"', "rules": rules}}))
    assert why(found, "relations.x") == "it is a search"


def test_kinds_come_on_request() -> None:
    found = derive(mapping(mapping_of(resource("job"), merge_requests())), "gitlab-v2")
    assert {one.kind: one.state for one in found.fields} == {"job": "sync", "merge-request": "live"}
    assert found.flags == {"merge_requests_events"}


def test_events_that_do_not_arrive_feed_nothing() -> None:
    found = derived(resource("issue"), merge_requests(), flags=frozenset(["merge_requests_events"]))
    assert {one.kind: one.state for one in found.fields} == {"issue": "sync", "merge-request": "live"}


# --- selectors


def told(world: World, *resources: Any, dialect: Dialect = "gitlab-v2", **options: Any) -> set[Any]:
    """The identifiers that the world's events give."""
    found = derived(*resources, dialect=dialect, **options)
    payloads = [payload for _, _, payload in pairs(world, 19, 0)]
    return {identifier for item in found.items for payload in payloads for identifier, _ in written(item, payload)}


def rows_of(world: World, kind: str) -> list[Row]:
    lists = {"issue": world.issues, "pipeline": world.pipelines, "merge-request": world.merge_requests}
    return [row for rows in lists[kind].values() for row in rows]


@pytest.mark.parametrize(
    ("kind", "selector", "holds"),
    [
        ("merge-request", {}, lambda row: row["state"] == "opened"),
        ("merge-request", {"states": ["closed", "merged"]}, lambda row: row["state"] in ("closed", "merged")),
        ("merge-request", {"query": '.title | test("ann")'}, lambda row: row["title"] == "opened by ann"),
        ("issue", {}, lambda row: True),
        ("issue", {"state": "closed"}, lambda row: row["state"] == "closed"),
        ("issue", {"issueType": "test_case"}, lambda row: row["issue_type"] == "test_case"),
        ("issue", {"labels": "a"}, lambda row: "a" in row["labels"]),
        ("issue", {"labels": "a,z,it's"}, lambda row: False),
        ("issue", {"labels": "a 'b' c"}, lambda row: row["title"] == "quoted"),
        ("issue", {"labels": "None"}, lambda row: not row["labels"]),
        ("issue", {"labels": "any"}, lambda row: bool(row["labels"])),
        ("pipeline", {}, lambda row: row["source"] != "parent_pipeline"),
        ("pipeline", {"apiQueryParams": {"status": "failed"}}, lambda row: row["status"] == "failed"),
        ("pipeline", {"apiQueryParams": {"source": "parent_pipeline"}}, lambda row: row["source"] == "parent_pipeline"),
    ],
)
def test_the_selector_counts(world: World, kind: str, selector: dict[str, Any], holds: Any) -> None:
    query = selector.get("query", "true")
    rest = {name: value for name, value in selector.items() if name != "query"}
    wanted = {str(row["id"]) for row in rows_of(world, kind) if holds(row) and not row.get("confidential")}
    assert told(world, resource(kind, selector=rest, query=query)) == wanted


def test_locked_merge_requests_are_told_to_those_who_read_them(world: World) -> None:
    project = next(iter(world.merge_requests))
    locked = world.merge_requests[project][0] | {"state": "locked"}
    payload = Shapes(world, 19).merge_request(locked, world.users[1])
    for dialect, expected in (("gitlab", 1), ("gitlab-v2", 0)):
        found = derived(resource("merge-request"), dialect=dialect)  # type: ignore[arg-type]  # one of the two
        assert len(list(written(found.items[0], payload))) == expected


@pytest.mark.parametrize(
    ("patterns", "prefixes", "expected"),
    [
        (("**",), None, True),
        (("acme/**",), None, True),
        (("acme/sh?p/*",), None, True),
        (("**/web",), None, True),
        (("other/**", "acme/shop/web"), None, True),
        (("acme/shop",), None, False),
        (("acme/shop/we",), None, False),
        (("acme-2/**",), None, False),
        (("acme.shop/*",), None, False),
        (("**",), ("acme",), True),
        (("**",), ("acme/sho", "other"), False),
        (("**",), (), False),
    ],
)
def test_foreign_projects_are_left_out(
    world: World, patterns: tuple[str, ...], prefixes: tuple[str, ...] | None, expected: bool
) -> None:
    found = told(world, merge_requests(), patterns=patterns, prefixes=prefixes)
    assert bool(found) == expected


def test_old_pipelines_are_left_out_where_a_sync_looks_back_two_weeks(world: World) -> None:
    row = rows_of(world, "pipeline")[0]
    for days, expected in ((13, 1), (15, 0)):
        old = row | {"created_at": world.ago(days=days).isoformat()}
        payload = Shapes(world, 19, 1).pipeline(old, world.users[1])
        found = derived(resource("pipeline"), dialect="gitlab")
        assert len(list(written(found.items[0], payload))) == expected


def test_only_projects_of_the_wanted_visibility_are_told(world: World) -> None:
    for visibility, expected in (("private", True), ("public", False)):
        source = mapping(mapping_of(merge_requests(), projectVisibilityFilter=visibility), "gitlab")
        found = derive(source, "gitlab")
        _, _, payload = next(pairs(world, 19, 0))
        assert bool(list(written(found.items[0], payload))) == expected


@pytest.mark.parametrize("identifier", ["empty", "null", '""', "false"])
def test_without_an_identifier_nothing_is_written(world: World, identifier: str) -> None:
    assert told(world, merge_requests(identifier=f"if .iid then {identifier} else 1 end")) == set()


def test_numbers_are_sent_as_text_where_port_wants_text(world: World) -> None:
    found = derived(merge_requests(identifier=".id", title=".iid", relations={"a": ".iid", "b": "[.iid, .title]"}))
    _, row, payload = next(pairs(world, 19, 0))
    fields = dict(field for item in found.items for _, entity in written(item, payload) for field in entity.items())
    assert fields == {
        "title": str(row["iid"]),
        "relations.a": str(row["iid"]),
        "relations.b": [str(row["iid"]), row["title"]],
    }


def test_a_null_title_becomes_the_identifier(world: World) -> None:
    found = derived(merge_requests(title="if .iid then null else 1 end"))
    _, row, payload = next(pairs(world, 19, 0))
    (entity,) = [entity for item in found.items for _, entity in written(item, payload)]
    assert entity == {"title": str(row["id"])}


# --- payloads that are none of ours


def test_other_payloads_match_no_item(world: World) -> None:
    shapes = Shapes(world, 19)
    project, ann, group = next(iter(world.projects.values())), world.users[1], world.group("acme")
    others = [
        shapes.push(project, ann),
        shapes.tag_push(project, ann, "v1"),
        shapes.release(project, "v1"),
        shapes.deployment(project, 1),
        shapes.member(group, ann, DEVELOPER),
        shapes.subgroup(world.group("acme/shop")),
        shapes.project_event(project),
        {"object_kind": "note", "merge_request": {"id": 1}, "object_attributes": {"id": 1}},
        {"object_kind": "work_item", "object_attributes": {"id": 1, "confidential": False}},
        {"object_kind": "pipeline"},
        {"object_kind": "merge_request", "object_attributes": None},
        {},
    ]
    for item in derive(mapping(), "gitlab-v2", kinds=(*KINDS, "job")).items:
        for payload in others:
            assert list(written(item, payload)) == []


def test_the_author_is_somebody_with_the_author_s_id_alone(world: World) -> None:
    """Old payloads have a user without an id, and accounts that were deleted have none either."""
    found = derive(mapping(), "gitlab-v2")
    _, _, payload = next(pairs(world, 18, 0))
    payload = {**payload, "user": {"username": "nobody"}, "assignees": [], "reviewers": []}
    payload["object_attributes"] = payload["object_attributes"] | {"author_id": None, "reviewer_ids": []}
    fields = [name for item in found.items for _, entity in written(item, payload) for name in entity]
    assert "properties.creator" not in fields
    assert "properties.status" in fields
