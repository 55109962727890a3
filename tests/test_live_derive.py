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
from testbed.harness import mapping_of

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


def pairs(world: World, version: int, zone: int) -> Iterator[tuple[str, Row, Row]]:
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
@pytest.mark.parametrize(("version", "zone"), [(16, 0), (18, 0), (19, 0), (18, 1), (18, -7)])
def test_derived_fields_equal_the_syncs(world: World, dialect: Dialect, version: int, zone: int) -> None:
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
                if identifier != str(row["id"]):
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
    assert (len(found.fields), states["live"], states["conditional"]) == (67, 42, 7)
    assert len(json.dumps(found.items)) < 64 * 1024
