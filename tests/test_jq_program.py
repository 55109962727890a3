"""Tests of the programs that are built for jq, evaluated in this process."""

import json
import re
from typing import Any

import jq
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from gitlab_port_export.jq.program import LEFT, LEGACY, ONE, build, forbidden_word, rewrite_quotes, top_level_path
from gitlab_port_export.mapping.model import EntityMapping, Resource
from testbed.jq_grammar import values

KEY = "__error"
NO_INDEX = jq.compile("try .id.x catch .").input_value({"id": 1}).first()


def resource(query: str = "true", items: str | None = None, *mappings: Any, **port: Any) -> Resource:
    """A resource that maps `.id`, or these entity mappings."""
    found = list(mappings) or [{"identifier": ".id", "blueprint": '"b"'}]
    return Resource.model_validate(
        {
            "kind": "project",
            "selector": {"query": query},
            "port": {"entity": {"mappings": found}, **({"itemsToParse": items} if items else {}), **port},
        }
    )


def names(made: Resource) -> set[str]:
    """The fields of all its mappings."""
    return {name for mapping in made.mappings for name, _ in mapping.fields()}


def run(made: Resource, rows: Any, only: str | None = None) -> Any:
    return jq.compile(build(made, KEY, only, in_jq=names(made)).text).input_text(json.dumps(rows)).first()


def value(expression: str, row: Any = None) -> Any:
    """What one computed property gives for a row."""
    made = resource(
        "true", None, {"identifier": ".id", "blueprint": '"b"', "properties": {"p": expression, "q": "9+9"}}
    )
    (((_, (found,)),),) = run(made, [{"id": 1} if row is None else row])
    assert found[3:] == [18], "the next field is as it was"
    return found[2]


# --- single quotes


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("'svc'", '"svc"'),
        (".a == 'x'", '.a == "x"'),
        (".a + '/' + .b", '.a + "/" + .b'),
        ("map('x')", "map('x')"),
        ("select(.t=='x')", "select(.t=='x')"),
        ("[ 'a', 'b' ]", '[ "a\', "b" ]'),
        ("{'k': 'v'}", "{'k': \"v'}"),
        ("\"a 'q' b\"", '"a "q" b"'),
        ("it's", "it's"),
        ("''", '""'),
        ("' a'", '" a"'),
        ("'\"a\"'", "'\"a\"'"),
        ("a\n'b'\n", 'a\n"b"\n'),
        ("'", '"'),
        ("'a", '"a'),
        ("a'", 'a"'),
    ],
)
def test_single_quotes_become_double_where_ocean_makes_them_so(written: str, read: str) -> None:
    assert rewrite_quotes(written) == read


@given(st.text(st.sampled_from("'\"a \n|."), max_size=12))
def test_single_quotes_are_read_as_ocean_reads_them(text: str) -> None:
    def becomes_double(at: int) -> bool:
        before, after = text[at - 1 : at] if at else "", text[at + 1 : at + 2]
        opens = (not before or before.isspace()) and not (after.isspace() or after == '"')
        closes = (not after or after.isspace()) and not (before.isspace() or before == '"')
        return opens or closes

    # A blank between two quotes belongs to the first of them.
    taken: set[int] = set()
    for found in re.finditer(r"""(^|\s)'(?!\s|")|(?<!\s|")'(\s|$)""", text):
        taken.add(text.index("'", found.start()))
    expected = "".join('"' if at in taken else sign for at, sign in enumerate(text))
    assert rewrite_quotes(text) == expected
    assert all(becomes_double(at) for at in taken)


# --- words without a meaning


@pytest.mark.parametrize(
    "text",
    [
        *("input", "[inputs]", 'import "a" as a; .', 'include "a"; .', "input_line_number", "module {}; ."),
        r'"\(input)"', r'"a \(.b + "c \(input)") d"', r'@text "\((.a | input))"', r'"\\" + input', '"(" + input',
    ],
)  # fmt: skip
def test_a_word_that_cannot_work_is_named(text: str) -> None:
    assert forbidden_word(text) in ("input", "inputs", "import", "include", "module", "input_line_number")


@pytest.mark.parametrize(
    "text",
    [
        *(".input", "$input", '"input"', ".a # input", "{input: 1}", "{inputs}", "input_filename", ".a.include"),
        "my_input", r'"the input is \(.x)"', r'"\(.input)"', r'"\(")")" + "input"', '"input(" + ")"', r'"a \"input"',
        '"input',
    ],
)  # fmt: skip
def test_a_name_that_only_looks_like_a_forbidden_word_is_allowed(text: str) -> None:
    assert forbidden_word(text) is None


