"""The mapping: what is accepted, what is refused and where, what is worth a warning; and the defaults."""

import json
import re
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any, Literal

import jq
import jsonschema
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field, model_validator

from gitlab_port_export.base.errors import UsageError
from gitlab_port_export.gitlab.kinds import KINDS
from gitlab_port_export.mapping.blueprints import constant_blueprint, mapped_blueprints
from gitlab_port_export.mapping.expressions import check_expressions, expressions
from gitlab_port_export.mapping.load import load_mapping, mapping_from_object
from gitlab_port_export.mapping.model import Mapping, Resource, Selector
from gitlab_port_export.model import Dialect, Problem
from gitlab_port_export.port.defaults import default_blueprints, default_mapping_text
from testbed.harness import paths, replaced


class Pipelines(BaseModel):
    model_config = ConfigDict(extra="allow")

    status: Literal["success", "failed"] | None = None
    ref: str | None = None


class IssueSelector(Selector):
    state: Literal["opened", "closed"] | None = None
    labels: str | None = None
    non_archived: bool = True
    updated_after: float | None = None
    states: tuple[Literal["opened", "closed", "merged"], ...] = ("opened",)
    api_query_params: Pipelines | None = None
    days: int = Field(default=1, ge=1)

    @model_validator(mode="after")
    def _together(self) -> "IssueSelector":
        if self.days > 100 and not self.state:
            raise ValueError("days needs state")
        return self


STUBS = {"issue": IssueSelector, "project": Selector, "merge-request": IssueSelector}


def load(text: str) -> tuple[Mapping, tuple[Problem, ...]]:
    return load_mapping(text, "map.yml", STUBS)


def faults(text: str) -> list[str]:
    with pytest.raises(UsageError) as caught:
        load(text)
    assert caught.value.exit_code == 2
    return list(map(str, caught.value.faults))


def resource(selector: str = "{query: 'true'}", entity: str = "", kind: str = "issue") -> str:
    return f"""\
resources:
  - kind: {kind}
    selector: {selector}
    port:
      entity:
        mappings:
          identifier: .id
          blueprint: '"issue"'
          {entity}
"""


def only(text: str) -> Resource:
    mapping, problems = load(text)
    assert problems == ()
    assert len(mapping.resources) == 1
    return mapping.resources[0]


def selector_of(text: str) -> IssueSelector:
    selector = only(resource(selector=text)).selector
    assert isinstance(selector, IssueSelector)
    return selector


# --- what is read


def test_a_whole_mapping() -> None:
    mapping, problems = load("""\
deleteDependentEntities: true
entityDeletionThreshold: 0.5
visibility: {minAccessLevel: "40", useMinAccessLevel: no}
specPath: [a]
branch: main
resources:
  - kind: issue
    selector:
      query: .state == "opened"
      states: [opened, merged]
    port:
      itemsToParse: .labels
      itemsToParseName: label
      itemsToParseTopLevelTransform: false
      entity:
        mappings:
          - {identifier: .id, blueprint: '"a"'}
          - identifier: .iid
            blueprint: .kind
            team: {combinator: '"and"', rules: []}
            properties: {x: .x}
""")
    assert problems == ()
    assert mapping.origin == "map.yml"
    assert mapping.cascades
    assert mapping.entity_deletion_threshold == 0.5
    assert (mapping.visibility.min_access_level, mapping.visibility.use_min_access_level) == (40, False)
    (found,) = mapping.resources
    assert (found.kind, found.index, found.known) == ("issue", 0, True)
    assert isinstance(found.selector, IssueSelector)
    assert found.selector.states == ("opened", "merged")
    assert found.port.items_to_parse_name == "label"
    assert not found.port.items_to_parse_top_level_transform
    assert [list(entity.fields()) for entity in found.mappings] == [
        [("identifier", ".id"), ("blueprint", '"a"')],
        [
            ("identifier", ".iid"),
            ("blueprint", ".kind"),
            ("properties.x", ".x"),
            ("team", {"combinator": '"and"', "rules": []}),
        ],
    ]


def test_resources_keep_their_order_and_may_be_empty() -> None:
    one, two = resource(), resource(kind="project").removeprefix("resources:\n")
    mapping, _ = load(one + two)
    assert [(r.index, r.kind) for r in mapping.resources] == [(0, "issue"), (1, "project")]
    assert load("resources: []")[0].resources == ()


def test_json_is_read_with_positions_tabs_and_surrogate_pairs() -> None:
    text = json.dumps(yaml.safe_load(resource(entity="title: '\"\U0001f600\"'")), indent="\t")
    (found,) = load(text)[0].resources
    assert found.mappings[0].title == '"\U0001f600"'
    assert load(text)[0].line("resources", 0, "kind") == 4


def test_port_copy_is_the_same_as_the_file() -> None:
    text = resource(selector="{query: true, days: '5'}", entity="properties: {a: 5}")
    from_file, _ = load(text)
    from_port, _ = mapping_from_object(yaml.safe_load(text), "Port", STUBS)
    assert from_port.model_dump() == from_file.model_dump()
    assert from_port.origin == "Port"
    assert from_port.line("resources", 0) is None


