"""What expressions look at, as paths: a part too few, and a live field would be wrong."""

import contextlib
from itertools import islice
from typing import Any

import jq
import pytest
from hypothesis import HealthCheck, given, settings

from gitlab_port_export.live.reach import ITEM, Depth, Path, looked_at
from gitlab_port_export.model import Row
from testbed.jq_grammar import expressions, rows


def shown(found: frozenset[tuple[Path, Depth]] | None) -> str | None:
    """The paths with how much of each: `a.b` whole, `a?` whether it is there, `a#` its size."""
    if found is None:
        return None
    return " ".join(sorted(".".join(path) + {"whole": "", "there": "?", "size": "#"}[depth] for path, depth in found))


@pytest.mark.parametrize(
    ("expression", "paths"),
    [
        (".a.b", "a.b"),
        (".a | .b", "a.b"),
        ('.["a"]."b c"', "a.b c"),
        (".a // .b.c", "a a? b.c"),
        (".a // [] | map(.b)", "a# a.[].b a?"),
        (".a[0].b", "a# a.[].b"),
        ("[.a[] | .b]", "a# a.[].b"),
        (".a | length", "a#"),
        (".a | first | .b", "a# a.[].b"),
        (".a | any(.b)", "a# a.[].b?"),
        (".a | sort_by(.b) | map(.c)", "a# a.[].b a.[].c"),
        ('.a | split("/")[0]', "a"),
        (".a[:19] + .b", "a b"),
        (".a[.b]", "a b"),
        ("if .a then .b else .c.d end", "a? b c.d"),
        (".a as $x | $x.b", "a.b"),
        ("1 + .a as $x | .b + $x.c", "a.c b"),
        (".a | select(.b) | .c", "a.b? a.c"),
        ('"\\(.a.b)/\\(.c)" # as it is', "a.b c"),
        ("{a, b: .c.d | .e}", "a c.d.e"),
        ("try .a catch .b", "a"),
        (".a and .b.c", "a? b.c?"),
        (".a.b == null", "a.b"),
        ("-.a", "-a".lstrip("-")),
        ('"x"', ""),
        (".", ""),
        ("keys", ""),
        ("..", None),
        ("now", None),
        ("$ENV.a", None),
        ("env.a", None),
        ("def f: .a; f", None),
        ("reduce .a[] as $x (0; . + $x)", None),
        (".a = 1", None),
        (".a |= 1", None),
        (".a as [$x] | $x", None),
        ("if .a then .b end", None),  # jq 1.6 has it not
        (".a | ltrimstr(1) | trim", None),
        ("{a: .b // 1}", None),
        (".a | input", None),
        (".a, # \\\n 1", None),
        (f"{'(' * 3000}.a{')' * 3000}", None),
    ],
)
def test_paths_of(expression: str, paths: str | None) -> None:
    assert shown(looked_at(expression)) == paths


def test_the_row_as_a_whole_is_a_path_too() -> None:
    assert looked_at(".") == {((), "whole")}
    assert looked_at("keys | length") == {((), "whole")}


def pruned(value: Any, looked: set[tuple[Path, Depth]]) -> Any:
    """As much of a value as is looked at, as a payload may have it."""
    here = {depth for path, depth in looked if not path}
    below = {name: {(path[1:], depth) for path, depth in looked if path and path[0] == name} for name in names(looked)}
    # An object is never counted or gone through where only parts of it are known.
    if "whole" in here or (isinstance(value, dict) and ("size" in here or ITEM in below)):
        return value
    if isinstance(value, dict):
        return {key: pruned(part, below[key]) for key, part in value.items() if key in below}
    if isinstance(value, list):
        return [pruned(part, below.get(ITEM, set())) for part in value] if "size" in here else []
    return value


def names(looked: set[tuple[Path, Depth]]) -> set[str]:
    return {path[0] for path, _ in looked if path}


@settings(max_examples=250, suppress_health_check=list(HealthCheck))
@given(expressions, rows)
def test_what_is_not_looked_at_makes_no_difference(expression: str, row: Row) -> None:
    found = looked_at(expression)
    if found is None:
        return
    try:
        program = jq.compile(f"1 as $x | 2 as $y | ({expression}\n\n)")
    except ValueError:
        return
    assert outcomes(program, pruned(row, set(found))) == outcomes(program, row)


def outcomes(program: Any, row: Row) -> list[str]:
    """The first outputs, and whether an error ends them."""
    found: list[str] = []
    with contextlib.suppress(StopIteration):
        try:
            found += [repr(value) for value in islice(iter(program.input_value(row)), 20)]
        except ValueError:
            found.append("error")
    return found
