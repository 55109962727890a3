"""Tests of pages becoming entities, with real workers: whatever one row or expression does, the others are mapped."""

import json
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from typing import Any

import jq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gitlab_port_export.base.jsontext import MAX_LEVELS
from gitlab_port_export.jq.pool import Evaluator
from gitlab_port_export.jq.program import LEGACY, rewrite_quotes
from gitlab_port_export.mapping.load import load_mapping
from gitlab_port_export.mapping.model import Mapping, Selector
from gitlab_port_export.model import Entity, Event, Page, Problem, Row, Scope, Skipped, Unnamed
from gitlab_port_export.sync import transform
from gitlab_port_export.sync.merge import merge_shared
from gitlab_port_export.sync.transform import Transformer, compile_errors
from testbed.jq_grammar import rows as any_row

KEY = "__error"


@pytest.fixture(scope="module")
def evaluator() -> Iterator[Evaluator]:
    found = Evaluator({"STAGE": "test"}, workers=2)
    yield found
    found.close()


@pytest.fixture
def impatient() -> Iterator[Evaluator]:
    """Workers that give up soon."""
    found = Evaluator({}, workers=2, seconds=0.2, memory_bytes=300 << 20, output_bytes=8 << 20)
    yield found
    found.close()


def resource(*mappings: Any, query: str = "true", **port: Any) -> Any:
    found = [{"identifier": ".id", "blueprint": '"b"', **mapping} for mapping in mappings or ({},)]
    entity = {"mappings": found[0] if len(found) == 1 else found}
    return {"kind": "project", "selector": {"query": query}, "port": {**port, "entity": entity}}


def mapping_of(*resources: Any) -> Mapping:
    text = json.dumps({"resources": resources}, indent=1, ensure_ascii=False)
    return load_mapping(text, "map.yml", {"project": Selector})[0]


def page(rows: Sequence[Row], *resources: int, scope: int = 1) -> Page:
    return Page("project", resources or (0,), Scope(scope, "acme"), list(rows))


def transformed(evaluator: Evaluator, mapping: Mapping | Any, *pages: Page | Sequence[Row]) -> list[Event | Entity]:
    """What comes of the pages, without the pages."""
    if not isinstance(mapping, Mapping):
        mapping = mapping_of(mapping)
    events = [found if isinstance(found, Page) else page(found) for found in pages]
    found = list(Transformer(mapping, evaluator, KEY).run(events))
    assert [event for event in found if isinstance(event, Page)] == events
    return [event for event in found if not isinstance(event, Page)]


def entities(events: Iterable[Any]) -> list[Entity]:
    return [event for event in events if isinstance(event, Entity)]


def problems(events: Iterable[Any]) -> list[Problem]:
    return [event for event in events if isinstance(event, Problem)]


def skipped(events: Iterable[Any]) -> list[tuple[str, str]]:
    return [(event.reason, event.sample) for event in events if isinstance(event, Skipped)]


def unnamed(events: Iterable[Any]) -> list[tuple[str, int, str, bool]]:
    found = [event for event in events if isinstance(event, Unnamed)]
    return [(event.field, event.count, event.sample, event.every) for event in found]


def identifiers(events: Iterable[Any]) -> list[Any]:
    return [entity.identifier for entity in entities(events)]


# --- the plain case


def test_entity_has_the_fields_of_the_mapping_and_no_others(evaluator: Evaluator) -> None:
    mapping = {
        "title": ".name",
        "team": "[.team]",
        "properties": {"url": ".web.url", "a.b": ".name | length", "none": ".nothing"},
        "relations": {"to": ".id + 1 | tostring"},
    }
    (found,) = transformed(evaluator, resource(mapping), [{"id": 7, "name": "é", "web": {"url": "u"}, "team": "t"}])
    body = {
        "title": "é",
        "team": ["t"],
        "properties": {"url": "u", "a.b": 1, "none": None},
        "relations": {"to": "8"},
    }
    assert found == Entity.of("b", "7", body, 0, (1, 7))


@pytest.mark.parametrize("suffix", ["", " # jq"])
def test_numbers_are_text_where_port_wants_text(evaluator: Evaluator, suffix: str) -> None:
    mapping = {
        "title": f".n{suffix}",
        "properties": {"n": f".n{suffix}"},
        "team": f".many{suffix}",
        "relations": {"one": f".n{suffix}", "many": f".many{suffix}", "none": f".none{suffix}"},
    }
    (found,) = entities(transformed(evaluator, resource(mapping), [{"id": "x", "n": 5.0, "many": [1, "a", None]}]))
    assert found.body == {
        "title": "5",
        "properties": {"n": 5},
        "team": ["1", "a", None],
        "relations": {"one": "5", "many": ["1", "a", None], "none": None},
    }


@pytest.mark.parametrize("suffix", ["", " # jq"])
def test_a_team_that_is_a_number_is_text(evaluator: Evaluator, suffix: str) -> None:
    (found,) = entities(transformed(evaluator, resource({"team": f".id{suffix}"}), [{"id": 7}]))
    assert found.body == {"team": "7"}


def test_place_of_a_row(evaluator: Evaluator) -> None:
    rows = [{"id": 7}, {"id": 8, "project_id": 3}, {"id": "text", "project_id": "text"}]
    found = transformed(evaluator, resource({"identifier": "'x'"}), page(rows, scope=2))
    assert [entity.order for entity in entities(found)] == [(2, 7), (3, 8), (2, 0)]


@pytest.mark.parametrize("key", ["tag_name", "name"])
def test_rows_without_an_id_have_an_order_that_does_not_depend_on_who_comes_first(
    evaluator: Evaluator, key: str
) -> None:
    rows = [{key: "v1", "name": "v1"}, {key: "v2", "name": "v2"}, {key: None, "name": ["odd"]}]
    there, back = (
        entities(transformed(evaluator, resource({"identifier": "'x'"}), each)) for each in (rows, rows[::-1])
    )
    assert [entity.order for entity in there] == [entity.order for entity in back][::-1]
    assert len({entity.order for entity in there}) == len(rows)


