"""Tests of the expressions that are evaluated without jq: jq itself says what they have to give."""

import json
from datetime import UTC, datetime
from typing import Any

import jq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gitlab_port_export.base.jsontext import canonical
from gitlab_port_export.demo.port_store import PortStore
from gitlab_port_export.demo.world import sample_world
from gitlab_port_export.jq.pool import Evaluator
from gitlab_port_export.jq.without_jq import Column, Doubt, plain
from testbed.harness import run_sync
from testbed.jq_grammar import expressions, text, values

NOW = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)
# A row of everything that plain expressions look at, and of what they leave to jq.
ROWS: list[Any] = [
    {"id": 7, "name": "a b", "list": [{"name": "x"}, None, {"name": None}], "deep": {"name": "y", "on": True}},
    {"id": 2**53, "name": "", "list": [], "deep": None, "off": False},
    {"id": 1.0, "name": "x!y!", "list": ["x"], "deep": "y"},
    {"id": -5, "list": None, "name": "é\u2028", "deep": {"on": [1, 2]}},
    {},
]


def expected(expression: str, row: Any) -> Any:
    """What jq gives first (None for nothing), or the exception Doubt for an error."""
    (found,) = jq.compile(f"[try [first(({expression}), null)] catch null]").input_value(row).first()
    return found[0] if found else Doubt


def same_as_jq(expression: str, column: Column, row: Any) -> bool:
    """Whether a plain expression gave jq's output; else it was in doubt, as it has to be for an error."""
    try:
        (found,) = column([row])
    except Doubt:
        return False
    assert canonical(found) == canonical(expected(expression, row)), (expression, row)
    return True


PLAIN = [
    ".id",
    " .deep.name\n",
    '"text"',
    "5",
    "null",
    "true",
    "false",
    ".",
    ".id | tostring",
    ".off | tostring",
    ".name // .id",
    ".off // .nothing // 3",
    '.name // "Name \\(.id // .deep.name) of \\( .name )"',
    ".deep.name // empty | tostring",
    "(.deep // empty | .on) // false",
    ".list // [] | map(.name)",
    '.list // [] | map(.name // empty | . + "!")',
    ".list[0].name",
    ".list[-1]",
    ".deep.on[5]",
    '.name | split("!")[1]',
    '.name | split(" ") | map(tostring)',
    '.name|gsub(" "; "")',
    '.name + "/" + (.id | tostring)',
    ".nothing + .name",
    ".id + 35",
    ".deep // {} | .name",
    "( ( .name ) )",
    '"\\("a" + "b")"',
    ".if.and",
    ".name | null",
]


@pytest.mark.parametrize("expression", PLAIN)
def test_plain_expressions_give_what_jq_gives(expression: str) -> None:
    column = plain(expression)
    assert column
    good = [row for row in ROWS if same_as_jq(expression, column, row)]
    assert good
    assert canonical(column(good)) == canonical([expected(expression, row) for row in good])


@pytest.mark.parametrize(
    "expression",
    [".a?", ".a[]", ".[]", ".é", ".aé", ". a", ".a .b", ".a # x", ".1", "..", ".[0]", ".a[1:]", '.["a"]', '."a"', "-1",
     "1.5", "1e3", "1234567890123456", '"a\\n"', '"tab\t"', ".a == 1", ".a = 1", ".a |= 1", ".a //= 1", ".a ?// 1",
     ".a, .b", "[.a]", "{a}", "{a: 1}", "$x", ". as $x | 1", "map(.a", "(.a", ".a)", "nullx", "null::x", "mapx(.a)",
     "map (.a) (", 'split("")', 'split("a"; "b")', 'gsub("."; "")', 'gsub("a"; "\\(.x)")', 'gsub(""; "")', "",
     'sub("a"; "b")', "if .a then 1 else 2 end", ".a + (empty)", '"\\(empty)"', ".a +", "| .a", "// 1", ".a | ",
     'gsub("(a)"; "b")', 'gsub("a+"; "b")', 'gsub("[a]"; "b")', "not", "length", "'a'", '"a', '"\\(.a"', "." * 3,
     "(" * 199 + "." + ")" * 199, ".a|" * 200 + ".a", "\ufeff.a", "\x0b.a", ".a\x00"],
)  # fmt: skip
def test_everything_else_is_left_to_jq(expression: str) -> None:
    assert plain(expression) is None


@pytest.mark.parametrize(
    ("expression", "row"),
    [
        (".a.b", {"a": 1}),
        (".a.b", {"a": [1]}),
        (".a[0]", {"a": {"0": 1}}),
        (".a[0]", {"a": "text"}),
        (".a | tostring", {"a": 1.5}),
        (".a | tostring", {"a": 2**53}),
        (".a | tostring", {"a": [1]}),
        (".a | map(.b)", {"a": {"b": 1}}),
        (".a | map(.b)", {"a": None}),
        ('.a | split("x")', {"a": None}),
        ('.a | gsub("x"; "y")', {"a": 5}),
        (".a + 1", {"a": 1.5}),
        (".a + 1", {"a": 2**53 - 1}),
        (".a + 1", {"a": True}),
        (".a + .b", {"a": [1], "b": [2]}),
        (".a + .b", {"a": True, "b": "x"}),
        ('"\\(.a)"', {"a": 0.1}),
        (".a.b // 1", {"a": 1}),
    ],
)
def test_values_of_other_kinds_are_in_doubt(expression: str, row: Any) -> None:
    column = plain(expression)
    assert column
    with pytest.raises(Doubt):
        column([{"a": None} if row is None else row])


