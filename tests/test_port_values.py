"""What Port will refuse is known before it is sent, and nothing else is held back."""

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gitlab_port_export.demo.port_drafts import Mode
from gitlab_port_export.demo.port_rules import RefusedError
from gitlab_port_export.demo.world import sample_world
from gitlab_port_export.model import Entity
from gitlab_port_export.port.blueprint import Blueprint
from gitlab_port_export.port.values import refusal_of
from testbed.harness import blueprint, mapping_of, port_with, resource, run_sync

pytestmark = pytest.mark.usefixtures("lent_evaluator")

PROPERTIES: dict[str, Any] = {
    "text": "string",
    "number": "number",
    "flag": "boolean",
    "list": {"type": "array", "items": {"type": "string", "format": "email"}, "maxItems": 2},
    "thing": "object",
    "link": {"type": "object", "format": "labeled-url"},
    "choice": {"type": "string", "enum": ["a", "b"]},
    "site": {"type": "string", "format": "url"},
    "moment": {"type": "string", "format": "date-time"},
    "mail": {"type": "string", "format": "email"},
    "short": {"type": "string", "maxLength": 3, "minLength": 1},
    "share": {"type": "number", "minimum": 0, "exclusiveMaximum": 1},
    "v4": {"type": "string", "format": "ipv4"},
    "needed": "string",
    "given": {"type": "string", "default": "x"},
}
DATA = blueprint("thing", {"one": "thing", "many": ["thing"], "owner": "thing"}, **PROPERTIES)
DATA["schema"]["required"] = ["needed", "given"]
DATA["relations"]["owner"]["required"] = True
# Projects of the sample world that its tokens may read.
PROJECTS = 12
VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-2, 5),
    st.floats(-1, 2),
    st.sampled_from(["", "a", "abcd", "https://a/b", "a.b", "x@y.z", "1.2.3.4"]),
    st.sampled_from(["2026-01-02T03:04:05Z", "2026-01-02", "2026-13-02T03:04:05Z"]),
    st.lists(st.sampled_from(["x@y.z", "no", 5]), max_size=3),
    st.dictionaries(st.sampled_from(["a"]), st.integers(), max_size=1),
)
TARGETS = st.one_of(st.none(), st.just("other"), st.lists(st.just("other"), max_size=2))
BODIES = st.fixed_dictionaries(
    {
        "properties": st.dictionaries(st.sampled_from([*PROPERTIES, "unknown"]), VALUES, max_size=3).map(
            lambda found: {"needed": "x"} | found
        ),
        "relations": st.dictionaries(st.sampled_from(["one", "many", "owner", "strange"]), TARGETS, max_size=2).map(
            lambda found: {"owner": "other"} | found
        ),
    }
)


@settings(max_examples=400, derandomize=True)
@given(BODIES, st.booleans())
def test_port_refuses_what_is_foreseen_and_nothing_else(body: dict[str, Any], less: bool) -> None:
    if less:
        del body["properties"]["needed"]
    store = port_with(DATA)
    mode = Mode(upsert=True, merge=True, create_missing=True, validation_only=False)
    refusal = refusal_of(Entity.of("thing", "new", body, 0), Blueprint.of(DATA), creates=True)
    try:
        store.write("thing", {"identifier": "new", **body}, mode, store.author("me", "me"))
        takes = True
    except RefusedError:
        takes = False
    assert takes == (refusal is None)


CASES: dict[str, tuple[dict[str, Any], str, str]] = {
    "another type": ({"text": ".id"}, "properties.text", "gives a number; the property holds a string"),
    "another type that only a row tells": ({"text": ".id + 1"}, "properties.text", "gives a number"),
    "a list for text": ({"text": "[.name]"}, "properties.text", "gives an array"),
    "an unknown property": ({"nmae": ".name"}, "properties.nmae", "has no property 'nmae'"),
    "another choice": ({"choice": ".visibility"}, "properties.choice", "can only be a, b"),
}


@pytest.mark.parametrize("command", ["plan", "sync"])
@pytest.mark.parametrize("case", CASES)
def test_what_port_will_refuse_fails_in_plan_and_sync_alike(case: str, command: Any) -> None:
    properties, field, words = CASES[case]
    store = port_with(blueprint("thing", text="string", choice={"type": "string", "enum": ["a", "b"]}))
    world = sample_world(datetime.now(UTC))
    mapping = mapping_of(resource("project", "thing", properties=properties))
    report, _, _ = run_sync(world, store, mapping, command=command)
    assert report.exit_code == 1
    (problem,) = [one for one in report.problems if one.stage == "write"]
    if command == "plan":
        assert (problem.field, words in problem.why) == (field, True)
    assert problem.count == report.blueprints["thing"].failed == PROJECTS
    assert report.blueprints["thing"].created == 0
    assert store.writes == 0


@pytest.mark.parametrize("command", ["plan", "sync"])
def test_a_format_that_port_refuses_fails_in_plan_and_sync(command: Any) -> None:
    store = port_with(blueprint("thing", site={"type": "string", "format": "url"}))
    world = sample_world(datetime.now(UTC))
    first = min(world.projects)
    mapping = mapping_of(
        resource("project", "thing", properties={"site": f"if .id == {first} then .name else .web_url end"})
    )
    report, _, _ = run_sync(world, store, mapping, command=command)
    assert (report.exit_code, report.blueprints["thing"].failed) == (1, 1)
    assert report.blueprints["thing"].created == PROJECTS - 1


def test_what_is_required_fails_only_where_an_entity_is_created() -> None:
    strict = blueprint("thing", a="string", b="string")
    strict["schema"]["required"] = ["a"]
    world = sample_world(datetime.now(UTC))
    first = min(world.projects)
    mapping = mapping_of(resource("project", "thing", properties={"b": ".name"}))
    for command in ("plan", "sync"):
        store = port_with(strict)
        store.seed("thing", [{"identifier": str(first), "properties": {"a": "x"}}])
        report, _, _ = run_sync(world, store, mapping, command=command)  # type: ignore[arg-type]  # one of both
        counts = report.blueprints["thing"]
        assert (report.exit_code, counts.updated, counts.failed) == (1, 1, PROJECTS - 1)
        (problem,) = [one for one in report.problems if one.stage == "write"]
        assert problem.count == PROJECTS - 1