def test_rows_without_any_field_to_compute(evaluator: Evaluator) -> None:
    found = transformed(evaluator, resource({"blueprint": ".b"}), [{"id": "x", "b": "y"}, {"id": "z"}], [])
    assert found == [Entity.of("y", "x", {}, 0, (1, 0)), Unnamed(0, 0, "blueprint", 1, "z")]


def test_several_mappings_of_a_row(evaluator: Evaluator) -> None:
    made = resource({"title": ".id"}, {"blueprint": '"c"', "identifier": ".other"}, {"blueprint": "null"})
    found = transformed(evaluator, made, [{"id": "x", "other": "y"}])
    assert [(entity.blueprint, entity.identifier, entity.body) for entity in entities(found)] == [
        ("b", "x", {"title": "x"}),
        ("c", "y", {}),
    ]
    assert [event for event in found if isinstance(event, Unnamed)] == [Unnamed(0, 2, "blueprint", 1, "x", every=True)]


def test_pages_of_several_resources_and_of_an_unknown_kind(evaluator: Evaluator) -> None:
    mapping = mapping_of(resource(), {**resource(), "kind": "teapot"}, resource({"blueprint": '"c"'}))
    found = list(Transformer(mapping, evaluator, KEY).run([page([{"id": "x"}], 0, 2), page([{"id": "y"}], 2)]))
    assert sorted(entity.key for entity in entities(found)) == [("b", "x"), ("c", "x"), ("c", "y")]


def test_problems_and_others_pass(evaluator: Evaluator) -> None:
    problem = Problem("read", "no")
    assert list(Transformer(mapping_of(resource()), evaluator, KEY).run([problem])) == [problem]


def test_what_needs_no_jq_needs_no_worker() -> None:
    evaluator = Evaluator({})
    evaluator.close()
    made = resource({"identifier": ".id | tostring", "title": ".name // .id"})
    (found,) = transformed(evaluator, made, [{"id": 7}])
    assert isinstance(found, Entity)
    assert (found.identifier, found.body) == ("7", {"title": "7"})


def test_values_of_selected_rows_belong_together(evaluator: Evaluator) -> None:
    made = resource(
        {"title": ".name", "properties": {"double": ".n * 2", "n": ".n"}},
        {"blueprint": '"c"', "title": ".n", "properties": {"half": ".n / 2"}},
        query=".n % 2 == 0",
    )
    rows: list[Row] = [{"id": f"r{n}", "name": f"row {n}", "n": n} for n in range(7)]
    found = entities(transformed(evaluator, made, rows[:4], rows[4:]))
    assert {entity.key: entity.body for entity in found} == {
        **{("b", f"r{n}"): {"title": f"row {n}", "properties": {"double": 2 * n, "n": n}} for n in range(0, 7, 2)},
        **{("c", f"r{n}"): {"title": str(n), "properties": {"half": n / 2}} for n in range(0, 7, 2)},
    }


def test_a_value_in_doubt_leaves_its_field_to_jq(evaluator: Evaluator) -> None:
    made = resource({"title": ".t", "properties": {"inner": ".a.b", "sum": ".n + 1"}})
    rows: list[Row] = [{"id": "x", "a": {"b": 1}, "n": None}, {"id": "y", "a": 5, "n": 1.5}, {"id": "z", "t": "T"}]
    transformer = Transformer(mapping_of(made), evaluator, KEY)
    first, second, third, problem = [one for one in transformer.run([page(rows)]) if not isinstance(one, Page)]
    assert [one.body["properties"] for one in (first, second, third) if isinstance(one, Entity)] == [
        {"inner": 1, "sum": 1}, {"inner": None, "sum": 2.5}, {"inner": None, "sum": 1}
    ]  # fmt: skip
    assert isinstance(problem, Problem)
    assert (problem.field, problem.count, problem.warning) == ("properties.inner", 1, True)
    # The others go on without.
    assert transformer._programs[0].keys == {"a", "b", "n"}


@pytest.mark.parametrize("name", ["identifier", "title", "properties.p", "relations.r"])
def test_a_value_that_nests_too_deeply_loses_its_row_without_jq_too(name: str) -> None:
    evaluator = Evaluator({})
    evaluator.close()
    nested: Any = {}
    for _ in range(MAX_LEVELS):
        nested = {"a": [nested]}
    head, _, key = name.partition(".")
    made = resource({head: {key: ".deep"} if key else ".deep"})
    found = transformed(evaluator, made, [{"id": "x", "deep": nested}, {"id": "y", "deep": "flat"}])
    assert [entity.values[-1] if entity.values else "flat" for entity in entities(found)] == ["flat"]
    (problem,) = problems(found)
    assert (problem.field, problem.why, problem.count) == (name, "the value nests too deeply", 1)


def test_small_pages_are_sent_together(monkeypatch: pytest.MonkeyPatch, evaluator: Evaluator) -> None:
    sent: list[int] = []
    submit = evaluator.submit

    def counted(program: str, text: bytes) -> Any:
        sent.append(len(json.loads(text)))
        return submit(program, text)

    monkeypatch.setattr(evaluator, "submit", counted)
    made = resource({"title": ".id | length"})
    found = transformed(evaluator, made, *([{"id": f"{n}-{m}"} for m in range(30)] for n in range(9)))
    assert len(entities(found)) == 270
    assert sent == [120, 120, 30]