def test_byte_order_mark_and_windows_line_ends() -> None:
    assert only("\ufeff" + resource().replace("\n", "\r\n")).kind == "issue"


def test_lines_are_found_for_one_object_and_for_a_list() -> None:
    mapping, _ = load(resource(entity="properties:\n            a.b: .x\n            c: .y"))
    assert mapping.line("resources", 0, "selector", "query") == 3
    assert mapping.line("resources", 0, "port", "entity", "mappings", "properties", "c") == 11
    assert mapping.field_line(0, 0, "properties.a.b") == 10
    assert mapping.field_line(0, 0, "relations.none") == 6
    assert mapping.line("nowhere") == 1
    listed, _ = load(resource().replace("          identifier", "        - identifier"))
    assert listed.field_line(0, 0, "blueprint") == 8


def test_anchors_and_merge_keys() -> None:
    mapping, problems = load("""\
x-common: &common
  identifier: .id
  blueprint: '"a"'
.more: &more {blueprint: '"b"', title: .t}
resources:
  - &first
    kind: issue
    selector: {query: 'true'}
    port: {entity: {mappings: {<<: [*common, *more], identifier: .iid}}}
  - <<: *first
    kind: project
""")
    assert problems == ()
    entities = [found.mappings[0] for found in mapping.resources]
    assert [(e.identifier, e.blueprint, e.title) for e in entities] == [(".iid", '"a"', ".t")] * 2
    assert mapping.resources[1].kind == "project"


def test_root_options_in_both_spellings_and_others_in_one() -> None:
    mapping, problems = load("enable_merge_entity: false\nresources: []")
    assert not mapping.enable_merge_entity
    assert problems == ()
    _, problems = load(resource(selector="{query: 'true', non_archived: false}"))
    assert [p.hint for p in problems] == ["did you mean 'nonArchived'?"]


# --- coercion, as Ocean's parser does it


@pytest.mark.parametrize("text", ["false", "no", "'off'", "'F'", "0", "'0'", "'No'", "n"])
def test_booleans_are_lax(text: str) -> None:
    assert selector_of(f"{{query: 'true', nonArchived: {text}}}").non_archived is False


@pytest.mark.parametrize("text", ["''", "2", "null", "maybe", "[]"])
def test_and_still_no_more_than_that(text: str) -> None:
    (fault,) = faults(resource(selector=f"{{query: 'true', nonArchived: {text}}}"))
    assert "map.yml:3:31: resource 0 (issue): selector.nonArchived: must be true or false; got" in fault


@pytest.mark.parametrize(("text", "value"), [("true", "true"), ("off", "false"), ("1", "1"), ("'.x'", ".x")])
def test_query_is_an_expression(text: str, value: str) -> None:
    assert selector_of(f"{{query: {text}}}").query == value


def test_numbers_and_booleans_become_text_in_expressions() -> None:
    entity = only(resource(entity="properties: {a: 5, b: 1.5, c: yes, on: .x}\n          relations: {r: 7}")).mappings[
        0
    ]
    assert entity.properties == {"a": "5", "b": "1.5", "c": "true", "on": ".x"}
    assert entity.relations == {"r": "7"}


def test_dates_stay_text() -> None:
    selector = selector_of("{query: 'true', labels: 2024-01-01, apiQueryParams: {ref: 2024-01-01}}")
    assert selector.labels == "2024-01-01"
    assert selector.api_query_params == Pipelines(ref="2024-01-01")
    assert selector_of("{query: 'true', labels: 2024}").labels == "2024"


def test_a_search_query_is_checked_and_kept_as_json() -> None:
    entity = only(
        resource(
            entity="""relations:
            owner:
              combinator: '"and"'
              rules:
                - {property: '"$email"', operator: '"="', value: 5}
                - combinator: '"or"'
                  rules: [{property: '"a"', operator: '"="', value: true}]"""
        )
    ).mappings[0]
    assert entity.relations["owner"] == {
        "combinator": '"and"',
        "rules": [
            {"property": '"$email"', "operator": '"="', "value": "5"},
            {
                "combinator": '"or"',
                "rules": [{"property": '"a"', "operator": '"="', "value": "true"}],
            },
        ],
    }


def test_empty_relations_and_null_options() -> None:
    entity = only(resource(entity="relations:\n          title: null")).mappings[0]
    assert entity.relations == {}
    assert [name for name, _ in entity.fields()] == ["identifier", "blueprint"]


