"""Builds what maps the rows of a resource: columns for simple expressions, and one jq program for all others."""

import json
import re
from collections.abc import Sequence, Set
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from gitlab_port_export.jq.keys import needed_keys
from gitlab_port_export.jq.without_jq import Column, Doubt, plain
from gitlab_port_export.mapping.model import Expression, Query, Resource
from gitlab_port_export.model import Row, Shape

# Ocean's rule for single quotes: `'` becomes `"` where it opens at the start or after white space, or closes at the
# end or before white space.
QUOTES = re.compile(r"(^|\s)'(?![\s\"])|(?<![\s\"])'(\s|$)")
LEGACY_PREFIXES = ("file://", "search://")
# The key of a row under which the values of such fields stand; jq does not see it.
LEGACY = "__legacy"
# Stands for such a value that was not read: the field is left as it is in Port.
LEFT = object()
# What ends a comment at an expression's end, also one that a backslash carries on to the next line.
END = "\n\n"
# The parts of an expression by what they open or close: outside a string, and in one.
CODE = re.compile(r'#[^\n]*|["()]|[^#"()]+')
TEXT = re.compile(r'\\\(|"|\\.|[^"\\]+|\\', re.DOTALL)
FORBIDDEN = re.compile(r"(?<![.\w${])(input|inputs|import|include|module|input_line_number)\b(?!\s*:)")


class InDoubt(Exception):
    """A field has a value that its column does not evaluate; jq has to."""

    def __init__(self, field: str) -> None:
        super().__init__(field)
        self.field = field


@dataclass(frozen=True)
class Program:
    """A resource's jq text, and for each of its mappings the fields' names and the columns of those that need no jq.

    A column that is a text is Ocean's legacy form, whose value stands in the row.

    The text gives the values of the fields without a column, in order, from rows with these `keys` (None: all); it is
    empty where nothing is left for jq. Fields without jq cost a tenth.
    """

    text: str
    fields: tuple[tuple[str, ...], ...]
    columns: tuple[tuple[Column | str | None, ...], ...]
    keys: frozenset[str] | None

    @cached_property
    def shapes(self) -> tuple[Shape, ...]:
        """The shape of the entities of each mapping."""
        return tuple(Shape(names[2:]) for names in self.fields)

    def evaluate(self, rows: list[Row]) -> list[list[list[Any] | None]]:
        """Return for each mapping and field the values that need no jq, else None. Raises InDoubt."""
        bare = [without_legacy(row) for row in rows]
        return [
            [_taken(name, column, rows, bare) for name, column in zip(names, columns, strict=True)]
            for names, columns in zip(self.fields, self.columns, strict=True)
        ]


def without_legacy(row: Row) -> Row:
    """Return a row as expressions see it."""
    return {key: value for key, value in row.items() if key != LEGACY} if LEGACY in row else row


def _taken(name: str, column: Column | str | None, rows: list[Row], bare: list[Row]) -> list[Any] | None:
    if isinstance(column, str):
        return [row.get(LEGACY, {}).get(column, LEFT) for row in rows]
    try:
        return column(bare) if column else None
    except Doubt:
        raise InDoubt(name) from None


def rewrite_quotes(expression: Expression) -> Expression:
    """Return the expression with its single quotes made double where Ocean does so."""
    return QUOTES.sub(lambda found: f'{found[1] or ""}"{found[2] or ""}', expression)


def is_legacy(value: Expression | Query) -> bool:
    """Return whether a field is Ocean's `file://` or `search://` form, which is not jq."""
    return isinstance(value, str) and value.startswith(LEGACY_PREFIXES)


def forbidden_word(expression: Expression) -> str | None:
    """Return a word that cannot work here: there is one row and no further input, and no modules."""
    found = FORBIDDEN.search(_code(expression))
    return found[1] if found else None