# --- one expression cannot hurt another


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("empty", None),
        ("1, 2", 1),
        ("false, 2", False),
        ("null, 2", None),
        ("1, error", 1),
        (".a # comment", None),
        ("7 # comment, 8)", 7),
        ("7 # goes on \\", 7),
        ("7 # does not \\\\", 7),
        ("def f: 3; f", 3),
        ("def first(f): 4; first(.)", 4),
        (". as $__s | $__s.id", 1),
        (". as $x | 1 as $x | $x", 1),
        ("1 as $__row | $__row", 1),
        ("label $out | 5, break $out", 5),
        ("reduce (1, 2) as $x (0; . + $x)", 3),
        ("limit(2; repeat(6))", 6),
        ("'q' ", "q"),
        ('error("no")', {KEY: "no"}),
        ("error(null)", {KEY: "null"}),
        ('error({"a": [1]})', {KEY: '{"a":[1]}'}),
        (".id.x # no path", {KEY: NO_INDEX}),
        ('try error("x") catch .', "x"),
        ("$ENV.PATH | type", "string"),
        ('"x" * 1000 | error', {KEY: "x" * 300}),
    ],
)
def test_an_unusual_expression_gives_what_jq_gives(expression: str, expected: Any) -> None:
    assert value(expression) == expected


@pytest.mark.parametrize(
    "expression",
    [".a) | (.b", ".a), (.b", '.a" + "', "1]] | [[1", "def f: 1; 2) | (3", "f; def f: 1", "$__s", "$__row"],
)
def test_nothing_breaks_out(expression: str) -> None:
    # Each expression is compiled alone before a run; these would fit between our own brackets.
    with pytest.raises(ValueError, match="compile error"):
        jq.compile(rewrite_quotes(expression))


@pytest.mark.parametrize(
    ("query", "selected"),
    [
        ("true", [True]),
        (" true ", [True]),
        (".ok", [True]),
        (".ok | not", [False]),
        ("'true'", ["true"]),
        ("null", [None]),
        ("1", [1]),
        ("empty", []),
        ("true, false", [True]),
        ("true # yes \\", [True]),
        (".id.x", {KEY: NO_INDEX}),
    ],
)
def test_a_selector_gives_the_output_of_jq_or_its_error(query: str, selected: Any) -> None:
    (((found, values),),) = run(resource(query), [{"id": 1, "ok": True}])
    assert found == selected
    # Nothing is evaluated for a row that is not wanted.
    assert values == ([[1, "b"]] if isinstance(found, list) and found and found[0] is True else [])


def test_search_query_is_rebuilt_with_its_leaves_evaluated() -> None:
    query = {
        "combinator": '"and"',
        "rules": [
            {"property": "'$title'", "operator": '"="', "value": ".id # comment"},
            {"combinator": '"or"', "rules": [{"property": '"a"', "operator": '"="', "value": ".id.x"}]},
        ],
    }
    made = resource("true", None, {"identifier": query, "blueprint": '"b"'})
    (((_, ((found, _),)),),) = run(made, [{"id": 5}])
    inner = {"property": "a", "operator": "=", "value": {KEY: NO_INDEX}}
    assert found == {
        "combinator": "and",
        "rules": [{"property": "$title", "operator": "=", "value": 5}, {"combinator": "or", "rules": [inner]}],
    }


# --- items


@pytest.mark.parametrize(
    ("expression", "path"),
    [
        (".a.b", ".a.b"),
        (".a[]", ".a"),
        (". as $r | .x[0].y", ".x[0].y"),
        (". | .a", ".a"),
        ("(.a) | map(.b)", ".a"),
        ("( .a | .b ) // []", ".a"),
        (".a // [] | map(.b)", ".a"),
        (". as $r | $r.x | .y", ".y"),
        ('.a["b c"].d', '.a["b c"].d'),
        ('.["a"][-1][1:].c', '.["a"][-1][1:].c'),
        (".a[.b].c", ".a[.b].c"),
        (".a[ .b.c ]", ".a[ .b.c ]"),
        (".a[.b[0]]", None),
        (".a[.b | tostring]", None),
        (". as $r | .a[$r.b]", None),
        (".a[.b + 1]", None),
        ("$ENV | .a", ".a"),
        ("[.a[] | select(.b)]", None),
        ("to_entries", None),
        ("if .a then .b else .c end", None),
        ('."x"', None),
        (".", None),
        ('["a"]', None),
        ("(.a", ".a"),
    ],
)
def test_top_level_path(expression: str, path: str | None) -> None:
    assert top_level_path(expression) == path