def test_large_rows_are_sent_in_parts(monkeypatch: pytest.MonkeyPatch, evaluator: Evaluator) -> None:
    sent: list[int] = []
    submit = evaluator.submit

    def measured(program: str, text: bytes) -> Any:
        sent.append(len(text))
        return submit(program, text)

    monkeypatch.setattr(evaluator, "submit", measured)
    monkeypatch.setattr(transform, "BATCH_BYTES", 100_000)
    rows = [{"id": str(n), "text": "x" * 10_000} for n in range(20)] + [{"id": "big", "text": "x" * 100_000}]
    found = transformed(evaluator, resource({"properties": {"size": ".text | length"}}), rows)
    assert identifiers(found) == [row["id"] for row in rows]
    assert entities(found)[-1].body == {"properties": {"size": 100_000}}
    assert max(sent[:-1]) <= 100_000
    assert len(sent) >= 3


# --- parity with evaluating everything alone, as Ocean does

FIELDS = [
    ".a",
    ".a.b",
    ".b.a.c",
    ".b[0]",
    ".c // .a",
    "empty",
    ".a, .b",
    ".[]",
    "keys",
    'keys | join("-")',
    "error",
    'error({"x": 1})',
    ".a # comment",
    ".a + .b # \\",
    "def f: .b; f",
    ". as {a: $x} | $x",
    ". as $__s | $__s.a",
    "'x'",
    '"\\(.a)/\\(.["x y"])"',
    "{a, b: .c}",
    "[.a, .b]",
    "if .a then .b end",
    "select(.a) | .b",
    "try error(.a) catch .",
    "to_entries | map(.key) | sort",
    "del(.a)",
    "reduce .b[]? as $x (0; . + 1)",
    "env.STAGE",
    "$ENV | keys",
    ".a as $a | .b | [., $a]",
    "false",
    "0",
    "1.0",
    '@base64 "\\(.a)"',
    "tojson | length",
    "limit(1; repeat(.a))",
    "null, 1",
    "..|strings",
]
IDENTIFIERS = [
    ".id",
    ".id | tostring",
    ".a",
    ".b",
    "1.5",
    "'k'",
    "empty",
    ".a | tojson",
    ".a.b",
    '"i" + .id',
    "[]",
    ".",
]
SELECTORS = ["true", ".a", ".a == 1", 'has("b")', "empty", "'true'", ".b | not", ".a.b.c", "true, false", "1", "null"]
BLUEPRINTS = ['"b"', "'b'", ".a", ".kind", "null"]
entity_mappings = st.fixed_dictionaries(
    {"identifier": st.sampled_from(IDENTIFIERS), "blueprint": st.sampled_from(BLUEPRINTS)},
    optional={
        "title": st.sampled_from(FIELDS),
        "team": st.sampled_from(FIELDS),
        "properties": st.dictionaries(st.sampled_from(["p", "q", "r"]), st.sampled_from(FIELDS), max_size=3),
        "relations": st.dictionaries(st.sampled_from(["p", "s"]), st.sampled_from(FIELDS), max_size=2),
    },
)
resources = st.builds(
    lambda mappings, query, port: resource(*mappings, query=query, **port),
    st.lists(entity_mappings, min_size=1, max_size=2),
    st.sampled_from(["true", *SELECTORS]),
    st.sampled_from([{}, {}, {"itemsToParse": ".b"}, {"itemsToParse": ". as $r | .b // [1]", "itemsToParseName": "a"}]),
)
identified = st.builds(
    lambda row, id, kind: {**row, "id": id, "kind": kind},
    any_row,
    st.sampled_from(["x", "y/z", 5, 1.0, 0, "", None, "no good", [1], True, "..", "é²", "é"]),
    st.sampled_from(["b", "c", None, 3]),
)


class Gone(Exception):
    """An expression failed: what it would have given is lost."""


@cache
def program(expression: str) -> Any:
    """Gives the first output, or nothing, in a list; for an error, its message."""
    text = f"({rewrite_quotes(expression)}\n\n)"
    return jq.compile(f'{{"STAGE": "test"}} as $ENV | def env: $ENV; try [first({text})] catch tojson')


def first(expression: str, row: Any) -> Any:
    """The first output of an expression alone, None where it gives nothing. Raises Gone."""
    found = program(expression).input_value(row).first()
    if isinstance(found, str):
        raise Gone
    return found[0] if found else None


def items_of(port: Any, row: Row) -> list[Row] | None:
    """A row for each item; None where there is no list. Raises Gone."""
    if "itemsToParse" not in port:
        return [row]
    items = first(port["itemsToParse"], row)
    rest = {key: row[key] for key in row if key != "b"}
    return [rest | {port.get("itemsToParseName", "item"): item} for item in items] if isinstance(items, list) else None