def _code(expression: Expression) -> str:
    r"""Return an expression without its comments and texts; what stands in `\(…)` in a text is code too."""
    kept: list[str] = []
    opened: list[str] = []
    at = 0
    while at < len(expression):
        in_text = opened[-1:] == ['"']
        token = (TEXT if in_text else CODE).match(expression, at)
        if token is None:
            break
        at, part = token.end(), token[0]
        if part == ('"' if in_text else ")") and opened:
            opened.pop()
        elif part in (("\\(",) if in_text else ('"', "(")):
            opened.append(part[-1])
        kept.append(" " if in_text or part.startswith("#") else part)
    return "".join(kept)


def build(
    resource: Resource,
    error_key: str,
    only: str | None = None,
    *,
    in_jq: Set[str] = frozenset(),
    plain_expressions: bool = True,
) -> Program:
    """Return the program that maps a JSON array of rows to an array with one result per row.

    A result is a list with one item per parsed item: `[selector, [values per mapping]]`, where selector is
    `[output]` or `{error_key: message}` and each value is what the field gave, or `{error_key: message}`. Where
    `itemsToParse` fails the one item is `[{error_key: message}, [], "itemsToParse"]`, with null as its first part
    where it gives no list. Rows that are parsed into
    items exist in jq alone. Fields that need no jq have a column in place of a value, but for those named `in_jq`.
    `only` keeps one field, or none for "selector.query" and "itemsToParse", to find the one that gives no answer.
    Without `plain_expressions` jq evaluates every field, of whole rows: nothing here has a say in the result.
    """
    all_in_jq = only is not None or resource.port.items_to_parse is not None or not plain_expressions
    names = tuple(tuple(name for name, _ in m.fields()) for m in resource.mappings)
    if only is not None:
        names = tuple(tuple(name for name in group if name == only) for group in names)
    values = [[dict(m.fields())[name] for name in group] for m, group in zip(resource.mappings, names, strict=True)]
    columns = tuple(
        tuple(_column(value, all_in_jq or name in in_jq) for name, value in zip(*group, strict=True))
        for group in zip(names, values, strict=True)
    )
    computed = [
        [value for value, column in zip(group, found, strict=True) if column is None]
        for group, found in zip(values, columns, strict=True)
    ]
    mapped = ", ".join("[" + ", ".join(_value(value, error_key) for value in group) + "]" for group in computed)
    query = "true" if only == "itemsToParse" else rewrite_quotes(resource.selector.query)
    row = f"[[true], [{mapped}]]"
    selects = query.strip() != "true"
    if selects:
        selected = f"(try [first({query}{END})] catch {_error(error_key)})"
        row = f"({selected} | [.]) as [$__s] | if $__s == [true] then [$__s, [{mapped}]] else [$__s, []] end"
    text = f"[.[] | [{_each_item(resource, row, error_key)}]]" if selects or all_in_jq or any(computed) else ""
    keys = _reachable(resource, [query, *leaves(computed)]) if plain_expressions else None
    return Program(text, names, columns, keys)


def _reachable(resource: Resource, expressions: Sequence[Expression]) -> frozenset[str] | None:
    """Return the top-level keys of a row that the expressions can reach, or None for all of them."""
    if resource.port.items_to_parse is not None:
        return None
    return needed_keys(rewrite_quotes(text) for text in expressions)


def _column(value: Expression | Query, in_jq: bool) -> Column | str | None:
    if is_legacy(value):
        return str(value)
    return plain(rewrite_quotes(value)) if isinstance(value, str) and not in_jq else None


def leaves(value: Any) -> list[Expression]:
    """Return the expressions of a field's value, of a search query each; what is not jq is none."""
    if isinstance(value, str):
        return [] if is_legacy(value) else [value]
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
    return [text for part in parts for text in leaves(part)]


def _error(key: str) -> str:
    return f'{{{json.dumps(key)}: (if type == "string" then . else tojson end | .[:300])}}'