# --- faults


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "map.yml: a mapping must be an object with the key 'resources'; got null"),
        ("- a", "map.yml:1:1: a mapping must be an object with the key 'resources'; got a list"),
        ("a: 1", "map.yml:1:1: resources: is missing"),
        ("resources:", "map.yml:1:1: resources: must be a list; got null"),
        ("resources: {a: 1}", "map.yml:1:1: resources: must be a list; got an object"),
        ("resources: [7]", "map.yml:1:13: resource 0: must be an object; got 7"),
        ("resources: []\nresources: []", "map.yml:2:1: resources: this key stands twice, first in line 1"),
        ("resources: []\nvisibility: x", "map.yml:2:1: visibility: must be an object; got 'x'"),
        (
            "resources: []\nentityDeletionThreshold: 1.1",
            "map.yml:2:1: entityDeletionThreshold: must be at most 1; got 1.1",
        ),
        (
            "resources: []\nentity_deletion_threshold: -1",
            "map.yml:2:1: entity_deletion_threshold: must be at least 0; got -1",
        ),
        (
            "resources: []\nentityDeletionThreshold:",
            "map.yml:2:1: entityDeletionThreshold: must be a number from 0 to 1; got null",
        ),
        (
            "resources: []\nentityDeletionThreshold: true",
            "map.yml:2:1: entityDeletionThreshold: must be a number from 0 to 1; got true",
        ),
        (
            "resources: []\nentityDeletionThreshold: .nan",
            "map.yml:2:1: entityDeletionThreshold: must be a number; got nan",
        ),
        (
            "resources: []\nvisibility: {minAccessLevel: 35}",
            "map.yml:2:14: visibility.minAccessLevel: must be one of 10, 20, 30, 40, 50; got 35",
        ),
        ("resources: []\nx: !env y", "map.yml:2:4: x: the YAML tag '!env' means nothing here"),
        (
            "resources: []\nx: !reference [y]",
            "map.yml:2:4: x: the YAML tag '!reference' means nothing here",
        ),
        ("resources: []\n? [a]\n: 1", "map.yml:2:3: a key must be a text"),
        ("resources: []\nx: 0b_", "map.yml:2:4: x: not a number: '0b_'"),
        ("resources: []\n<<: 5", "map.yml:2:5: <<: must name an object, or a list of objects"),
    ],
)
def test_faults_of_the_root(text: str, fault: str) -> None:
    assert faults(text) == [fault]


@pytest.mark.parametrize(
    ("selector", "fault"),
    [
        ("null", "3:5: resource 0 (issue): selector: must be an object; got null"),
        ("{}", "3:5: resource 0 (issue): selector.query: is missing"),
        ("{query: }", "3:16: resource 0 (issue): selector.query: must be a jq expression; got null"),
        (
            "{query: ' '}",
            "3:16: resource 0 (issue): selector.query: must be a jq expression; got an empty text",
        ),
        (
            "{query: 'true', state: open}",
            "3:31: resource 0 (issue): selector.state: must be one of opened, closed; got 'open' "
            "(did you mean 'opened'?)",
        ),
        (
            "{query: 'true', states: opened}",
            "3:31: resource 0 (issue): selector.states: must be a list; got 'opened'",
        ),
        (
            "{query: 'true', states: [closed, merge]}",
            "3:48: resource 0 (issue): selector.states.1: must be one of opened, closed, merged; got 'merge' "
            "(did you mean 'merged'?)",
        ),
        (
            "{query: 'true', updatedAfter: soon}",
            "3:31: resource 0 (issue): selector.updatedAfter: must be a number; got 'soon'",
        ),
        (
            "{query: 'true', days: 1.5}",
            "3:31: resource 0 (issue): selector.days: must be a whole number; got 1.5",
        ),
        ("{query: 'true', days: 0}", "3:31: resource 0 (issue): selector.days: must be at least 1; got 0"),
        ("{query: 'true', days: 101}", "3:5: resource 0 (issue): selector: days needs state"),
        (
            "{query: 'true', labels: [a]}",
            "3:31: resource 0 (issue): selector.labels: must be a text; got a list",
        ),
    ],
)
def test_faults_of_a_selector(selector: str, fault: str) -> None:
    assert faults(resource(selector=selector)) == [f"map.yml:{fault}"]


@pytest.mark.parametrize(
    ("entity", "fault"),
    [
        ("properties: {a: null}", "properties.a: must be a jq expression; got null"),
        ("properties: {a: {b: .c}}", "properties.a: must be a jq expression; got an object"),
        ("properties: [a]", "properties: must be an object; got a list"),
        ("relations: {r: [.a]}", "relations.r: must be a jq expression; got a list"),
        ("relations: {r: {a: b, combinator: '\"and\"'}}", "relations.r.rules: is missing"),
        ("relations: {r: {combinator: x, rules: 5}}", "relations.r.rules: must be a list; got 5"),
        (
            "relations: {r: {combinator: x, rules: [{property: a, operator: b, value: [c]}]}}",
            "relations.r.rules.0.value: must be a jq expression; got a list",
        ),
        (
            "team: {combinator: x, rules: [{combinator: x, rules: [{property: a, value: b}]}]}",
            "team.rules.0.rules.0.operator: is missing",
        ),
        ("title: {a: b}", "title: must be a jq expression; got an object"),
    ],
)
def test_faults_of_an_entity_mapping(entity: str, fault: str) -> None:
    (found,) = faults(resource(entity=entity))
    assert found.endswith(f"resource 0 (issue): port.entity.mappings.{fault}")


