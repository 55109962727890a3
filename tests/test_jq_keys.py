"""Tests of what expressions can reach: the rest of a row may be left out, so a key too few is a wrong entity."""

import contextlib
from itertools import islice

import jq
import pytest
from hypothesis import HealthCheck, given, settings

from gitlab_port_export.jq.keys import needed_keys
from gitlab_port_export.model import Row
from testbed.jq_grammar import expressions, rows


@pytest.mark.parametrize(
    ("expression", "keys"),
    [
        (".a", "a"),
        (".a.b", "a b"),
        (".a | .b", "a"),
        (".a // .b", "a b"),
        (".a[0].b?", "a b"),
        ('.["a"] + ."b"', "a b"),
        (".a[.b]", "a b"),
        ('"\\(.a)/\\(.b | .c)"', "a b"),
        ('@base64 "\\(.a)"', "a"),
        ("[.a, .b] | join(.c)", "a b"),
        ("if .a then .b else .c | .d end", "a b c"),
        ("if .a then .b elif .c then .d else .e end", "a b c d e"),
        (".a as $x | .b | .c + $x", "a b"),
        (".a as $x | .b as $y | .c", "a b c"),
        ("select(.a) | .b | .c", "a b"),
        ("select(.a == select(.b).c) | .d", None),
        ("{a, b: .c, d: .e | .f, g: 1}", "a c e b d g"),
        ('{"a", "b": .c}', "a b c"),
        ("{if, and, null, empty: .a}", "if and null empty a"),
        ("{$ENV} | .a", ""),
        (".a # not .b\n// .c", "a c"),
        ("try .a catch null", "a"),
        ("def f: .a; f", None),
        (".", None),
        ("..", None),
        (".[]", None),
        ("keys", None),
        ("del(.a)", None),
        (".a = 1", None),
        (".a |= 1", None),
        (".a as [$x] | $x", None),
        ("reduce .a[] as $x (0; . + $x)", None),
        ("if .a then .b end", None),
        ("select(.a)", None),
        ("-select(.a) | .b", None),
        ('{"a\\("b")"}', None),
        ('{"\\u0061"}', None),
        ('{@base64 "a\\(1)"}', None),
        (".a, # \\\n 1 | \n .b", None),
        (".a €", None),
        (".a)", None),
    ],
)
def test_the_keys_that_an_expression_reaches_are_found(expression: str, keys: str | None) -> None:
    found = needed_keys([expression])
    assert found == (None if keys is None else frozenset(keys.split()))


def test_one_doubt_is_enough() -> None:
    assert needed_keys([".a", ".b.c"]) == {"a", "b", "c"}
    assert needed_keys([".a", "keys"]) is None
    assert needed_keys([]) == frozenset()


def test_a_key_is_taken_to_the_letter() -> None:
    # Brackets, dots and blanks belong to the key.
    assert needed_keys(['.["[x] "]', '.". y"']) == {"[x] ", ". y"}


@settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
@given(expressions, rows)
def test_rest_of_the_row_makes_no_difference(expression: str, row: Row) -> None:
    keys = needed_keys([expression])
    if keys is None:
        return
    try:
        program = jq.compile(f"1 as $x | 2 as $y | ({expression}\n\n)")
    except ValueError:
        return
    assert outcomes(program, {key: row[key] for key in row if key in keys}) == outcomes(program, row)


def outcomes(program: "jq._Program", row: Row) -> list[str]:
    """The first outputs, and the error that ends them."""
    found: list[str] = []
    with contextlib.suppress(StopIteration):
        try:
            found += [repr(value) for value in islice(iter(program.input_value(row)), 20)]
        except ValueError as error:
            found.append(f"error: {error}")
    return found