def items(expression: str, row: Any, **port: Any) -> list[Any]:
    """The rows that one row is parsed into, or what stands there without a list."""
    made = resource("true", expression, {"identifier": "1+1", "blueprint": '"b"', "properties": {"row": "."}}, **port)
    (found,) = run(made, [row])
    return [values[0][2] if values else where for _, values, *where in found]


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        (".a.b", [{"id": 1, "a": {}, "item": 1}, {"id": 1, "a": {}, "item": 2}]),
        (". as $r | .a.b", [{"id": 1, "a": {}, "item": 1}, {"id": 1, "a": {}, "item": 2}]),
        ("[.a.b[]]", [{"id": 1, "a": {"b": [1, 2]}, "item": 1}, {"id": 1, "a": {"b": [1, 2]}, "item": 2}]),
        (".a.b # all \\", [{"id": 1, "a": {}, "item": 1}, {"id": 1, "a": {}, "item": 2}]),
        (".a.b, .id", [{"id": 1, "a": {}, "item": 1}, {"id": 1, "a": {}, "item": 2}]),
        (".a.c", [["itemsToParse"]]),
        (".a", [["itemsToParse"]]),
        ("empty", [["itemsToParse"]]),
        ("[]", []),
        # The path cannot be taken out of this row, which stays whole.
        (".id.x? // [3]", [{"id": 1, "a": {"b": [1, 2]}, "item": 3}]),
    ],
)
def test_each_item_of_a_list_is_parsed(expression: str, expected: list[Any]) -> None:
    assert items(expression, {"id": 1, "a": {"b": [1, 2]}}) == expected


def test_items_that_fail_are_told() -> None:
    made = resource("true", ".id.x", {"identifier": "1+1", "blueprint": '"b"'})
    ((told,),) = run(made, [{"id": 1}])
    assert told[1:] == [[], "itemsToParse"]
    assert "Cannot index number" in told[0][KEY]


def test_a_computed_path_is_cut_where_it_leads_and_nothing_beside_it() -> None:
    row = {"key": "b", "x": {"b": [1], "c": 2}}
    assert items(".x[.key]", row) == [{"key": "b", "x": {"c": 2}, "item": 1}]
    assert items(".x[.key | tostring]", row) == [{**row, "item": 1}]


def test_items_follow_their_options() -> None:
    row = {"id": 1, "a": ["x"], "the \\(one)": 0}
    assert items(".a", row, itemsToParseTopLevelTransform=False) == [{**row, "item": "x"}]
    assert items(".a", row, itemsToParseName="the \\(one)") == [{"id": 1, "the \\(one)": "x"}]
    assert items(".a", row, itemsToParseName="id") == [{"id": "x", "the \\(one)": 0}]


def test_items_come_before_the_selector() -> None:
    found = run(
        resource(".item > 1", ".a", {"identifier": ".item", "blueprint": '"b"'}), [{"a": [1, 2]}, {"a": []}, {}]
    )
    assert found == [[[[False], []], [[True], [[2, "b"]]]], [], [[None, [], "itemsToParse"]]]


# --- what stays out of jq