def test_what_a_resource_must_have() -> None:
    assert faults("resources: [{}]") == [
        f"map.yml:1:13: resource 0: {key}: is missing" for key in ("kind", "selector", "port")
    ]
    whole = yaml.safe_load(resource())
    for keys, name in (
        (("port", "entity"), "port.entity"),
        (("port", "entity", "mappings"), "port.entity.mappings"),
        (("port", "entity", "mappings", "identifier"), "port.entity.mappings.identifier"),
        (("port", "entity", "mappings", "blueprint"), "port.entity.mappings.blueprint"),
    ):
        data = json.loads(json.dumps(whole))
        node = data["resources"][0]
        for key in keys[:-1]:
            node = node[key]
        del node[keys[-1]]
        with pytest.raises(UsageError) as caught:
            mapping_from_object(data, "Port", STUBS)
        assert list(map(str, caught.value.faults)) == [f"Port: resource 0 (issue): {name}: is missing"]


def test_no_mapping_in_the_list_is_a_fault() -> None:
    whole = yaml.safe_load(resource())
    whole["resources"][0]["port"]["entity"]["mappings"] = []
    with pytest.raises(UsageError, match=r"port\.entity\.mappings: must have at least one entity mapping"):
        mapping_from_object(whole, "Port", STUBS)


def test_every_fault_is_named_at_once_in_the_order_of_the_text() -> None:
    found = faults("""\
entityDeletionThreshold: 2
resources:
  - kind: issue
    selector: {query: 'true', state: x}
    port: {entity: {mappings: [{identifier: .id, identifier: null, blueprint: null}]}}
  - kind: [issue]
    selector: {query: 'true'}
    port: {entity: {mappings: [{identifier: .id, blueprint: .b}, {identifier: .id}]}}
deleteDependentEntities: null
""")
    assert [fault.split(": ")[0] for fault in found] == [
        "map.yml:1:1",
        "map.yml:4:31",
        "map.yml:5:50",
        "map.yml:5:68",
        "map.yml:6:5",
        "map.yml:8:66",
        "map.yml:9:1",
    ]
    assert found[4] == "map.yml:6:5: resource 1: kind: must be a text; got a list"
    assert found[5] == "map.yml:8:66: resource 1: port.entity.mappings.1.blueprint: is missing"


def test_what_a_message_quotes_cannot_steer_a_terminal() -> None:
    text = resource(kind='"\\e[31m\\n"', entity='properties: {"a\\e]": null}')
    (fault,) = faults(text)
    assert fault.isprintable()


# --- text that is no YAML, or too much of it


@pytest.mark.parametrize(
    ("text", "where", "hint"),
    [
        ("a: b: c", "1:5", "': '"),
        ("a:\n\tb: 1", "2:1", "spaces"),
        ('identifier: "a" + .b', "1:17", "the whole of it"),
        ('a: "\\s"', "1:6", "single quotes"),
        ("a: *b", "1:4", "quotes"),
        ("a: 'b", "1:6", "not closed"),
        ("a: 1\n---\nb: 2", "2:1", "---"),
        ("a: @base64", "1:4", "single quotes"),
        ("a: \x01", "1:4", ""),
        ("x\n  y\n a: \x01", "3:5", ""),
    ],
)
def test_syntax_errors_have_a_place_and_a_hint(text: str, where: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        load(text)
    (fault,) = map(str, caught.value.faults)
    assert fault.startswith(f"map.yml:{where}: ")
    assert hint in caught.value.hint


def test_impossible_escapes_are_refused() -> None:
    for escape in ("\\U00110000", "\\UFFFFFFFF"):
        assert faults(f'a: "{escape}"') == ["map.yml: not valid YAML: an escape that is no character"]


def bomb(levels: int) -> str:
    lines = ["a0: &a0 [x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, levels)]
    return "\n".join(lines)


def merge_bomb(levels: int) -> str:
    lines = ["a0: &a0 {x: 1}"]
    lines += [f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 9)}]}}" for n in range(1, levels)]
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (bomb(12), "more than 100000 values"),
        (merge_bomb(12), "more than 100000 values"),
        ("a: &a [*a]", "nested deeper than 100 levels"),
        ("a: &a {b: *a}", "nested deeper than 100 levels"),
        ("a: &a {<<: *a}", "nested deeper than 100 levels"),
        ("[" * 5000, "nested deeper than 100 levels"),
        ("a: " + "[" * 150 + "]" * 150, "nested deeper than 100 levels"),
        ("a: " + "x" * 1024 * 1024, "larger than 1048576 bytes"),
        ("a: " + "é" * 524_287, "larger than 1048576 bytes"),
    ],
)
def test_bombs_are_refused(text: str, why: str) -> None:
    (fault,) = faults(text)
    assert why in fault


def test_objects_have_the_same_limits() -> None:
    deep: list[Any] = []
    for _ in range(200):
        deep = [deep]
    for data, why in ((deep, "nested deeper"), ([1] * 100_001, "more than 100000 values")):
        with pytest.raises(UsageError, match=why):
            mapping_from_object({"resources": data}, "Port", STUBS)
    with pytest.raises(UsageError, match="x: int that JSON cannot hold"):
        mapping_from_object({"resources": [], "x": 1 << 20_000}, "Port", STUBS)


def test_numbers_that_never_end_are_refused() -> None:
    assert len(faults(f"resources: []\na: {'9' * 5000}\nb: {'1:' * 2000}0\nc: 0x{'f' * 5000}")) == 3


# --- unknown kinds and keys