@pytest.mark.parametrize(
    "expression",
    [
        ".a" + "|.+." * 60,
        ".a" + r'|"\(.)\(.)\(.)\(.)"' * 12,
        '.a|gsub("a";"aaaaaaaaaaaaaaaaaaaa")' + '|gsub("a";"aaaaaaaaaaaaaaaaaaaa")' * 5,
    ],
)
def test_texts_do_not_grow_without_bounds_here(expression: str) -> None:
    column = plain(expression)
    assert column
    with pytest.raises(Doubt):
        column([{"a": "aaaa"}])


def _grown(part: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    gap = st.sampled_from(["", " ", "\n", "\t "])
    bar, alternative, plus = text(gap, "|", gap), text(gap, "//", gap), text(gap, "+", gap)
    return st.one_of(
        text(part, bar, part),
        text(part, alternative, part),
        text(part, plus, part),
        text("(", gap, part, gap, ")"),
        text("map(", gap, part, ")"),
        text(part, "[", st.sampled_from(["0", "-1", "2"]), "]"),
        text(part, ".", st.sampled_from("abc")),
        text('"x\\(', part, ')y"'),
    )


plains = st.recursive(
    st.sampled_from(
        [
            *(".", ".a", ".b", ".c", ".a.b", '"a"', '"a b"', '""', "0", "12", "null", "true", "false", "empty"),
            *("tostring", "[]", "{}", 'split(" ")', 'split("a")', 'gsub(" "; "")', 'gsub("a"; "bb")'),
        ]
    ),
    _grown,
    max_leaves=6,
)


@settings(max_examples=600)
@given(plains | expressions, values)
def test_no_expression_gives_anything_but_what_jq_gives(expression: str, row: Any) -> None:
    if column := plain(expression):
        same_as_jq(expression, column, row)


@given(plains, st.lists(values, min_size=2, max_size=4))
def test_a_column_is_its_rows(expression: str, rows: list[Any]) -> None:
    if not (column := plain(expression)):
        return
    try:
        alone = [column([row])[0] for row in rows]
    except Doubt:
        with pytest.raises(Doubt):
            column(rows)
        return
    before = json.dumps(rows)
    assert json.dumps(column(rows)) == json.dumps(alone)
    assert json.dumps(rows) == before


@pytest.mark.parametrize("expression", [".a|" * 120 + ".a", ".a" * 190, '"x"' + '+""' * 120, ".a//" * 90 + "1"])
def test_long_expressions_do_not_nest_too_many_calls(expression: str) -> None:
    column = plain(expression)
    assert column
    assert same_as_jq(expression, column, None)


@pytest.mark.parametrize("new", ["", r"\n", r"\\n", "<br>", r"\\t x"])
@pytest.mark.parametrize("old", [r"\r\n", r"\\r\\n", r"\n", r"\\n", r"\\t", r"a\\nb"])
def test_line_ends_are_replaced_as_jq_does(old: str, new: str) -> None:
    expression = f'gsub("{old}"; "{new}")'
    column = plain(expression)
    assert column is not None
    for given_text in ("a\r\nb\r\n", r"\r\n stands there", "\n", "\t\t", "a\nb", r"a\nb", "", "\r\r\n\n"):
        assert column([given_text]) == [jq.compile(expression).input_value(given_text).first()]


def test_a_long_text_with_many_line_ends_needs_no_jq() -> None:
    column = plain(r'.description | gsub("\\r\\n"; "\\n")')
    assert column is not None
    assert column([{"description": "line\r\n" * 80_000}]) == ["line\\n" * 80_000]


@pytest.mark.parametrize("dialect", ["gitlab-v2", "gitlab"])
def test_a_sync_gives_the_same_catalog_where_jq_evaluates_every_expression(
    dialect: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[str] = []
    submit = Evaluator.submit

    def submitted(pool: Evaluator, program: str, text: bytes) -> Any:
        sent.append(program)
        return submit(pool, program, text)

    monkeypatch.setattr(Evaluator, "submit", submitted)
    found, programs = [], []
    for switch in ("true", "false"):
        sent.clear()
        ran = run_sync(sample_world(NOW), PortStore.default(), type=dialect, OCEAN__EXPORT__PLAIN_EXPRESSIONS=switch)
        assert ran.report.exit_code == 0
        found.append(ran.store.snapshot())
        programs.append(len(set(sent)))
    assert found[0] == found[1] != {}
    # With the switch off, every resource has a program.
    assert programs[1] >= len(ran.report.kinds)
    assert programs[1] > programs[0]