def _joined(part: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    infix = st.sampled_from(
        [" | ", "|", " // ", "//", " + ", "-", " * ", "/", " % ", " == ", "!=", "<", " and ", " or "]
    )
    call = st.sampled_from(["map", "", "not|", "split", "has", "any", "all", "min_by", "sort_by", "group_by", "test"])
    return st.one_of(
        st.tuples(part, infix, part).map("".join),
        st.tuples(call, part).map(lambda found: f"{found[0]}({found[1]})"),
        st.tuples(part, st.sampled_from(["[0]", "[-1]", "[:2]", "[1:]", "[1:-1]", ".a", " // []", "// { }"])).map(
            "".join
        ),
        st.tuples(part, part, part).map(lambda found: f"if {found[0]} then {found[1]} else {found[2]} end"),
        st.tuples(part, part).map(lambda found: f"if {found[0]} then {found[1]} end"),
        st.tuples(part, part).map(lambda found: f"gsub({found[0]}; {found[1]})"),
    )


words = st.sampled_from(
    [
        *(".", ".a", ".b.c", " .a ", '"a"', '"x y"', '""', "0", "1", "2.5", "null", "true", "false", "not", "type"),
        *("length", "tostring", "tonumber", "tojson", "ascii_upcase", "keys", "add", "any", "all", "to_entries"),
        *("from_entries", "reverse", "flatten", "sort", "unique", "min", "max", "round", "floor", "fromdate", "todate"),
    ]
)


@settings(max_examples=400)
@given(st.recursive(words, _joined, max_leaves=6), values)
def test_what_needs_no_first_gives_one_output_or_fails(expression: str, row: Any) -> None:
    assume(ONE.fullmatch(expression))
    try:
        program = jq.compile(f"try [{expression}] catch null")
    except ValueError:
        return
    found = program.input_value(row).first()
    assert found is None or len(found) == 1


@pytest.mark.parametrize(
    "expression",
    [".[]", ".a[]", ".a []", ". []", ".a[1,2]", "..", "1, 2", "empty", ".a?", "map(.x)[]", "range(3)", "first(.a)",
     "{a}", "[]", "(.a)[]", ".a # c", "$x", ".a as $x | 1", "select(.a)", 'try error("x")', '"\\(1, 2)"', ".a = 1",
     ".a |= empty", "recurse", "error", "input", "limit(1; 2)", "sub(1; 2)", "scan(1)", "match(1)", "splits(1)",
     "", "{}", ".a[][0]", "paths", "@text", "keys[]", "nullx", "map_values(.x)", "reduce .a as $x (0; 1)", "del(.a)"],
)  # fmt: skip
def test_what_may_give_several_outputs_or_none_is_cut_to_one(expression: str) -> None:
    assert not ONE.fullmatch(expression)


def test_only_what_is_computed_goes_to_jq() -> None:
    mapping = {"identifier": ".id", "blueprint": '"b"', "title": ".x.y", "properties": {"p": ".z | length"}}
    made = resource(".ok == 1", None, mapping)
    program = build(made, KEY)
    assert program.fields == (("identifier", "blueprint", "title", "properties.p"),)
    rows: list[Any] = [{"id": 7, "x": {"y": 8}, "ok": 1, "z": "abc"}]
    assert program.evaluate(rows) == [[[7], ["b"], [8], None]]
    assert ".x.y" not in program.text
    assert program.keys == {"ok", "z"}
    assert jq.compile(program.text).input_value(rows).first() == [[[[True], [[3]]]]]
    whole = build(made, KEY, in_jq=names(made))
    assert whole.evaluate(rows) == [[None] * 4]
    assert whole.keys == {"ok", "z", "id", "x", "y"}
    part = build(made, KEY, in_jq={"title"})
    assert part.evaluate(rows) == [[[7], ["b"], None, None]]
    assert run(made, rows) == [[[[True], [[7, "b", 8, 3]]]]]


def test_what_leaves_nothing_to_jq_has_no_program() -> None:
    made = resource("true", None, {"identifier": ".id | tostring", "blueprint": "'b'"})
    assert build(made, KEY).text == ""
    assert build(made, KEY).evaluate([{"id": 7}]) == [[["7"], ["b"]]]
    assert build(resource(".ok", None, {"identifier": ".id", "blueprint": "'b'"}), KEY).keys == {"ok"}


def test_items_exist_in_jq_alone() -> None:
    made = resource("true", ".a", {"identifier": ".item", "blueprint": '"b"'})
    assert build(made, KEY).columns == ((None, None),)
    assert build(made, KEY).keys is None


def test_one_field_alone() -> None:
    mapping = {"identifier": "1+1", "blueprint": '"b"', "title": "2+2"}
    made = resource(".ok", ".a", mapping)
    rows = [{"a": [0], "ok": True}]
    assert run(made, rows, only="title") == [[[[True], [[4]]]]]
    assert run(made, rows, only="selector.query") == [[[[True], [[]]]]]
    assert run(made, [{"a": [0], "ok": 5}], only="itemsToParse") == [[[[True], [[]]]]]


def test_legacy_forms_follow_a_key_of_the_row_and_jq_sees_nothing_of_them() -> None:
    mapping = {"identifier": ".a", "blueprint": '"b"', "title": "search://b", "properties": {"p": "file://c"}}
    for items in (None, ".items"):
        made = resource("true", items, mapping)
        rows: list[Any] = [{LEGACY: {"search://b": 1, "file://c": 2}}, {"x": 1}]
        ((_, _, *found),) = build(made, KEY).evaluate(rows)
        assert found == [[1, LEFT], [2, LEFT]]
        assert "://" not in build(made, KEY).text
    assert EntityMapping.model_validate(mapping).title == "search://b"