def test_an_unknown_kind_is_a_problem_and_keeps_its_resource() -> None:
    mapping, problems = load(resource(kind="issues", selector="{query: 'true', whatever: 1}"))
    (problem,) = problems
    assert (problem.stage, problem.warning, problem.resources) == ("mapping", False, (0,))
    assert (problem.kind, problem.line, problem.hint) == ("issues", 2, "did you mean 'issue'?")
    (found,) = mapping.resources
    assert not found.known
    assert type(found.selector) is Selector
    assert mapped_blueprints(mapping) == {0: ("issue",)}


def test_an_unknown_kind_without_a_neighbour_lists_the_known() -> None:
    _, (problem,) = load(resource(kind="zebra"))
    assert problem.hint == "known kinds: issue, merge-request, project"


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("resource: []", "map.yml:1:1: resources: is missing; 'resource' stands there"),
        (resource().replace("kind:", "kynd:"), "map.yml:2:5: resource 0: kind: is missing; 'kynd' stands there"),
        (resource().replace("query:", "querry:"), "selector.query: is missing; 'querry' stands there"),
        (resource().replace("identifier:", "identifer:"), "mappings.identifier: is missing; 'identifer' stands there"),
        (resource().replace("mappings:", "mapping:"), "port.entity.mappings: is missing; 'mapping' stands there"),
        (
            resource(entity="team: {combinator: a, rules: [{property: a, operator: b, vlaue: c}]}"),
            "team.rules.0.value: is missing; 'vlaue' stands there",
        ),
        # A key that means something is not another one misspelled.
        (resource(entity="team: {combinator: a, rules: [{operator: b, value: c}]}"), "rules.0.property: is missing"),
    ],
)
def test_a_misspelled_key_is_named_where_the_right_one_is_missing(text: str, fault: str) -> None:
    (found,) = faults(text)
    assert found.endswith(fault)


def test_an_unknown_kind_must_still_be_whole() -> None:
    (fault,) = faults(resource(kind="zebra", selector="{}"))
    assert fault.endswith("resource 0 (zebra): selector.query: is missing")


def test_unknown_keys_are_warnings_wherever_they_stand() -> None:
    _, problems = load("""\
enableMergeEntities: true
visibility: {minAcessLevel: 10}
resources:
  - kind: issue
    extra: 1
    selector:
      query: 'true'
      non_archived: true
      apiQueryParams: {statsu: success}
    port:
      itemToParse: .x
      entity:
        mapping: 1
        mappings:
          identifier: .id
          blueprint: '"b"'
          propertys: {}
          relations:
            r:
              combinator: '"and"'
              rule: 1
              rules: [{property: '"a"', operator: '"="', value: .v, values: 1}]
  - kind: issue
    selector: {query: 'true'}
    port: {entity: {mappings: [{identifier: .id, blueprint: .b, Title: .t}]}}
""")
    assert [(p.line, p.field, p.hint) for p in problems] == [
        (1, "enableMergeEntities", "did you mean 'enableMergeEntity'?"),
        (2, "visibility.minAcessLevel", "did you mean 'minAccessLevel'?"),
        (5, "extra", ""),
        (8, "selector.non_archived", "did you mean 'nonArchived'?"),
        (9, "selector.apiQueryParams.statsu", "did you mean 'status'?"),
        (11, "port.itemToParse", "did you mean 'itemsToParse'?"),
        (13, "port.entity.mapping", "did you mean 'mappings'?"),
        (17, "port.entity.mappings.propertys", "did you mean 'properties'?"),
        (21, "port.entity.mappings.relations.r.rule", "did you mean 'rules'?"),
        (22, "port.entity.mappings.relations.r.rules.0.values", "did you mean 'value'?"),
        (25, "port.entity.mappings.0.Title", "did you mean 'title'?"),
    ]
    assert all(p.warning and not p.holds_all for p in problems)
    assert [p.resources for p in problems] == [(), (), *[(0,)] * 8, (1,)]
    assert [p.column for p in problems] == [1, 14, 5, 7, 24, 7, 9, 11, 15, 69, 65]


def test_keys_of_our_own_values_cannot_be_written() -> None:
    mapping, _ = load("origin: x\nlines: {}\n" + resource() + "    index: 7\n    known: false\n")
    assert mapping.origin == "map.yml"
    assert (mapping.resources[0].index, mapping.resources[0].known) == (0, True)


# --- expressions


def compile_error(expression: str) -> str | None:
    try:
        jq.compile(expression)
    except ValueError as error:
        return str(error)
    return None


def test_expressions_that_are_not_jq() -> None:
    mapping, _ = load(
        resource(
            selector="{query: .state ==}",
            entity="""properties:
            good: .x | length
            bad: .x | map(
            file: file://README.md
            search: search://scope=blobs&&query=x
          relations:
            r: {combinator: and, rules: [{property: '"a"', operator: '"="', value: 'a b'}]}""",
        ).replace("    port:\n", "    port:\n      itemsToParse: '.items]'\n")
    )
    found = [str(fault) for fault in check_expressions(mapping, compile_error)]
    assert [fault.split(": not a jq expression: ")[0] for fault in found] == [
        "map.yml:3:16: resource 0 (issue): selector.query",
        "map.yml:5:7: resource 0 (issue): port.itemsToParse",
        "map.yml:12:13: resource 0 (issue): properties.bad",
        "map.yml:16:13: resource 0 (issue): relations.r.combinator",
        "map.yml:16:13: resource 0 (issue): relations.r.rules.0.value",
    ]
    assert ": .x | map(: jq: error: syntax error" in found[2]
    assert all("\n" not in fault for fault in found)