# Parts of which every combination gives exactly one output or fails: these need no `first`, which makes jq a third
# slower. A row with another number of outputs is a Problem all the same.
ONE = re.compile(
    r"""(?: \s++ | \.[A-Za-z_]\w*+ | \.(?![\w.]) | "[^"\\]*+" | \d++(?:\.\d++)?+
        | //\s*+(?:\[\s*+\]|\{\s*+\}) | // | \[-?\d++\] | \[-?\d++:\] | \[-?\d*+:-?\d++\]
        | [=!<>]= | [|()*/%+<>;-]
        | (?: if|then|elif|else|end|and|or|not|null|true|false|type|length|has|tostring|tonumber|tojson|now
            | ascii_downcase|ascii_upcase|ltrimstr|rtrimstr|startswith|endswith|split|join|test|gsub|index|rindex
            | round|floor|ceil|fromdate|todate|map|add|any|all|keys|to_entries|from_entries|reverse|flatten
            | sort|sort_by|unique|unique_by|group_by|min|max|min_by|max_by )\b
    )++""",
    re.ASCII | re.VERBOSE,
)


def _value(value: Expression | Query, key: str) -> str:
    if is_legacy(value):
        return "null"
    if isinstance(value, str):
        text = rewrite_quotes(value)
        if ONE.fullmatch(text):
            return f"(try ({text}) catch {_error(key)})"
        return f"(try first(({text}{END}), null) catch {_error(key)})"
    return _query(value, key)


def _query(value: Any, key: str) -> str:
    """Return the jq that rebuilds a search query with every text in it evaluated."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(name)}: {_query(part, key)}" for name, part in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_query(part, key) for part in value) + "]"
    return _value(value, key) if isinstance(value, str) else json.dumps(value)


def _each_item(resource: Resource, row: str, key: str) -> str:
    """Return the jq that gives the result of a row, or one per parsed item where something is to be parsed.

    What is no list gives no items, as in Ocean. An error or null is reported: the entities of such a row are not gone.
    """
    port = resource.port
    if port.items_to_parse is None:
        return row
    expression = rewrite_quotes(port.items_to_parse)
    path = top_level_path(expression) if port.items_to_parse_top_level_transform else None
    kept = f"(del({path})? // .)" if path else "."
    error, item = json.dumps(key), json.dumps(port.items_to_parse_name)
    return (
        f"{kept} as $__row | (try first(({expression}{END}), null) catch {_error(key)})"
        f' | if type == "array" then .[] | $__row + {{{item}: .}} | {row}'
        f' else [(if type == "object" and has({error}) then . else null end), [], "itemsToParse"] end'
    )


# An index in a path: a name, a number, a slice, or a path of the row. A variable is not known where the path is cut.
PLACE = r"\[\s*(?:\"[^\"\\]*\"|-?\d+|-?\d+:(?:-?\d+)?|:-?\d+|\.[A-Za-z_][\w.]*)\s*\]"
# What follows a path that goes on in a way that PATH does not match; `[]` gives parts that all belong to the path.
GOES_ON = re.compile(r"\s*\??\s*\.?\[(?!\s*\])")
PATH = re.compile(rf"(?:\.[A-Za-z_]\w*|\.{PLACE})(?:\.[A-Za-z_]\w*|\.?{PLACE})*", re.ASCII)


def top_level_path(expression: Expression) -> str | None:
    """Return the path that `itemsToParseTopLevelTransform` takes out of the row, or None where none is plain.

    As in Ocean it is the leading path of the first part of the pipe that has one; of an expression in parentheses
    only the text in them counts, and `.`, `. as $x` and variables are passed over. Ocean drops every row where
    there is no path; here the row stays whole, also where only a part of the path is plain.
    """
    text = expression.strip()
    if text.startswith("("):
        text = text[1:].partition(")")[0]
    paths = (PATH.match(part.strip()) for part in text.split("|"))
    path = next((path for path in paths if path), None)
    return path[0] if path and not GOES_ON.match(path.string, path.end()) else None
