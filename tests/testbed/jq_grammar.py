"""Strategies of jq expressions and of rows they meet; most expressions compile, none runs away."""

import json
from typing import Any

from hypothesis import strategies as st

PLAIN = ["a", "b", "c", "ab"]
# Words of jq that are names too, and keys that need quotes.
WORDS = ["if", "and", "as", "env", "null", "empty", "end", "select", "true", "now", "then", "else", "not", "__loc__"]
QUOTED = ["x y", "eA==", 'a"b', "é", "a]", "xa"]


def text(*parts: Any) -> st.SearchStrategy[str]:
    """The parts in a row, each a text or a strategy of texts."""
    return st.tuples(*(part if isinstance(part, st.SearchStrategy) else st.just(part) for part in parts)).map("".join)


quoted = st.sampled_from([*PLAIN, *WORDS, *QUOTED]).map(json.dumps)
field = st.sampled_from([*PLAIN, "if", "and", "env", "end"]).map(lambda name: f".{name}")
path = st.one_of(field, field, text(".[", quoted, "]"), text(".", quoted), text(".[ ", quoted, " ]"))
leaf = st.one_of(
    path,
    path,
    path,
    st.sampled_from(
        [
            *(".", "..", "..?", ".[]", ".[]?", "$x", "$y", "$ENV | type", "$__loc__", '.["\\u0061"]', '{"a": 1}', "{}"),
            *(
                "null",
                "true",
                "false",
                "1",
                "1.5",
                ".5",
                '"t"',
                '"é"',
                "'q'",
                "[]",
                "empty",
                "now | type",
                "env | type",
            ),
            *("keys", "to_entries", "length", "not", "type", "tostring", "tojson", "@json", "add", "first", "error"),
            *('has("a")', 'getpath(["a"])', "paths", "map_values(1)", "input_filename", "@text", "any"),
        ]
    ),
)


def _grown(part: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    gap = st.sampled_from([" ", "", "\n", " # c\n", " # it's \" ( \n", " # z \\\n"])
    key = st.one_of(
        st.sampled_from([*PLAIN, *WORDS]),
        quoted,
        st.sampled_from(['"\\u0061"', '@base64 "a"']),
        text('"a\\(', part, ')"'),
        text('@base64 "x\\(', part, ')"'),
    )
    value = st.one_of(path, text("(", part, ")"), part, text(path, " | ", path))
    pair = st.one_of(
        key, key, text(key, ": ", value), st.sampled_from(["$x", "$__loc__"]), text("(", part, "): ", path)
    )
    whole = st.lists(pair, max_size=3).map(lambda pairs: "{" + ", ".join(pairs) + "}")
    infix = st.sampled_from([" | ", "|", ", ", " // ", " + ", " == ", " and ", " or ", " = ", " |= ", " += ", " //= "])
    bound = st.sampled_from(["$x", "$y", "[$x]", "{a: $x}", "{$x}", "{a: $x} ?// [$x]"])
    call = st.sampled_from(["", "map", "del", "first", "any", "path", "with_entries", "error", "select", "-"])
    return st.one_of(
        text(part, gap, "|", gap, part),
        text(part, infix, part),
        text(part, infix, part),
        text(part, " as ", bound, gap, "| ", part),
        text(call, "(", part, ")"),
        text("select(", part, ") | ", part),
        text("if ", part, " then ", part, " else ", part, " end"),
        text("if ", part, " then ", part, " end"),
        text("if ", part, " then ", part, " elif ", part, " then ", part, " end"),
        text("if ", part, " then ", part, " elif ", part, " then ", part, " else ", part, " end"),
        text("[", part, "]"),
        text("try ", part, " catch ", part),
        text("try ", part),
        text(part, "?"),
        text('"s\\(', part, ')"'),
        text("@base64", gap, '"s\\(', part, ')e"'),
        whole,
        whole,
        text(path, path),
        text(path, "[", part, "]"),
        text(path, st.sampled_from(["[]", "[]?", "[0]", "[1:]", "?"])),
        text("reduce ", path, "[]? as $x (", part, "; ", part, ")"),
        text("foreach ", path, "[]? as $x (", part, "; ", part, ")"),
        text("def f: ", part, "; ", part, " | f"),
        text("def select(g): ", part, "; ", part),
        text("label $l | ", part),
        text("limit(1; ", part, ")"),
        text("-", part),
        text(part, " # end"),
    )


expressions = st.recursive(leaf, _grown, max_leaves=7)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 3) | st.sampled_from(["", "a", "t", "x y"]),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from([*PLAIN, "key", "value"]), inner, max_size=3)
    ),
    max_leaves=4,
)
rows = st.dictionaries(st.sampled_from([*PLAIN, *WORDS, *QUOTED]), values, max_size=9)