def test_a_long_expression_is_shortened_and_legacy_forms_count_only_in_entities() -> None:
    mapping, _ = load(resource(selector="{query: 'file://x'}", entity=f"title: '{'x ' * 200}'"))
    found = [str(fault) for fault in check_expressions(mapping, lambda expression: f"\n  no\n{expression}")]
    assert found[0].endswith("selector.query: not a jq expression: file://x: no")
    assert len(found[-1]) < 200
    assert "file://x" in expressions(mapping)
    assert check_expressions(mapping, lambda expression: None) == ()


def test_expressions_are_listed_once() -> None:
    mapping, _ = load(resource(selector="{query: .id}", entity="properties: {a: .id, b: .b, f: file://x}"))
    assert expressions(mapping) == (".id", '"issue"', ".b")


@pytest.mark.parametrize(
    ("expression", "constant"),
    [
        ('"service"', "service"),
        ("'service'", "service"),
        (" 'service'\n", "service"),
        ("'s'", "s"),
        (r'"a\u0062"', "ab"),
        ('"a \\(.b)"', None),
        (".blueprint", None),
        ("service", None),
        ('"a" + "b"', None),
        ('"a", "b"', None),
        ('"a" # why', None),
        ("'a' + 'b'", None),
        ("' a'", None),
        ("'", None),
        ('"', None),
        ("5", None),
        ('["a"]', None),
        ("\"a 'q' b\"", None),
    ],
)
def test_a_blueprint_that_is_one_plain_text_is_known_without_a_row(expression: str, constant: str | None) -> None:
    assert constant_blueprint(expression) == constant


def test_the_blueprints_of_each_resource_are_known_but_for_computed_ones() -> None:
    mapping, _ = load("""\
resources:
  - {kind: issue, selector: {query: 'true'}, port: {entity: {mappings: {identifier: .a, blueprint: "'x'"}}}}
  - kind: issue
    selector: {query: 'true'}
    port: {entity: {mappings: [{identifier: .a, blueprint: .b}, {identifier: .a, blueprint: '"y"'}]}}
""")
    assert mapped_blueprints(mapping) == {0: ("x",), 1: (None, "y")}


# --- anything at all

scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(), max_size=8)
    | st.sampled_from([".id", "true", "issue", "\ud83d", "file://x", "=", "<<", "1:30"])
)
WORDS = """resources kind selector query port entity mappings identifier blueprint rules combinator property
relations properties team <query> <jq> index lines"""
keys = st.sampled_from(WORDS.split()) | st.text(max_size=4)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=4),
    max_leaves=12,
)


def survives(read: Callable[[], tuple[Mapping, tuple[Problem, ...]]]) -> None:
    try:
        mapping, problems = read()
    except UsageError as refused:
        shown = "\n".join(map(str, refused.faults))
    else:
        shown = "\n".join(
            (*map(str, check_expressions(mapping, lambda _: "no")), *(problem.why for problem in problems), "-")
        )
    assert shown
    assert shown.encode()
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f]", shown)


@pytest.mark.parametrize(("names", "warned"), [("[HOME]", 1), ("[]", 0)])
def test_a_list_of_variables_for_jq_has_no_effect_and_says_so(names: str, warned: int) -> None:
    _, problems = load(resource(f"{{query: 'true', exportEnvVariables: {names}}}"))
    assert len(problems) == warned
    for problem in problems:
        assert (problem.warning, problem.line, problem.field) == (True, 3, "selector.exportEnvVariables")
        assert "OCEAN__EXPORT__JQ_ENV" in problem.hint


WHOLE = yaml.safe_load(
    resource(
        selector="{query: 'true', states: [opened], apiQueryParams: {ref: a}}",
        entity="relations: {r: {combinator: a, rules: [{property: a, operator: b, value: c}]}}",
    )
)


@given(values)
def test_any_object_is_a_mapping_or_a_usage_error(data: Any) -> None:
    survives(lambda: mapping_from_object(data, "Port", STUBS))


@given(st.sampled_from(sorted(paths(WHOLE), key=str)), values)
def test_any_change_of_a_mapping_is_a_mapping_or_a_usage_error(path: tuple[Any, ...], value: Any) -> None:
    survives(lambda: mapping_from_object(replaced(WHOLE, path, value), "Port", STUBS))


@settings(max_examples=60)
@given(st.sampled_from(sorted(paths(WHOLE), key=str)), values)
def test_any_yaml_of_a_changed_mapping_too(path: tuple[Any, ...], value: Any) -> None:
    text = yaml.dump(replaced(WHOLE, path, value), allow_unicode=True)
    survives(lambda: load(text))


@given(st.text(st.sampled_from("ab:-{}[]&*!|>'\"%@#?, \n\t0_.<=\\U") | st.characters(), max_size=60))
def test_any_text_is_a_mapping_or_a_usage_error(text: str) -> None:
    survives(lambda: load(text))


