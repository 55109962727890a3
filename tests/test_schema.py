"""The mapping's JSON Schema: it refuses what a run refuses, accepts what a run accepts, and says something of all."""

import json
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from conftest import Bench
from gitlab_port_export.base.errors import UsageError
from gitlab_port_export.commands.schema import mapping_schema
from gitlab_port_export.gitlab.kinds import KINDS
from gitlab_port_export.mapping.load import load_mapping, mapping_from_object
from gitlab_port_export.mapping.yaml import read_yaml
from gitlab_port_export.model import Dialect
from gitlab_port_export.port.defaults import default_mapping_text
from testbed.harness import mapping_of, paths, replaced, resource, schema_validator

SELECTORS = {name: kind.selector for name, kind in KINDS.items()}
SEARCH = {"combinator": '"and"', "rules": [{"property": '"$title"', "operator": '"="', "value": ".name"}]}


def runs(data: Any) -> bool:
    """Whether a run takes the mapping without a Problem, and ignores nothing of it."""
    try:
        _, problems = mapping_from_object(data, "m", SELECTORS)
    except UsageError:
        return False
    return all(problem.warning and "unknown key" not in problem.why for problem in problems)


def fits(data: Any) -> bool:
    return bool(schema_validator().is_valid(data))


def test_it_is_a_schema() -> None:
    Draft202012Validator.check_schema(mapping_schema(KINDS))


@pytest.mark.parametrize("dialect", get_args(Dialect))
def test_the_default_mappings_fit(dialect: Dialect) -> None:
    text = default_mapping_text(dialect)
    load_mapping(text, "m", SELECTORS)
    assert [error.message for error in schema_validator().iter_errors(read_yaml(text, "m").data)] == []


def of(kind: str = "project", **selector: Any) -> Any:
    return mapping_of(resource(kind, selector=selector))


def entity(**fields: Any) -> Any:
    return mapping_of(resource("project", **fields))


def with_port(**port: Any) -> Any:
    return mapping_of(resource("project", port=port))


ACCEPTED = {
    "a plain one": of(),
    "no resources": {"resources": []},
    "texts for booleans": of(includeLanguages="true") | {"enableMergeEntity": "no"},
    "numbers for booleans": of(includeLanguages=1),
    "a text for a number": of("merge-request", updatedAfter="30") | {"visibility": {"minAccessLevel": "40"}},
    "a number for a text": of("issue", labels=7),
    "a number for a text of the API": of("pipeline", apiQueryParams={"ref": 2024}),
    "null where nothing is meant": of("issue", state=None) | {"visibility": {}},
    "numbers and booleans for expressions": entity(title=5, properties={"a": True, "b": 1.5}),
    "nothing below relations": entity(relations=None, properties=None),
    "searches": entity(identifier=SEARCH, team=SEARCH, relations={"a": SEARCH | {"rules": [SEARCH]}}),
    "an empty search": entity(relations={"a": SEARCH | {"rules": []}}),
    "a list of mappings": mapping_of(
        {
            "kind": "group",
            "selector": {"query": True},
            "port": {"entity": {"mappings": [{"identifier": "1", "blueprint": "2"}]}},
        }
    ),
    "no items to parse": with_port(itemsToParse=""),
    "items to parse": with_port(itemsToParse=".a", itemsToParseName="x", itemsToParseTopLevelTransform=False),
    "a place for anchors": of() | {"x-common": {}, ".common": [1]},
}
REFUSED = {
    "an unknown key of the root": of() | {"whatever": 1},
    "an unknown key of a resource": mapping_of({**resource("project"), "ports": {}}),
    "an unknown key of a selector": of(colour="red"),
    "a key of another kind's selector": of("issue", includeLanguages=True),
    "an unknown key deep in a selector": of("pipeline", apiQueryParams={"reff": "main"}),
    "an unknown key of an entity": entity(titel=".name"),
    "an unknown key of a port block": with_port(itemToParse=".a"),
    "an unknown key of a search": entity(relations={"a": SEARCH | {"rule": []}}),
    "an unknown key of a rule": entity(relations={"a": SEARCH | {"rules": [SEARCH["rules"][0] | {"or": "1"}]}}),
    "no object": [],
    "no resources": {"resource": []},
    "resources that are no list": {"resources": {}},
    "an unknown kind": of("projct"),
    "no kind": {"resources": [{"selector": {"query": "true"}, "port": {"entity": {"mappings": {}}}}]},
    "no query": {"resources": [{**resource("project"), "selector": {}}]},
    "no selector": {"resources": [{name: part for name, part in resource("project").items() if name != "selector"}]},
    "an empty query": mapping_of(resource("project", query=" ")),
    "a list for a query": of(query=[]),
    "an unknown state": of("merge-request", states=["open"]),
    "a state of another kind": of("issue", state="merged"),
    "no boolean": of(includeLanguages="maybe"),
    "2 for a boolean": of(includeLanguages=2),
    "null for a boolean": of(includeLanguages=None),
    "no number": of("merge-request", updatedAfter="soon"),
    "no instant": of("pipeline", apiQueryParams={"updated_after": "yesterday"}),
    "a wrong status": of("job", pipelineQueryParams={"status": "done"}),
    "no mapping": mapping_of({**resource("project"), "port": {"entity": {"mappings": []}}}),
    "no identifier": mapping_of({**resource("project"), "port": {"entity": {"mappings": {"blueprint": "1"}}}}),
    "null for an identifier": entity(identifier=None),
    "a list for a property": entity(properties={"a": []}),
    "an empty property": entity(properties={"a": ""}),
    "a search for a property": entity(properties={"a": SEARCH}),
    "a search without rules": entity(relations={"a": {"combinator": '"and"'}}),
    "a rule without value": entity(relations={"a": SEARCH | {"rules": [{"property": "1", "operator": "2"}]}}),
    "a threshold above 1": mapping_of(entityDeletionThreshold=2),
    "null for the threshold": mapping_of(entityDeletionThreshold=None),
    "a wrong level": mapping_of(visibility={"minAccessLevel": 35}),
    "no boolean in the root": mapping_of(deleteDependentEntities="perhaps"),
}