def number_as_text(value: Any) -> Any:
    if isinstance(value, list):
        return [number_as_text(one) for one in value]
    return as_text(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


def as_text(identifier: Any) -> str:
    return identifier if isinstance(identifier, str) else str(identifier).removesuffix(".0")


def allowed(identifier: str) -> bool:
    marks = "0123456789@_.+:\\/=-"
    return identifier not in (".", "..") and all(c in marks or unicodedata.category(c)[0] == "L" for c in identifier)


class Model:
    """Maps rows one by one and field by field; slow, plain, and in no hurry."""

    def __init__(self, made: Any, rows: Sequence[Row]) -> None:
        self.entities: list[tuple[str, str, Any]] = []
        self.skipped: Counter[str] = Counter()
        self.unnamed: Counter[str] = Counter()
        self.lost: Counter[str] = Counter()
        for row in rows:
            try:
                items = items_of(made["port"], row)
            except Gone:
                self.lost["itemsToParse"] += 1
                continue
            self.unnamed["itemsToParse"] += items is None
            for item in items or ():
                self.row(made, item)

    def row(self, made: Any, row: Row) -> None:
        selected = self.value("selector.query", made["selector"]["query"], row, nothing="not a boolean")
        if selected is not True:
            self.skipped["selector"] += selected is False
            self.lost["selector.query"] += not isinstance(selected, bool) and selected is not LOST
            return
        entity = made["port"]["entity"]["mappings"]
        for one in entity if isinstance(entity, list) else [entity]:
            self.entity(one, row)

    def entity(self, mapping: Any, row: Row) -> None:
        identifier = self.value("identifier", mapping["identifier"], row)
        if identifier is LOST:
            return
        blueprint = self.value("blueprint", mapping["blueprint"], row)
        if blueprint is LOST:
            return
        body = {name: self.field(name, mapping[name], row) for name in ("title", "team") if name in mapping}
        for head in ("properties", "relations"):
            if mapping.get(head):
                body[head] = {name: self.field(f"{head}.{name}", mapping[head][name], row) for name in mapping[head]}
        if not identifier or not blueprint:
            self.unnamed["identifier" if not identifier else "blueprint"] += 1
        elif not isinstance(blueprint, str):
            self.lost["blueprint"] += 1
        elif isinstance(identifier, bool | list | dict) or not allowed(text := as_text(identifier)):
            self.lost["identifier"] += 1
        else:
            self.entities.append((blueprint, text, body))

    def field(self, name: str, expression: str, row: Row) -> Any:
        value = self.value(name, expression, row)
        if value is LOST:
            return None
        one_text = name == "title" and not isinstance(value, list)
        return number_as_text(value) if one_text or name.startswith(("relations.", "team")) else value

    def value(self, name: str, expression: str, row: Row, nothing: Any = None) -> Any:
        try:
            found = first(expression, row)
        except Gone:
            self.lost[name] += 1
            return LOST
        return nothing if found is None else found


LOST = object()


def _as_text(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(resources, st.lists(identified, max_size=4))
def test_a_page_equals_its_rows_and_fields_one_by_one(evaluator: Evaluator, made: Any, rows: list[Row]) -> None:
    found = transformed(evaluator, made, rows)
    expected = Model(made, rows)
    # One entity mapping of the batch comes after the other.
    made_of = [(entity.blueprint, entity.identifier, entity.body) for entity in entities(found)]
    assert sorted(map(_as_text, made_of)) == sorted(map(_as_text, expected.entities))
    assert Counter(reason for reason, _ in skipped(found)) == +expected.skipped
    nothing: Counter[str] = Counter()
    for field, count, _, _ in unnamed(found):
        nothing[field] += count
    assert nothing == +expected.unnamed
    lost: Counter[str] = Counter()
    for problem in problems(found):
        lost[problem.field] += problem.count
    assert lost == +expected.lost


# --- selector, identifier and blueprint decide over a row


def test_selector_that_is_no_boolean_is_one_problem(evaluator: Evaluator) -> None:
    rows = [{"id": str(n), "on": on, "web_url": f"u{n}"} for n, on in enumerate([True, False, "true", None, 1, 0, "x"])]
    found = transformed(evaluator, resource(query=".on"), rows)
    assert identifiers(found) == ["0"]
    assert skipped(found) == [("selector", "")]
    (problem,) = problems(found)
    assert (problem.field, problem.count, problem.sample, problem.warning) == ("selector.query", 5, "u2", False)
    assert problem.why == 'the selector must give true or false; it gave "true"'
    assert problem.line == 6
    assert problem.resources == (0,)


@pytest.mark.parametrize(
    ("query", "why"),
    [
        ("empty", "the selector must give true or false; it gave nothing"),
        ("'true'", 'the selector must give true or false; it gave "true"'),
        (".id | error", "x"),
        ('error({"a": 1})', '{"a":1}'),
    ],
)
def test_selector_without_an_answer(evaluator: Evaluator, query: str, why: str) -> None:
    (problem,) = transformed(evaluator, resource(query=query), [{"id": "x"}])
    assert isinstance(problem, Problem)
    assert (problem.why, problem.warning) == (why, False)


@pytest.mark.parametrize("nothing", [None, "", False, 0, 0.0, [], {}])
@pytest.mark.parametrize("field", ["identifier", "blueprint"])
@pytest.mark.parametrize("expression", [".it", ".it # jq"])
def test_a_row_without_a_key_gives_no_entity_and_is_counted_apart(
    evaluator: Evaluator, nothing: Any, field: str, expression: str
) -> None:
    rows = [{"id": "x", "name": f"n{n}", "it": nothing} for n in range(3)]
    found = transformed(evaluator, resource({field: expression}), rows)
    assert found == [Unnamed(0, 0, field, 3, "n0", every=True)]
    found = transformed(evaluator, resource({field: expression}), [*rows, {"id": "y", "it": "y"}])
    assert found[1:] == [Unnamed(0, 0, field, 3, "n0")]


@pytest.mark.parametrize("value", [None, ""])
@pytest.mark.parametrize(
    ("combinator", "operator", "other", "is_named"),
    [("and", "=", "x", False), ("or", "=", "x", True), ("or", "=", None, False), ("and", "isEmpty", "x", True)],
)
def test_a_search_for_nothing_is_no_identifier(
    evaluator: Evaluator, value: Any, combinator: str, operator: str, other: Any, is_named: bool
) -> None:
    def rule(value: str, operator: str = "=") -> Any:
        return {"property": '"$title"', "operator": f'"{operator}"', "value": value}

    query = {"combinator": f'"{combinator}"', "rules": [rule(".it", operator), rule(".other")]}
    found = transformed(evaluator, resource({"identifier": query}), [{"id": "x", "it": value, "other": other}])
    assert len(entities(found)) == is_named
    assert unnamed(found) == ([] if is_named else [("identifier", 1, "x", True)])


# --- fields that fail


def failing(evaluator: Evaluator, *pages: Sequence[Row], **options: Any) -> tuple[list[Any], Problem]:
    """The titles of what the pages give (absent where the title is left), and the one problem."""
    mapping = load_mapping(
        json.dumps({**options, "resources": [resource({"title": ".name.first"}, query='.id != "no"')]}),
        "map.yml",
        {"project": Selector},
    )[0]
    found = transformed(evaluator, mapping, *pages)
    (problem,) = problems(found)
    return [entity.body.get("title", "absent") for entity in entities(found)], problem


def named(count: int, name: Any = "text", start: int = 0) -> list[Row]:
    return [{"id": f"r{n}", "name": name} for n in range(start, start + count)]


@pytest.mark.parametrize("count", [10, 250])
def test_a_field_that_fails_on_every_row_is_a_problem_and_left_as_it_is(evaluator: Evaluator, count: int) -> None:
    titles, problem = failing(evaluator, named(count), [{"id": "no", "name": {"first": "not selected"}}])
    assert titles == ["absent"] * count
    assert (problem.field, problem.count, problem.warning, problem.resources) == ("title", count, False, (0,))
    assert problem.why.startswith("the expression failed on every row: ")
    assert "left as it is" in problem.hint


def test_a_field_that_fails_on_all_of_a_few_rows_is_null_and_a_warning(evaluator: Evaluator) -> None:
    titles, problem = failing(evaluator, named(9))
    assert titles == [None] * 9
    assert (problem.count, problem.warning) == (9, True)


def test_few_rows_at_first_wait_until_others_tell_whether_their_field_ever_works(
    evaluator: Evaluator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transform, "BATCH_ROWS", 1)
    few = [named(3, start=start) for start in (0, 3, 6)]
    assert failing(evaluator, *few, named(3, start=9))[0] == ["absent"] * 12
    titles, problem = failing(evaluator, *few, named(1, {"first": None}), named(2, start=9))
    assert titles == [None] * 12
    assert (problem.count, problem.warning) == (11, True)


def test_a_field_that_worked_once_is_null_where_it_fails_from_then_on(evaluator: Evaluator) -> None:
    titles, problem = failing(evaluator, named(120), named(1, {"first": "x"}), named(120))
    assert titles == ["absent"] * 120 + ["x"] + [None] * 120
    assert (problem.count, problem.warning) == (240, True)


def test_where_port_replaces_whole_entities_rows_of_such_a_field_are_not_written(evaluator: Evaluator) -> None:
    titles, problem = failing(evaluator, named(10), enableMergeEntity=False)
    assert titles == []
    assert (problem.warning, "nothing of these rows was written" in problem.hint) == (False, True)


@pytest.mark.parametrize("suffix", ["", " # jq"])
@pytest.mark.parametrize(
    ("given", "identifier"),
    [(5, "5"), (1.0, "1"), (1.5, "1.5"), (-3, "-3"), (2**53, str(2**53)), (2**62, str(2**62)), ("é/ß+日", "é/ß+日")],
)
def test_identifiers_become_text(evaluator: Evaluator, given: Any, identifier: str, suffix: str) -> None:
    assert identifiers(transformed(evaluator, resource({"identifier": f".it{suffix}"}), [{"it": given}])) == [
        identifier
    ]


@pytest.mark.parametrize("bad", ["a b", ".", "..", "a,b", "#", "a\n", "½", "²", "💡", "x" * 1001, "%"])
def test_identifiers_that_port_forbids_are_one_problem(evaluator: Evaluator, bad: str) -> None:
    found = transformed(evaluator, resource(), [{"id": "fine"}, {"id": bad, "name": "n"}, {"id": bad}])
    assert identifiers(found) == ["fine"]
    (problem,) = problems(found)
    assert (problem.field, problem.count, problem.sample, problem.warning) == ("identifier", 2, "n", False)
    assert problem.why.startswith("Port forbids the identifier ")


def test_length_of_identifiers(evaluator: Evaluator) -> None:
    assert identifiers(transformed(evaluator, resource(), [{"id": "x" * 1000}, {"id": "..."}])) == ["x" * 1000, "..."]


@pytest.mark.parametrize("shape", [True, ["x"], {"a": 1}])
def test_identifier_of_another_shape(evaluator: Evaluator, shape: Any) -> None:
    (problem,) = transformed(evaluator, resource(), [{"id": shape}])
    assert isinstance(problem, Problem)
    assert "identifier" in problem.why


def test_blueprint_of_another_shape(evaluator: Evaluator) -> None:
    (problem,) = transformed(evaluator, resource({"blueprint": ".b"}), [{"id": "x", "b": 5}])
    assert isinstance(problem, Problem)
    assert (problem.field, problem.why) == ("blueprint", "the blueprint must be text; got 5")


# --- faults of expressions


def test_error_in_a_field_is_null_and_one_warning(evaluator: Evaluator) -> None:
    made = resource({"properties": {"good": ".id", "path": ".text.x", "jq": ".text | keys"}})
    rows: list[Row] = [{"id": str(n), "text": "t", "web_url": f"u{n}"} for n in range(250)]
    rows.insert(0, {"id": "fine", "text": {"x": 1}})
    found = transformed(evaluator, made, rows[:3], rows[3:130], rows[130:])
    assert entities(found)[0].body == {"properties": {"good": "fine", "path": 1, "jq": ["x"]}}
    found = found[1:]
    assert len(entities(found)) == 250
    assert entities(found)[7].body == {"properties": {"good": "7", "path": None, "jq": None}}
    path, computed = problems(found)
    assert (path.field, path.count, path.sample, path.warning, path.line) == ("properties.path", 250, "u0", True, 15)
    assert (computed.field, computed.count, computed.why) == ("properties.jq", 250, 'string ("t") has no keys')


@pytest.mark.parametrize("field", ["identifier", "blueprint"])
@pytest.mark.parametrize("expression", [".text.x", ".text | keys"])
def test_error_in_a_key_loses_the_row(evaluator: Evaluator, field: str, expression: str) -> None:
    rows = [{"id": "a", "text": "t"}, {"id": "b", "text": "t"}]
    (problem,) = transformed(evaluator, resource({field: expression}), rows)
    assert isinstance(problem, Problem)
    assert (problem.field, problem.count, problem.sample, problem.warning) == (field, 2, "a", False)


def test_lines_and_counts_of_each_mapping(evaluator: Evaluator) -> None:
    made = resource({"title": ".id.x"}, {"title": ".id.x", "identifier": "'y'"})
    first, second = problems(transformed(evaluator, made, [{"id": "x"}]))
    assert (first.line, second.line) == (14, 19)
    assert first.count == second.count == 1


@pytest.mark.parametrize("error", ['{"__jq": 0}', '{"__jq": 1}', '{"__jq": null}', "{}", "null", "[1]", "1"])
def test_any_error_object_costs_no_other_row(evaluator: Evaluator, error: str) -> None:
    made = resource({"title": f'if .id == "bad" then error({error}) else .id end', "properties": {"p": ".id"}})
    found = transformed(evaluator, made, [{"id": "x"}, {"id": "bad"}, {"id": "y"}])
    assert [e.body["title"] for e in entities(found) if e.identifier != "bad"] == ["x", "y"]
    assert [problem.count for problem in problems(found)] == [1]


@pytest.mark.parametrize("ending", ["halt", "halt_error", '"bye" | halt_error(1)'])
@pytest.mark.parametrize("field", ["selector.query", "identifier", "title", "itemsToParse"])
def test_halt_loses_one_row_and_is_named(evaluator: Evaluator, ending: str, field: str) -> None:
    expression = f'if .id == "bad" then {ending} else $value end'
    made = resource(
        {"identifier": expression.replace("$value", ".id")} if field == "identifier" else {},
        query=expression.replace("$value", "true") if field == "selector.query" else "true",
    )
    if field == "title":
        made["port"]["entity"]["mappings"]["title"] = expression.replace("$value", "1")
    if field == "itemsToParse":
        made["port"]["itemsToParse"] = expression.replace("$value", "[1]")
    found = transformed(evaluator, made, [{"id": "x"}, {"id": "bad"}, {"id": "y"}, {"id": "bad"}])
    assert identifiers(found) == ["x", "y"]
    (problem,) = problems(found)
    assert (problem.field, problem.count, problem.sample, problem.warning) == (field, 2, "bad", False)
    assert "halt" in problem.why
    lines = json.dumps({"resources": [made]}, indent=1).splitlines()
    assert lines[(problem.line or 0) - 1].strip().startswith(f'"{field.rpartition(".")[2]}"')


def test_environment_of_expressions(evaluator: Evaluator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OCEAN__INTEGRATION__CONFIG__GITLAB_TOKEN", "glpat-secret")
    found = transformed(evaluator, resource({"properties": {"a": "env", "b": "$ENV"}}), [{"id": "x"}])
    assert entities(found)[0].body == {"properties": {"a": {"STAGE": "test"}, "b": {"STAGE": "test"}}}


# --- runaways


def guarded(expression: str, field: str) -> Any:
    """A resource one of whose fields does that for rows whose id begins with "bad"."""
    text = f'if .id | startswith("bad") then {expression} else $value end'
    return resource(
        {"title": text.replace("$value", "1")} if field == "title" else {},
        query=text.replace("$value", "true") if field == "selector.query" else "true",
        **({"itemsToParse": text.replace("$value", "[1]")} if field == "itemsToParse" else {}),
    )


@pytest.mark.parametrize(
    ("expression", "field"),
    [
        ("last(repeat(1))", "selector.query"),
        ("last(repeat(1))", "title"),
        ("last(repeat(1))", "itemsToParse"),
        ('"x" * (.id | length * 2e8) | length', "title"),
        ('"x" * 9000000', "title"),
        ("[range(400000)]", "itemsToParse"),
    ],
)
def test_a_row_that_runs_away_or_gives_too_much_is_lost_alone_and_named(
    impatient: Evaluator, expression: str, field: str
) -> None:
    mapping = mapping_of(guarded(expression, field), resource({"blueprint": '"c"', "title": ".id | length"}))
    rows = [{"id": f"a{n}"} for n in range(100)]
    pages = [page(rows, 0, 1), page([*rows[:50], {"id": "bad"}, *rows[50:]], 0, 1), page(rows, 0, 1)]
    found = transformed(impatient, mapping, *pages)
    assert Counter(entity.blueprint for entity in entities(found)) == {"b": 300, "c": 301}
    (problem,) = problems(found)
    assert (problem.field, problem.resources, problem.warning, problem.count) == (field, (0,), False, 1)
    assert problem.sample == "bad"
    lines = json.dumps({"resources": [guarded(expression, field)]}, indent=1).splitlines()
    assert lines[(problem.line or 0) - 1].strip().startswith(f'"{field.rpartition(".")[2]}"')


def test_rows_that_are_slow_together_are_all_mapped(impatient: Evaluator, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    submit = impatient.submit

    def slow(program: str, text: bytes) -> Any:
        """Kills what holds more than 15 rows."""
        asked.append(len(json.loads(text)))
        return submit("last(repeat(1))" if asked[-1] > 15 else program, text)

    monkeypatch.setattr(impatient, "submit", slow)
    monkeypatch.setattr(impatient, "workers", 1)
    rows = [[{"id": f"{n}-{m}"} for m in range(100)] for n in range(5)]
    found = transformed(impatient, resource({"title": ".id | length"}), *rows)
    assert (len(entities(found)), problems(found)) == (500, [])
    # What is under way when the first is killed is run row by row too; all others are sent in small batches.
    assert asked.count(100) <= 3


def test_a_resource_with_many_rows_that_run_away_is_given_up(impatient: Evaluator) -> None:
    mapping = mapping_of(guarded("last(repeat(1))", "title"), resource({"blueprint": '"c"', "title": ".id | length"}))
    rows = [{"id": f"a{n}"} for n in range(100)]
    bad = [{"id": f"bad{n}"} for n in range(9)]
    found = transformed(impatient, mapping, page(rows, 0, 1), page([*rows, *bad, *rows], 0, 1), page(rows, 0, 1))
    # What was mapped before is written all the same.
    assert Counter(entity.blueprint for entity in entities(found)) == {"b": 200, "c": 409}
    whole, lost = sorted(problems(found), key=lambda problem: problem.count)
    assert (whole.field, whole.resources, whole.warning) == ("title", (0,), False)
    assert "the resource was given up" in whole.why
    assert (lost.field, lost.count, lost.sample) == ("title", transform.MOST_KILLED, "bad0")


def test_nothing_more_is_asked_of_a_resource_that_was_given_up(
    impatient: Evaluator, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    submit = impatient.submit
    mapping = mapping_of(resource({"title": "last(repeat(1))"}), resource({"title": "2+2"}))

    def counted(program: str, text: bytes) -> Any:
        if "2+2" not in program:
            asked.append(len(json.loads(text)))
        return submit(program, text)

    monkeypatch.setattr(impatient, "submit", counted)
    full = [{"id": str(n)} for n in range(100)]
    # One row still waits for company when the other resource's page makes us wait for the first answer.
    pages = [
        *(page(full, 0) for _ in range(4)),
        page([{"id": "waits"}], 0),
        page(full, 1),
        page(full, 0),
        page(full, 0),
    ]
    found = transformed(impatient, mapping, *pages)
    assert (len(problems(found)), len(entities(found))) == (2, 100)
    # Four pages, the first rows alone, and for the first of them each field up to the one that does not end.
    assert asked == [100] * 4 + [1] * (transform.MOST_KILLED + 4)


# --- searches


def test_search_identifier_relation_and_team(evaluator: Evaluator) -> None:
    def query(value: str) -> Any:
        return {"combinator": '"and"', "rules": [{"property": '"$title"', "operator": '"="', "value": value}]}

    made = resource({"identifier": query(".id"), "team": query(".team.name"), "relations": {"to": query(".id.x")}})
    found = transformed(evaluator, made, [{"id": "x", "team": {"name": "t"}}])
    (entity,) = entities(found)
    assert entity.is_search
    assert entity.identifier == {"combinator": "and", "rules": [{"property": "$title", "operator": "=", "value": "x"}]}
    assert entity.body["team"]["rules"][0]["value"] == "t"
    assert entity.body["relations"] == {"to": None}
    assert [(problem.field, problem.warning) for problem in problems(found)] == [("relations.to", True)]
    lost = transformed(evaluator, resource({"identifier": query(".id.x")}), [{"id": "x"}])
    assert [(problem.field, problem.warning) for problem in problems(lost)] == [("identifier", False)]
    assert entities(lost) == []


def test_error_deep_in_a_search_is_found(evaluator: Evaluator) -> None:
    rule = {"property": '"a"', "operator": '"="', "value": ".id | keys"}
    inner = {"combinator": '"or"', "rules": [rule]}
    query = {"combinator": '"and"', "rules": [{"property": '"a"', "operator": '"="', "value": "1"}, inner]}
    found = transformed(evaluator, resource({"identifier": query}), [{"id": "x"}])
    assert [(problem.field, problem.why) for problem in problems(found)] == [("identifier", 'string ("x") has no keys')]


# --- items


def test_items_become_entities(evaluator: Evaluator) -> None:
    made = resource({"identifier": ".item.n", "title": ".id"}, query=".item.n != 2", itemsToParse=".list")
    rows = [
        {"id": "x", "list": [{"n": 1}, {"n": 2}, {"n": 3}]},
        {"id": "y", "list": []},
        {"id": "z"},
        {"id": 1, "list": 5},
    ]
    found = transformed(evaluator, made, rows)
    assert [(entity.identifier, entity.body["title"]) for entity in entities(found)] == [("1", "x"), ("3", "x")]
    assert skipped(found) == [("selector", "")]
    assert problems(found) == []
    assert unnamed(found) == [("itemsToParse", 2, "z", False)]


# --- before a run


def test_compile_errors_of_a_mapping(evaluator: Evaluator) -> None:
    texts = [
        ".a",
        "'x'",
        ".a.b # c",
        "[inputs]",
        ".a)",
        'import "a" as $a; .',
        "module {}; .",
        ".é",
        ".a\0",
        ".a | input",
    ]
    found = compile_errors(texts, evaluator)
    assert found[:3] == [None] * 3
    assert "`inputs` has no meaning here" in str(found[3])
    assert "syntax error" in str(found[4])
    assert ["has no meaning" in str(error) for error in found[5:]] == [True, True, False, False, True]
    assert all(found[5:])


def test_plain_paths_need_no_worker() -> None:
    evaluator = Evaluator({})
    evaluator.close()
    assert compile_errors([".a", " .a.b "], evaluator) == [None, None]


def test_legacy_fields_take_what_was_read_and_are_left_where_nothing_was(evaluator: Evaluator) -> None:
    made = resource({"identifier": ".id", "title": "file://a", "properties": {"p": "search://b", "row": "."}})
    rows = [{"id": "x", LEGACY: {"file://a": "text", "search://b": None}}, {"id": "y", LEGACY: {"file://a": None}}]
    first, second = transformed(evaluator, made, rows)
    assert isinstance(first, Entity)
    assert isinstance(second, Entity)
    assert first.body == {"title": "text", "properties": {"p": None, "row": {"id": "x"}}}
    assert second.body == {"title": None, "properties": {"row": {"id": "y"}}}


def test_a_legacy_identifier_that_was_not_read_gives_no_entity(evaluator: Evaluator) -> None:
    made = resource({"identifier": "file://id", "title": ".id"})
    assert transformed(evaluator, made, [{"id": "x", LEGACY: {}}]) == []
    (found,) = transformed(evaluator, made, [{"id": "x", LEGACY: {"file://id": "me"}}])
    assert isinstance(found, Entity)
    assert found.identifier == "me"


# --- merging


def entity(identifier: str, resource: int, order: tuple[int, int], **body: Any) -> Entity:
    return Entity.of("b", identifier, body, resource, order)


def merged(*events: Event | Entity) -> list[Event | Entity]:
    return list(merge_shared(events, frozenset({"b"})))


def test_later_resources_win_field_by_field() -> None:
    first = entity("x", 0, (1, 1), title="a", properties={"p": 1, "q": 1}, relations={"r": "1"})
    second = entity("x", 2, (5, 5), title=None, properties={"q": 2, "s": None}, icon="i")
    body = {"title": None, "icon": "i", "properties": {"p": 1, "q": 2, "s": None}, "relations": {"r": "1"}}
    for events in ((first, second), (second, first)):
        (found,) = merged(*events)
        assert isinstance(found, Entity)
        assert (found.body, found.resource) == (body, 0)


def test_lowest_row_of_a_resource_wins() -> None:
    rows = [entity("x", 0, order, title=f"{order}") for order in [(2, 1), (1, 9), (1, 2), (3, 0)]]
    for events in (rows, rows[::-1]):
        *lost, found = merged(*events)
        assert lost == [Skipped(0, "duplicate", "x")] * 3
        assert isinstance(found, Entity)
        assert found.body == {"title": "(1, 2)"}


def test_of_one_row_the_last_item_wins() -> None:
    skip, found = merged(entity("x", 0, (1, 1), title="a"), entity("x", 0, (1, 1), title="b"))
    assert (skip, found) == (Skipped(0, "duplicate", "x"), entity("x", 0, (1, 1), title="b"))


def test_last_resource_replaces_the_others_where_port_does_not_merge() -> None:
    first, second = entity("x", 0, (1, 1), title="a", properties={"p": 1}), entity("x", 1, (1, 1), properties={"q": 2})
    assert list(merge_shared([second, first], frozenset({"b"}), by_field=False)) == [second]


def test_any_blueprint_may_be_shared() -> None:
    first, second = entity("x", 0, (1, 1), title="a"), entity("x", 1, (1, 1), icon="i")
    search = Entity.of("c", {"rules": []}, {}, 0)
    found = list(merge_shared([first, search, second], None))
    assert found == [search, entity("x", 0, (1, 1), title="a", icon="i")]


def test_what_is_not_shared_passes_at_once() -> None:
    other, search = Entity.of("c", "x", {}, 0), Entity.of("b", {"rules": []}, {}, 0)
    mine = entity("x", 0, (1, 1))
    problem = Problem("read", "no")
    assert merged(mine, other, search, problem) == [other, search, problem, mine]


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_order_of_pages_does_not_matter(evaluator: Evaluator, data: st.DataObject) -> None:
    mapping = mapping_of(
        resource({"identifier": ".key", "title": ".id | tostring", "properties": {"a": ".scope"}}),
        resource({"identifier": ".key", "properties": {"b": ".id"}}, query=".id != 2"),
    )
    pages = [
        page([{"id": id, "key": key, "scope": scope} for id, key in rows], *found, scope=scope)
        for scope, (rows, found) in enumerate(
            data.draw(
                st.lists(
                    st.tuples(
                        st.lists(
                            st.tuples(st.integers(1, 9), st.sampled_from("xyz")),
                            max_size=4,
                            unique_by=lambda row: row[0],
                        ),
                        st.sampled_from([(0,), (1,), (0, 1)]),
                    ),
                    max_size=5,
                )
            )
        )
    ]
    outcomes = []
    for ordered in (pages, data.draw(st.permutations(pages))):
        events = list(merge_shared(transformed(evaluator, mapping, *ordered), frozenset({"b"})))
        kept = sorted((repr(found.identifier), repr(sorted(found.body.items()))) for found in entities(events))
        outcomes.append((kept, Counter(skipped(events))))
    assert outcomes[0] == outcomes[1]


@pytest.mark.parametrize("query", ["true", ".id > 0"])
def test_items_that_fail_are_a_problem(evaluator: Evaluator, query: str) -> None:
    """Rows that vanish in an error are not gone: their entities must not be deleted for it."""
    made = resource({"identifier": '"\\(.id)-\\(.item)"'}, query=query, itemsToParse=".list | map(. + 1)")
    rows = [{"id": 1, "list": [1, 2]}, {"id": 2, "list": ["x"], "web_url": "u2"}, {"id": 3, "list": 5}]
    found = transformed(evaluator, made, rows)
    assert identifiers(found) == ["1-2", "1-3"]
    (problem,) = problems(found)
    assert (problem.field, problem.count, problem.sample, problem.warning) == ("itemsToParse", 2, "u2", False)
    assert problem.resources == (0,)


@pytest.mark.parametrize("query", ["true", ".id > 0"])
def test_what_is_no_list_of_items_is_counted_and_an_empty_list_is_not(evaluator: Evaluator, query: str) -> None:
    made = resource({"identifier": ".item"}, query=query, itemsToParse=".list")
    rows: list[Row] = [{"id": 3, "list": 5}, {"id": 4}, {"id": 6, "list": None}]
    assert transformed(evaluator, made, rows) == [Unnamed(0, None, "itemsToParse", 3, "3", every=True)]
    rows.append({"id": 5, "list": []})
    assert transformed(evaluator, made, rows) == [Unnamed(0, None, "itemsToParse", 3, "3")]
    assert (
        transformed(evaluator, resource({"identifier": ".item"}, query=query, itemsToParse=".list // []"), rows[1:])
        == []
    )