# --- the defaults

IDENTIFIER = re.compile(r"(?!\.{1,2}$)[\w@.+:\\/=-]+")
USER = {
    "id": 3,
    "username": "ada",
    "name": "Ada",
    "state": "active",
    "web_url": "https://gitlab.example.com/ada",
}
MEMBER = USER | {"access_level": 30, "expires_at": None, "locked": False, "email": "ada@example.com"}
NAMELESS = {k: v for k, v in MEMBER.items() if k not in ("email", "locked")} | {"username": "bob"}
GROUP = {
    "id": 1,
    "name": "Group",
    "full_path": "acme/tools",
    "web_url": "https://gitlab.example.com/groups/acme/tools",
    "visibility": "internal",
    "description": "",
}
PROJECT = {
    "id": 7,
    "name": "My App",
    "path_with_namespace": "acme/tools/my-app",
    "web_url": "https://gitlab.example.com/acme/tools/my-app",
    "description": None,
}
MERGE_REQUEST = {
    "id": 70,
    "iid": 1,
    "title": "Say [hello] | 👋",
    "state": "merged",
    "author": USER,
    "reviewers": [USER],
    "created_at": "2024-03-01T10:00:00.000Z",
    "updated_at": "2024-03-02T10:00:00.000Z",
    "merged_at": "2024-03-02T11:30:00.250Z",
    "web_url": "https://gitlab.example.com/acme/tools/my-app/-/merge_requests/1",
    "references": {"full": "acme/tools/my-app!1"},
}
ISSUE = {
    "id": 80,
    "title": "It #1 fails",
    "state": "opened",
    "issue_type": "issue",
    "author": USER,
    "assignees": [],
    "labels": ["bug", "a::b"],
    "milestone": None,
    "confidential": False,
    "created_at": "2024-03-01T10:00:00.000Z",
    "updated_at": "2024-03-02T10:00:00.000Z",
    "closed_at": None,
    "web_url": "https://gitlab.example.com/acme/tools/my-app/-/issues/12",
    "references": {"full": "acme/tools/my-app#12"},
}
PIPELINE = {
    "id": 90,
    "iid": 4,
    "name": None,
    "status": "canceling",
    "source": "push",
    "ref": "main",
    "sha": "a91957a858320c0e17f3a0eca7cfacbff50ea29a",
    "created_at": "2024-03-01T10:00:00.000Z",
    "updated_at": "2024-03-02T10:00:00.000Z",
    "web_url": "https://gitlab.example.com/acme/tools/my-app/-/pipelines/90",
    "__project": {"path_with_namespace": "acme/tools/my-app"},
}
JOB = {
    "id": 100,
    "name": "test",
    "stage": "test",
    "status": "failed",
    "ref": "main",
    "user": USER,
    "failure_reason": "script_failure",
    "allow_failure": True,
    "duration": 0.173,
    "queued_duration": 1,
    "created_at": "2024-03-01T10:00:00.000Z",
    "started_at": "2024-03-01T10:00:01.000Z",
    "finished_at": "2024-03-01T10:00:02.500Z",
    "web_url": "https://gitlab.example.com/acme/tools/my-app/-/jobs/100",
    "pipeline": {"id": 90},
}
ROWS: dict[str, list[dict[str, Any]]] = {
    "member": [MEMBER, NAMELESS],
    "group-with-members": [GROUP | {"__members": [MEMBER, NAMELESS]}, GROUP | {"__members": []}],
    "project": [
        PROJECT | {"__languages": {"Ruby": 20.5, "Go": 79.5}},
        PROJECT | {"__languages": {}, "description": "An app"},
        PROJECT,
    ],
    "merge-request": [
        MERGE_REQUEST,
        MERGE_REQUEST | {"state": "opened", "merged_at": None, "reviewers": []},
        # An instance in another time zone writes all its instants in that zone.
        MERGE_REQUEST
        | {
            "state": "locked",
            "created_at": "2024-03-01T11:30:00.250+01:30",
            "merged_at": "2024-03-02T13:00:00.250+01:30",
        },
        {k: v for k, v in MERGE_REQUEST.items() if k != "reviewers"} | {"author": None},
    ],
    "issue": [
        ISSUE,
        ISSUE
        | {
            "assignees": [USER],
            "milestone": {"title": "v1"},
            "state": "closed",
            "closed_at": ISSUE["updated_at"],
        },
    ],
    "pipeline": [PIPELINE, PIPELINE | {"name": "Build"}],
    "job": [
        JOB,
        {k: v for k, v in JOB.items() if k != "failure_reason"} | {"user": None, "finished_at": None},
    ],
}
BLUEPRINTS = {blueprint["identifier"]: blueprint for blueprint in default_blueprints()}
DIALECTS: tuple[Dialect, ...] = ("gitlab-v2", "gitlab")


def default_mapping(dialect: Dialect) -> Mapping:
    selectors = {name: kind.selector for name, kind in KINDS.items()}
    mapping, problems = load_mapping(default_mapping_text(dialect), dialect, selectors)
    assert problems == ()
    return mapping