@pytest.mark.parametrize("name", ACCEPTED)
def test_what_runs_fits(name: str) -> None:
    assert (runs(ACCEPTED[name]), fits(ACCEPTED[name])) == (True, True)


@pytest.mark.parametrize("name", REFUSED)
def test_what_would_not_run_does_not_fit(name: str) -> None:
    assert (runs(REFUSED[name]), fits(REFUSED[name])) == (False, False)


def test_one_spelling_is_offered_though_a_run_takes_two() -> None:
    data = mapping_of(delete_dependent_entities=False, entity_deletion_threshold=0.5)
    assert (runs(data), fits(data)) == (True, False)
    assert not [name for name in mapping_schema(KINDS)["properties"] if "_" in name]


def test_it_has_a_name_of_its_own() -> None:
    assert mapping_schema(KINDS)["$id"] == "urn:gitlab-port-export:mapping:1"


WHOLE = mapping_of(
    resource("project", relations={"r": SEARCH}, properties={"p": ".p"}, selector={"includeLabels": True}),
    resource("merge-request", selector={"states": ["opened"], "updatedAfter": 3}),
    resource("pipeline", selector={"apiQueryParams": {"ref": "main", "status": "failed"}}, port={"itemsToParse": "."}),
    resource("issue", selector={"state": "closed", "nonArchived": False}),
    visibility={"useMinAccessLevel": False, "minAccessLevel": 20},
    entityDeletionThreshold=0.5,
    specPath="**/port.yml",
)
scalars = st.none() | st.sampled_from(
    ["", "true", "closed", "merged", "1", "0.5", "x", ".id", 1, 0, 2, 30, 0.5, "issue", "2024-01-01T00:00:00Z"]
)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(st.sampled_from(["query", "rules", "combinator", "value", "x"]), inner, max_size=3)
    ),
    max_leaves=6,
)


@settings(max_examples=120, deadline=None)
@given(st.sampled_from(sorted(paths(WHOLE), key=str)), values)
def test_any_change_is_judged_alike(path: tuple[Any, ...], value: Any) -> None:
    data = replaced(WHOLE, path, value)
    assert fits(data) == runs(data)


def test_every_field_says_what_it_is_for() -> None:
    schema = mapping_schema(KINDS)
    silent = [
        f"{owner}.{name}"
        for owner, part in {"": schema, **schema["$defs"]}.items()
        for name, field in part.get("properties", {}).items()
        if not field.get("title") or not (field.get("description") or "$ref" in field or owner.endswith("Query"))
    ]
    assert silent == []


def test_a_kind_offers_its_own_selector() -> None:
    rules = mapping_schema(KINDS)["$defs"]["Resource"]["allOf"]
    assert {rule["if"]["properties"]["kind"]["const"] for rule in rules} == set(KINDS)
    issue = next(rule for rule in rules if rule["if"]["properties"]["kind"]["const"] == "issue")
    assert issue["then"] == {"properties": {"selector": {"$ref": "#/$defs/IssueSelector"}}}


def test_the_command_prints_it_and_needs_no_settings(bench: Bench) -> None:
    ran = bench.run("schema", **dict.fromkeys(bench.environ()))
    assert (ran.returncode, ran.stderr) == (0, "")
    assert json.loads(ran.stdout) == json.loads(json.dumps(mapping_schema(KINDS)))