def run(expression: str, row: Any) -> Any:
    """Run one expression as a mapping's field: its first output, null where there is none."""
    return next(iter(jq.compile(expression).input_value(row)), None)


def mapped(dialect: Dialect) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield (kind, field → value) of each sample row."""
    for found in default_mapping(dialect).resources:
        for row in ROWS[found.kind]:
            items, name = found.port.items_to_parse, found.port.items_to_parse_name
            for item in [row] if items is None else [{name: each} for each in run(items, row)]:
                assert run(found.selector.query, item) is True
                for entity in found.mappings:
                    yield found.kind, {field: run(str(jq_), item) for field, jq_ in entity.fields()}


@pytest.mark.parametrize("dialect", DIALECTS)
def test_default_mappings_compile(dialect: Dialect) -> None:
    mapping = default_mapping(dialect)
    assert check_expressions(mapping, compile_error) == ()
    assert not mapping.cascades
    assert "file://" not in default_mapping_text(dialect)
    found = {blueprint for each in mapped_blueprints(mapping).values() for blueprint in each}
    assert found == set(BLUEPRINTS)


def test_the_v1_default_has_only_kinds_that_ocean_has_there() -> None:
    kinds = {"group", "group-with-members", "project", "project-with-members", "merge-request", "issue"}
    kinds |= {"job", "pipeline", "folder", "file"}
    assert {found.kind for found in default_mapping("gitlab").resources} <= kinds


@pytest.mark.parametrize("dialect", DIALECTS)
def test_what_the_defaults_map_is_what_the_blueprints_take(dialect: Dialect) -> None:
    seen: set[str] = set()
    for kind, fields in mapped(dialect):
        blueprint = BLUEPRINTS[fields["blueprint"]]
        assert IDENTIFIER.fullmatch(fields["identifier"]), kind
        assert fields["title"]
        for name, value in fields.items():
            part, _, key = name.partition(".")
            if part == "properties":
                check_property(blueprint["schema"]["properties"][key], value)
            elif part == "relations":
                check_relation(blueprint["relations"][key], value)
            if key and value is not None:
                seen.add(f"{fields['blueprint']}.{key}")
    # The readme is left to those who map it: it costs a request for each project.
    unmapped = {"service.readme"}
    every = {f"{name}.{key}" for name, b in BLUEPRINTS.items() for key in (*b["schema"]["properties"], *b["relations"])}
    assert seen == every - unmapped


def check_property(schema: dict[str, Any], value: Any) -> None:
    wanted = {key: schema[key] for key in ("type", "enum", "items", "format") if key in schema}
    if value is not None:
        jsonschema.validate(value, wanted)
    if value is not None and schema.get("format") == "date-time":
        assert datetime.fromisoformat(value).tzinfo
    if value is not None and schema.get("format") == "url":
        assert value.startswith("https://")


def check_relation(relation: dict[str, Any], value: Any) -> None:
    assert relation["target"] in BLUEPRINTS
    assert isinstance(value, list) if relation["many"] else value is None or isinstance(value, str)
    for target in value if isinstance(value, list) else [value]:
        assert target is None or IDENTIFIER.fullmatch(target)


def test_values_of_the_defaults() -> None:
    found: dict[str, list[dict[str, Any]]] = {}
    for kind, fields in mapped("gitlab-v2"):
        found.setdefault(kind, []).append(fields)
    assert [m["properties.leadTimeHours"] for m in found["merge-request"]] == [25.5, None, 25.5, 25.5]
    assert found["merge-request"][0]["relations.project"] == "acme/tools/my-app"
    assert found["issue"][0]["relations.service"] == "acme/tools/my-app"
    assert found["pipeline"][0]["relations.service"] == "acme/tools/my-app"
    assert found["job"][0]["relations.pipeline"] == "90"
    assert [p["properties.language"] for p in found["project"]] == ["Go", None, None]
    assert [g["relations.gitlabMembers"] for g in found["group-with-members"]] == [["ada", "bob"], []]
    assert [m["properties.email"] for m in found["member"]] == ["ada@example.com", None]
    assert [p["title"] for p in found["pipeline"]] == ["Pipeline 4", "Build"]


def test_a_job_without_pipeline_has_no_relation() -> None:
    (pipeline,) = (
        str(value)
        for found in default_mapping("gitlab-v2").resources
        for name, value in found.mappings[0].fields()
        if name == "relations.pipeline"
    )
    assert run(pipeline, {"id": 1}) is None


def test_blueprints_agree_with_port_rules() -> None:
    for identifier, blueprint in BLUEPRINTS.items():
        assert re.fullmatch(r"[A-Za-z0-9@_.+:\\/-]{1,100}", identifier)
        assert 1 <= len(blueprint["title"]) <= 100
        for key, relation in blueprint["relations"].items():
            assert re.fullmatch(r"[A-Za-z0-9@_=\\-]{1,100}", key)
            assert relation["target"] in BLUEPRINTS
            assert not relation["required"]
        for key, schema in blueprint["schema"]["properties"].items():
            assert re.fullmatch(r"[A-Za-z0-9@_=\\-]{1,100}", key)
            assert schema["type"] in ("string", "number", "boolean", "array")
